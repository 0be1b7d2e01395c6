"""Pools: the largest or the mean of each window, or of everything."""

from ..pytorch import functional as F
from ..pytorch import torch
from .call import Call, Function, Operator, Tensor
from .windows import Windows, pad

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEAN = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def max_pool(call: Call) -> Function:
    """The largest of each window; padding never wins."""
    windows, kernel, ceil = Windows.of(call), call.attribute("kernel_shape"), call.attribute("ceil_mode", 0)
    call.ignore("storage_order")  # of the indices, an output that is refused

    def run(x: Tensor) -> Tensor:
        placed = windows.over(x.shape[2:], kernel)
        ends, padding = placed.ends(bool(ceil)), 0
        if ends == placed.after and placed.even and all(2 * b <= k for b, k in zip(placed.before, kernel)):
            padding = placed.before
        else:
            least = -torch.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
            x = pad(x, placed.before, ends, least)
        return _MAX[x.dim() - 2](x, kernel, placed.strides, padding, placed.dilations)

    return run


def average_pool(call: Call) -> Function:
    """The mean of each window, over its places inside the input (and, if asked, inside the padding)."""
    windows, kernel, ceil = Windows.of(call), call.attribute("kernel_shape"), call.attribute("ceil_mode", 0)
    padding_counts = call.attribute("count_include_pad", 0)
    if any(dilation != 1 for dilation in windows.dilations or ()):
        raise call.refuse(f"attribute dilations is {windows.dilations}; dcz can train pools without")

    def run(x: Tensor) -> Tensor:
        placed = windows.over(x.shape[2:], kernel)
        ends, mean = placed.ends(bool(ceil)), _MEAN[x.dim() - 2]
        y = mean(pad(x, placed.before, ends), kernel, placed.strides)
        counted = torch.ones(1, 1, *placed.sizes, dtype=x.dtype, device=x.device)
        if padding_counts:
            counted = pad(counted, placed.before, placed.after, 1.0)
            share = pad(counted, [0] * len(ends), [e - a for e, a in zip(ends, placed.after)])
        else:
            share = pad(counted, placed.before, ends)
        return y if bool(share.all()) else y / mean(share, kernel, placed.strides)

    return run


def _spatial(x: Tensor) -> list[int]:
    return list(range(2, x.dim()))


OPERATORS: dict[str, Operator] = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": lambda call: lambda x: x.mean(_spatial(x), keepdim=True),
    "GlobalMaxPool": lambda call: lambda x: x.amax(_spatial(x), keepdim=True),
}
