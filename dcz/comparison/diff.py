"""What changed from one model to another.

    found = diff("old.dcz", "new.dcz")
    found.tensors[0].file_change          bytes more of the tensor that changed most
    found.to_dict()                       everything, for --json

Tensors are read one by one, from both sides; two models are never in memory together.
"""

import contextlib
import math
import os

import numpy as np

from .. import files
from ..display.progress import Progress, shown
from ..evaluation.evaluate import evaluate
from ..evaluation.given import Data
from ..format.container import is_dcz
from ..parallel import thread_count
from . import values
from .changes import REST, Diff, File, Side, TensorChange, by_change
from .opened import Opened, Row, open_model
from .pairs import Pair, pair


def diff(
    old: str | os.PathLike[str],
    new: str | os.PathLike[str],
    *,
    data: Data | None = None,
    threads: int | None = None,
    progress: Progress = None,
    max_bytes: float | str | None = None,
) -> Diff:
    """What changed from one `.dcz` or `.onnx` model to another, tensor by tensor. Raises DczError.

    Tensors of one name belong together, and those of the same bytes, which were renamed. Values are compared where type
    and shape allow it. With `data`, samples as `evaluate` takes them, onnxruntime runs both models, and `answers` says
    how often these agree; both are then in its memory. `progress` is called with a tensor's name, the bytes of tensors
    done, and those in all; True shows a bar. `max_bytes`: what each `.dcz` may decode to, see dcz.load.
    """
    threads = thread_count(threads)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(open_model(old, threads, max_bytes))
        if not is_dcz(new) and first.model is not None:
            first.let_go(stack.enter_context(files.temporary_folder("dcz-diff-")))
        second = stack.enter_context(open_model(new, threads, max_bytes))
        folded, snapped = _align(first, second)
        pairs = pair(first, second)
        total, done = sum(_bytes(each) for each in pairs), 0
        changes = []
        report = stack.enter_context(shown(progress, "comparing"))
        for each in pairs:
            changes.append(_change(first, second, *each))
            done += _bytes(each)
            report(changes[-1].name, done, total)
        rest = _rest(first, second, all(each.kind == "same" for each in changes))
    answers = None if data is None else evaluate(new, data, against=old, threads=threads, max_bytes=max_bytes)
    tensors = tuple(sorted(changes, key=by_change))
    return Diff(_file(first), _file(second), tensors, rest, folded, snapped, answers)


def _file(opened: Opened) -> File:
    return File(opened.path, opened.kind, opened.file_bytes, opened.memory_bytes)


def _bytes(pair: Pair) -> int:
    return sum(row.memory_bytes for row in pair if row is not None)


def _align(first: Opened, second: Opened) -> tuple[int, int]:
    """Fold BatchNormalizations of an `.onnx`, and put weights on their grids, as the `.dcz` beside it says that it had
    that done; how many of each. Sizes stay those of the file."""
    from .. import model

    plain, packed = (first, second) if first.model is not None else (second, first)
    if plain.model is None or packed.graph is None or not {"folded", "snapped"} & packed.metadata.keys():
        return 0, 0
    rows = {row.name: row for row in packed.rows}
    folded = model.fold_batchnorms(plain.model, folded_like=packed.graph) if "folded" in packed.metadata else 0
    snapped = 0
    if "snapped" in packed.metadata:
        snapped = model.snap_to_grids(
            plain.model,
            lambda weight: weight.name in rows and not np.array_equal(weight.read(), packed.read(rows[weight.name])),
        )
    plain.use_values_of(plain.model.tensors)
    return folded, snapped


def _change(first: Opened, second: Opened, old: Row | None, new: Row | None) -> TensorChange:
    """What became of one tensor; at least one side is there."""
    if old is None or new is None:
        row, opened = (new, second) if old is None else (old, first)
        assert row is not None  # pairs have at least one side
        zeros = values.count_zeros(opened.read(row), row.dtype) if opened.has(row) else None
        side = _side(row, zeros)
        return TensorChange(row.name, *(("added", None, side) if old is None else ("removed", side, None)))
    found = _values(first, second, old, new)
    decibels, zeros_of_both = (None, (None, None)) if found is None else (found.decibels, found.zeros)
    sides = _side(old, zeros_of_both[0]), _side(new, zeros_of_both[1])
    if old.name != new.name:
        return TensorChange(new.name, "renamed", *sides, decibels, old.name)
    is_same = decibels == math.inf and (old.file_bytes, old.encoding) == (new.file_bytes, new.encoding)
    return TensorChange(new.name, "same" if is_same else "changed", *sides, decibels)


def _values(first: Opened, second: Opened, old: Row, new: Row) -> values.Change | None:
    """How values differ; None where shapes do, or the old tensor has been folded away."""
    if old.shape != new.shape or not (first.has(old) and second.has(new)):
        return None
    if old.dtype == new.dtype and old.name in first.crcs and first.crcs[old.name] == second.crcs.get(new.name):
        return values.Change(math.inf, (None, None))  # both files say so: nothing need be decoded
    return values.compare(first.read(old), old.dtype, second.read(new), new.dtype)


def _side(row: Row, zeros: int | None) -> Side:
    bits = 8 * row.file_bytes / row.elements if row.elements and row.file_bytes else None
    sparsity = None if zeros is None or not row.elements else zeros / row.elements
    return Side(row.dtype.name, row.shape, row.encoding, row.file_bytes, row.memory_bytes, bits, sparsity)


def _rest(first: Opened, second: Opened, are_tensors_same: bool) -> TensorChange:
    """What became of the rest: told by its size, and by its content where nothing else differs."""
    sides = []
    for opened in (first, second):
        in_file = opened.file_bytes - sum(row.file_bytes for row in opened.rows)
        in_memory = opened.memory_bytes - sum(row.memory_bytes for row in opened.rows)
        sides.append(Side("", (), "", in_file, max(0, in_memory), None, None))
    is_same = sides[0] == sides[1]
    if is_same and are_tensors_same and first.kind == second.kind:
        is_same = first.other_crc() == second.other_crc()
    return TensorChange(REST, "same" if is_same else "changed", sides[0], sides[1])
