"""Which tensors are weights, and why the others are none.

    roles({<w>: tensor, ...}, TensorUses(proto))    ->  {<w>: Role(is_weight=True), <anchors>: Role(reason="...")}

A tensor is a weight where a layer reads it as one (operators.WEIGHT_INPUTS), or what is computed from it and other
constants, if errors do not grow on the way (see constants), but for the first and the last of three kinds:

A table that a Gather reads at places that depend on the input is an embedding where layers read what was found, and
numbers of another kind (anchors, coordinates, ids) where plain arithmetic takes them to outputs or comparisons.

A table that is added to what the network computes, and goes on to layers, is an embedding too: of positions, say.

A matrix of signal processing (see signals) before all learned layers, or that reaches a logarithm, a power or a root
without one in between: small errors of it become large ones where the signal is weak.
"""

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import constants, signals
from .added_tables import MIN_EMBEDDING, AddedTables
from .flows import Read, Value
from .nodes import int_attributes
from .operators import GATHERS, PASS_THROUGH, PASS_THROUGH_ALL, PLACES, WEIGHT_INPUTS
from .reach import Reached
from .uses import TensorUses
from .walks import Walk, find_destinations

if TYPE_CHECKING:
    from .tensors import ModelTensor

MIN_COMPUTED = 256  # elements of a tensor from which weights are computed: smaller ones, such as gains, stay exact
MAX_GAIN = 1.0  # decibels by which their errors may grow on the way
# What signal processing does between its matrices and a logarithm, beside moving elements.
ARITHMETIC = PASS_THROUGH | PASS_THROUGH_ALL | GATHERS | {
    "Abs", "Add", "Clip", "Div", "Max", "Mean", "Min", "Mul", "Neg", "ReduceMax", "ReduceMean", "ReduceSum", "Relu",
    "Sub", "Sum", "Where",
}  # fmt: skip
POWERS = {"Log": "a logarithm", "Pow": "a power", "Sqrt": "a root", "ReduceL2": "a root", "ReduceSumSquare": "a power",
          "ReduceLogSum": "a logarithm"}  # fmt: skip


@dataclass(frozen=True)
class Role:
    """What a tensor is. `reason`: why a tensor that looks like a weight is none."""

    is_weight: bool = False
    reason: str = ""


def roles(tensors: Mapping[Value, "ModelTensor"], uses: TensorUses) -> dict[Value, Role]:
    """The role of each tensor, by the value that it is."""
    reads_of = uses.reached(lambda read: [read] if _is_weight_read(read) else [])
    weight_reads = {value: list(reads_of(value)) for value in tensors}
    by_node: dict[int, list[ModelTensor]] = {}
    for value, reads in weight_reads.items():
        for read in reads:
            by_node.setdefault(id(read.node), []).append(tensors[value])
    processing, destinations = _SignalProcessing(uses, by_node), find_destinations(uses)
    found = {value: _role(tensors[value], reads, destinations, processing) for value, reads in weight_reads.items()}
    computed = {value: _behind_constants(value, tensors, uses) for value, reads in weight_reads.items() if not reads}
    found |= {value: role for value, role in computed.items() if role}
    added = AddedTables(uses)
    others = [value for value, role in found.items() if not role.is_weight and not role.reason]
    return found | {value: Role(is_weight=True) for value in others if added.holds(value, tensors[value])}


def _is_weight_read(read: Read) -> bool:
    return not read.moves and not read.is_call and read.operand in WEIGHT_INPUTS.get(read.operator, ())


def _role(
    tensor: "ModelTensor", reads: Sequence[Read], destinations: Reached[Value, str], processing: "_SignalProcessing"
) -> Role:
    layers = [read for read in reads if read.operator not in GATHERS]
    if not any(_is_embedding(tensor, read, destinations) for read in reads if read.operator in GATHERS):
        if not layers:
            return Role(reason="looked up for arithmetic, not for layers" if reads else "")
        if reason := processing.reason(tensor, layers):
            return Role(reason=reason)
    return Role(is_weight=True)


# -- behind constants --------------------------------------------------------------------------------------------------


def _behind_constants(value: Value, tensors: Mapping[Value, "ModelTensor"], uses: TensorUses) -> Role | None:
    """The role of a tensor from which layers' weights are computed, with constants alone; None of another."""
    tensor = tensors[value]
    if not tensor.dtype.real or math.prod(tensor.shape) < MIN_COMPUTED or not uses.next_of(value)[0]:
        return None
    results = constants.results(value, uses, lambda read: _is_weight_read(read) and read.operator not in GATHERS)
    if not results:
        return None
    if all(constants.gain(value, result, tensor, uses, tensors) <= MAX_GAIN for result in results):
        return Role(is_weight=True)
    layers = sorted({read.operator for reads in results.values() for read in reads})
    return Role(reason=f"changed before {', '.join(layers)} in a way that lets errors grow")


