"""A node while it becomes a function: what it asks for is read here, once, and what is left unread is refused.

    call.attribute("axis", -1)      an attribute, or its default
    call.integers("axes", 1)        whole numbers that one opset has as an attribute and another as an operand
    call.refuse("...")              the exception that names the node

An operator is a function of a `Call` that returns a function of tensors: `relu(call)(x)`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ...errors import UnsuitableModel
from ...model import Node
from ...tensor import DTYPES
from ..pytorch import torch

Tensor = torch.Tensor
Function = Callable[..., Tensor | tuple[Tensor, ...]]  # of the node's operands, None for one that is left out
Operator = Callable[["Call"], Function]

_REQUIRED = object()


class Call:
    """One node of a model. `known` are the values that are already known, by name; `fixed` those that were read."""

    def __init__(self, node: Node, opset: int, known: Mapping[str, Tensor], place: str):
        self.node = node
        self.opset = opset
        self.fixed: set[str] = set()
        self.most_outputs = 1
        self._known = known
        self._place = place
        self._unread = dict(node.attributes)

    def refuse(self, why: str) -> UnsuitableModel:
        """The exception for what dcz cannot do with this node."""
        return UnsuitableModel(f"{self._place}: node {self.node.name!r}: operator {self.node.op}: {why}")

    def attribute(self, name: str, default: Any = _REQUIRED) -> Any:
        """The value of an attribute; refuses the node where it has none and there is no default."""
        value = self._unread.pop(name, default)
        if value is _REQUIRED:
            raise self.refuse(f"it has no attribute {name}")
        return value

    def choice(self, name: str, default: Any, allowed: Iterable[Any]) -> Any:
        """The same for an attribute of which only some values can be honoured."""
        value = self.attribute(name, default)
        if value not in allowed:
            one_of = ", ".join(str(each) for each in allowed)
            raise self.refuse(f"attribute {name} is {value!r}; dcz can train {one_of}")
        return value

    def ignore(self, *names: str) -> None:
        """Attributes that change nothing here."""
        for name in names:
            self._unread.pop(name, None)

    def has(self, operand: int) -> bool:
        """Whether the operand is given."""
        return operand < len(self.node.inputs) and bool(self.node.inputs[operand])

    def wants(self, output: int) -> bool:
        """Whether the output is named, and so may be used."""
        return output < len(self.node.outputs) and bool(self.node.outputs[output])

    def known(self, operand: int) -> Tensor | None:
        """The value of an operand that no input of the model can change; from then on nothing else may either."""
        value = self._known.get(self.node.inputs[operand]) if self.has(operand) else None
        if value is not None:
            self.fixed.add(self.node.inputs[operand])
        return value

    def integers(self, attribute: str, operand: int) -> Callable[[Tensor | None], list[int] | None]:
        """Whole numbers from an attribute or an operand, as a function of that operand; None where neither is given.

        What is known now is read now; else the function reads the tensor when the model runs.
        """
        given = self.attribute(attribute, None)
        value = self.known(operand)
        if value is not None:
            given = value.reshape(-1).tolist()
        if given is None and self.has(operand):
            return lambda tensor: tensor.reshape(-1).tolist()
        numbers = [given] if isinstance(given, int) else given
        return lambda tensor: numbers

    def dtype(self, code: int) -> torch.dtype:
        """The torch type for one of ONNX's; the 16-bit ones are computed in float32."""
        name = DTYPES[code].name if code in DTYPES else str(code)
        name = "float32" if name in ("float16", "bfloat16") else name
        found = getattr(torch, name, None)
        if name not in _NAMES or found is None:
            raise self.refuse(f"the element type {name} is not one that dcz can train")
        return found

    def finish(self) -> None:
        """Refuse the node for an attribute, or an output, that nothing has asked about."""
        for name, value in self._unread.items():
            raise self.refuse(f"attribute {name} = {_shortly(value)} is not one that dcz can train")
        for output in self.node.outputs[self.most_outputs :]:
            if output:
                raise self.refuse(f"its output {output!r} is not one that dcz can train")


_NAMES = frozenset("float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool".split())


def _shortly(value: Any) -> str:
    return f"a tensor of {value.shape}" if isinstance(value, np.ndarray) else repr(value)


def plain(function: Function) -> Operator:
    """An operator without attributes that torch has under some name."""
    return lambda call: function


def axes_of(axes: Iterable[int], rank: int) -> list[int]:
    """Axes counted from the front; raises ValueError for one that is not there."""
    axes = list(axes)
    for axis in axes:
        if not -rank <= axis < rank:
            raise ValueError(f"there is no axis {axis} in {rank} dims")
    return [axis % rank for axis in axes]
