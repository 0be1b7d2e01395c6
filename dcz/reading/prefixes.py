"""Tensors in a tree by the prefixes of their names.

tree([fc1.weight, fc1.bias, fc2.weight])   ->   ""  ->  "fc1."  ->  "weight", "bias"
                                                    ->  "fc2.weight"

Names are split behind each `/`, `.` and `:`; a level with a single child is drawn together with it.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

MAX_DEPTH = 64  # levels; no network has so many
_PARTS = re.compile(r"[^/.:]*[/.:]+|[^/.:]+")


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str:
        """It."""


Row = TypeVar("Row", bound=Named)


@dataclass(frozen=True)
class Node(Generic[Row]):
    """A prefix: `label` is what it adds to that of its parent, `prefix` the whole; `rows` are all below it, and
    `children` the nodes that they are in, none where it is a single row."""

    label: str
    prefix: str
    rows: tuple[Row, ...]
    children: tuple["Node[Row]", ...]

    def sum(self, figure: Callable[[Row], float]) -> float:
        """The sum of a figure over all rows."""
        return sum(map(figure, self.rows))


def tree(rows: Iterable[Row]) -> Node[Row]:
    """The tree of all rows; its root has the prefix that all names share, and children in the order of the rows."""
    return _node("", "", [(_parts(row.name), row) for row in rows])


def _parts(name: str) -> list[str]:
    """The parts of a name; of one with more than MAX_DEPTH the last is all that is left."""
    parts = _PARTS.findall(name) or [name]
    return [*parts[: MAX_DEPTH - 1], "".join(parts[MAX_DEPTH - 1 :])] if len(parts) > MAX_DEPTH else parts


def _node(label: str, prefix: str, rows: list[tuple[list[str], Row]]) -> Node[Row]:
    """The node of rows that begin with `prefix`, each with the parts of its name that follow it."""
    while True:  # together with an only child
        groups: dict[str, list[tuple[list[str], Row]]] = {}
        ends = []
        for parts, row in rows:
            if parts:
                groups.setdefault(parts[0], []).append((parts[1:], row))
            else:
                ends.append(row)
        if len(groups) != 1 or ends:
            break
        (part, rows), *_ = groups.items()
        label, prefix = label + part, prefix + part
    every = tuple(row for _, row in rows)
    if len(every) == 1:
        return Node(label, prefix, every, ())
    children = [Node("", prefix, (row,), ()) for row in ends]
    children += [_node(part, prefix + part, group) for part, group in groups.items()]
    return Node(label, prefix, every, tuple(children))
