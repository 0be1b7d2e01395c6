"""Tables of which a network reads rows by their numbers, such as embeddings, and how finely to round each row.

    tables = find_tables(model, ["words"])                       {"words": ("input_ids",)}: values that number its rows
    counts = count_lookups(model, batches, tables)               {"words": int64 [rows]}
    scales_by_use(counts["words"], (rows, 384))                  finer, where samples read a row

An error in a row moves the answers as often as the row is read. So a bit buys as much in every row where steps are in
proportion to 1 / sqrt(how often that is): see allocate, of which each row is a source of its own. Rows that no sample
reads are together read as often as those that were read once (Good, "The population frequencies of species and the
estimation of population parameters", 1953).
"""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from ..arrays import extremes
from ..codec.stages import grid, prune, scale
from ..codec.stages.histogram import Histogram
from ..evaluation import runtime
from ..model import Model, ModelTensor, Node, WorkingCopy, read_program
from ..tensor import FLOAT32
from . import allocate
from .layers import find_layers
from .operands import Operands, Use, find_operands
from .rows import along_axis
from .schedule import ActivationCache, layer_groups

MIN_SHARE = 1 / 20  # of all weights: smaller tables, as of positions, are worth their bits in every row
MIN_SINGLETONS = 1 / 4  # of the rows that are read: where fewer are read once, the others may be there for a reason
HALVED_AT = (2.0, 8.0)  # times as often as an unseen row: a row that is read so often has half the step, or a quarter
ROWS = (0, -2)  # the axis of a matrix along which they lie, by either of its numbers
STEP = 0.25  # of a table's deviation, at which bits are compared: about what 3.5 of them are for
MIN_SAVED = 0.15  # bits a weight: these samples promise about 0.1 more than others keep
UNSEEN = 32  # the scale of a row that no sample reads: scales are integers, 8 at least
MAX_WEIGHT = float(np.finfo(np.float32).max) / 8  # beyond, the values of other rows could be infinite
LEAST_LARGEST = float(np.finfo(np.float32).tiny) * UNSEEN * 2**16  # below, steps in units of scales could be 0


def find_tables(model: Model, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The float32 matrices among `names`, MIN_SHARE of all their weights or more, that are nothing but tables, and the
    values that number the rows that are read: what can be computed from the inputs without the weights of a layer.
    None of weights that are not finite, or beyond MAX_WEIGHT, or all below LEAST_LARGEST."""
    program = read_program(model, model.path or "the model", opaque=True)
    tensors = {tensor.name: tensor for tensor in model.tensors if tensor.name in set(names)}
    least = MIN_SHARE * sum(np.prod(tensor.shape) for tensor in tensors.values())
    operands = find_operands(program)
    groups = layer_groups(program, [layer for layer in find_layers(program) if layer.tensor in tensors])
    found = {}
    for name, tensor in tensors.items():
        uses = operands.uses.get(name, ())
        is_matrix = tensor.dtype == FLOAT32 and len(tensor.shape) == 2 and np.prod(tensor.shape) >= least
        if not uses or not is_matrix or name in operands.output_tensors:
            continue
        numbers = [_numbers_of_rows(use, operands) for use in uses]
        known = groups[0].known if groups else {number for number in numbers if number}
        if all(number in known for number in numbers) and _has_room(tensor):
            found[name] = tuple(dict.fromkeys(number for number in numbers if number))
    return found


def _numbers_of_rows(use: Use, operands: Operands) -> str | None:
    """The value that says which rows of a matrix a node reads; None where it does something else, or always reads the
    same."""
    node: Node = use.node
    is_lookup = node.op == "Gather" and not node.domain and use.index == 0 and node.attributes.get("axis", 0) in ROWS
    if not is_lookup or operands.aliases[use.value].view.rearrangements or node.inputs[1] in operands.foldable:
        return None
    return node.inputs[1]


def _has_room(tensor: ModelTensor) -> bool:
    """Whether levels that suit the finest rows cannot lead beyond float32 in the coarsest ones, nor vanish in units of
    their scales."""
    low, high = extremes(tensor.values().ravel())
    return bool(LEAST_LARGEST <= max(-low, high) < MAX_WEIGHT)


def count_lookups(
    model: Model, batches: Iterable[runtime.Inputs], tables: Mapping[str, tuple[str, ...]], threads: int = 0
) -> dict[str, np.ndarray]:
    """How often each row of the tables is read by these samples: int64 [rows]."""
    rows = {tensor.name: tensor.shape[0] for tensor in model.tensors if tensor.name in tables}
    counts = {name: np.zeros(rows[name], np.int64) for name in tables}
    if not tables:
        return counts
    values = tuple(dict.fromkeys(value for each in tables.values() for value in each))
    with ActivationCache(batches, threads=threads) as cache:
        for batch in cache.compute(WorkingCopy(model), values):
            for name, numbers in tables.items():
                for value in numbers:
                    read = np.where(batch[value] < 0, batch[value] + rows[name], batch[value])  # -1 is the last row
                    counts[name] += np.bincount(read.ravel(), minlength=rows[name])
    return counts


def tells_use(counts: np.ndarray) -> bool:
    """Whether rows that samples do not read are seldom read, as of a vocabulary: many of the others are read once."""
    return bool((counts == 0).any() and np.count_nonzero(counts == 1) >= MIN_SINGLETONS * np.count_nonzero(counts) > 0)


def scales_by_use(counts: np.ndarray, shape: tuple[int, ...]) -> scale.RowScales:
    """Scales for the rows of a table, by how often they were read: UNSEEN, or a half or a quarter of it."""
    halvings = np.searchsorted(HALVED_AT, _how_often(counts) / _how_often_unseen(counts), side="right")
    return scale.of_steps(scale.nearest_steps(UNSEEN / 2.0**halvings), 0, shape)


def saves_bits(weights: np.ndarray, counts: np.ndarray) -> bool:
    """Whether a table takes MIN_SAVED fewer bits with scales by use than with one step for all rows, for as much harm.

    One code serves all rows: where those of each scale are about as many, it suits none of them.
    """
    row_scales, often = scales_by_use(counts, weights.shape), _how_often(counts)
    step = max(STEP * math.sqrt(prune.typical_square(weights.ravel())), float(np.ptp(weights)) * allocate.FINEST)
    in_scales = step * math.sqrt(often.mean() / (often * np.square(row_scales.scales)).mean())
    plain = grid.bits_per_weight(Histogram(weights.ravel()), step)
    scaled = (weights / along_axis(row_scales).astype(weights.dtype)).ravel()
    saved = plain - grid.bits_per_weight(Histogram(scaled), in_scales) - row_scales.bits / weights.size
    return bool(saved >= MIN_SAVED)


def _how_often(counts: np.ndarray) -> np.ndarray:
    """How often rows that were read so many times are read, on the whole, by as many samples alike (float64)."""
    often: np.ndarray = np.where(counts > 0, counts - 0.5, _how_often_unseen(counts))  # one is often chance
    return often


def _how_often_unseen(counts: np.ndarray) -> float:
    """The same of each row that was not read: all of them together, as often as those that were read once."""
    return max(1, int(np.count_nonzero(counts == 1))) / max(1, int(np.count_nonzero(counts == 0)))
