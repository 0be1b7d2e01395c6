"""The only home of `import onnx`: tensors out of a model, and back in.

    model = load("net.onnx")          every tensor of the model, wherever it sits, as a `ModelTensor`
    site.read() -> bytes              from raw_data, a typed field, floats of a Constant, or external data
    site.lift(17)                     the tensor's data is replaced by a reference to record 17 (spec, section 4)
    references(proto, ...), fill(...)   the same backwards
    program(model, path)              the graph without onnx's types, for those who execute it
    with_values(model, {name: array})   a copy with new values in some tensors
    fold(model)                         its BatchNormalizations into the layers before them
    cut(proto, given, wanted)           the piece of a model between some values and others

What counts as a weight is decided by who uses a tensor: see uses.WEIGHT_INPUTS.
"""

from .extract import cut
from .fold_batchnorm import fold
from .program import Input, Node, Program, program
from .replace import with_values
from .skeleton import Reference, check, fill, inline_tensors, parse_graph, point_outside, references
from .tensors import (
    ALIGNMENT,
    INLINE_BYTES,
    MOST_DIMS,
    PROTOBUF_LIMIT,
    Model,
    ModelTensor,
    from_proto,
    load,
    open_model,
    original,
    serialize,
)
from .uses import WEIGHT_INPUTS, TensorUses

__all__ = [
    "ALIGNMENT", "INLINE_BYTES", "MOST_DIMS", "PROTOBUF_LIMIT", "WEIGHT_INPUTS", "Input", "Model", "Node", "Program",
    "Reference", "ModelTensor", "TensorUses", "check", "cut", "fill", "fold", "from_proto", "inline_tensors", "load",
    "open_model", "original", "parse_graph", "point_outside", "program", "references", "serialize", "with_values",
]  # fmt: skip
