"""How curves of bytes against agreement are read (tests/benchmarks/curves.py)."""

import math
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
pytest.importorskip("PIL")
from curves import Point, bytes_at


def points(*pairs: tuple[int, float]) -> list[Point]:
    return [Point("dcz", "", size, size // 2, agreement, None, 0, 0) for size, agreement in pairs]


def test_between_two_points_bytes_go_by_their_logarithm():
    assert bytes_at(points((100, 0.9), (400, 1.0)), 0.95) == pytest.approx(200)
    assert bytes_at(points((400, 1.0), (100, 0.9)), 0.95, "weights") == pytest.approx(100)


def test_points_that_agree_less_for_more_bytes_are_put_together():
    curve = points((100, 0.9), (200, 0.96), (300, 0.94), (800, 1.0))
    assert bytes_at(curve, 0.95) == pytest.approx(math.sqrt(200 * 300))
    assert bytes_at(curve, 0.9) == pytest.approx(100)


@pytest.mark.parametrize("target", [0.85, 0.99])
def test_no_bytes_are_told_where_the_curve_does_not_reach(target):
    assert bytes_at(points((100, 0.9), (200, 0.96)), target) is None
    assert bytes_at([], target) is None
