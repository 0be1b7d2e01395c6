"""tests/benchmarks/throughput: rows are measured, or say why not, and the page says what was."""

import json
import sys
from dataclasses import asdict

import numpy as np
import pytest

import dcz
from tests.benchmarks.throughput import rows, subjects, tables
from tests.benchmarks.throughput.rows import Measured


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What rows work on, of one small matrix."""
    weights = np.random.default_rng(0).choice(np.float32([0, 0, 0, 1, 2]), (64, 64))
    for kind in ("drawn", "dense", "sparse"):
        (tmp_path / f"{kind}.bytes").write_bytes(weights.tobytes())
        np.save(tmp_path / f"{kind}.npy", weights)
    np.save(tmp_path / "drawn.npy", np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32))
    return tmp_path


@pytest.mark.parametrize(
    "name, makes",
    [
        ("memcpy", False),
        ("write, page-cached", False),
        ("bitarray Huffman, compress", True),
        ("bitarray Huffman, decompress", False),
    ],
)
def test_a_row_tells_seconds_bytes_and_memory(folder, name, makes):
    found = rows.measure(folder, "sparse", name)
    assert found.handled == 4 * 64 * 64 and found.wall > 0 and found.cpu > 0
    assert (0 < found.made < found.handled / 10) if makes else found.made == 0


def test_what_is_not_installed_is_said(folder, monkeypatch):
    for library, name in (("zstandard", "zstd -3, compress"), ("sklearn.cluster", "scikit-learn KMeans, compress")):
        monkeypatch.setitem(sys.modules, library, None)
        assert "not installed" in rows.measure(folder, "dense", name).missing
    monkeypatch.setattr(rows, "NNCODEC", folder / "nowhere")
    missing = rows.nncodec(folder, "dense")
    assert [row.row for row in missing] == ["nncodec, compress", "nncodec, decompress"]
    assert all("not installed" in row.missing for row in missing)


def test_the_page_has_ratios_of_processor_seconds_and_the_goals():
    names = ("write, page-cached", "dcz, 1 threads, isal, compress", "dcz, 1 threads, isal, decompress",
             "nncodec, compress", "nncodec, decompress")  # fmt: skip
    seconds = (1.0, 2.0, 2.5, 30.0, 40.0)
    found = [Measured(name, "sparse", 9.0, cpu, 10**9, 10**8, 5 * 10**6) for name, cpu in zip(names, seconds)]
    found.append(Measured("zstd -3, compress", "sparse", missing="zstandard is not installed"))
    known = {
        "sparse": {
            "machine": {"command": "the command", "load": "1", "divisor": "1"},
            "rows": [asdict(row) for row in found],
        }
    }
    page = tables.page(json.loads(json.dumps(known)))
    assert "compression 15.0 times nncodec's (goal: 20); decompression 16.0 times nncodec's (goal: 10)" in page
    assert "takes 2.50 of the page-cached write (goal: at most 2.5)" in page
    assert "`the command`" in page and "| zstd -3, compress | zstandard is not installed |" in page


def test_the_plans_are_those_of_the_paper_and_of_the_defaults():
    assert subjects.plan("default") == dcz.Plan()
    rules = {rule.match[0]: rule.settings for rule in subjects.plan("sparse").rules}
    assert len(rules) == 16 and rules["fc6.weight"].bits == 5 and rules["fc6.weight"].sparsity == pytest.approx(0.96)
