"""How curves of bytes against agreement are read (tests/benchmarks/curves.py)."""

import math
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
pytest.importorskip("PIL")
from curves import Curve, Point, bytes_at, shares, table


def points(*pairs: tuple[int, float], way: str = "dcz") -> list[Point]:
    return [Point(way, "", size, size // 2, agreement, None, 0, 0) for size, agreement in pairs]


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


def test_shares_are_of_the_weights_of_the_peer():
    peer = points((200, 0.9), (3200, 0.98), way="nncodec")
    curves = {"squeezenet": Curve("A network", 10_000, 100, None, [*points((100, 0.9), (1600, 0.98)), *peer])}
    row = next(line for line in shares(curves).splitlines() if "A network, data-free" in line)
    assert row == f"| A network, data-free |{' 1.00 (0.50) |' * 4} 1.00 |"
    assert "| A network, calibrated | - | - | - | - | 0.70 |" in shares(curves)


def test_a_table_has_whole_files_and_weights_at_equal_agreement():
    curve = Curve("A network", 1000, 100, None, points((100, 0.92), (400, 0.98)))
    assert "| 0.95 | 200 | 100 |" in table(curve)
    assert "| 0.98 | 400 | 200 |" in table(curve)
