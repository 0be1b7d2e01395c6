"""Normalisation: over batches as trained, layers, groups, channels, or neighbours."""

from functools import reduce

from ..pytorch import Tensor, torch
from ..pytorch import functional as F
from .call import Call, Function, Operator
from .windows import pad


def batch_normalization(call: Call) -> Function:
    """By the mean and variance that are stored in the model; a gradient reaches these too."""
    epsilon = call.attribute("epsilon", 1e-5)
    call.ignore("momentum")
    call.choice("training_mode", 0, (0,))
    call.choice("spatial", 1, (1,))

    def run(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        factor = scale * torch.rsqrt(variance + epsilon)
        wide = (-1, *[1] * (x.dim() - 2))
        return torch.addcmul((bias - mean * factor).reshape(wide), x, factor.reshape(wide))

    return run


def layer_normalization(call: Call) -> Function:
    """Over the axes from one on; mean and inverse deviation are further outputs."""
    axis, epsilon = call.attribute("axis", -1), call.attribute("epsilon", 1e-5)
    call.ignore("stash_type")  # the type of the moments: float32 here anyway
    call.max_outputs = 3

    def run(x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        axes = list(range(axis % x.dim(), x.dim()))
        if not call.wants(1) and not call.wants(2):
            y = F.layer_norm(x, x.shape[axes[0] :], eps=epsilon) * scale
            return y if bias is None else y + bias
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        inverse = torch.rsqrt(variance + epsilon)
        y = (x - mean) * inverse * scale
        return y if bias is None else y + bias, mean, inverse

    return run


def rms_normalization(call: Call) -> Function:
    """By the root of the mean square over the axes from one on."""
    axis, epsilon = call.attribute("axis", -1), call.attribute("epsilon", 1e-5)
    call.ignore("stash_type")

    def run(x: Tensor, scale: Tensor) -> Tensor:
        axes = list(range(axis % x.dim(), x.dim()))
        return x * torch.rsqrt((x * x).mean(axes, keepdim=True) + epsilon) * scale

    return run


def group_normalization(call: Call) -> Function:
    """Over groups of channels; scale and bias are of groups before opset 21, of channels since."""
    groups, epsilon = call.attribute("num_groups"), call.attribute("epsilon", 1e-5)
    call.ignore("stash_type")

    def run(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        if call.opset < 21:
            scale, bias = (tensor.repeat_interleave(x.shape[1] // groups) for tensor in (scale, bias))
        return _by_groups(x, groups, scale, bias, epsilon)

    return run


def instance_normalization(call: Call) -> Function:
    """Over each channel of each sample."""
    epsilon = call.attribute("epsilon", 1e-5)
    return lambda x, scale, bias: _by_groups(x, x.shape[1], scale, bias, epsilon)


def _by_groups(x: Tensor, groups: int, scale: Tensor, bias: Tensor, epsilon: float) -> Tensor:
    rows = x.reshape(x.shape[0], groups, -1)  # group_norm itself refuses groups of one element
    wide = (-1, *[1] * (x.dim() - 2))
    return F.layer_norm(rows, rows.shape[2:], eps=epsilon).reshape(x.shape) * scale.reshape(wide) + bias.reshape(wide)


def local_response(call: Call) -> Function:
    """By the squares of neighbouring channels; of an even number, one more lies after than before."""
    size, alpha = call.attribute("size"), call.attribute("alpha", 1e-4)
    beta, bias = call.attribute("beta", 0.75), call.attribute("bias", 1.0)

    def run(x: Tensor) -> Tensor:
        channels, rest = x.shape[1], [0] * (x.dim() - 2)
        squares = pad(x * x, [(size - 1) // 2, *rest], [size // 2, *rest])
        near = reduce(torch.add, (squares.narrow(1, i, channels) for i in range(size)))
        return torch.div(x, (bias + alpha / size * near) ** beta)

    return run


def lp_normalization(call: Call) -> Function:
    """By the 1- or 2-norm along an axis; zero stays zero."""
    axis, p = call.attribute("axis", -1), call.choice("p", 2, (1, 2))

    def run(x: Tensor) -> Tensor:
        return F.normalize(x, p, axis, eps=torch.finfo(x.dtype).tiny)

    return run


def mean_variance(call: Call) -> Function:
    """To mean 0 and variance 1 over some axes."""
    axes = call.attribute("axes", [0, 2, 3])

    def run(x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        return (x - mean) / (variance.sqrt() + 1e-9)  # the constant of ONNX's own definition

    return run


OPERATORS: dict[str, Operator] = {
    "BatchNormalization": batch_normalization,
    "LayerNormalization": layer_normalization,
    "RMSNormalization": rms_normalization,
    "GroupNormalization": group_normalization,
    "InstanceNormalization": instance_normalization,
    "LRN": local_response,
    "LpNormalization": lp_normalization,
    "MeanVarianceNormalization": mean_variance,
}
