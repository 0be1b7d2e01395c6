"""Pools: the largest or the mean of each window, or of a whole channel."""

from ..pytorch import Tensor, torch
from ..pytorch import functional as F
from .call import Call, Function, Operator
from .windows import WindowAttributes, pad

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEAN = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def max_pool(call: Call) -> Function:
    """The largest of each window, padding left out."""
    windows, kernel, ceil = WindowAttributes.of(call), call.attribute("kernel_shape"), call.attribute("ceil_mode", 0)
    call.ignore("storage_order")  # of the indices, an output that is refused

    def run(x: Tensor) -> Tensor:
        layout = windows.over(x.shape[2:], kernel)
        ends: list[int] = layout.ends(bool(ceil))
        padding: list[int] | int = 0
        if (
            ends == layout.after
            and layout.is_symmetric
            and all(2 * b <= k for b, k in zip(layout.before, kernel, strict=True))
        ):
            padding = layout.before
        else:
            lowest = -torch.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
            x = pad(x, layout.before, ends, lowest)
        return _MAX[x.dim() - 2](x, kernel, layout.strides, padding, layout.dilations)

    return run


def average_pool(call: Call) -> Function:
    """The mean of each window over its elements in the input (with count_include_pad, in the padding too)."""
    windows, kernel, ceil = WindowAttributes.of(call), call.attribute("kernel_shape"), call.attribute("ceil_mode", 0)
    padding_counts = call.attribute("count_include_pad", 0)
    if any(dilation != 1 for dilation in windows.dilations or ()):
        raise call.refuse(f"attribute dilations is {windows.dilations}; dcz can train pools without")

    def run(x: Tensor) -> Tensor:
        layout = windows.over(x.shape[2:], kernel)
        ends, mean = layout.ends(bool(ceil)), _MEAN[x.dim() - 2]
        y = mean(pad(x, layout.before, ends), kernel, layout.strides)
        counted = torch.ones(1, 1, *layout.sizes, dtype=x.dtype, device=x.device)
        if padding_counts:
            counted = pad(counted, layout.before, layout.after, 1.0)
            inside = pad(counted, [0] * len(ends), [e - a for e, a in zip(ends, layout.after, strict=True)])
        else:
            inside = pad(counted, layout.before, ends)
        return y if bool(inside.all()) else y / mean(inside, kernel, layout.strides)

    return run


def _spatial(x: Tensor) -> list[int]:
    return list(range(2, x.dim()))


OPERATORS: dict[str, Operator] = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": lambda call: lambda x: x.mean(_spatial(x), keepdim=True),
    "GlobalMaxPool": lambda call: lambda x: x.amax(_spatial(x), keepdim=True),
}
