"""Tables in which a network looks up rows, such as word embeddings: a sample says something of the rows that it reads.

    find(program)                       values of the graph that are looked up in, and nothing else
    over_rows(squares, shape)           what the rows that were read have on average, for each row
    count_reads(network, batches)       {"embeddings.weight": [812, 0, 3, ...]}
    row_steps([812, 0, 3])              scales of the rows in a file: what is read often is rounded finely

A row that no training sample reads has no gradient, and yet is no dead one: another sample will read it. The more so of
a rare word, whose gradients are as seldom as it is. So one row of a table counts as much as another.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..codec.stages import scale
from ..model import Node, Program
from ..plan import Settings
from .pytorch import Tensor, torch
from .weight import Weight

if TYPE_CHECKING:
    from .network import Network

# The errors of a row count as often as it is read: their sum is least where a step goes by the root of 1 / reads. That
# leaves rare rows next to nothing; half of that, in decibels, gave three quarters of the gain on word embeddings.
EXPONENT = 0.25
UNREAD = 0.5  # reads of a row that no sample has read
MAX_COARSER = 2.0  # times the step of the rows that were read, in the geometric mean: 6 dB less for all others, at most


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


class _AllSeenError(Exception):
    """All tables of a batch were looked up in: the rest of the network need not run."""


def count_reads(network: "Network", batches: Iterable[tuple[Any, Any]]) -> dict[str, np.ndarray]:
    """How often the batches, (inputs, labels), read each row (int64) of each table, by the tensor's name."""
    tables = {weight.name: np.zeros(weight.shape[0], np.int64) for weight in network if weight.is_table}
    lookups = [
        node for node in network.program.nodes if node.op == "Gather" and _table(network, node.inputs[0]) is not None
    ]
    if not lookups:
        return tables
    seen = 0

    def observe(node: Node, operands: list[Tensor | None], results: list[Tensor]) -> None:
        nonlocal seen
        table = _table(network, node.inputs[0]) if node.op == "Gather" else None
        if table is None:
            return
        indices = operands[1]
        assert indices is not None, "a Gather has indices"
        rows = indices.detach().reshape(-1).cpu() % table.shape[0]
        tables[table.name] += torch.bincount(rows, minlength=table.shape[0]).numpy()
        seen += 1
        if seen == len(lookups):
            raise _AllSeenError

    for inputs, _ in batches:
        seen = 0
        try:
            with torch.no_grad():
                network(inputs, observe)
        except _AllSeenError:
            pass
    return tables


def row_steps(reads: np.ndarray) -> np.ndarray:
    """The symbols (uint8, see encoded.step_scales) of scales for rows that were read so often."""
    sizes = np.maximum(reads, UNREAD) ** -EXPONENT
    if (reads > 0).any():
        sizes = np.minimum(sizes, MAX_COARSER * np.exp(np.log(sizes[reads > 0]).mean()))
    return scale.nearest_steps(8 * sizes / sizes.min())


def scale_rows(network: "Network", settings: Mapping[str, Settings], batches: Iterable[tuple[Any, Any]]) -> None:
    """Change the network: tables that are to be shared on a grid (`settings` by name) get scales of their rows."""

    def on_grid(weight: Weight) -> bool:
        chosen = settings.get(weight.name, Settings())
        is_grid = not chosen.lossless and not chosen.shares_nothing and chosen.bits is None
        return weight.is_table and is_grid and weight.dtype == "float32" and weight.scales is None

    chosen = [weight for weight in network if on_grid(weight)]
    if not chosen:
        return
    reads = count_reads(network, batches)
    for weight in chosen:
        if reads[weight.name].any():
            weight.in_units(row_steps(reads[weight.name]), 0)


def _table(network: "Network", value: str) -> Weight | None:
    weight = network.weight_of(value)
    return weight if weight is not None and weight.is_table else None
