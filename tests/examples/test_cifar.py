"""The CIFAR-10 example: its page says what its results say."""

import json

import pytest

from examples.cifar import reproduce


def test_the_page_is_that_of_the_results():
    known = json.loads((reproduce.HERE / "results.json").read_text())
    assert (reproduce.HERE / "RESULTS.md").read_text() == reproduce.page(0.185, known)
    assert set(known) == {row.name for row in reproduce.ROWS}


def test_without_the_images_it_says_what_is_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(reproduce, "DATA", tmp_path)
    assert reproduce.main(["--out", str(tmp_path)]) == 1
    assert "DCZ_DATA" in capsys.readouterr().err


def test_the_interval_is_wilsons():
    assert reproduce.wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
