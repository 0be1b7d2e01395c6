"""The benchmark on sentences: its page says what its results say, and its batches hold each sentence once."""

import json

import numpy as np

from tests.benchmarks import sentences
from tests.benchmarks.corpus.packages import Missing


def test_the_page_is_that_of_the_results():
    known = json.loads((sentences.HERE / "sentences.json").read_text())
    assert (sentences.HERE / "SENTENCES.md").read_text() == sentences.page(known)
    assert set(known) == set(sentences.ROWS)
    assert all(found["bytes"] <= sentences.BYTES for found in known.values())


def test_without_the_packages_it_says_which_one_is_missing(monkeypatch, tmp_path, capsys):
    def folder(package, fetch=True):
        raise Missing(f"{package} cannot be fetched")

    monkeypatch.setattr(sentences.Package, "folder", folder)
    assert sentences.main(["--out", str(tmp_path)]) == 1
    assert "cannot be fetched" in capsys.readouterr().err


def test_batches_are_of_nearly_one_length_and_in_another_order_each_epoch():
    rows = [[1] * (1 + number % 40) for number in range(2 * sentences.POOL)]
    data = sentences.Lengths(rows)
    one, other = data(0), data(1)
    assert len(one) == len(data) == 2 * sentences.POOL // sentences.BATCH
    assert sum(int(batch["attention_mask"].sum()) for batch in one) == sum(map(len, rows))
    assert any(not np.array_equal(a["input_ids"], b["input_ids"]) for a, b in zip(one, other, strict=True))
    assert max(np.ptp(batch["attention_mask"].sum(1)) for batch in one) <= 2
