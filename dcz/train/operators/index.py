"""Parts of tensors, and tensors put together from parts."""

import math
from collections.abc import Callable

import numpy as np

from ..pytorch import Tensor, torch
from .call import Call, Function, Operator, axes_of, plain
from .windows import pad as pad_last


def split(call: Call) -> Function:
    """Parts along an axis: of given sizes, or of equal ones, the last smaller."""
    axis = call.attribute("axis", 0)
    sizes_of = call.optional_integers("split", 1)
    parts = call.attribute("num_outputs", len(call.node.outputs))
    call.max_outputs = len(call.node.outputs)

    def run(x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
        lengths, length = sizes_of(sizes), x.shape[axis]
        if lengths is None:
            part = -(-length // parts)
            lengths = [min(part, length - i * part) for i in range(parts)]
        return torch.split(x, lengths, axis)

    return run


def slice_(call: Call) -> Function:
    """From start to end by step on some axes; out of range, Python's rules for slices hold."""
    starts_of, ends_of = call.integers("starts", 1), call.integers("ends", 2)
    axes_in, steps_of = call.optional_integers("axes", 3), call.optional_integers("steps", 4)

    def run(
        x: Tensor,
        starts: Tensor | None = None,
        ends: Tensor | None = None,
        axes: Tensor | None = None,
        steps: Tensor | None = None,
    ) -> Tensor:
        first, last, chosen = starts_of(starts), ends_of(ends), axes_in(axes)
        sliced = list(range(len(first))) if chosen is None else axes_of(chosen, x.dim())
        for start, end, axis, step in zip(first, last, sliced, steps_of(steps) or [1] * len(first), strict=False):
            indices = range(*slice(start, end, step).indices(x.shape[axis]))
            if step > 0:  # torch has no negative steps
                x = x[(slice(None),) * axis + (slice(indices.start, max(indices.stop, indices.start), step),)]
            else:
                x = x.index_select(axis, torch.tensor(indices, dtype=torch.int64, device=x.device))
        return x

    return run


def gather(call: Call) -> Function:
    """Whole slices along an axis, by index."""
    axis = call.attribute("axis", 0)

    def run(x: Tensor, indices: Tensor) -> Tensor:
        at = axis % x.dim()
        picked = x.index_select(at, _from_front(indices, x.shape[at]).reshape(-1))
        return picked.reshape([*x.shape[:at], *indices.shape, *x.shape[at + 1 :]])

    return run


def gather_elements(call: Call) -> Function:
    """Single elements, each by its own index along an axis."""
    axis = call.attribute("axis", 0)
    return lambda x, indices: torch.gather(x, axis, _from_front(indices, x.shape[axis]))


def gather_nd(call: Call) -> Function:
    """Slices by tuples of indices, which are the last axis of the operand."""
    batch = call.attribute("batch_dims", 0)
    return lambda x, indices: x[_tuples(indices, batch)]


def scatter_elements(call: Call) -> Function:
    """A copy with single elements replaced or added to."""
    axis = call.attribute("axis", 0)
    reduction = call.choice("reduction", "none", ("none", "add"))

    def run(x: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
        at = _from_front(indices, x.shape[axis])
        return x.scatter_add(axis, at, updates) if reduction == "add" else x.scatter(axis, at, updates)

    return run


def scatter_nd(call: Call) -> Function:
    """A copy with the slices at tuples of indices replaced or added to."""
    adds = call.choice("reduction", "none", ("none", "add")) == "add"
    return lambda x, indices, updates: x.index_put(_tuples(indices, 0), updates, accumulate=adds)


def one_hot(call: Call) -> Function:
    """A new axis that is `on` at the index and `off` elsewhere; all `off` for an index out of range."""
    axis = call.attribute("axis", -1)

    def run(indices: Tensor, depth: Tensor, values: Tensor) -> Tensor:
        length = int(depth.reshape(-1)[0])
        numbers = indices.to(torch.int64)
        numbers = torch.where(numbers < 0, numbers + length, numbers)
        chosen = numbers.unsqueeze(-1) == torch.arange(length, device=numbers.device)
        return torch.where(chosen.movedim(-1, axis), values[1], values[0])

    return run


def top_k(call: Call) -> Function:
    """The k largest (or smallest) along an axis and their indices; among equals the first."""
    axis, largest = call.attribute("axis", -1), bool(call.attribute("largest", 1))
    call.ignore("sorted")  # sorted output is allowed where no order is asked for
    count, call.max_outputs = call.integers("k", 1), 2

    def run(x: Tensor, k: Tensor | None = None) -> tuple[Tensor, Tensor]:
        values, indices = torch.sort(x, dim=axis, descending=largest, stable=True)
        (length,) = count(k)
        return values.narrow(axis, 0, length), indices.narrow(axis, 0, length)

    return run


def _from_front(indices: Tensor, length: int) -> Tensor:
    indices = indices.to(torch.int64)
    return torch.where(indices < 0, indices + length, indices)


def _tuples(indices: Tensor, batch: int) -> tuple[Tensor, ...]:
    """Indices (.., k) as k index tensors, after one for each of the leading dims that data and indices share."""
    dims = indices.dim() - 1
    leading = [
        torch.arange(indices.shape[i], device=indices.device).reshape(-1, *[1] * (dims - i - 1)) for i in range(batch)
    ]
    return (*leading, *indices.to(torch.int64).unbind(-1))


def expand(call: Call) -> Function:
    """Broadcast with a shape, which may be the smaller one."""
    shape_of = call.integers("shape", 1)
    broadcast: Callable[..., torch.Size] = torch.broadcast_shapes
    return lambda x, shape=None: x.expand(broadcast(x.shape, shape_of(shape)))


def tile(call: Call) -> Function:
    """Repeated along every axis."""
    repeats_of = call.integers("repeats", 1)
    return lambda x, repeats=None: x.repeat(repeats_of(repeats))


def shape(call: Call) -> Function:
    """The dims, or a range of them."""
    start, end = call.attribute("start", 0), call.attribute("end", None)
    return lambda x: torch.tensor(x.shape[start:end], dtype=torch.int64, device=x.device)


def constant_of_shape(call: Call) -> Function:
    """One value everywhere, by default a float32 zero."""
    shape_of = call.integers("shape", 0)
    value = call.attribute("value", np.zeros(1, np.float32))
    filled = torch.from_numpy(value.astype(np.float32) if value.dtype == np.float16 else value.copy()).reshape(())
    return lambda shape: filled.to(shape.device).expand(shape_of(shape)).clone()


def range_(call: Call) -> Function:
    """start, start + delta, .. before the limit."""

    def run(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
        count = max(math.ceil((limit.item() - start.item()) / delta.item()), 0)
        return start + torch.arange(count, device=start.device).to(start.dtype) * delta

    return run


def pad(call: Call) -> Function:
    """Padded (cropped, where negative): by a constant, by reflection, by the edge, or periodically."""
    mode = call.choice("mode", "constant", ("constant", "reflect", "edge", "wrap"))
    pads_of, axes_in = call.integers("pads", 1), call.optional_integers("axes", 3)
    value = call.attribute("value", 0.0) if call.opset < 11 else 0.0
    known = call.known(2)

    def run(x: Tensor, pads: Tensor | None = None, filler: Tensor | None = None, axes: Tensor | None = None) -> Tensor:
        sizes, chosen = pads_of(pads), axes_in(axes)
        padded = list(range(x.dim())) if chosen is None else axes_of(chosen, x.dim())
        before, after = [0] * x.dim(), [0] * x.dim()
        for i, axis in enumerate(padded):
            before[axis], after[axis] = sizes[i], sizes[i + len(padded)]
        if mode == "constant":
            if known is not None or filler is None:
                return pad_last(x, before, after, value if known is None else known.item())
            inside = pad_last(torch.ones_like(x, dtype=torch.bool), before, after)
            return torch.where(inside, pad_last(x, before, after), filler)  # a gradient reaches the filler
        if min(*before, *after) < 0:
            raise ValueError(f"pads {sizes} crop, which mode {mode} cannot")
        for axis, (first, last) in enumerate(zip(before, after, strict=True)):
            if first or last:
                x = x.index_select(axis, _padded_indices(mode, x.shape[axis], first, last).to(x.device))
        return x

    return run


def _padded_indices(mode: str, length: int, before: int, after: int) -> Tensor:
    """The index from 0 to length - 1 of each element of the padded axis, from -before to length + after."""
    indices = torch.arange(-before, length + after)
    if mode == "edge":
        return indices.clamp(0, length - 1)
    if mode == "wrap":
        return indices % length
    period = max(2 * (length - 1), 1)
    indices = indices % period
    return torch.minimum(indices, period - indices)


def depth_to_space(call: Call) -> Function:
    """Channels become blocks of pixels."""
    size, mode = call.attribute("blocksize"), call.choice("mode", "DCR", ("DCR", "CRD"))

    def run(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        if mode == "DCR":
            x = x.reshape(n, size, size, c // size**2, h, w).permute(0, 3, 4, 1, 5, 2)
        else:
            x = x.reshape(n, c // size**2, size, size, h, w).permute(0, 1, 4, 2, 5, 3)
        return x.reshape(n, c // size**2, h * size, w * size)

    return run


def space_to_depth(call: Call) -> Function:
    """Blocks of pixels become channels."""
    size = call.attribute("blocksize")

    def run(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        x = x.reshape(n, c, h // size, size, w // size, size).permute(0, 3, 5, 1, 2, 4)
        return x.reshape(n, c * size**2, h // size, w // size)

    return run


def trilu(call: Call) -> Function:
    """The upper or lower triangle from the k-th diagonal on."""
    function = torch.triu if call.attribute("upper", 1) else torch.tril
    diagonal = call.optional_integers("k", 1)
    return lambda x, k=None: function(x, (diagonal(k) or [0])[0])


OPERATORS: dict[str, Operator] = {
    "Split": split,
    "Slice": slice_,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "OneHot": one_hot,
    "TopK": top_k,
    "Expand": expand,
    "Tile": tile,
    "Shape": shape,
    "Size": plain(lambda x: torch.tensor(x.numel(), device=x.device)),
    "ConstantOfShape": constant_of_shape,
    "Range": range_,
    "Pad": pad,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "Trilu": trilu,
}
