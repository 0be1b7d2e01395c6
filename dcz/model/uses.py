"""Which tensors a model holds, subgraphs and functions included, and which operators use them.

    h = Transpose(w); y = MatMul(x, h)    ->    TensorUses(proto).reached(...)(<w>): operand 0 of Transpose, 1 of MatMul

What follows for a tensor is in roles.
"""

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

from .flows import Call, Flow, Label, Read, Scope, State, Value, passed_by_calls
from .nodes import subgraphs
from .operators import GATHERS, PASS_THROUGH, PASS_THROUGH_ALL, operator_name, row_axes
from .reach import Reached

# Reads that all walks over a model may look at together: a graph of n nodes may ask for n^2. What they have not found
# until then is taken not to be there; real models of thousands of layers take a few percent of it.
MAX_STEPS = 2_000_000
ATTRIBUTE = -1  # in the place of an operand's number, where an operator has a tensor as an attribute
_NOWHERE = Scope(())  # where only slots are asked for
_RANDOM = ("Random", "Bernoulli", "Multinomial")  # how the names of operators begin that give other values each time


class TensorSlot(NamedTuple):
    """A place of a model that holds a tensor.

    `value` is the value that the tensor is, None where no node can read it by name. `is_initializer`: of a graph, which
    runtimes take as external data. `owner` is the attribute of a Constant whose `floats` the tensor may stand for.
    `operator`: the one that the tensor is an attribute of, where that is no Constant.
    """

    name: str
    proto: TensorProto | AttributeProto
    value: Value | None
    is_initializer: bool = False
    owner: AttributeProto | None = None
    operator: str = ""


