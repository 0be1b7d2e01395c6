"""Who reads the tensors of a graph, without their numbers: of the graph of a `.dcz` file, or of any other.

readers(proto)   ->   {"fc1.weight": Readers(operators=("Gemm",), is_layer=True), ...}
"""

from dataclasses import dataclass

from onnx import ModelProto

from .operators import WEIGHT_INPUTS
from .uses import TensorUses


@dataclass(frozen=True)
class Readers:
    """The operators that a tensor reaches, and whether one of them is a layer that has it as its weight."""

    operators: tuple[str, ...]
    is_layer: bool


def readers(proto: ModelProto) -> dict[str, Readers]:
    """What reads each tensor, by the names that `find_tensors` gives them."""
    uses = TensorUses(proto)
    found = {}
    for name, slot in uses.named_slots():
        reads = uses.reads_of(slot.value)
        is_layer = any(read.operand in WEIGHT_INPUTS.get(read.operator, ()) for read in reads)
        found[name] = Readers(tuple(sorted({read.operator for read in reads})), is_layer)
    return found
