"""Which weights are pruned together: whole rows, columns or channels, or all but N of each M.

    rows, keep 0.5:   9 1      2:4, keep 0.5:   9 1 4 4   ->   1 0 1 0
                      2 3                       0 8 7 6        0 1 1 0
    means  5.0, 2.5   ->   the first row stays

A row is what is summed for one output: a filter of a convolution, a column of MatMul's operand. Empty rows and columns
cost nothing in a file. Two of each four weights is what NVIDIA's sparse tensor cores compute with (Mishra et al.,
"Accelerating Sparse Deep Neural Networks", 2021). This module needs no PyTorch.
"""

import re
from collections.abc import Sequence

import numpy as np

from ..codec.stages import prune
from ..errors import InvalidArgument

GROUPS = ("rows", "columns", "channels")
MAX_BLOCK = 64  # weights of which N stay

Layout = tuple[tuple[int, ...], int]  # a tensor's shape, and its `rows` (see tensor.Tensor)


def parse_block(pattern: str | None) -> tuple[int, int] | None:
    """(N, M) of a pattern N:M, None for another; raises InvalidArgument for what is no pattern."""
    if pattern is None or pattern in GROUPS:
        return None
    match = re.fullmatch(r"(\d{1,2}):(\d{1,2})", pattern) if isinstance(pattern, str) else None
    if match is None or not 0 < int(match[1]) < int(match[2]) <= MAX_BLOCK:
        raise InvalidArgument(f"pattern is {', '.join(GROUPS)}, or N:M such as 2:4, not {pattern!r}")
    return int(match[1]), int(match[2])


def check_pattern(pattern: str | None, sparsities: Sequence[float]) -> None:
    """Raise InvalidArgument where nothing is pruned by a pattern, or fewer weights than it takes."""
    block = parse_block(pattern)
    if pattern is not None and not sparsities:
        raise InvalidArgument(
            f"pattern {pattern} says which weights go together: give a sparsity too, for tensors to prune"
        )
    if block is not None and min(sparsities) < 1 - block[0] / block[1] - 1e-9:
        raise InvalidArgument(
            f"pattern {pattern} makes {1 - block[0] / block[1]:.6g} of the weights zero, and a plan's rule asks for "
            f"{min(sparsities):.6g}: give that sparsity or more"
        )


def keep_patterned(
    scores: Sequence[np.ndarray], layouts: Sequence[Layout], pattern: str, share: float
) -> list[np.ndarray]:
    """Masks (bool, flat) of the largest of all `scores` (float, flat, not negative, one array for each tensor).

    `share` is the fraction that is kept at most: of rows, columns and channels those with the greatest mean score,
    whole, but always the best one of each tensor; with N:M, the N largest of each M neighbours along a tensor's input
    channels go last. Tensors of one axis have no pattern. Of equal scores the first ones are kept.
    """
    block = parse_block(pattern)
    return (
        _keep_groups(scores, layouts, pattern, share) if block is None else _keep_blocks(scores, layouts, block, share)
    )


def _keep_groups(
    scores: Sequence[np.ndarray], layouts: Sequence[Layout], pattern: str, share: float
) -> list[np.ndarray]:
    """Whole groups, by their mean scores, as many as fit."""
    means = [_group_means(each, layout, pattern) for each, layout in zip(scores, layouts, strict=True)]
    sizes = [np.full(mean.size, len(each) // mean.size) for each, mean in zip(scores, means, strict=True)]
    flat, size = np.concatenate([mean.ravel() for mean in means]), np.concatenate(sizes)
    starts = np.cumsum([0, *(mean.size for mean in means[:-1])])
    best = np.zeros(len(flat), bool)
    best[[start + int(mean.argmax()) for start, mean in zip(starts, means, strict=True)]] = True
    order = np.lexsort((-flat, ~best))  # stable: of equal ones the first
    budget = int(size.sum()) - round((1 - share) * int(size.sum()))
    kept = np.zeros(len(flat), bool)
    kept[order[np.cumsum(size[order]) <= budget]] = True
    parts = np.split(kept | best, starts[1:])
    return [
        np.broadcast_to(part.reshape(mean.shape), layout[0]).ravel()
        for part, mean, layout in zip(parts, means, layouts, strict=True)
    ]


def _group_means(scores: np.ndarray, layout: Layout, pattern: str) -> np.ndarray:
    """The mean score of each group: float64, of the tensor's dims, 1 along the axes that lie within a group."""
    shape = layout[0]
    outputs, channel = _axes(layout)
    if len(shape) < 2:
        return scores.astype(np.float64).reshape(shape)
    numbered = {"rows": outputs, "channels": (channel,)}.get(pattern, tuple(set(range(len(shape))) - set(outputs)))
    within = tuple(axis for axis in range(len(shape)) if axis not in numbered)
    return np.asarray(scores.reshape(shape).mean(within, np.float64, keepdims=True))


def _keep_blocks(
    scores: Sequence[np.ndarray], layouts: Sequence[Layout], block: tuple[int, int], share: float
) -> list[np.ndarray]:
    """The N best of each M, and of the others as many as the share has room for; or of these N the best."""
    flat = np.concatenate(scores)
    last = np.concatenate([_best_of_blocks(each, layout, block) for each, layout in zip(scores, layouts, strict=True)])
    room, kept = len(flat) - round((1 - share) * len(flat)), last.copy()
    chosen, count = (last, room) if room <= last.sum() else (~last, room - int(last.sum()))
    values = flat[chosen]
    kept[chosen] = prune.by_sparsity(values, 1 - count / len(values)) if len(values) else False
    return np.split(kept, np.cumsum([len(each) for each in scores])[:-1])


def _best_of_blocks(scores: np.ndarray, layout: Layout, block: tuple[int, int]) -> np.ndarray:
    """Mask (bool, flat) of the N greatest of each M along the input channels; the last block may be shorter."""
    shape = layout[0]
    if len(shape) < 2:
        return np.ones(len(scores), bool)
    best = np.zeros(shape, bool)
    along, lines = np.moveaxis(best, _axes(layout)[1], -1), np.moveaxis(scores.reshape(shape), _axes(layout)[1], -1)
    for start in range(0, lines.shape[-1], block[1]):
        part = lines[..., start : start + block[1]]
        order = np.argsort(-part, axis=-1, kind="stable")[..., : block[0]]
        np.put_along_axis(along[..., start : start + block[1]], order, True, -1)
    return best.ravel()


def _axes(layout: Layout) -> tuple[tuple[int, ...], int]:
    """(the axes that number a tensor's rows, the axis of its input channels). Where its rows are not known, as of a
    table, they are numbered by the first axis."""
    shape, rows = layout
    dims = len(shape)
    if rows < 0:
        return (dims - 1,), max(dims - 2, 0)
    outputs = tuple(range(min(max(rows, 1), dims)))
    return outputs, min(len(outputs), dims - 1)
