"""The page of what calibration takes is that of the recorded figures, and its shares are of one run."""

import json

from tests.benchmarks import calibration


def test_the_page_is_that_of_the_figures():
    known = json.loads((calibration.HERE / "calibration.json").read_text())
    assert (calibration.HERE / "CALIBRATION.md").read_text() == calibration.page(known)
    assert list(known["rows"]) == [name for name in calibration.CASES if name in known["rows"]]


def test_phases_come_one_after_another():
    for row in json.loads((calibration.HERE / "calibration.json").read_text())["rows"].values():
        assert 0.9 * row["seconds"] < sum(row["spent"].get(label, 0) for label in calibration.PHASES) < row["seconds"]
