"""A node while it becomes a function: its attributes are read once, and one that is left unread is refused.

    call.attribute("axis", -1)      an attribute, or its default
    call.integers("shape", 1)       integers that are an attribute in one opset and an operand in another
    call.refuse("...")              the exception that names the node

An operator is a function of a `Call` that returns a function of tensors: `relu(call)(x)`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ...errors import UnsuitableModel
from ...model import Node
from ...tensor import DTYPES
from ..pytorch import Tensor, torch

Function = Callable[..., Tensor | tuple[Tensor, ...]]  # of the node's operands; None for a missing one
Operator = Callable[["Call"], Function]

_REQUIRED = object()


class Call:
    """One node. `known` are the values known before the model runs, by name; `fixed` those of them that were read."""

    def __init__(self, node: Node, opset: int, known: Mapping[str, Tensor], place: str):
        self.node = node
        self.opset = opset
        self.fixed: set[str] = set()
        self.max_outputs = 1
        self._known = known
        self._place = place
        self._unread = dict(node.attributes)

    def refuse(self, why: str) -> UnsuitableModel:
        """The exception, not raised yet, for what dcz cannot do with this node."""
        return UnsuitableModel(f"{self._place}: node {self.node.name!r}: operator {self.node.op}: {why}")

    def attribute(self, name: str, default: Any = _REQUIRED) -> Any:
        """The value of an attribute; refuse the node where it has none and there is no default."""
        value = self._unread.pop(name, default)
        if value is _REQUIRED:
            raise self.refuse(f"it has no attribute {name}")
        return value

    def choice(self, name: str, default: Any, allowed: Iterable[Any]) -> Any:
        """The value of an attribute; refuse the node unless it is one of `allowed`."""
        value = self.attribute(name, default)
        if value not in allowed:
            one_of = ", ".join(map(str, allowed))
            raise self.refuse(f"attribute {name} is {value!r}; dcz can train {one_of}")
        return value

    def ignore(self, *names: str) -> None:
        """Accept these attributes: they change nothing here."""
        for name in names:
            self._unread.pop(name, None)

    def has(self, operand: int) -> bool:
        """Whether the node has the operand."""
        return operand < len(self.node.inputs) and bool(self.node.inputs[operand])

    def wants(self, output: int) -> bool:
        """Whether the output has a name, and so may be used."""
        return output < len(self.node.outputs) and bool(self.node.outputs[output])

    def known(self, operand: int) -> Tensor | None:
        """The value of an operand that depends on no input of the model, or None; from then on it must not change."""
        value = self._known.get(self.node.inputs[operand]) if self.has(operand) else None
        if value is not None:
            self.fixed.add(self.node.inputs[operand])
        return value

    def optional_integers(self, attribute: str, operand: int) -> Callable[[Tensor | None], list[int] | None]:
        """Integers from an attribute or an operand, as a function of that operand; None where the node has neither.

        Values that are known are read now; others from the tensor when the model runs.
        """
        numbers = self.attribute(attribute, None)
        value = self.known(operand)
        if value is not None:
            numbers = value.reshape(-1).tolist()
        if numbers is None and self.has(operand):
            return lambda tensor: None if tensor is None else tensor.reshape(-1).tolist()
        constant = [numbers] if isinstance(numbers, int) else numbers
        return lambda tensor: constant

    def integers(self, attribute: str, operand: int) -> Callable[[Tensor | None], list[int]]:
        """The same where the node must have one of both: else the function raises ValueError."""
        read = self.optional_integers(attribute, operand)

        def integers(tensor: Tensor | None) -> list[int]:
            if (numbers := read(tensor)) is None:
                raise ValueError(f"it has no {attribute}")
            return numbers

        return integers

    def dtype(self, code: int) -> torch.dtype:
        """The torch type for one of ONNX's; the 16-bit floats are computed in float32."""
        name = DTYPES[code].name if code in DTYPES else str(code)
        name = "float32" if name in ("float16", "bfloat16") else name
        dtype = getattr(torch, name, None)
        if name not in _TORCH_TYPES or not isinstance(dtype, torch.dtype):
            raise self.refuse(f"the element type {name} is not one that dcz can train")
        return dtype

    def finish(self) -> None:
        """Refuse the node for an attribute or an output that was not read."""
        for name, value in self._unread.items():
            raise self.refuse(f"attribute {name} = {_summary(value)} is not one that dcz can train")
        for output in self.node.outputs[self.max_outputs :]:
            if output:
                raise self.refuse(f"its output {output!r} is not one that dcz can train")


_TORCH_TYPES = frozenset({
    "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
})  # fmt: skip


def _summary(value: Any) -> str:
    return f"a tensor of {value.shape}" if isinstance(value, np.ndarray) else repr(value)


def plain(function: Function) -> Operator:
    """An operator without attributes that is one function of torch."""
    return lambda call: function


def axes_of(axes: Iterable[int], rank: int) -> list[int]:
    """Axes counted from the front; raises ValueError for one out of range."""
    axes = list(axes)
    for axis in axes:
        if not -rank <= axis < rank:
            raise ValueError(f"there is no axis {axis} in {rank} dims")
    return [axis % rank for axis in axes]