class TensorUses:
    """One walk over a model: `slots`, its tensors in order (the main graph's initializers first), and who reads which
    value. `main` is the main graph's scope. With `slots_only`, the slots alone, whose values say nothing: a
    small part of the time."""

    def __init__(self, proto: ModelProto, slots_only: bool = False):
        self._slots_only = slots_only
        self.slots: list[TensorSlot] = []
        self._readers: dict[Value, list[Read]] = defaultdict(list)
        self._constants: set[Value] = set()
        self._producers: dict[Value, NodeProto] = {}  # of constants that are computed
        self.constant_nodes: list[NodeProto] = []  # in the model's order
        self.steps_left = MAX_STEPS  # of those that walk over it: see roles
        self.opset_imports = list(proto.opset_import)
        self._row_axes: dict[Value, set[int]] = defaultdict(set)
        self._flows: dict[Value, list[Flow]] = defaultdict(list)
        self._loop_outputs: dict[Value, list[Value]] = defaultdict(list)
        self._calls: list[Call] = []
        self._caller: Scope | None = None  # the function whose nodes are walked
        functions = [
            (function, _NOWHERE if slots_only else Scope([*function.input, *_outputs(function.node)]))
            for function in proto.functions
        ]
        self._functions = {} if slots_only else {(f.domain, f.name, f.overload): (f, scope) for f, scope in functions}
        self.main = self._add_graph(proto.graph, None)
        inputs = () if slots_only else ((self.main, info.name) for info in proto.graph.input)
        self.inputs = [value for value in inputs if value not in self._constants]
        self.outputs = frozenset(() if slots_only else ((self.main, info.name) for info in proto.graph.output))
        for function, scope in functions:
            for attribute in function.attribute_proto:
                self._add_attribute(f"{function.name}.{attribute.name}", attribute, None)
                for graph in subgraphs(attribute):
                    self._add_graph(graph, scope)
            self._caller = scope
            self._add_nodes(function.node, scope)
        self._caller = None
        for training in proto.training_info:
            self._add_graph(training.initialization, self.main)
            self._add_graph(training.algorithm, self.main)

    @functools.cached_property
    def _passed(self) -> dict[Value, list[Value]]:
        return passed_by_calls(self._calls, self._flows)

    def reached(self, labels: Callable[[Read], Iterable[Label]]) -> "Callable[[Value | None], tuple[Label, ...]]":
        """A function that gives the labels of all that reads a value, or what whatever only moves it makes of it.

        What enters a function by a call leaves it by the same call; what a function holds itself leaves by all calls.
        """
        flows, passed = self._flows, self._passed

        def successors(state: State) -> Iterator[State]:
            value, is_inside = state
            if not value[1]:  # no name: an input or output that is left out
                return
            for flow in flows.get(value, ()):
                if flow.call is None or (flow.leaves and not is_inside):
                    yield flow.value, is_inside
                elif not flow.leaves:
                    yield flow.value, True  # out of there only by the call it came in by: see flows.passed_by_calls
            for output in passed.get(value, ()):
                yield output, is_inside

        def labels_of(state: State) -> Iterator[Label]:
            value, _ = state
            return (label for read in self._readers.get(value, ()) if value[1] for label in labels(read))

        found = Reached(successors, labels_of)
        return lambda value: found.of((value, False)) if value and value[1] else ()

    def next_of(self, value: Value) -> tuple[list[Read], list[Value]]:
        """What reads a value itself, and the values that have its elements, those that leave a loop among them."""
        flows = [flow.value for flow in self._flows.get(value, ())]
        return self._readers.get(value, []), flows + self._loop_outputs.get(value, [])

    def is_constant(self, value: Value) -> bool:
        """Whether a value is a tensor of the model, or computed from such ones alone."""
        return value in self._constants

    @functools.cached_property
    def constant_order(self) -> dict[int, int]:
        """The place of each constant node in the model's order, by its id."""
        return {id(node): number for number, node in enumerate(self.constant_nodes)}

    def producer(self, value: Value) -> NodeProto | None:
        """The node that computes a constant, None for others."""
        return self._producers.get(value)

    def rows_of(self, value: Value | None) -> int:
        """Which axes number a weight's rows (see ROW_AXES); 0 where that is not known, or its readers differ."""
        axes = self._row_axes.get(value, set()) if value else set()
        return min(axes) if len(axes) == 1 else 0

    def named_slots(self) -> Iterator[tuple[str, TensorSlot]]:
        """The slots under unique names: where several have one name (branches of an If), ~2, ~3 ... are appended."""
        taken: set[str] = set()
        next_number: dict[str, int] = {}  # by name: no number is tried twice
        for slot in self.slots:
            # protobuf hands out names that are not UTF-8 as bytes; the graph keeps them, the directory needs text
            name = slot.name if isinstance(slot.name, str) else slot.name.decode(errors="backslashreplace")
            if name in taken:
                plain, number = name, next_number.get(name, 2)
                while (name := f"{plain}~{number}") in taken:
                    number += 1
                next_number[plain] = number + 1
            taken.add(name)
            yield name, slot

    def _add_graph(self, graph: GraphProto, parent: Scope | None) -> Scope:
        dense, sparse = list(graph.initializer), list(graph.sparse_initializer)
        names = [tensor.name for tensor in dense]
        if self._slots_only:
            self.slots += [TensorSlot(name, tensor, None, True) for name, tensor in zip(names, dense, strict=True)]
            for each in sparse:
                self._add_sparse(each.values.name, each, None)
            self._add_nodes(graph.node, _NOWHERE)
            return _NOWHERE
        names += [each.values.name for each in sparse]
        scope = Scope([*names, *(info.name for info in graph.input), *_outputs(graph.node)], parent)
        values = [(scope, name) for name in names]
        self.slots += [TensorSlot(value[1], tensor, value, True) for tensor, value in zip(dense, values, strict=False)]
        self._constants.update(values)
        for each, value in zip(sparse, values[len(dense) :], strict=True):
            self._add_sparse(value[1], each, value)
        self._add_nodes(graph.node, scope)
        return scope

    def _add_sparse(self, name: str, sparse: SparseTensorProto, value: Value | None) -> None:
        self.slots += [TensorSlot(name, sparse.values, value), TensorSlot(f"{name}.indices", sparse.indices, None)]

    def _add_nodes(self, nodes: Iterable[NodeProto], scope: Scope) -> None:
        for node in nodes:
            if not self._slots_only:
                self._add_reads(node, scope)
            elif not node.attribute:
                continue
            output = node.output[0] if node.output else node.name
            value = (scope, output) if node.op_type == "Constant" else None
            operator = "" if value else operator_name(node)
            for attribute in node.attribute:
                self._add_attribute(output if value else f"{output}.{attribute.name}", attribute, value, operator)
                for graph in subgraphs(attribute):
                    self._add_body(node, graph, scope)

    def _add_reads(self, node: NodeProto, scope: Scope) -> None:
        """Note who reads the node's inputs, and where their elements go from there."""
        outputs = [Flow((scope, name)) for name in node.output]
        operator = operator_name(node)
        called = self._functions.get((node.domain, node.op_type, node.overload))
        operands = [scope.resolve(name) for name in node.input]
        if called is None and _is_pure(node) and all(value in self._constants for value in operands if value[1]):
            self._constants.update((scope, name) for name in node.output)
            self._producers.update(((scope, name), node) for name in node.output)
            self.constant_nodes.append(node)
        by_constants = operator in GATHERS and len(operands) > 1 and operands[1] in self._constants
        for operand, value in enumerate(operands):
            moves = called is None and (
                operator in PASS_THROUGH_ALL or (operand == 0 and (operator in PASS_THROUGH or by_constants))
            )
            self._readers[value].append(Read(operator, operand, node, scope, moves, called is not None))
            self._row_axes[value].add(row_axes(node, operand))
            if moves:
                self._flows[value] += outputs[:1] if operator in PASS_THROUGH_ALL else outputs
        if called is not None:
            function, inner = called
            number = len(self._calls)
            call = Call(
                (self._caller or scope, ""), (inner, ""), operands,
                [(inner, name) for name in function.input], [(scope, name) for name in node.output],
                [(inner, name) for name in function.output],
            )  # fmt: skip
            self._calls.append(call)
            for outside, inside in zip(operands, call.parameters, strict=False):  # trailing ones may be left out
                self._flows[outside].append(Flow(inside, number))
            for outside, inside in zip(call.outputs, call.results, strict=False):
                self._flows[inside].append(Flow(outside, number, leaves=True))

    def _add_attribute(self, name: str, attribute: AttributeProto, value: Value | None, operator: str = "") -> None:
        is_floats = value is not None and attribute.name == "value_floats"
        if attribute.HasField("t"):
            owner = attribute if is_floats else None
            self.slots.append(TensorSlot(name, attribute.t, value, owner=owner, operator=operator))
        elif is_floats and attribute.type == AttributeProto.FLOATS:
            self.slots.append(TensorSlot(name, attribute, value))
        if attribute.HasField("sparse_tensor"):
            self._add_sparse(name, attribute.sparse_tensor, value)
        for i, tensor in enumerate(attribute.tensors):
            self.slots.append(TensorSlot(f"{name}.{i}", tensor, None, operator=operator))
        for i, sparse in enumerate(attribute.sparse_tensors):
            self._add_sparse(f"{name}.{i}", sparse, None)

    def _add_body(self, node: NodeProto, graph: GraphProto, scope: Scope) -> None:
        inner = self._add_graph(graph, scope)
        if self._slots_only:
            return
        for name, inside in zip(node.input, graph.input, strict=False):  # Loop and Scan hand inputs on, in order
            self._flows[scope.resolve(name)].append(Flow((inner, inside.name)))
        if node.op_type == "If":
            for info, name in zip(graph.output, node.output, strict=False):
                self._flows[inner.resolve(info.name)].append(Flow((scope, name)))
        elif node.op_type in ("Loop", "Scan"):
            first = 1 if node.op_type == "Loop" else 0  # a Loop's body says first whether to go on
            for info, name in zip(graph.output[first:], node.output, strict=False):
                self._loop_outputs[inner.resolve(info.name)].append((scope, name))


def _is_pure(node: NodeProto) -> bool:
    """Whether a node's outputs depend on its inputs alone, and are the same each time."""
    if not node.input and node.op_type != "Constant":
        return False
    return not operator_name(node).startswith(_RANDOM) and not any(subgraphs(attribute) for attribute in node.attribute)


def _outputs(nodes: Iterable[NodeProto]) -> Iterator[str]:
    return (name for node in nodes for name in node.output)
