"""Which tensors a model holds, in every corner of it, and which operators use them."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

# The operands that are weights worth pruning and sharing, by operator. What only other operands use (biases,
# normalisation parameters, constants of arithmetic) stays exact, unless a plan says otherwise.
WEIGHT_INPUTS = {
    "Conv": (1,), "ConvTranspose": (1,), "DeformConv": (1,), "FusedConv": (1,),
    "Gemm": (0, 1), "FusedGemm": (0, 1), "MatMul": (0, 1), "FusedMatMul": (0, 1), "Einsum": tuple(range(8)),
    "Gather": (0,), "GatherElements": (0,), "GatherND": (0,),
    "LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2),
    "Attention": (1,), "EmbedLayerNormalization": (2, 3, 4),
}  # fmt: skip
# Operators that only move or convert their first operand: what uses their output uses the tensor.
PASS_THROUGH = frozenset(
    "Identity Transpose Reshape Squeeze Unsqueeze Flatten Cast CastLike Slice Split Expand Tile Dropout Pad".split()
)
# The axes that number the rows of a weight, whose elements are summed up for one output: tensor.Tensor.rows. Depends on
# attributes for Gemm; ConvTranspose has rows of its own in each group.
ROWS = {("Conv", 1): 1, ("FusedConv", 1): 1, ("MatMul", 1): -1,
        ("LSTM", 1): 2, ("LSTM", 2): 2, ("GRU", 1): 2, ("GRU", 2): 2, ("RNN", 1): 2, ("RNN", 2): 2}  # fmt: skip
REMEMBERED = 3  # calls within calls that are told apart
PASS_ALL = frozenset(["Concat"])  # the same for every operand


class _Scope:
    """The names that a graph or function defines; others belong to the graph around it."""

    def __init__(self, names, parent: "_Scope | None" = None):
        self.names = frozenset(names)
        self.parent = parent

    def resolve(self, name: str) -> tuple["_Scope", str]:
        """The value that `name` means here."""
        scope = self
        while name not in scope.names and scope.parent is not None:
            scope = scope.parent
        return scope, name


@dataclass(frozen=True, eq=False)
class _Flow:
    """Where a value goes, moved or converted at most; `call` numbers the call by which it enters or leaves a
    function."""

    value: tuple[_Scope, str]
    call: int | None = None
    leaves: bool = False


@dataclass(eq=False)
class FoundTensor:
    """A tensor as the survey finds it.

    `value` is the value that it gives, `own_file` whether runtimes take it as external data, `owner` the attribute
    whose floats it stands for.
    """

    name: str
    proto: TensorProto | AttributeProto
    value: tuple[_Scope, str] | None
    own_file: bool = False
    owner: AttributeProto | None = None


class TensorUses:
    """One walk over a model: its tensors in order, the main graph's initializers first, and who reads which value.

    `main` is the main graph's scope.
    """

    def __init__(self, proto: ModelProto):
        self.tensors: list[FoundTensor] = []
        self._readers: dict[tuple, list[tuple[str, int]]] = defaultdict(list)
        self._rows: dict[tuple, set[int]] = defaultdict(set)
        self._flows: dict[tuple, list[_Flow]] = defaultdict(list)
        self._calls = 0
        functions = [(function, _Scope([*function.input, *_outputs(function.node)])) for function in proto.functions]
        self._functions = {(f.domain, f.name, f.overload): (f, scope) for f, scope in functions}
        self.main = self._graph(proto.graph, None)
        for function, scope in functions:
            for attribute in function.attribute_proto:
                self._attribute_tensors(f"{function.name}.{attribute.name}", attribute, None)
                for graph in _graphs(attribute):
                    self._graph(graph, scope)
            self._nodes(function.node, scope)
        for training in proto.training_info:
            self._graph(training.initialization, self.main)
            self._graph(training.algorithm, self.main)

    def uses(self, value: tuple | None) -> frozenset[tuple[str, int]]:
        """The (operator, operand) pairs that a value reaches, through whatever only moves it.

        What enters a function leaves it by the same call, what a function holds itself by all of them. Of calls within
        calls only the innermost few are remembered, lest deep nesting multiply; a value may then be followed to too
        many operators, never to too few.
        """
        found: set[tuple[str, int]] = set()
        seen = set()
        waiting: list[tuple] = [(value, ())] if value else []
        while waiting:
            value, calls = waiting.pop()
            if (value, calls) in seen or not value[1]:  # no name: an operand or output that is left out
                continue
            seen.add((value, calls))
            found.update(self._readers.get(value, ()))
            for flow in self._flows.get(value, ()):
                if flow.call is None or (flow.leaves and not calls):
                    waiting.append((flow.value, calls))
                elif flow.leaves and calls[-1] == flow.call:
                    waiting.append((flow.value, calls[:-1]))
                elif not flow.leaves:
                    waiting.append((flow.value, (*calls, flow.call)[-REMEMBERED:]))
        return frozenset(found)

    def rows(self, value: tuple | None) -> int:
        """Which axes number the rows of a weight (tensor.Tensor.rows), 0 where its readers differ or do not tell."""
        found = self._rows.get(value, set())
        return min(found) if len(found) == 1 else 0

    def _graph(self, graph: GraphProto, parent: _Scope | None) -> _Scope:
        tensors = [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]
        names = [*(t.name for t in tensors), *(v.name for v in graph.input), *_outputs(graph.node)]
        scope = _Scope(names, parent)
        self.tensors += [FoundTensor(t.name, t, (scope, t.name), own_file=True) for t in graph.initializer]
        for sparse in graph.sparse_initializer:
            self._sparse(sparse.values.name, sparse, (scope, sparse.values.name))
        self._nodes(graph.node, scope)
        return scope

    def _sparse(self, name: str, sparse, value: tuple | None) -> None:
        self.tensors += [FoundTensor(name, sparse.values, value), FoundTensor(f"{name}.indices", sparse.indices, None)]

    def _nodes(self, nodes, scope: _Scope) -> None:
        for node in nodes:
            self._operands(node, scope)
            output = node.output[0] if node.output else node.name
            value = (scope, output) if node.op_type == "Constant" else None
            for attribute in node.attribute:
                self._attribute_tensors(output if value else f"{output}.{attribute.name}", attribute, value)
                for graph in _graphs(attribute):
                    self._body(node, graph, scope)

    def _operands(self, node: NodeProto, scope: _Scope) -> None:
        """Note who reads the node's operands, and where they go from there."""
        outputs = [_Flow((scope, name)) for name in node.output]
        for operand, name in enumerate(node.input):
            value = scope.resolve(name)
            self._readers[value].append((node.op_type, operand))
            self._rows[value].add(_rows(node, operand))
            if node.op_type in PASS_ALL or (node.op_type in PASS_THROUGH and operand == 0):
                self._flows[value] += outputs
        if called := self._functions.get((node.domain, node.op_type, node.overload)):
            function, inner = called
            self._calls += 1
            for outside, inside in zip(node.input, function.input):
                self._flows[scope.resolve(outside)].append(_Flow((inner, inside), self._calls))
            for outside, inside in zip(node.output, function.output):
                self._flows[inner, inside].append(_Flow((scope, outside), self._calls, leaves=True))

    def _attribute_tensors(self, name: str, attribute: AttributeProto, value: tuple | None) -> None:
        floats = value is not None and attribute.name == "value_floats"
        if attribute.HasField("t"):
            self.tensors.append(FoundTensor(name, attribute.t, value, owner=attribute if floats else None))
        elif floats and attribute.type == AttributeProto.FLOATS:
            self.tensors.append(FoundTensor(name, attribute, value))
        if attribute.HasField("sparse_tensor"):
            self._sparse(name, attribute.sparse_tensor, value)
        self.tensors += [FoundTensor(f"{name}.{i}", tensor, None) for i, tensor in enumerate(attribute.tensors)]
        for i, sparse in enumerate(attribute.sparse_tensors):
            self._sparse(f"{name}.{i}", sparse, None)

    def _body(self, node: NodeProto, graph: GraphProto, scope: _Scope) -> None:
        inner = self._graph(graph, scope)
        for name, inside in zip(node.input, graph.input):  # Loop and Scan hand their operands to the body, in order
            self._flows[scope.resolve(name)].append(_Flow((inner, inside.name)))
        if node.op_type == "If":
            for inside, name in zip(graph.output, node.output):
                self._flows[inner.resolve(inside.name)].append(_Flow((scope, name)))


def _rows(node: NodeProto, operand: int) -> int:
    if node.op_type != "Gemm" or operand > 1:
        return ROWS.get((node.op_type, operand), 0)
    turned = any(each.name == ("transB" if operand else "transA") and each.i for each in node.attribute)
    return 1 if turned == bool(operand) else -1


def _outputs(nodes) -> Iterator[str]:
    return (name for node in nodes for name in node.output)


def _graphs(attribute: AttributeProto) -> list[GraphProto]:
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def named(survey: TensorUses) -> Iterator[tuple[str, FoundTensor]]:
    """Tensors under names of their own: branches of an If may use the same ones, and get ~2, ~3 ... put after them."""
    taken: set[str] = set()
    next_number: dict[str, int] = defaultdict(lambda: 2)  # where many share a name, none is tried twice
    for held in survey.tensors:
        # protobuf hands out names that are not UTF-8 as bytes; the graph keeps them, the directory needs text
        plain = held.name if isinstance(held.name, str) else held.name.decode(errors="backslashreplace")
        name = plain
        while name in taken:
            name = f"{plain}~{next_number[plain]}"
            next_number[plain] += 1
        taken.add(name)
        yield name, held
