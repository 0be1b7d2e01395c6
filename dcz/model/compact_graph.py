"""A graph whose tensors become nodes that compute them from codes: see compact.

    graph = CompactGraph(proto)
    graph.reason(reference)         ->  "", or why the tensor has to stay as it is
    graph.put(reference, form)      codes and entries are in the graph; the nodes wait
    graph.finish("gather")          nodes stand before those that read them, and what they replace is gone

An initializer's nodes come first in its graph; those of a Constant take its place, wherever that is. Of a function's
tensors, constants are Constant nodes too.
"""

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, helper

from . import compact
from .compact import Form, Parts
from .flows import Value
from .nodes import ONNX_DOMAINS, int_attributes, subgraphs
from .skeleton import Reference
from .uses import TensorUses

FORM_KEY = "dcz.form"  # in the model's metadata: the form that was asked for, and the prefix, where it is another
HALF_BYTE = 4  # bits
OPTIONAL_INPUTS_IR = 4  # from which version of the IR on initializers need not be inputs


@dataclass(eq=False)
class _Holder:
    """A graph or a function, and what is to become of its nodes: those that come `first`, and by the id of a node those
    that take its place. `sees_main`: whether it is the main graph, or within that."""

    message: GraphProto | FunctionProto
    sees_main: bool
    first: list[list[NodeProto]] = field(default_factory=list)
    instead: dict[int, list[NodeProto]] = field(default_factory=dict)
    dropped: set[int] = field(default_factory=set)  # ids of initializers


