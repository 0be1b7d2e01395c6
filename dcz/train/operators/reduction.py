"""Sums, means, extremes and the like over some axes."""

from collections.abc import Callable

from ..pytorch import Tensor, torch
from .call import Call, Function, Operator, axes_of

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def over_axes(function: Reduction, since: int = 18, keeps: bool = True) -> Operator:
    """A reduction whose axes are an operand from opset `since` on; all axes where there are none.

    `keeps`: whether it leaves single elements as they are, so that a reduction over no axes is the identity.
    """

    def operator(call: Call) -> Function:
        keep = bool(call.attribute("keepdims", 1))
        identity = call.opset >= since and call.attribute("noop_with_empty_axes", 0)
        if identity and not keeps:
            raise call.refuse("attribute noop_with_empty_axes is 1; dcz can train 0")
        axes_in = call.optional_integers("axes", 1)

        def run(x: Tensor, axes: Tensor | None = None) -> Tensor:
            chosen = axes_in(axes) or []
            if identity and not chosen:
                return x
            return function(x, axes_of(chosen or range(x.dim()), x.dim()), keep)

        return run

    return operator


def product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    """The product; torch multiplies along one axis at a time."""
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def total(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    """The sum; integers keep their type."""
    return x.sum(axes, keepdim=keep, dtype=x.dtype)


def extreme_index(function: Callable[..., Tensor]) -> Operator:
    """The index of the largest or smallest along an axis: the first, or the last, among equals."""

    def operator(call: Call) -> Function:
        axis, keep = call.attribute("axis", 0), bool(call.attribute("keepdims", 1))
        last = call.attribute("select_last_index", 0)

        def run(x: Tensor) -> Tensor:
            if last:
                from_end = function(x.flip(axis), axis, keepdim=keep)
                return x.shape[axis] - 1 - from_end
            return function(x, axis, keepdim=keep)

        return run

    return operator


def cumulative_sum(call: Call) -> Function:
    """The sum up to each element, with or without it, from the front or from the end."""
    exclusive, reverse = call.attribute("exclusive", 0), call.attribute("reverse", 0)
    axis_in = call.integers("axis", 1)

    def run(x: Tensor, axis: Tensor | None = None) -> Tensor:
        (at,) = axis_in(axis)
        x = x.flip(at) if reverse else x
        y = torch.cumsum(x, at, dtype=x.dtype)
        if exclusive:
            y = torch.cat([torch.zeros_like(y.narrow(at, 0, 1)), y.narrow(at, 0, y.shape[at] - 1)], at)
        return y.flip(at) if reverse else y

    return run


OPERATORS: dict[str, Operator] = {
    "ReduceSum": over_axes(total, since=13),
    "ReduceMean": over_axes(lambda x, axes, keep: x.mean(axes, keepdim=keep)),
    "ReduceMax": over_axes(lambda x, axes, keep: x.amax(axes, keepdim=keep)),
    "ReduceMin": over_axes(lambda x, axes, keep: x.amin(axes, keepdim=keep)),
    "ReduceProd": over_axes(product),
    "ReduceL1": over_axes(lambda x, axes, keep: total(x.abs(), axes, keep), keeps=False),
    "ReduceL2": over_axes(lambda x, axes, keep: torch.linalg.vector_norm(x, 2, axes, keep), keeps=False),
    "ReduceSumSquare": over_axes(lambda x, axes, keep: total(x * x, axes, keep), keeps=False),
    "ReduceLogSum": over_axes(lambda x, axes, keep: total(x, axes, keep).log(), keeps=False),
    "ReduceLogSumExp": over_axes(lambda x, axes, keep: torch.logsumexp(x, axes, keep), keeps=False),
    "ArgMax": extreme_index(torch.argmax),
    "ArgMin": extreme_index(torch.argmin),
    "CumSum": cumulative_sum,
}
