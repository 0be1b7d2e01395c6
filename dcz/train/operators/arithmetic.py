"""Arithmetic, comparisons and logic, element by element; operands are broadcast as in numpy."""

from collections.abc import Callable
from functools import reduce
from typing import Any

from ..pytorch import Tensor, torch
from .call import Call, Function, Operator, plain


def divide(a: Tensor, b: Tensor) -> Tensor:
    """a / b; integers are rounded towards zero."""
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def modulo(call: Call) -> Function:
    """The remainder with the divisor's sign, or the dividend's (fmod)."""
    return torch.fmod if call.attribute("fmod", 0) else torch.remainder


def clip(call: Call) -> Function:
    """x between two bounds, either of which may be missing: attributes before opset 11, then operands."""
    if call.opset < 11:
        low, high = call.attribute("min", None), call.attribute("max", None)
        return lambda x: _clamp(x, low, high)
    known = [call.known(operand) for operand in (1, 2)]
    if any(call.has(operand) and bound is None for operand, bound in zip((1, 2), known, strict=True)):
        return lambda x, low=None, high=None: _clamp(x, low, high)
    low, high = (None if bound is None else bound.item() for bound in known)
    return lambda x, *_: _clamp(x, low, high)


def _clamp(x: Tensor, low: Any, high: Any) -> Tensor:
    return x if low is None and high is None else torch.clamp(x, low, high)


def cast(call: Call) -> Function:
    """Another element type."""
    dtype = call.dtype(call.attribute("to"))
    call.ignore("saturate", "round_mode")  # of 8-bit floats only
    return lambda x: x.to(dtype)


def cast_like(call: Call) -> Function:
    """The second operand's element type."""
    call.ignore("saturate", "round_mode")
    return lambda x, like: x.to(like.dtype)


def is_infinite(call: Call) -> Function:
    """Whether x is infinite, with one of the signs that the attributes choose."""
    negative, positive = call.attribute("detect_negative", 1), call.attribute("detect_positive", 1)
    return lambda x: torch.isinf(x) & ((x < 0) & bool(negative) | (x > 0) & bool(positive))


def folded(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """An operator of any number of operands, by a function of two."""
    return lambda call: lambda *operands: reduce(function, operands)


OPERATORS: dict[str, Operator] = {
    "Add": plain(torch.add),
    "Sub": plain(torch.sub),
    "Mul": plain(torch.mul),
    "Div": plain(divide),
    "Mod": modulo,
    "Pow": plain(lambda x, power: torch.pow(x, power).to(x.dtype)),
    "Neg": plain(torch.neg),
    "Abs": plain(torch.abs),
    "Reciprocal": plain(torch.reciprocal),
    "Sign": plain(torch.sign),
    "Floor": plain(torch.floor),
    "Ceil": plain(torch.ceil),
    "Round": plain(torch.round),
    "Exp": plain(torch.exp),
    "Log": plain(torch.log),
    "Sqrt": plain(torch.sqrt),
    "Erf": plain(torch.erf),
    "Sin": plain(torch.sin),
    "Cos": plain(torch.cos),
    "Tan": plain(torch.tan),
    "Asin": plain(torch.asin),
    "Acos": plain(torch.acos),
    "Atan": plain(torch.atan),
    "Sinh": plain(torch.sinh),
    "Cosh": plain(torch.cosh),
    "Asinh": plain(torch.asinh),
    "Acosh": plain(torch.acosh),
    "Atanh": plain(torch.atanh),
    "Max": folded(torch.maximum),
    "Min": folded(torch.minimum),
    "Sum": folded(torch.add),
    "Mean": plain(lambda *operands: reduce(torch.add, operands) / len(operands)),
    "Clip": clip,
    "Where": plain(torch.where),
    "Equal": plain(torch.eq),
    "Less": plain(torch.lt),
    "LessOrEqual": plain(torch.le),
    "Greater": plain(torch.gt),
    "GreaterOrEqual": plain(torch.ge),
    "And": plain(torch.logical_and),
    "Or": plain(torch.logical_or),
    "Xor": plain(torch.logical_xor),
    "Not": plain(torch.logical_not),
    "IsNaN": plain(torch.isnan),
    "IsInf": is_infinite,
    "Cast": cast,
    "CastLike": cast_like,
}
