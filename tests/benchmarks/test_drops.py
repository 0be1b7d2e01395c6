"""How the smallest file that keeps a drop is found (tests/benchmarks/drops.py)."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
pytest.importorskip("PIL")
from tests.benchmarks.drops import _is_held, smallest


def test_between_two_files_the_logarithm_of_the_drop_is_taken_for_a_line():
    assert smallest([(200, 0.01), (100, 0.04)], 0.02) == pytest.approx(150)
    assert smallest([(100, 0.04), (200, 0.01), (300, 0.0)], 0.01) == pytest.approx(200)


@pytest.mark.parametrize("points", [[], [(100, 0.04)], [(100, 0.001)]])
def test_no_bytes_are_told_where_no_file_is_on_the_one_side(points):
    assert smallest(points, 0.02) is None


def test_a_drop_is_held_within_the_error_of_counting_it():
    row = {"asked": 0.01, "others": 2000}  # the standard error is 0.22 %
    assert _is_held(row | {"true": 0.0122}) and not _is_held(row | {"true": 0.0123})
