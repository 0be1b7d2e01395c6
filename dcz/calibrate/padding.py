"""Places of sequences that a mask leaves out: what a network computes there tells nothing of what it is used for.

    attention_mask  1 1 1 0 0        padding = find_padding(model, batch)
                    1 1 1 1 1        padding.layouts[("h", -1)]    ->   Layout((0, 1)): h is [n, length, k]

Where the places lie in the inputs of a layer is found by experiment, whatever operators lie between: other tokens are
put into the places that the mask leaves out, and what changes must be these places of a layer's input and no others, in
one way of laying them out alone. Layers of which that is not so (behind a pooling, without heed to the mask) are looked
at everywhere.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..evaluation import runtime
from ..model import Model, WorkingCopy, read_program
from .im2col import Dense
from .layers import Layer, find_layers
from .schedule import ActivationCache

NAMES = ("attention_mask", "mask")  # of an input that is one, or in its name; the first that fits
TOGETHER = 8  # values that are computed in one run of the experiment, which bounds memory
TOLERANCE = 1e-4  # of the largest number of a value: what is nearer has not changed

Key = tuple[str, int]  # a value, and its axis that meets the weights


@dataclass(frozen=True)
class Layout:
    """The axes of samples and of places among those of a layer's input that are positions; one axis for both, where
    they are flattened, by samples first or by places first."""

    axes: tuple[int, ...]
    samples_first: bool = True

    def spread(self, mask: np.ndarray, shape: Sequence[int]) -> np.ndarray | None:
        """A mask [n, length] over positions of this shape; None where they are not as many."""
        laid = mask if self.samples_first else mask.T
        if len(self.axes) == 1:
            laid = laid.reshape(-1)
        if any(axis >= len(shape) for axis in self.axes) or [shape[axis] for axis in sorted(self.axes)] != [
            *laid.shape
        ]:
            return None
        dims = [length if axis in self.axes else 1 for axis, length in enumerate(shape)]
        return np.broadcast_to(laid.reshape(dims), shape)


@dataclass(frozen=True)
class Padding:
    """The name of the input that is a `mask` [n, length], 0 where nothing is, and how the inputs of layers are laid
    out, by value and by the axis that meets the weights; outputs of the network, by their last axis."""

    mask: str
    layouts: Mapping[Key, Layout]

    def masks(self, cache: ActivationCache) -> list[np.ndarray]:
        """The mask of each batch of a cache that still holds the inputs: bool [n, length]."""
        return [self.mask_of(batch) for batch in cache]

    def mask_of(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """The mask of a batch of inputs: bool [n, length]."""
        return np.asarray(batch[self.mask] != 0)

    def kept(self, mask: np.ndarray, value: str, axis: int, x: np.ndarray) -> np.ndarray | None:
        """What of a batch `x` of a value is no padding, [positions, k]; None where that is not known, or all of it."""
        layout = self.layouts.get((value, axis))
        if layout is None or mask.all():
            return None
        positions = np.moveaxis(x, axis, -1)
        spread = layout.spread(mask, positions.shape[:-1])
        return None if spread is None else positions[spread]

    def without(self, mask: np.ndarray, output: str, x: Any) -> Any:
        """An output of the network, whose last axis is its features, without what is padding, in as many dims."""
        kept = self.kept(mask, output, -1, x) if isinstance(x, np.ndarray) and x.ndim > 1 else None
        return x if kept is None else kept.reshape(*[1] * (x.ndim - 2), *kept.shape)


def find_mask(batch: Mapping[str, np.ndarray]) -> str | None:
    """The input that is a mask, by its name and its numbers, of which there must be one alone."""
    for word in NAMES:
        found = [name for name, array in batch.items() if word in name.lower() and _is_mask(array)]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def find_padding(model: Model, batch: runtime.Inputs, threads: int = 0) -> Padding | None:
    """Where the padding of a batch lies in the inputs of layers, and in the network's outputs; None where there is
    none, or no input to try it with.

    The batch should hold samples of different lengths. Raises UnsuitableModel where the model does not run.
    """
    mask_name = find_mask(batch)
    if mask_name is None:
        return None
    mask = batch[mask_name] != 0
    altered = _altered(batch, mask_name, mask)
    if mask.all() or altered is None:
        return None
    program = read_program(model, model.path or "the model", opaque=True)
    inputs = [each for layer in find_layers(program) for each in dense_inputs(layer)]
    keys = list(dict.fromkeys([*inputs, *((output, -1) for output in program.outputs if output not in batch)]))
    values = list(dict.fromkeys(value for value, _ in keys))
    plain, layouts = WorkingCopy(model), dict[Key, Layout]()
    with ActivationCache([batch, altered], threads=threads) as cache:
        for start in range(0, len(values), TOGETHER):
            some = values[start : start + TOGETHER]
            before, after = cache.compute(plain, some)
            for value, axis in (key for key in keys if key[0] in some):
                layout = _layout(before[value], after[value], axis, mask)
                if layout is not None:
                    layouts[value, axis] = layout
    return Padding(mask_name, layouts) if layouts else None


def dense_inputs(layer: Layer) -> Iterator[Key]:
    """The inputs of a layer whose positions stand for themselves: not those of a convolution, which mixes them."""
    return ((value, lowering.axis) for value, lowering in layer.uses if isinstance(lowering, Dense))


def _is_mask(array: np.ndarray) -> bool:
    return array.ndim == 2 and array.dtype.kind in "biuf" and bool(((array == 0) | (array == 1)).all())


def _altered(batch: runtime.Inputs, mask_name: str, mask: np.ndarray) -> runtime.Inputs | None:
    """The batch with other entries where the mask is 0, each taken from the same sample, or from any where all of it is
    padding; None where there are none."""
    found = dict(batch)
    for name, array in batch.items():
        if name == mask_name or array.shape[:2] != mask.shape or array.dtype.kind not in "iuf":
            continue
        new = array.copy()
        for sample, (row, is_real) in enumerate(zip(array, mask, strict=True)):
            real = row[is_real] if is_real.any() else array[mask]
            if not len(real):  # the batch is all padding
                continue
            for place in np.flatnonzero(~is_real):
                others = real[(real != row[place]).reshape(len(real), -1).any(1)]
                if len(others):
                    new[sample, place] = others[place % len(others)]
        found[name] = new
    changed = [name for name in found if not np.array_equal(found[name], batch[name])]
    return found if changed else None


def _layout(before: Any, after: Any, axis: int, mask: np.ndarray) -> Layout | None:
    """How a mask is laid out in a value, some places of which changed; None where no way or several explain them."""
    if not all(isinstance(each, np.ndarray) and each.dtype.kind == "f" for each in (before, after)):
        return None
    if before.shape != after.shape or before.ndim < max(2, -axis):
        return None
    x, y = (np.moveaxis(array, axis, -1).astype(np.float64) for array in (before, after))
    changed = (np.abs(x - y) > TOLERANCE * np.abs(x).max(initial=0.0)).any(-1)
    found = []
    for layout in _layouts(changed.ndim, len(mask)):
        spread = layout.spread(~mask, changed.shape)
        if spread is not None and np.array_equal(spread, changed):
            found.append(layout)
    return found[0] if len(found) == 1 else None


def _layouts(rank: int, samples: int) -> Iterator[Layout]:
    """All ways to lay samples and places out along so many axes."""
    for axis in range(rank):
        yield Layout((axis,))
        if samples > 1:
            yield Layout((axis,), samples_first=False)
    for pair in itertools.combinations(range(rank), 2):
        if samples > 1:
            yield Layout(pair)
            yield Layout(pair, samples_first=False)
