"""Tables in which a network looks up rows, such as word embeddings: a sample says something of the rows that it reads.

    find(program)                       values of the graph that are looked up in, and nothing else
    over_rows(squares, shape)           what the rows that were read have on average, for each row

A row that no training sample reads has no gradient, and yet is no dead one: another sample will read it. The more so of
a rare word, whose gradients are as seldom as it is. So one row of a table counts as much as another.
"""

from ..model import Program
from .pytorch import Tensor, torch


def find(program: Program) -> set[str]:
    """The values that are read only by Gathers along their first axis, as what these choose rows of."""
    reads: dict[str, set[bool]] = {}
    for node in program.nodes:
        for operand, name in enumerate(node.inputs):
            is_lookup = node.op == "Gather" and operand == 0 and node.attributes.get("axis", 0) == 0
            reads.setdefault(name, set()).add(is_lookup)
    return {name for name, found in reads.items() if found == {True}} - set(program.outputs)


def over_rows(squares: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Mean squared gradients (flat) of a table of `shape`, in which each row has the mean of the rows that have any."""
    rows = squares.view(shape[0], -1)
    is_read = (rows > 0).any(1)
    mean = rows.sum(0) / is_read.sum().clamp_min(1)
    return mean.expand_as(rows).reshape(-1) if bool(is_read.any()) else torch.ones_like(squares)
