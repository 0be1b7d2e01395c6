"""The reverse of compact: tensors that nodes compute from codes become tensors again, with the values that they have.

    expand_codes(load("small.onnx"))      ->  12, and the model is the dense one, but for its operator set

Only what CompactGraph has made is taken back, by the names of its nodes: in quantized models of others the nodes mean
more than the values, and stay. What another program has changed meanwhile, so that it does not fit, stays as well.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, TensorProto, helper

from ..tensor import ValueGrid
from .code_arithmetic import REAL, CodeArray, Room, array_of, compute, tensor_of
from .compact import PREFIX
from .compact_graph import FORM_KEY
from .model_file import AnyModel, Model, open_model
from .nodes import all_inputs, subgraphs
from .tensors import ModelTensor, tensor_from_proto

_MISFITS = (KeyError, ValueError, IndexError, TypeError)
_MOST_IN_CHAIN = 8  # nodes of ours behind a Gather: dcz puts fewer there


@dataclass(eq=False)
class _Scope:
    """What is constant in a graph or a function: arrays of its own, made from `tensors` when they are asked for.

    `made`: the tensors that are put back into it, by name; `parts`: the constants that only these were computed from.
    Nodes of ours have names that begin with `prefix`.
    """

    outer: "_Scope | None"
    prefix: str
    room: Room
    tensors: dict[str, ModelTensor]
    arrays: dict[str, CodeArray] = field(default_factory=dict)
    made: dict[str, CodeArray] = field(default_factory=dict)
    parts: set[str] = field(default_factory=set)

    def add_part(self, name: str) -> None:
        """Change `parts` of the scope that has a constant."""
        if name in self.tensors:
            self.parts.add(name)
        elif self.outer is not None:
            self.outer.add_part(name)

    def is_ours(self, node: NodeProto) -> bool:
        """Whether dcz has put a node there."""
        return isinstance(node.name, str) and node.name.startswith(self.prefix) and len(node.output) == 1

    def get(self, name: str) -> CodeArray:
        """A constant; raises KeyError where a name is none."""
        if name not in self.arrays:
            if name not in self.tensors:
                if self.outer is None:
                    raise KeyError(name)
                return self.outer.get(name)
            return array_of(self.tensors[name], self.room)
        return self.arrays[name]

    def table(self, name: str) -> "tuple[str, _Scope]":
        """The name of the tensor that a constant has the codes of, "" for others; and the scope that it is in."""
        if name in self.tensors:
            proto = self.tensors[name].proto
            told = proto.doc_string if isinstance(proto, TensorProto) and ".codes" in str(name) else ""
            return told if isinstance(told, str) else "", self  # protobuf has bytes where it is no UTF-8
        return ("", self) if self.outer is None else self.outer.table(name)


def open_dense(model: AnyModel, apart: bool = False, lists: bool = False) -> Model:
    """model_file.open_model, with tensors in the place of codes that dcz has put into the graph."""
    opened = open_model(model, apart, lists)
    expand_codes(opened)
    return opened


def expand_codes(model: Model) -> int:
    """Change `model`: put the tensors back whose codes dcz has put into the graph, and return how many there are."""
    proto = model.proto
    form = next((entry.value for entry in proto.metadata_props if entry.key == FORM_KEY), None)
    if not isinstance(form, str):  # protobuf has bytes where it is no UTF-8
        return 0
    _, _, prefix = form.partition(" ")
    known = {id(tensor.proto): tensor for tensor in model.tensors}
    grids: dict[str, ValueGrid] = {}
    start = _Scope(None, prefix or PREFIX, Room(model.path or "the model", model.source_bytes), {})
    count = _expand(proto.graph, start, known, grids)
    for function in proto.functions:
        count += _expand(function, start, known, {})
    for entry in [entry for entry in proto.metadata_props if entry.key == FORM_KEY]:
        proto.metadata_props.remove(entry)
    if count:
        model.refresh()
        main = {id(tensor) for tensor in proto.graph.initializer}
        for number, tensor in enumerate(model.tensors):
            if id(tensor.proto) in main and tensor.name in grids:
                model.tensors[number] = replace(tensor, grid=grids[tensor.name])
    return count


def _expand(
    message: GraphProto | FunctionProto,
    outer: _Scope,
    known: Mapping[int, ModelTensor],
    grids: dict[str, ValueGrid],
) -> int:
    """Change a graph or function, and the graphs within it; how many tensors were put back. Change `grids`: add those
    of its own tensors, by name; and `outer`, into which tables go back that lie there."""
    nodes = list(message.node)  # kept: the ids of messages that nobody holds are given to others
    scope = _Scope(outer, outer.prefix, outer.room, dict(_constants(message, known, outer.prefix)))
    made = scope.made
    gone: set[int] = set()  # ids of nodes
    tables: dict[str, NodeProto] = {}  # Gathers from codes, by what they give
    chains: dict[str, list[NodeProto]] = {}  # nodes of ours behind them, by what these give
    places: set[str] = set()  # what these Gathers choose by
    for node in nodes:
        if _is_lookup(node) and not scope.is_ours(node) and scope.table(node.input[0])[0]:
            tables[node.output[0]] = node
            places.add(node.input[1])
        elif scope.is_ours(node) and node.op_type != "Constant":
            behind = [name for name in node.input if name in tables or name in chains]
            try:
                if not behind and not (_is_lookup(node) and node.input[1] in places):
                    scope.arrays[node.output[0]] = compute(node, [scope.get(name) for name in node.input], scope.room)
                    gone.add(id(node))
                else:
                    before = {id(each): each for name in behind for each in chains.get(name, [])}
                    if len(before) < _MOST_IN_CHAIN:
                        chains[node.output[0]] = [*before.values(), node]
            except _MISFITS:
                continue
    read = _reads(message, nodes, gone)
    for node in nodes:
        for name in node.output if id(node) in gone else ():
            if name in read and scope.arrays[name].kind in REAL:
                made[name] = scope.arrays[name]
            elif name in read:  # by what another program has put there: codes would become longer numbers
                gone.discard(id(node))
    looked_up = False
    within = {name for chain in chains.values() for node in chain for name in node.input}
    lookups = defaultdict(list)  # nodes of ours that choose scales, by what they choose by
    for node in nodes:
        if _is_lookup(node) and scope.is_ours(node):
            lookups[node.input[1]].append(node)
    for output, chain in chains.items():
        if output not in within:
            looked_up |= _put_back(output, chain, tables, scope, gone, lookups)
    for node in nodes:
        for name in node.input if id(node) in gone else ():
            scope.add_part(name)
    count = 0
    for node in nodes:
        for attribute in node.attribute:
            for graph in subgraphs(attribute):
                count += _expand(graph, scope, known, {})
    grids.update({name: array.grid for name, array in made.items() if array.grid is not None})
    if made or looked_up:
        _rebuild(message, nodes, scope, gone)
    return count + len(made)


def _put_back(
    output: str,
    chain: list[NodeProto],
    tables: Mapping[str, NodeProto],
    scope: _Scope,
    gone: set[int],
    lookups: Mapping[str, list[NodeProto]],
) -> bool:
    """Change a Gather from codes back to one from the tensor, whose chain of nodes gave `output`, and the scope that
    has the codes: it is to have the tensor. Whether that fits."""
    start = next((tables[name] for node in chain for name in node.input if name in tables), None)
    if start is None:
        return False
    (name, owner), indices = scope.table(start.input[0]), start.input[1]
    read = {name for node in chain for name in node.input}
    scales = [node for node in lookups.get(indices, ()) if node.output[0] in read]
    if name not in owner.made:  # several may look up one table
        whole: dict[str, CodeArray] = {start.output[0]: scope.get(start.input[0])}  # as if all places were chosen
        try:
            whole |= {node.output[0]: scope.get(node.input[0]) for node in scales}
            for node in chain:
                if node not in scales:
                    inputs = [whole.get(each) or scope.get(each) for each in node.input]
                    whole[node.output[0]] = compute(node, inputs, scope.room)
        except _MISFITS:
            return False
        owner.made[name] = whole[output]
    gone.update(id(node) for node in (*chain, *scales))
    scope.add_part(start.input[0])
    start.input[0], start.output[0] = name, output
    return True


def _is_lookup(node: NodeProto) -> bool:
    return node.op_type == "Gather" and len(node.input) == 2 and len(node.output) == 1


def _constants(
    message: GraphProto | FunctionProto, known: Mapping[int, ModelTensor], prefix: str
) -> Iterable[tuple[str, ModelTensor]]:
    for tensor in message.initializer if isinstance(message, GraphProto) else ():
        if id(tensor) in known:
            yield tensor.name, known[id(tensor)]
        elif (small := tensor_from_proto(tensor.name, tensor, None, "the model")) is not None:
            yield tensor.name, small
    for node in message.node:
        if node.op_type == "Constant" and isinstance(node.name, str) and node.name.startswith(prefix) and node.output:
            for attribute in node.attribute:
                found = known.get(id(attribute.t)) or tensor_from_proto(node.output[0], attribute.t, None, "the model")
                if found is not None:
                    yield node.output[0], found


def _reads(message: GraphProto | FunctionProto, nodes: list[NodeProto], gone: set[int]) -> set[str]:
    """The names that nodes that stay read, and outputs."""
    outputs = message.output if isinstance(message, FunctionProto) else [info.name for info in message.output]
    return {*outputs, *(name for node in nodes if id(node) not in gone for name in all_inputs(node))}


def _rebuild(message: GraphProto | FunctionProto, nodes: list[NodeProto], scope: _Scope, gone: set[int]) -> None:
    """Change a graph or function: its nodes without those that are gone, its constants without those that only codes
    and what belongs to them were, and with what was made."""
    made = {name: tensor_of(name, array) for name, array in scope.made.items()}
    read = _reads(message, nodes, gone)
    kept = [node for node in nodes if id(node) not in gone]
    kept = [node for node in kept if not (scope.is_ours(node) and node.op_type == "Constant" and
                                          node.output[0] not in read)]  # fmt: skip
    copies = []
    if isinstance(message, FunctionProto):
        for name, tensor in made.items():
            node = helper.make_node("Constant", [], [name])
            node.attribute.add(name="value", type=AttributeProto.TENSOR).t.CopyFrom(tensor)
            copies.append(node)
    for node in kept:
        copy = NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    message.ClearField("node")
    message.node.extend(copies)
    if isinstance(message, GraphProto):
        for number in reversed(range(len(message.initializer))):
            if message.initializer[number].name in scope.parts - read:
                del message.initializer[number]
        message.initializer.extend(made.values())
