"""Squarified treemaps: rectangles whose areas are sizes, as near to squares as can be.

squarify([6, 6, 4, 3, 2, 2, 1], Rect(0, 0, 6, 4))     seven rectangles, in the order of the sizes

Bruls, Huizing and van Wijk, "Squarified Treemaps", 2000.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..reading.inspect import TensorReport
from ..reading.prefixes import Node

Size = Callable[[TensorReport], float]

MIN_AREA = 160.0  # below which rectangles come together: too small to be seen or pointed at
MIN_SIDE = 34.0  # of a group, from which its parts are drawn
HEAD, PAD = 15.0, 1.5  # the room for a group's name, and around its parts
MIN_HEAD_WIDTH = 40.0


@dataclass(frozen=True)
class Rect:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Its area."""
        return self.width * self.height


@dataclass(frozen=True)
class Tile:
    """What is drawn in a rectangle: a tensor, or several; `is_group`: a frame around other tiles. `nbytes` is by the
    size that the map was made by."""

    rect: Rect
    label: str
    name: str
    nbytes: float
    rows: tuple[TensorReport, ...]
    is_group: bool
    depth: int


def squarify(sizes: Sequence[float], rect: Rect) -> list[Rect]:
    """A rectangle for each of `sizes`, all above 0 and falling, that together fill `rect`."""
    total = sum(sizes)
    if not sizes or total <= 0:
        return []
    scale = rect.area / total
    areas, found, row = [size * scale for size in sizes], [], []
    start = 0
    while start < len(areas):
        side = min(rect.width, rect.height)
        row = [areas[start]]
        end = start + 1
        while end < len(areas) and _worst([*row, areas[end]], side) <= _worst(row, side):
            row.append(areas[end])
            end += 1
        placed, rect = _place(row, rect)
        found += placed
        start = end
    return found


def _worst(row: Sequence[float], side: float) -> float:
    """The worst of the ratios of sides in a row of areas along a `side`."""
    total = sum(row)
    if total <= 0 or side <= 0:
        return float("inf")
    return max(side * side * max(row) / total**2, total**2 / (side * side * min(row)) if min(row) > 0 else float("inf"))


def _place(row: Sequence[float], rect: Rect) -> tuple[list[Rect], Rect]:
    """The rectangles of a row along the shorter side, and what is left of `rect`."""
    total, placed, offset = sum(row), [], 0.0
    if rect.width >= rect.height:
        width = total / rect.height if rect.height else 0.0
        for area in row:
            height = area / width if width else 0.0
            placed.append(Rect(rect.x, rect.y + offset, width, height))
            offset += height
        return placed, Rect(rect.x + width, rect.y, max(0.0, rect.width - width), rect.height)
    height = total / rect.width if rect.width else 0.0
    for area in row:
        width = area / height if height else 0.0
        placed.append(Rect(rect.x + offset, rect.y, width, height))
        offset += width
    return placed, Rect(rect.x, rect.y + height, rect.width, max(0.0, rect.height - height))


def tiles(root: Node[TensorReport], size: Size, rect: Rect) -> Iterator[Tile]:
    """The tiles of a tree of tensors in `rect`, groups before what is in them."""
    if root.children:
        yield from _inside(root, size, rect, 0)
    elif root.rows:
        yield Tile(rect, root.label, root.prefix, root.sum(size), root.rows, False, 0)


def _inside(node: Node[TensorReport], size: Size, rect: Rect, depth: int) -> Iterator[Tile]:
    """The tiles of the children of a node."""
    children = sorted((child for child in node.children if child.sum(size) > 0), key=lambda child: -child.sum(size))
    total = sum(child.sum(size) for child in children)
    large = [child for child in children if child.sum(size) / total * rect.area >= MIN_AREA] if total else []
    others = tuple(row for child in children[len(large) :] for row in child.rows)
    sizes = [child.sum(size) for child in large] + ([sum(map(size, others))] if others else [])
    places = squarify(sizes, rect) if len(sizes) == 1 or sizes[-1:] <= sizes[-2:-1] else _unsorted(sizes, rect)
    for child, place in zip(large, places, strict=False):
        yield from _tile(child, size, place, depth)
    if others:
        name = others[0].name if len(others) == 1 else f"{len(others)} small tensors of {node.prefix or 'the model'}"
        label = others[0].name.removeprefix(node.prefix) if len(others) == 1 else f"{len(others)} others"
        yield Tile(places[-1], label, name, sizes[-1], others, False, depth)


def _unsorted(sizes: Sequence[float], rect: Rect) -> list[Rect]:
    """Rectangles of sizes of which the last is not the least."""
    order = sorted(range(len(sizes)), key=lambda number: -sizes[number])
    placed = dict(zip(order, squarify([sizes[number] for number in order], rect), strict=True))
    return [placed[number] for number in range(len(sizes))]


def _tile(node: Node[TensorReport], size: Size, rect: Rect, depth: int) -> Iterator[Tile]:
    """The tile of a node, and where there is room those of its children in it."""
    is_group = bool(node.children) and min(rect.width, rect.height) >= MIN_SIDE
    name = node.prefix if node.children else node.rows[0].name
    yield Tile(rect, node.label or name, name, node.sum(size), node.rows, is_group, depth)
    if is_group:
        head = HEAD if rect.width >= MIN_HEAD_WIDTH else PAD
        width, height = rect.width - 2 * PAD, rect.height - head - PAD
        yield from _inside(node, size, Rect(rect.x + PAD, rect.y + head, width, height), depth + 1)
