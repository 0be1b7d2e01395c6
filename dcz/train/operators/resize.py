"""Resize and Upsample: each output index has a coordinate in the input; one axis after another.

half_pixel, 4 -> 2       index 0 -> (0 + 0.5) / 0.5 - 0.5 = 0.5       linear: half of x[0], half of x[1]
"""

from collections.abc import Callable

import numpy as np

from ..pytorch import Tensor, torch
from .call import Call, Function, Operator, axes_of

# Output indices, input length, output length, scale -> input coordinates. All float32, as runtimes compute them.
_COORDINATES: dict[str, Callable[..., np.ndarray]] = {
    "half_pixel": lambda o, n, m, s: (o + 0.5) / s - 0.5,
    "half_pixel_symmetric": lambda o, n, m, s: n / 2 * (1 - m / (s * n)) + (o + 0.5) / s - 0.5,
    "pytorch_half_pixel": lambda o, n, m, s: (o + 0.5) / s - 0.5 if m > 1 else o * 0,
    "align_corners": lambda o, n, m, s: o * (n - 1) / (m - 1) if m > 1 else o * 0,
    "asymmetric": lambda o, n, m, s: o / s,
}
_NEAREST: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def resize(call: Call) -> Function:
    """Opset 10 has the scales as an operand; from 11 on there are sizes too, and modes of coordinates."""
    if call.opset < 11:
        return _resizing(call, call.choice("mode", "nearest", ("nearest", "linear")), "asymmetric", "floor", scales=1)
    mode = call.choice("mode", "nearest", ("nearest", "linear", "cubic"))
    coordinates = call.choice("coordinate_transformation_mode", "half_pixel", _COORDINATES)
    nearest = call.choice("nearest_mode", "round_prefer_floor", _NEAREST)
    call.choice("antialias", 0, (0,))
    call.choice("keep_aspect_ratio_policy", "stretch", ("stretch",))
    call.ignore("extrapolation_value")  # of a mode that is refused
    return _resizing(call, mode, coordinates, nearest, scales=2, sizes=3)


def upsample(call: Call) -> Function:
    """Resize as it was before opset 10."""
    return _resizing(call, call.choice("mode", "nearest", ("nearest", "linear")), "asymmetric", "floor", scales=1)


def _resizing(call: Call, mode: str, coordinates: str, nearest: str, scales: int, sizes: int | None = None) -> Function:
    chosen = call.attribute("axes", None) if call.opset >= 18 else None
    coefficient, outside = call.attribute("cubic_coeff_a", -0.75), call.attribute("exclude_outside", 0)
    if outside and mode != "cubic":
        raise call.refuse(f"attribute exclude_outside is 1 in mode {mode}; dcz can train it in mode cubic")
    fixed_scales = call.attribute("scales", None)
    if fixed_scales is None and (known := call.known(scales)) is not None:
        fixed_scales = known.tolist()
    sizes_of = call.optional_integers("sizes", sizes) if sizes is not None else lambda tensor: None

    def run(x: Tensor, *operands: Tensor | None) -> Tensor:
        by_number = dict(enumerate(operands, 1))
        lengths = sizes_of(None if sizes is None else by_number.get(sizes))
        factors = fixed_scales
        if not lengths and factors is None:
            if (operand := by_number[scales]) is None:
                raise ValueError("it has no scales")
            factors = operand.tolist()
        axes = range(x.dim()) if chosen is None else axes_of(chosen, x.dim())
        for i, axis in enumerate(axes):
            n = x.shape[axis]
            m = lengths[i] if lengths else int(np.floor(np.float32(factors[i]) * np.float32(n)))
            scale = np.float32(m / n) if lengths else np.float32(factors[i])
            if m == n and scale == 1:
                continue
            at = _COORDINATES[coordinates](np.arange(m, dtype=np.float32), np.float32(n), np.float32(m), scale)
            x = _interpolate(x, axis, *_taps(mode, nearest, at, n, coefficient, outside))
        return x

    return run


def _taps(
    mode: str, nearest: str, at: np.ndarray, length: int, coefficient: float, outside: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The input indices for each output index, [taps, outputs], and their coefficients; None for one tap."""
    if mode == "nearest":
        return np.clip(_NEAREST[nearest](at), 0, length - 1)[None], None
    low = np.floor(at)
    over = at - low
    if mode == "linear":
        at = np.clip(at, 0, length - 1)
        low = np.floor(at)
        over = at - low
        taps, weights = np.stack([low, low + 1]), np.stack([1 - over, over])
    else:
        taps = np.stack([low - 1, low, low + 1, low + 2])
        weights = _cubic(np.abs(at - taps), coefficient)
        if outside:
            weights = np.where((taps >= 0) & (taps < length), weights, 0)
            weights = weights / weights.sum(0)
    return np.clip(taps, 0, length - 1), weights


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel (1981), at distances up to 2."""
    near: np.ndarray = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far: np.ndarray = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return np.where(distance <= 1, near, far)


def _interpolate(x: Tensor, axis: int, taps: np.ndarray, weights: np.ndarray | None) -> Tensor:
    picked = [x.index_select(axis, torch.from_numpy(tap.astype(np.int64)).to(x.device)) for tap in taps]
    if weights is None:
        return picked[0]
    wide = (-1, *[1] * (x.dim() - axis - 1))
    terms = zip(picked, weights, strict=True)
    return sum(
        (part * torch.from_numpy(weight).to(x.dtype).to(x.device).reshape(wide) for part, weight in terms),
        x.new_zeros(()),
    )


OPERATORS: dict[str, Operator] = {"Resize": resize, "Upsample": upsample}
