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
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from onnx import AttributeProto, NodeProto, TensorProto

from . import constants, signals
from .flows import Read, Value
from .nodes import int_attributes
from .operators import COMPARISONS, GATHERS, LAYERS, PASS_THROUGH, PASS_THROUGH_ALL, PLACES, SHAPES, WEIGHT_INPUTS
from .reach import Reached
from .uses import TensorUses

if TYPE_CHECKING:
    from .tensors import ModelTensor

# Numbers that are looked up together: an embedding has more of them than boxes, points or ids.
MIN_EMBEDDING = 32
MIN_ADDED, MIN_PLACES = 1 << 14, 16  # elements of a table that is added, and places: of fewer it is a bias
MIN_COMPUTED = 256  # elements of a tensor from which weights are computed: smaller ones, such as gains, stay exact
MAX_GAIN = 1.0  # decibels by which their errors may grow on the way
# What signal processing does between its matrices and a logarithm, beside moving elements.
ARITHMETIC = PASS_THROUGH | PASS_THROUGH_ALL | GATHERS | {
    "Abs", "Add", "Clip", "Div", "Max", "Mean", "Min", "Mul", "Neg", "ReduceMax", "ReduceMean", "ReduceSum", "Relu",
    "Sub", "Sum", "Where",
}  # fmt: skip
SUMS = frozenset(["Add", "Sum", "Resize"])
POWERS = {"Log": "a logarithm", "Pow": "a power", "Sqrt": "a root", "ReduceL2": "a root", "ReduceSumSquare": "a power",
          "ReduceLogSum": "a logarithm"}  # fmt: skip
_WHOLE = frozenset([
    TensorProto.BOOL, TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64,
    TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
])  # fmt: skip


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
    processing, destinations = _SignalProcessing(uses, by_node), _destinations(uses)
    found = {value: _role(tensors[value], reads, destinations, processing) for value, reads in weight_reads.items()}
    computed = {value: _behind_constants(value, tensors, uses) for value, reads in weight_reads.items() if not reads}
    found |= {value: role for value, role in computed.items() if role}
    added = _AddedTables(uses)
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


class _AddedTables:
    """Which tensors are tables that are added to what the network computes: see the module's docstring."""

    def __init__(self, uses: TensorUses):
        self._uses = uses
        self._reads_of = uses.reached(lambda read: [] if read.moves or read.operator in SHAPES else [read])
        self._destinations = _destinations(uses, {"Softmax": "softmax", "LogSoftmax": "softmax"})

    def holds(self, value: Value, tensor: "ModelTensor") -> bool:
        """Whether a tensor is such a table, whose values lie around zero.

        Not one that a Softmax gets, whose large numbers are no errors to scale: masks, slopes by distance.
        """
        size, width = math.prod(tensor.shape), max(tensor.shape[-1:], default=0)
        if not tensor.dtype.real or width < MIN_EMBEDDING or size < max(MIN_ADDED, MIN_PLACES * width):
            return False
        reads = self._reads_of(value)
        if not reads or not all(self._is_sum(read) for read in reads):
            return False
        ends = {end for read in reads for output in read.outputs for end in self._destinations.of(output)}
        if "layer" not in ends or not ends <= {"layer", "output"}:
            return False
        values = tensor.values()
        with np.errstate(invalid="ignore", over="ignore"):  # infinities: no such table
            return bool(abs(values.mean(dtype=np.float64)) <= values.std(dtype=np.float64))

    def _is_sum(self, read: Read) -> bool:
        """Whether a node adds a value to one that is computed, or resizes it before."""
        operands = [read.scope.resolve(name) for name in read.node.input if name]
        computed = read.operator == "Resize" or not all(map(self._uses.is_constant, operands))
        return read.operator in SUMS and read.operand not in PLACES.get(read.operator, ()) and computed


def _looked_up_together(tensor: "ModelTensor", read: Read) -> int:
    """How many neighbouring numbers of a table belong to one place."""
    shape = tensor.shape
    if read.operator == "Gather" and shape:
        axis = int_attributes(read.node).get("axis", 0)
        if -len(shape) <= axis < len(shape) and shape[axis]:
            return math.prod(shape) // shape[axis]
    return shape[-1] if len(shape) > 1 else 1


def _destinations(uses: TensorUses, more: Mapping[str, str] | None = None) -> Reached[Value, str]:
    """Where values go by arithmetic: to a "layer", an "output" of the model, a "comparison", or as a "place"; `more`:
    what other operators, by name, are called where the way ends there too."""
    named = more or {}

    def follow(read: Read) -> str | None:
        if read.operator in named:
            return named[read.operator]
        if read.operator in LAYERS:
            return "layer"
        if read.operator in SHAPES:
            return ""
        if read.operand in PLACES.get(read.operator, ()):
            return "place"
        if read.operator in COMPARISONS or (read.operator == "Cast" and _cast_type(read.node) in _WHOLE):
            return "comparison"
        return None

    walk = _Walk(uses, follow)
    return Reached(walk.onward, lambda value: [*walk.ends(value), *(["output"] if value in uses.outputs else [])])


def _cast_type(node: NodeProto) -> int:
    return next((a.i for a in node.attribute if a.name == "to" and a.type == AttributeProto.INT), 0)


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
        self._unlearned = _Walk(uses, lambda read: kinds.follow(read, POWERS)).values(uses.inputs)
        powers = _Walk(uses, lambda read: _power(read) or kinds.follow(read))
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


class _Walk:
    """The way that values take: `follow` says of what reads one None to go on behind it, else what it ends as."""

    def __init__(self, uses: TensorUses, follow: Callable[[Read], str | None]):
        self._uses, self._follow = uses, follow

    def onward(self, value: Value) -> Iterator[Value]:
        """The values that come of a value in one step."""
        reads, following = self._uses.next_of(value)
        found = dict.fromkeys(other for other in following if other[1])  # no name: left out
        for read in reads:
            if self._follow(read) is not None:
                # its own outputs are not followed, and neither is what it moves there
                for output in read.outputs:
                    found.pop(output, None)
            elif read.operator == "TopK":
                found |= dict.fromkeys(read.outputs[:1])
            else:
                found |= dict.fromkeys(read.outputs if not read.is_call else ())
        return iter(found)

    def ends(self, value: Value) -> list[str]:
        """What a value ends as in what reads it."""
        reads, _ = self._uses.next_of(value)
        return [end for end in map(self._follow, reads) if end]

    def values(self, values: Iterable[Value]) -> set[Value]:
        """All that come of some values, these among them."""
        waiting = list(values)
        seen = set(waiting)
        while waiting:
            fresh = [value for value in self.onward(waiting.pop()) if value not in seen]
            seen.update(fresh)
            waiting += fresh
        return seen
