"""Which operators read each tensor of a model, or of the graph of a `.dcz` file, whose data is elsewhere."""

from onnx import ModelProto

from .operators import WEIGHT_INPUTS
from .uses import ATTRIBUTE, TensorUses


def operators_by_tensor(proto: ModelProto) -> dict[str, tuple[tuple[str, bool], ...]]:
    """For each tensor by name, the operators that read it, in the order of their names, and whether as a weight.

    What only moves its elements (Reshape, Transpose) is no reader: what reads the result is one, and an operator that
    the tensor is an attribute of.
    """
    uses = TensorUses(proto)
    reads_of = uses.reached(lambda read: [] if read.moves else [(read.operator, read.operand)])
    found = {}
    for name, slot in uses.named_slots():
        reads = set(reads_of(slot.value)) | ({(slot.operator, ATTRIBUTE)} if slot.operator else set())
        weights = {operator for operator, operand in reads if operand in WEIGHT_INPUTS.get(operator, ())}
        found[name] = tuple((operator, operator in weights) for operator in sorted({each for each, _ in reads}))
    return found
