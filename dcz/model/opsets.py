"""Raising the operator set of a model, where no node means anything else in the new one.

    raise_opset(proto, 13)    ->   []   and the model imports version 13
    raise_opset(proto, 13)    ->   ["Squeeze (version 1 to 11)"], and nothing is changed

ONNX's own converter loses functions and operators of other domains, and rewrites nodes. Most operators only take more
types in a later version, or have another optional attribute; where schemas say so, the number alone can be raised.
"""

from collections.abc import Iterator

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, defs
from onnx.defs import OpSchema, SchemaError

from .nodes import ONNX_DOMAINS, opset_version, subgraphs

# The least version of the IR that a version of the operator set goes with (onnx, Versioning.md).
IR_VERSIONS = ((7, 3), (9, 4), (10, 5), (11, 6), (12, 7), (15, 8), (19, 9), (21, 10), (23, 11))
# Operators whose schemas do not tell that they compute something else from a version on.
CHANGED = {"GroupNormalization": 21, "RoiAlign": 16, "Resize": 11, "Upsample": 9}
RENAMED = {"BatchNormalization"}  # whose inputs have other names from a version on, and mean the same


def raise_opset(proto: ModelProto, version: int) -> list[str]:
    """Change the model: have it import `version` of the operator set, and at least the IR that goes with it.

    Returns the operators that stand against that; then nothing is changed. Nothing is to be done where the version is
    as high already.
    """
    current = opset_version(proto)
    if current >= version:
        return []
    domains = [entry for entry in proto.opset_import if entry.domain in ONNX_DOMAINS]
    within = [entry for function in proto.functions for entry in function.opset_import if entry.domain in ONNX_DOMAINS]
    against = sorted({
        f"{node.op_type} (of version {current})"
        for message, known in [(proto.graph, current), *((f, _version_of(f, current)) for f in proto.functions)]
        for node in _nodes(message)
        if node.domain in ONNX_DOMAINS and not _means_the_same(node.op_type, known, version)
    })  # fmt: skip
    if against or not domains or version > defs.onnx_opset_version():
        return against or [f"a version that is not known here ({version})"]
    for entry in [*domains, *within]:
        entry.version = max(entry.version, version)
    proto.ir_version = max(proto.ir_version, max(ir for opset, ir in IR_VERSIONS if opset <= version))
    return []


def _version_of(function: FunctionProto, default: int) -> int:
    return next((entry.version for entry in function.opset_import if entry.domain in ONNX_DOMAINS), default)


def _nodes(message: GraphProto | FunctionProto) -> Iterator[NodeProto]:
    for node in message.node:
        yield node
        for attribute in node.attribute:
            for graph in subgraphs(attribute):
                yield from _nodes(graph)


def _means_the_same(operator: str, old: int, new: int) -> bool:
    """Whether nodes of an operator mean in version `new` what they mean in `old`, as far as its schemas tell."""
    try:
        before, after = defs.get_schema(operator, old, ""), defs.get_schema(operator, new, "")
    except SchemaError:  # of the model's own functions, or unknown
        return False
    if before.since_version == after.since_version:
        return True
    if after.deprecated or before.since_version < CHANGED.get(operator, 0) <= after.since_version:
        return False
    names = [parameter.name for parameter in before.inputs]
    if names != [parameter.name for parameter in after.inputs][: len(names)] and operator not in RENAMED:
        return False
    more = after.inputs[len(names) :]
    if any(parameter.option == OpSchema.FormalParameterOption.Single for parameter in more):
        return False
    if len(before.outputs) > len(after.outputs):
        return False
    return all(
        name in after.attributes and attribute.default_value == after.attributes[name].default_value
        for name, attribute in before.attributes.items()
    ) and not any(
        attribute.required and not (name in before.attributes and before.attributes[name].required)
        for name, attribute in after.attributes.items()
    )
