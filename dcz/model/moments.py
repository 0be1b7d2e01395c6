"""Means and variances of a network's values by channel, estimated from its own numbers: no data is seen.

    BatchNormalization with scale s and shift t    ->    mean t, variance s^2
    Relu of that                                   ->    those of max(0, g), g being normally distributed

As in Nagel et al., "Data-free quantization through weight equalization and bias correction" (2019), section 4.2.1. All
arrays are float64.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Function = Callable[..., np.ndarray]

# Places at which a function of a normally distributed number is looked at, in standard deviations, and their weights:
# the trapezoid rule, which is exact to many digits for smooth functions and to 0.002 for those with a corner.
_PLACES = np.arange(-16, 17) / 4
_WEIGHTS = np.array([math.exp(-place * place / 2) for place in _PLACES.tolist()])
_WEIGHTS /= math.fsum(_WEIGHTS)
SIGNIFICANT = 20  # bits of a result: the last ones, which depend on the machine, are rounded away


@dataclass(frozen=True, eq=False)
class Moments:
    """The mean and variance of each channel of a value, over samples and places: axis 1 numbers the channels.

    `is_flat`: the value has no other axes but that of the samples.
    """

    mean: np.ndarray
    variance: np.ndarray
    is_flat: bool = False

    def __len__(self) -> int:
        return len(self.mean)

    def scaled(self, factor: np.ndarray | float, shift: np.ndarray | float = 0.0) -> "Moments":
        """Those of factor * x + shift, each one number or one for each channel."""
        channels = np.zeros(len(self))
        return Moments(self.mean * factor + shift, self.variance * np.square(factor) + channels, self.is_flat)


def of_function(moments: Moments, function: Function) -> Moments:
    """Those of function(x), x being normally distributed."""
    places = moments.mean[:, None] + np.sqrt(moments.variance)[:, None] * _PLACES
    found = function(places)
    mean = (found * _WEIGHTS).sum(axis=1)
    return Moments(mean, (np.square(found - mean[:, None]) * _WEIGHTS).sum(axis=1), moments.is_flat)


def of_sum(first: Moments, second: Moments) -> Moments:
    """Those of x + y, independent."""
    return Moments(first.mean + second.mean, first.variance + second.variance, first.is_flat)


def of_product(first: Moments, second: Moments) -> Moments:
    """Those of x * y, independent."""
    squares = [np.square(each.mean) for each in (first, second)]
    variance = first.variance * (squares[1] + second.variance) + second.variance * squares[0]
    return Moments(first.mean * second.mean, variance, first.is_flat and second.is_flat)


def concatenated(parts: Sequence[Moments]) -> Moments:
    """Those of values one after another along the channels."""
    means, variances = [part.mean for part in parts], [part.variance for part in parts]
    return Moments(np.concatenate(means), np.concatenate(variances), parts[0].is_flat)


def rounded(numbers: np.ndarray) -> np.ndarray:
    """Numbers rounded to SIGNIFICANT bits."""
    mantissa, exponent = np.frexp(numbers)
    result: np.ndarray = np.ldexp(np.rint(np.ldexp(mantissa, SIGNIFICANT)), exponent - SIGNIFICANT)
    return result


def _sigmoid(x: np.ndarray) -> np.ndarray:
    gate: np.ndarray = 1 / (1 + np.exp(-np.clip(x, -60, 60)))
    return gate


def _gelu(x: np.ndarray) -> np.ndarray:
    product: np.ndarray = x * _sigmoid(1.702 * x)  # near enough for a mean
    return product


# The functions of one number that networks use, by operator; where it has attributes, with ONNX's default values.
FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "Relu": lambda x: np.maximum(x, 0),
    "LeakyRelu": lambda x, alpha=0.01: np.where(x < 0, alpha * x, x),
    "Elu": lambda x, alpha=1.0: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0)), x),
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: np.clip(alpha * x + beta, 0, 1),
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "Sigmoid": _sigmoid,
    "Tanh": np.tanh,
    "Softplus": lambda x: np.logaddexp(x, 0),
    "Mish": lambda x: x * np.tanh(np.logaddexp(x, 0)),
    "Gelu": _gelu,
    "Abs": np.abs,
    "Neg": np.negative,
}
OPTIONS = {"LeakyRelu": ("alpha",), "Elu": ("alpha",), "HardSigmoid": ("alpha", "beta")}
