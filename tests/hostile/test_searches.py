"""Small files whose graph is costly to look at, searched for a size: it is looked at once, whatever the trials."""

from collections.abc import Callable

import pytest

import dcz
from dcz.model import uses
from tests.hostile.bombs import message
from tests.hostile.limits import QUICK, SMALL, run_limited
from tests.networks import perceptron

COUNT = 30_000
NAME = message(1, b"a")
EMPTY: dict[str, Callable[[int], bytes]] = {
    "graphs": lambda n: message(7, message(1, message(4, b"If") + message(5, NAME + message(11, b"") * n))),
    "branches": lambda n: message(7, message(1, message(4, b"If") + message(5, NAME + message(6, b"")) * n)),
    "initializers": lambda n: message(7, message(5, b"") * n),
    "sparse initializers": lambda n: message(7, message(15, b"") * n),
    "nodes": lambda n: message(7, message(1, b"") * n),
    "attributes of nodes": lambda n: message(7, message(1, message(5, b"")) * n),
    "tensors of an attribute": lambda n: message(7, message(1, message(5, NAME + message(10, b"") * n))),
    "functions": lambda n: b"\xca\x01\x00" * n,
    "training": lambda n: b"\xa2\x01\x00" * n,
}


@pytest.mark.parametrize("kind", EMPTY)
def test_a_size_is_found_in_bounded_time(kind, tmp_path):
    (tmp_path / "net.onnx").write_bytes(perceptron(512).SerializeToString() + EMPTY[kind](COUNT))
    command = ["-m", "dcz", "compress", "net.onnx", "-o", "net.dcz", "--max-size", "100kB", "--threads", "1"]
    used = run_limited(command, cwd=tmp_path)
    assert used.code == 0, used.err
    assert used.seconds < QUICK and used.megabytes < SMALL
    assert (tmp_path / "net.dcz").stat().st_size <= 100_000


def test_a_search_surveys_a_graph_once_for_all_trials(tmp_path, monkeypatch):
    surveys, plain = [], uses.TensorUses.__init__

    def counted(self, proto, slots_only=False):
        surveys.append(slots_only)
        plain(self, proto, slots_only)

    monkeypatch.setattr(uses.TensorUses, "__init__", counted)
    trials = []
    dcz.compress_to_size(perceptron(512), tmp_path / "net.dcz", 100_000, trial=trials.append)
    assert len(trials) > 2 and surveys.count(False) == 1
