"""tests/benchmarks/compressing.py: what is measured is what was spent, and nothing stays changed."""

import numpy as np
import onnx

from dcz import parallel
from dcz.codec.stages import balance
from tests import models
from tests.benchmarks import compressing


def test_what_threads_share_is_a_part_of_all(tmp_path):
    each, beside = balance.each, parallel.beside
    path = tmp_path / "model.onnx"
    onnx.save(models.dense(np.random.default_rng(0).laplace(size=(2100, 2100)).astype(np.float32)), path)
    seconds, blocks, meanwhile = compressing.measure(path, {}, 1)
    assert 0 < meanwhile < blocks < blocks + meanwhile < seconds
    assert compressing.speedup(10.0, 6.0, 2.0, 1) == 1.0 and compressing.speedup(10.0, 6.0, 2.0, 2) == 10 / (2 + 4)
    assert compressing.speedup(10.0, 6.0, 2.0, 100) == 10 / (2 + 2), "one thread does what is beside"
    assert all(0 < part < 10 for part in compressing.decoding(path.with_suffix(".dcz"), np.ones(2100 * 2100), 1))
    assert path.with_suffix(".dcz").stat().st_size < path.stat().st_size / 4
    assert balance.each is each and parallel.beside is beside
