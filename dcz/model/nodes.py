"""What single nodes and attributes say, without the graph around them."""

from collections.abc import Iterator

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

ONNX_DOMAINS = ("", "ai.onnx")  # both name the standard operator set


def opset_version(proto: ModelProto) -> int:
    """The version of the standard operator set that a model imports; 1 where it imports none."""
    return next((entry.version for entry in proto.opset_import if entry.domain in ONNX_DOMAINS), 1)


def node_name(node: NodeProto) -> str:
    """A node's name, or, where it has none, that of its first output."""
    name = node.name or next((name for name in node.output if name), "")
    return name if isinstance(name, str) else name.decode(errors="backslashreplace")  # protobuf's for what is no UTF-8


def is_constant(node: NodeProto) -> bool:
    """Whether a node is a Constant with one dense value."""
    if node.op_type != "Constant" or node.domain not in ONNX_DOMAINS or len(node.attribute) != 1:
        return False
    return not node.attribute[0].HasField("sparse_tensor")


def int_attributes(node: NodeProto) -> dict[str, int]:
    """The node's attributes that are one integer, by name."""
    return {attribute.name: attribute.i for attribute in node.attribute if attribute.type == AttributeProto.INT}


def float_attributes(node: NodeProto) -> dict[str, float]:
    """The node's attributes that are one floating-point number, by name."""
    return {attribute.name: attribute.f for attribute in node.attribute if attribute.type == AttributeProto.FLOAT}


def subgraphs(attribute: AttributeProto) -> list[GraphProto]:
    """The graphs that an attribute holds: branches of an If, bodies of a Loop or Scan."""
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def all_inputs(node: NodeProto) -> Iterator[str]:
    """The values that a node reads, its implicit inputs included. A value may be given more than once."""
    yield from (name for name in node.input if name)
    yield from implicit_inputs(node)


def implicit_inputs(node: NodeProto) -> Iterator[str]:
    """The values of the surrounding graph that a node's subgraphs read (ONNX IR: outer scope values)."""
    for attribute in node.attribute:
        for graph in subgraphs(attribute):
            defined = {value.name for value in (*graph.input, *graph.initializer)}
            defined.update(sparse.values.name for sparse in graph.sparse_initializer)
            defined.update(name for inner in graph.node for name in inner.output)
            read = [info.name for info in graph.output] + [name for inner in graph.node for name in all_inputs(inner)]
            yield from (name for name in read if name not in defined)
