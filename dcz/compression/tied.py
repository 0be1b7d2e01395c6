"""Matrices that a model holds twice, once transposed, as an embedding and the layer of the same weights: one record.

join([Job([embedding [4000, 64]]), Job([head [64, 4000]])], plan)    ->    [Job([embedding, head])]
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..plan import Plan, Settings

if TYPE_CHECKING:
    from ..model import ModelTensor
    from .jobs import Job

CORNER = 64  # first elements of a row, and of a column, by which matrices are told apart
MIN_BYTES = 4096  # of a matrix: smaller ones are not worth a reader of version 1.1
BLOCK = 1 << 10  # rows at a time


def join(jobs: Sequence["Job"], plan: Plan) -> list["Job"]:
    """The jobs, without those whose tensors are the transpose of an earlier one's, which that one takes.

    Where a quality was spread over both, it is the better of the two. Raises UnsuitableModel for tensors that cannot be
    read.
    """
    joined: list[Job] = []
    known: dict[tuple[object, ...], list[int]] = {}  # places of matrices in `joined`, by type, shape and first row
    for job in jobs:
        if not _may_be_tied(job.first):
            joined.append(job)
            continue
        corner, shape, dtype = _matrix(job.first, CORNER), job.first.shape, job.first.dtype.code
        key = (dtype, shape[::-1], corner[:, 0].tobytes())
        twin = next((place for place in known.get(key, ()) if _is_tied(joined[place], job, plan)), None)
        if twin is None:
            known.setdefault((dtype, shape, corner[0, :CORNER].tobytes()), []).append(len(joined))
            joined.append(job)
            continue
        other = joined[twin]
        settings = max(other.settings, job.settings, key=lambda settings: settings.quality or 0.0)
        transposed = other.transposed | frozenset(job.tensors)
        joined[twin] = replace(other, tensors=other.tensors + job.tensors, settings=settings, transposed=transposed)
    return joined


def _may_be_tied(tensor: "ModelTensor") -> bool:
    return (
        len(tensor.shape) == 2 and tensor.nbytes >= MIN_BYTES and 8 <= tensor.dtype.bits <= 64 and not tensor.is_bound
    )


def _matrix(tensor: "ModelTensor", most: int | None = None) -> np.ndarray:
    """The bit patterns of a matrix, or of so many rows at most."""
    (rows, columns), itemsize = tensor.shape, tensor.dtype.bits // 8
    data = tensor.read() if most is None or most >= rows else tensor.read_part(slice(0, most * columns * itemsize))
    matrix: np.ndarray = data.view(f"<u{itemsize}").reshape(-1, columns)
    return matrix


def _is_tied(first: "Job", second: "Job", plan: Plan) -> bool:
    """Whether two jobs are to do the same with a matrix and its transpose."""
    if first.settings != second.settings:
        names = [tensor.name for job in (first, second) for tensor in job.tensors]
        if _but_quality(first.settings) != _but_quality(second.settings) or any(map(plan.names, names)):
            return False
    return all(np.array_equal(rows, columns.T) for rows, columns in _blocks(first.first, second.first))


def _but_quality(settings: Settings) -> Settings:
    return replace(settings, quality=None, adapt=False)


def _blocks(first: "ModelTensor", second: "ModelTensor") -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of a matrix, and the same columns of another, a few at a time, as bit patterns."""
    one, two = (_matrix(tensor) for tensor in (first, second))
    for start in range(0, len(one), BLOCK):
        yield one[start : start + BLOCK], two[:, start : start + BLOCK]
