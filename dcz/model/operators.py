"""What is known of operators, by domain and name: which operands are weights, and what passes a weight on.

    operator_name(Conv of the domain ai.onnx)        ->  "Conv"
    operator_name(Attention of com.microsoft)        ->  "com.microsoft.Attention"    the one with weights at operand 1

The numbers of operands are those of the schemas of ONNX and of onnxruntime's ContribOperators.md.
"""

from onnx import NodeProto

from .nodes import ONNX_DOMAINS

# Operator -> numbers of the operands that are weights: large matrices, kernels and tables, where pruning and sharing
# save bytes and do little harm. What only other operands use (biases, parameters of normalizations, constants of
# arithmetic, Q, K and V of ONNX's Attention) stays exact, unless a plan says otherwise. The product of Gemm and MatMul
# may have its weights on either side; Einsum takes any number of operands, of which eight are looked at. Operand 1 of
# LSTM, GRU and RNN is W, 2 is R.
_MICROSOFT = {
    "Attention": (1,), "AttnLSTM": (1, 2, 8, 9, 13), "CausalConvWithState": (1,), "ConvTransposeWithDynamicPads": (1,),
    "DecoderAttention": (2, 3), "DecoderMaskedSelfAttention": (1,), "EmbedLayerNormalization": (2, 3, 4),
    "FusedConv": (1,), "FusedGemm": (0, 1), "FusedMatMul": (0, 1), "FusedMatMulActivation": (0, 1),
    "GatedRelativePositionBias": (3,), "GatherND": (0,), "GemmFastGelu": (1,), "GemmFloat8": (0, 1),
    "HyperConnectionLowRankMix": (2, 3, 4), "LongformerAttention": (1, 4), "MoE": (2, 4, 6), "MoEGroupRouter": (2,),
    "NhwcConv": (1,), "NhwcFusedConv": (1,), "PackedAttention": (1,), "RouterGateUpProj": (1,),
    "SparseToDenseMatMul": (0, 1), "TorchEmbedding": (0,), "TransposeMatMul": (0, 1), "VarlenCausalConvWithState": (1,),
    "WordConvEmbedding": (1, 3),
}  # fmt: skip
WEIGHT_INPUTS: dict[str, tuple[int, ...]] = {
    "Conv": (1,), "ConvTranspose": (1,), "DeformConv": (1,), "CausalConvWithState": (1,),
    "Gemm": (0, 1), "MatMul": (0, 1), "Einsum": tuple(range(8)),
    "Gather": (0,), "GatherElements": (0,), "GatherND": (0,),
    "LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2),
    **{f"com.microsoft.{name}": operands for name, operands in _MICROSOFT.items()},
    "com.microsoft.nchwc.Conv": (1,), "com.ms.internal.nhwc.Conv": (1,), "com.ms.internal.nhwc.ConvTranspose": (1,),
}  # fmt: skip
# Operators that read elements of operand 0 at the places that operand 1 names: with constant places they only move
# elements, as Slice does; with others they are an embedding, or a lookup in a table of numbers (see roles).
GATHERS = frozenset(["Gather", "GatherElements", "GatherND", "com.microsoft.GatherND"])
# Operators whose output has the elements of operand 0, or some of them, moved, repeated or converted. What reads the
# output uses the tensor: a weight that is stored transposed or as float16 is a weight still.
PASS_THROUGH = frozenset([
    "Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Cast", "CastLike", "Slice", "Split",
    "Expand", "Tile", "Dropout", "Pad", "com.microsoft.Pad", "com.microsoft.ExpandDims",
    "com.microsoft.nchwc.ReorderInput", "com.microsoft.nchwc.ReorderOutput",
])  # fmt: skip
PASS_THROUGH_ALL = frozenset(["Concat"])  # the same for every operand
# (operator, operand) -> the axes that number a weight's rows, whose elements are summed up for one output: that many
# leading axes, or -1, the last (tensor.Tensor.rows). Gemm's depend on its attributes; ConvTranspose has rows of its own
# in each group, and no entry.
ROW_AXES = {("Conv", 1): 1, ("com.microsoft.FusedConv", 1): 1, ("MatMul", 1): -1,
            ("LSTM", 1): 2, ("LSTM", 2): 2, ("GRU", 1): 2, ("GRU", 2): 2, ("RNN", 1): 2, ("RNN", 2): 2}  # fmt: skip
LAYERS = WEIGHT_INPUTS.keys() - GATHERS | {"Attention", "com.microsoft.MultiHeadAttention",
                                          "com.microsoft.GroupQueryAttention"}  # fmt: skip
# Operators that give truth values, places or counts, for which a number is above another or is not.
COMPARISONS = frozenset([
    "ArgMax", "ArgMin", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual",
    "NonMaxSuppression", "NonZero", "Not", "Unique",
])  # fmt: skip
SHAPES = frozenset(["Shape", "Size"])  # no number of the tensor has a say in what these give
# Operands that are places or sizes, not numbers that the operator computes with.
PLACES = {
    "Gather": (1,), "GatherElements": (1,), "GatherND": (1,), "com.microsoft.GatherND": (1,), "GridSample": (1,),
    "RoiAlign": (1, 2), "MaxRoiPool": (1,), "ScatterElements": (1,), "ScatterND": (1,), "OneHot": (0, 1),
    "Range": (0, 1, 2), "Reshape": (1,), "Slice": (1, 2, 3, 4), "Tile": (1,), "Expand": (1,), "Pad": (1,),
    "Resize": (1, 2, 3), "TopK": (1,),
    "com.microsoft.CropAndResize": (1, 2, 3), "com.microsoft.GridSample": (1,),
}  # fmt: skip


def operator_name(node: NodeProto) -> str:
    """The operator's name, with its domain before it where that is not ONNX's own."""
    name = node.op_type if node.domain in ONNX_DOMAINS else f"{node.domain}.{node.op_type}"
    return name if isinstance(name, str) else name.decode(errors="backslashreplace")  # protobuf's for what is no UTF-8


def row_axes(node: NodeProto, operand: int) -> int:
    """Which axes number the rows of an operand that is a weight: see ROW_AXES; 0: not known."""
    name = operator_name(node)
    if name != "Gemm" or operand > 1:
        return ROW_AXES.get((name, operand), 0)
    attribute_name = "transB" if operand else "transA"
    transposed = any(attribute.name == attribute_name and attribute.i for attribute in node.attribute)
    return 1 if transposed == bool(operand) else -1
