"""ONNX's operators as differentiable functions of torch, by ONNX's operator specification.

OPERATORS["Relu"](call)(x)
"""

from . import activation, arithmetic, index, linear, normal, pool, recurrent, reduction, resize, shape
from .call import Call, Function, Operator

_MODULES = (linear, recurrent, pool, normal, activation, arithmetic, reduction, shape, index, resize)
OPERATORS: dict[str, Operator] = {name: operator for module in _MODULES for name, operator in module.OPERATORS.items()}

__all__ = ["OPERATORS", "Call", "Function", "Operator"]
