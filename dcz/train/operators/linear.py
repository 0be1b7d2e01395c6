"""Matrix products and convolutions, whose operands are most weights."""

from ..pytorch import Tensor, torch
from ..pytorch import functional as F
from .call import Call, Function, Operator
from .windows import WindowAttributes, halves, pad

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
# On CPUs images are convolved with their channels last in memory, where these fill vectors of so many: a ResNet-32
# trains in 0.6 of the time. What follows keeps the order.
CHANNELS_LAST = 8
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def gemm(call: Call) -> Function:
    """alpha * A @ B + beta * C."""
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    trans_a, trans_b = call.attribute("transA", 0), call.attribute("transB", 0)

    def run(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        a, b = a.t() if trans_a else a, b.t() if trans_b else b
        if c is None:
            product = torch.matmul(a, b)
            return torch.mul(product, alpha) if alpha != 1 else product
        if not a.is_floating_point():  # addmm takes only integer factors for integers
            return (alpha * (a @ b) + beta * c).to(a.dtype)
        return torch.addmm(c, a, b, alpha=alpha, beta=beta)

    return run


def einsum(call: Call) -> Function:
    """A product by its equation."""
    equation = call.attribute("equation").replace(" ", "")
    return lambda *operands: torch.einsum(equation, *operands)


def conv(call: Call) -> Function:
    """A convolution in one to three dims."""
    windows, groups = WindowAttributes.of(call), call.attribute("group", 1)
    kernel = call.attribute("kernel_shape", None)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        _check_weight(x, weight, kernel)
        layout = windows.over(x.shape[2:], weight.shape[2:])
        padding = layout.before if layout.is_symmetric else 0
        x = x if layout.is_symmetric else pad(x, layout.before, layout.after)
        if x.dim() == 4 and x.device.type == "cpu" and len(weight) % CHANNELS_LAST == 0:
            x = x.contiguous(memory_format=torch.channels_last)
        return _CONV[x.dim() - 2](x, weight, bias, layout.strides, padding, layout.dilations, groups)

    return run


def conv_transpose(call: Call) -> Function:
    """The transpose of a convolution; `output_shape` has precedence over pads."""
    windows, groups = WindowAttributes.of(call), call.attribute("group", 1)
    kernel = call.attribute("kernel_shape", None)
    output_padding, output_shape = call.attribute("output_padding", None), call.attribute("output_shape", None)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        _check_weight(x, weight, kernel)
        rank = x.dim() - 2
        layout = windows.over(x.shape[2:], weight.shape[2:])
        full = [(n - 1) * s + r for n, s, r in zip(layout.sizes, layout.strides, layout.extents, strict=True)]
        grow = output_padding or [0] * rank
        before, after = layout.before, layout.after
        target = output_shape[-rank:] if output_shape else None
        if target is None and windows.auto_pad.startswith("SAME"):
            target = [n * s for n, s in zip(layout.sizes, layout.strides, strict=True)]
        if target is not None:
            total = [max(f + g - t, 0) for f, g, t in zip(full, grow, target, strict=True)]
            before, after = halves(total, first_larger=windows.auto_pad != "SAME_UPPER")
            grow = [t - f + b + a for t, f, b, a in zip(target, full, before, after, strict=True)]
        function = _TRANSPOSED[rank]
        if before == after and not any(grow):
            return function(x, weight, bias, layout.strides, before, 0, groups, layout.dilations)
        y = function(x, weight, None, layout.strides, 0, 0, groups, layout.dilations)
        y = pad(y, [-b for b in before], [g - a for g, a in zip(grow, after, strict=True)])
        return y if bias is None else y + bias.reshape(-1, *[1] * rank)

    return run


def _check_weight(x: Tensor, weight: Tensor, kernel: list[int] | None) -> None:
    if x.dim() != weight.dim() or x.dim() - 2 not in _CONV:
        raise ValueError(f"a weight of {tuple(weight.shape)} for an input of {tuple(x.shape)}")
    if kernel is not None and list(weight.shape[2:]) != kernel:
        raise ValueError(f"kernel_shape is {kernel}, the weight's shape {tuple(weight.shape)}")


OPERATORS: dict[str, Operator] = {
    "Gemm": gemm,
    "MatMul": lambda call: torch.matmul,
    "Einsum": einsum,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
}