# -- tables ------------------------------------------------------------------------------------------------------------


def _is_embedding(tensor: "ModelTensor", read: Read, destinations: Reached[Value, str]) -> bool:
    """Whether what a Gather finds in a table are features, not numbers to compute with."""
    found = {end for value in read.outputs for end in destinations.of(value)}
    if _looked_up_together(tensor, read) >= MIN_EMBEDDING:
        return "layer" in found or "output" in found
    return found == {"layer"}


def _looked_up_together(tensor: "ModelTensor", read: Read) -> int:
    """How many neighbouring numbers of a table belong to one place."""
    shape = tensor.shape
    if read.operator == "Gather" and shape:
        axis = int_attributes(read.node).get("axis", 0)
        if -len(shape) <= axis < len(shape) and shape[axis]:
            return math.prod(shape) // shape[axis]
    return shape[-1] if len(shape) > 1 else 1


# -- signals -----------------------------------------------------------------------------------------------------------


class _Kinds:
    """The kinds of signal processing that tensors do, each looked at once, and what is arithmetic or such processing.

    `by_node`: the tensors that a node reads as weights, by the node's id. (Apart from what walks by it: in a cycle
    of objects the whole model would wait for the garbage collector.)
    """

    def __init__(self, by_node: Mapping[int, Sequence["ModelTensor"]]):
        self._by_node = by_node
        self._found: dict[int, str] = {}

    def of(self, tensor: "ModelTensor") -> str:
        """The kind of signal processing that a tensor does; "" for a weight that was learned."""
        if id(tensor) not in self._found:
            is_candidate = tensor.dtype.real and tensor.nbytes > 0 and signals.may_be(tensor.shape)
            self._found[id(tensor)] = signals.kind(tensor.values()) if is_candidate else ""
        return self._found[id(tensor)]

    def follow(self, read: Read, more: Container[str] = ()) -> str | None:
        """None where what reads a value is arithmetic, or `more`, or signal processing too; else ""."""
        if read.operator in WEIGHT_INPUTS and read.operator not in GATHERS:
            matrices = self._by_node.get(id(read.node), ())
            return None if matrices and all(map(self.of, matrices)) else ""
        is_arithmetic = read.operator in ARITHMETIC or read.operator in more
        return None if is_arithmetic and read.operand not in PLACES.get(read.operator, ()) else ""


class _SignalProcessing:
    """What of a graph is signal processing: no learned layer lies between it and the inputs, or a power of its result.

    `by_node`: see _Kinds.
    """

    def __init__(self, uses: TensorUses, by_node: Mapping[int, Sequence["ModelTensor"]]):
        kinds = self._kinds = _Kinds(by_node)
        self._unlearned = Walk(uses, lambda read: kinds.follow(read, POWERS)).values(uses.inputs)
        powers = Walk(uses, lambda read: _power(read) or kinds.follow(read))
        self._powers: Reached[Value, str] = Reached(powers.onward, powers.ends)

    def reason(self, tensor: "ModelTensor", reads: Sequence[Read]) -> str:
        """Why the weights of layers are none; "" where they are."""
        ends = [self._power_after(read) for read in reads]
        if all(ends):
            kind = self._kinds.of(tensor)
            return f"{kind} whose result reaches {ends[0]}" if kind else ""
        if all(self._is_before_layers(read) for read in reads):
            kind = self._kinds.of(tensor)
            return f"{kind} before all learned layers" if kind else ""
        return ""

    def _is_before_layers(self, read: Read) -> bool:
        """Whether one of a layer's other operands comes from the inputs without a learned layer."""
        return any(read.scope.resolve(name) in self._unlearned for name in read.node.input if name)

    def _power_after(self, read: Read) -> str:
        """The logarithm, power or root that a layer's result reaches with no learned layer in between; "" if none."""
        ends = (end for value in read.outputs for end in self._powers.of(value))
        return next(ends, "")


def _power(read: Read) -> str:
    """The logarithm, power or root that a node computes; "" for others."""
    is_square = read.operator == "Mul" and len(read.node.input) == 2 and read.node.input[0] == read.node.input[1]
    return "a power" if is_square else POWERS.get(read.operator, "")
