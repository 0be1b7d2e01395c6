"""Squarified treemaps: areas are sizes, nothing overlaps, and all is inside."""

from dataclasses import dataclass

import numpy as np
import pytest

from dcz.reading.prefixes import tree
from dcz.reporting.treemap import Rect, squarify, tiles


def test_the_papers_example():
    """Figure 4 of Bruls, Huizing and van Wijk: two rectangles of 6 on the left of a 6 by 4 area, and so on."""
    places = squarify([6, 6, 4, 3, 2, 2, 1], Rect(0, 0, 6, 4))
    assert [(round(r.width, 3), round(r.height, 3)) for r in places[:4]] == [
        (3, 2),
        (3, 2),
        (1.714, 2.333),
        (1.286, 2.333),
    ]
    assert places[0] == Rect(0, 0, 3, 2) and places[1] == Rect(0, 2, 3, 2)


@pytest.mark.parametrize("seed", range(5))
def test_areas_are_sizes_and_fill_the_whole_without_overlap(seed):
    random = np.random.default_rng(seed)
    sizes = np.sort(random.lognormal(sigma=2, size=40))[::-1].tolist()
    whole = Rect(3, 5, 960, 440)
    places = squarify(sizes, whole)
    for size, place in zip(sizes, places, strict=True):
        assert place.area == pytest.approx(whole.area * size / sum(sizes), rel=1e-6)
        assert place.x >= 3 - 1e-6 and place.x + place.width <= 963 + 1e-6
        assert place.y >= 5 - 1e-6 and place.y + place.height <= 445 + 1e-6
    for number, one in enumerate(places):
        for other in places[:number]:
            wide = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
            high = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
            assert wide < 1e-6 or high < 1e-6
    large = [place for place in places if place.area > 500]
    assert np.median([max(p.width / p.height, p.height / p.width) for p in large]) < 2


def test_nothing_and_one():
    assert squarify([], Rect(0, 0, 1, 1)) == [] and squarify([0.0], Rect(0, 0, 1, 1)) == []
    assert squarify([7], Rect(0, 0, 2, 3)) == [Rect(0, 0, 2, 3)]


@dataclass(frozen=True)
class Row:
    name: str
    nbytes: float


def test_small_tensors_come_together_and_none_is_lost():
    rows = [Row(f"block.{n // 10}/w{n % 10}", 1e6 if n < 30 else 1.0) for n in range(1_000)]
    drawn = list(tiles(tree(rows), lambda row: row.nbytes, Rect(0, 0, 960, 440)))
    leaves = [tile for tile in drawn if not tile.is_group]
    assert sorted(row.name for tile in leaves for row in tile.rows) == sorted(row.name for row in rows)
    assert len(drawn) < 100 and any("others" in tile.label for tile in leaves)
    assert all(tile.rect.width >= 0 and tile.rect.height >= 0 for tile in drawn)


def test_tensors_without_bytes_take_no_room():
    rows = [Row("a/x", 0.0), Row("a/y", 5.0), Row("b", 0.0)]
    drawn = list(tiles(tree(rows), lambda row: row.nbytes, Rect(0, 0, 100, 100)))
    assert {tile.name for tile in drawn if tile.rect.area} <= {"a/", "a/y"}
    assert list(tiles(tree([Row("a", 0.0), Row("b", 0.0)]), lambda row: row.nbytes, Rect(0, 0, 9, 9))) == []
