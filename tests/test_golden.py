"""Nothing that dcz makes has changed: see tests/golden.py. Slow: `make golden` runs it, and `make test` does not."""

import json

import pytest

from tests import golden


@pytest.mark.slow
def test_outputs_are_those_that_are_recorded():
    found, here = golden.measured(), golden.conditions()
    wrong, skipped = golden.differences(json.loads(golden.RECORDED.read_text()), found, here)
    assert not wrong
    assert set(found) == set(golden.KINDS) and all(found.values()), skipped


def test_a_change_of_any_output_is_a_difference_unless_what_it_hangs_on_changed():
    here = golden.conditions()
    recorded = {"conditions": here, "files": {"a": "1", "b": "2"}, "advised": {"c": "3"}, "face": {}}
    same = {"files": {"a": "1", "b": "2"}, "advised": {"c": "3"}, "face": {}}
    assert golden.differences(recorded, same, here) == ([], [])
    changed = {"files": {"a": "1", "d": "2"}, "advised": {"c": "4"}, "face": {}}
    assert golden.differences(recorded, changed, here)[0] == ["files: b", "files: d", "advised: c"]
    wrong, skipped = golden.differences(recorded, changed, here | {"machine": "another"})
    assert wrong == ["files: b", "files: d"] and len(skipped) == 1 and "machine" in skipped[0]
