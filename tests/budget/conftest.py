from pathlib import Path

import numpy as np
import onnx
import pytest

from tests import models
from tests.networks import packed_perceptron, perceptron


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with net.onnx, net.dcz made from it, and samples x.npz with the network's own answers as labels y."""
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".git").mkdir()  # where the search for a dcz.toml ends
    onnx.save(perceptron(), "net.onnx")
    Path("net.dcz").write_bytes(packed_perceptron())
    x = np.random.default_rng(0).normal(size=(60, 64)).astype(np.float32)
    np.savez("x.npz", x=x, y=models.run(perceptron(), x=x)[0].argmax(1))
    return tmp_path
