"""Activation functions: element by element, and softmax."""

from collections.abc import Callable

from ..pytorch import Tensor, torch
from ..pytorch import functional as F
from .call import Call, Function, Operator, plain


def leaky_relu(call: Call) -> Function:
    """x, below zero alpha * x."""
    alpha = call.attribute("alpha", 0.01)
    return lambda x: F.leaky_relu(x, alpha)


def elu(call: Call) -> Function:
    """x, below zero alpha * (exp(x) - 1)."""
    alpha = call.attribute("alpha", 1.0)
    return lambda x: F.elu(x, alpha)


def selu(call: Call) -> Function:
    """gamma times x, below zero gamma * alpha * (exp(x) - 1)."""
    alpha = call.attribute("alpha", 1.6732632423543772)
    gamma = call.attribute("gamma", 1.0507009873554805)
    return lambda x: gamma * F.elu(x, alpha)


def celu(call: Call) -> Function:
    """x, below zero alpha * (exp(x / alpha) - 1)."""
    alpha = call.attribute("alpha", 1.0)
    return lambda x: F.celu(x, alpha)


def gelu(call: Call) -> Function:
    """x times the normal distribution function of x, exactly or by tanh."""
    approximate = call.choice("approximate", "none", ("none", "tanh"))
    return lambda x: F.gelu(x, approximate=approximate)


def hard_sigmoid(call: Call) -> Function:
    """alpha * x + beta, between 0 and 1."""
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    return lambda x: (alpha * x + beta).clamp(0, 1)


def swish(call: Call) -> Function:
    """x * sigmoid(alpha * x)."""
    alpha = call.attribute("alpha", 1.0)
    return lambda x: F.silu(x) if alpha == 1 else x * torch.sigmoid(alpha * x)


def thresholded_relu(call: Call) -> Function:
    """x above alpha, else 0."""
    alpha = call.attribute("alpha", 1.0)
    return lambda x: F.threshold(x, alpha, 0.0)


def shrink(call: Call) -> Function:
    """x moved towards 0 by bias, and 0 where |x| is at most lambd."""
    bias, limit = call.attribute("bias", 0.0), call.attribute("lambd", 0.5)
    zero = torch.zeros(())
    return lambda x: torch.where(x > limit, x - bias, torch.where(x < -limit, x + bias, zero.to(x)))


def softmax(function: Callable[[Tensor, int], Tensor]) -> Operator:
    """Softmax or its logarithm: along one axis from opset 13 on, before that over all axes from one on."""

    def operator(call: Call) -> Function:
        axis = call.attribute("axis", -1 if call.opset >= 13 else 1)
        if call.opset >= 13:
            return lambda x: function(x, axis)

        def run(x: Tensor) -> Tensor:
            start = axis % x.dim()
            return function(x.reshape(*x.shape[:start], -1), start).reshape(x.shape)

        return run

    return operator


OPERATORS: dict[str, Operator] = {
    "Relu": plain(torch.relu),
    "Sigmoid": plain(torch.sigmoid),
    "Tanh": plain(torch.tanh),
    "Softplus": plain(F.softplus),
    "Softsign": plain(F.softsign),
    "HardSwish": plain(F.hardswish),
    "Mish": plain(F.mish),
    "PRelu": plain(lambda x, slope: torch.where(x < 0, slope * x, x)),
    "LeakyRelu": leaky_relu,
    "Elu": elu,
    "Selu": selu,
    "Celu": celu,
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "Swish": swish,
    "ThresholdedRelu": thresholded_relu,
    "Shrink": shrink,
    "Softmax": softmax(torch.softmax),
    "LogSoftmax": softmax(torch.log_softmax),
}