@dataclass(eq=False)
class _Made:
    """A tensor whose parts are in the graph: the `name` of the value that is all of it, once it is expanded in
    `nodes`."""

    parts: Parts
    name: str
    nodes: list[NodeProto]
    is_expanded: bool = False

    def expand(self) -> None:
        """Change `nodes`: compute the whole tensor there, if that is not done yet."""
        if not self.is_expanded:
            self.nodes += self.parts.expanded(self.name)
            self.is_expanded = True


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a tensor is: an initializer of a graph (`node` None), or the value of a Constant."""

    holder: _Holder
    node: NodeProto | None
    value: Value
    is_main: bool


class CompactGraph:
    """Changes `proto`, a skeleton whose references are known: see the module. Nothing else may change it meanwhile."""

    def __init__(self, proto: ModelProto):
        self._proto = proto
        self._uses = TensorUses(proto)
        self._values = {id(slot.proto): slot.value for slot in self._uses.slots}
        self._places: dict[int, _Place] = {}  # by the id of the TensorProto
        self._holders: list[_Holder] = []
        self._holder_of: dict[int, _Holder] = {}  # by the id of a node
        self._kept: list[object] = []  # wrappers of messages, whose ids must not be given to others
        self._outputs: set[str] = set()  # of any graph
        self._taken: set[str] = set()  # names of values
        self._node_names: set[str | bytes] = set()
        self._made: dict[int, _Made] = {}  # by record, in the main graph
        self._inputs = {info.name for info in proto.graph.input}
        self.lookups = 0  # Gathers that read codes
        self.inputs_gone = 0  # inputs that were there for the sake of initializers
        self._walk(proto.graph, sees_main=True)
        for function in proto.functions:
            self._walk(function, sees_main=False)
        self._prefix = _free_prefix(self._node_names)

    def _walk(self, message: GraphProto | FunctionProto, sees_main: bool) -> None:
        holder = _Holder(message, sees_main)
        is_main = message is self._proto.graph
        self._holders.append(holder)
        if isinstance(message, GraphProto):
            self._taken.update(info.name for info in (*message.input, *message.output))
            self._outputs.update(info.name for info in message.output)
            for tensor in message.initializer:
                self._taken.add(tensor.name)
                self._add_place(tensor, holder, None, is_main)
            self._taken.update(sparse.values.name for sparse in message.sparse_initializer)
        else:
            self._taken.update((*message.input, *message.output))
            self._outputs.update(message.output)
        for node in message.node:
            self._kept.append(node)
            self._holder_of[id(node)] = holder
            self._taken.update((*node.input, *node.output))
            self._node_names.add(node.name)
            is_constant = node.op_type == "Constant" and node.domain in ONNX_DOMAINS and len(node.attribute) == 1
            for attribute in node.attribute:
                if is_constant and attribute.HasField("t"):
                    self._add_place(attribute.t, holder, node, is_main)
                for graph in subgraphs(attribute):
                    self._walk(graph, sees_main)

    def _add_place(self, tensor: TensorProto, holder: _Holder, node: NodeProto | None, is_main: bool) -> None:
        value = self._values.get(id(tensor))
        if value is not None:
            self._kept.append(tensor)
            self._places[id(tensor)] = _Place(holder, node, value, is_main)

    def reason(self, reference: Reference) -> str:
        """Why a tensor cannot be computed by nodes; "" where it can."""
        place, proto = self._places.get(id(reference.slot.proto)), reference.slot.proto
        if place is None:
            return "no operand, but an attribute, or part of a sparse tensor or of training"
        if not isinstance(place.value[1], str):
            return "its name is no UTF-8"
        is_input = place.is_main and place.node is None and proto.name in self._inputs
        if is_input and self._proto.ir_version >= OPTIONAL_INPUTS_IR:
            return "it is the default of an input, which callers may give"
        if place.value[1] not in self._outputs and not any(self._uses.next_of(place.value)):
            return "nothing reads it"
        return ""

    def put(self, reference: Reference, form: Form) -> None:
        """Compute a tensor, which has no `reason` not to, by `form`: that of its record, whose transpose it may be."""
        place = self._places[id(reference.slot.proto)]
        name = place.value[1]
        nodes: list[NodeProto] = []
        if place.node is None:
            place.holder.dropped.add(id(reference.slot.proto))
            place.holder.first.append(nodes)
        else:
            place.holder.instead[id(place.node)] = nodes
        if form.bits == HALF_BYTE and any(read.operator == "Gather" for read in self._uses.next_of(place.value)[0]):
            form = replace(form, bits=8)  # Gather takes no half bytes, and no table is to be expanded
        made = self._made.get(reference.record)
        if made is not None and place.holder.sees_main:
            made.expand()
            nodes.append(compact.copy_of(self._prefix, made.name, name, reference.transposed))
            return
        parts = Parts(
            name, form, self._prefix, self._new_name, lambda tensor: self._add_constant(place.holder, tensor, nodes)
        )
        made = _Made(parts, self._new_name(f"{name}.record") if reference.transposed else name, nodes)
        if reference.transposed:
            made.expand()
            nodes.append(compact.copy_of(self._prefix, made.name, name, True))
        elif self._look_up(place.value, parts):
            made.expand()
        if place.is_main and place.node is None:  # what all graphs can read, from the beginning on
            self._made[reference.record] = made

    def _look_up(self, value: Value, parts: Parts) -> bool:
        """Have the Gathers that can read codes do so; whether anything else reads the tensor."""
        reads, _ = self._uses.next_of(value)
        is_other = value[1] in self._outputs
        for read in reads:
            axis = int_attributes(read.node).get("axis", 0)
            holder = self._holder_of.get(id(read.node))
            if (read.operator, read.operand) == ("Gather", 0) and holder is not None and parts.may_look_up(axis):
                holder.instead[id(read.node)] = parts.looked_up(read.node, axis)
                self.lookups += 1
            else:
                is_other = True
        return is_other

    def _add_constant(self, holder: _Holder, tensor: TensorProto, nodes: list[NodeProto]) -> str:
        """Put a constant into a graph, or before `nodes`; its name."""
        if isinstance(holder.message, GraphProto):
            self._kept.append(tensor)
            added = holder.message.initializer.add()
            added.CopyFrom(tensor)
        else:
            node = helper.make_node("Constant", [], [tensor.name], name=self._prefix + tensor.name)
            attribute = node.attribute.add(name="value", type=AttributeProto.TENSOR)
            attribute.t.CopyFrom(tensor)
            nodes.append(node)
        return tensor.name

    def _new_name(self, wanted: str) -> str:
        name, number = wanted, 2
        while name in self._taken:
            name, number = f"{wanted}.{number}", number + 1
        self._taken.add(name)
        return name

    def finish(self, form: str) -> None:
        """Put the nodes in their places, remove what nothing needs, and note the form in the model's metadata."""
        for holder in reversed(self._holders):  # inner ones first, which are part of the nodes around them
            if holder.dropped:
                self._drop(holder)
            if holder.first or holder.instead:
                nodes = [*itertools.chain(*holder.first), *self._replaced(holder)]
                copies = [NodeProto() for _ in nodes]
                for copy, node in zip(copies, nodes, strict=True):
                    copy.CopyFrom(node)
                holder.message.ClearField("node")
                holder.message.node.extend(copies)
        if not any(holder.first or holder.instead for holder in self._holders):
            return
        self._proto.ir_version = max(self._proto.ir_version, OPTIONAL_INPUTS_IR)
        for entry in [entry for entry in self._proto.metadata_props if entry.key == FORM_KEY]:
            self._proto.metadata_props.remove(entry)
        more = "" if self._prefix == compact.PREFIX else f" {self._prefix}"
        self._proto.metadata_props.add(key=FORM_KEY, value=form + more)

    def _replaced(self, holder: _Holder) -> Iterator[NodeProto]:
        for node in holder.message.node:
            yield from holder.instead.get(id(node), [node])

    def _drop(self, holder: _Holder) -> None:
        graph = holder.message
        assert isinstance(graph, GraphProto), "functions have no initializers"
        names = {tensor.name for tensor in graph.initializer if id(tensor) in holder.dropped}
        for number in reversed(range(len(graph.initializer))):
            if id(graph.initializer[number]) in holder.dropped:
                del graph.initializer[number]
        for number in reversed(range(len(graph.input))):
            if graph is self._proto.graph and graph.input[number].name in names:
                del graph.input[number]
                self.inputs_gone += 1


def _free_prefix(names: Collection[str | bytes]) -> str:
    """A prefix for the names of nodes that none of the `names` has (bytes, where protobuf gives them, are no UTF-8)."""
    prefix, number = compact.PREFIX, 2
    while any(isinstance(name, str) and name.startswith(prefix) for name in names):
        prefix, number = f"{compact.PREFIX.rstrip(':')}{number}:", number + 1
    return prefix
