"""What the operators are tested with: each with its attributes and operands in several ways, over several opsets.

case("Conv", IMAGE, numbers(6, 4, 3, 3), strides=[2, 1], opset=11)
"""

from dataclasses import dataclass, field

import numpy as np

from tests.models import tensor


@dataclass
class Case:
    op: str
    operands: list
    opset: int = 20
    outputs: int = 1
    constant: bool = False  # onnxruntime wants the further operands as constants
    smooth: bool = True  # else its gradient is no limit of differences in float64
    attributes: dict = field(default_factory=dict)

    def __str__(self) -> str:
        shapes = "x".join("none" if each is None else str(np.shape(each)) for each in self.operands)
        settings = ",".join(f"{name}={value}" for name, value in self.attributes.items())
        return f"{self.op}-{self.opset}-{shapes}-{settings}".replace(" ", "")


def case(op, *operands, opset=20, outputs=1, constant=False, smooth=True, **attributes) -> Case:
    return Case(op, list(operands), opset, outputs, constant, smooth, attributes)


def numbers(*shape, seed=0, low=None) -> np.ndarray:
    """Normally distributed float32; with `low`, uniform from there to low + 2."""
    rng = np.random.default_rng([seed, *shape])
    return (rng.normal(0, 1, shape) if low is None else rng.uniform(low, low + 2, shape)).astype(np.float32)


def ints(*values, dtype=np.int64) -> np.ndarray:
    return np.array(values, dtype)


def scalar(value, dtype=np.int64) -> np.ndarray:
    return np.array(value, dtype)


A = numbers(2, 3, 4)
B = numbers(2, 3, 4, seed=1)
IMAGE = numbers(2, 4, 7, 9)
WHOLE = np.arange(-6, 6, dtype=np.int64).reshape(3, 4)
SWITCH = numbers(2, 3, 4, seed=2) > 0

SINGLE = [
    *[case(op, A) for op in "Relu Sigmoid Tanh Softplus Softsign HardSwish Mish Neg Abs Sign Exp Size".split()],
    *[case(op, A)
      for op in "Floor Ceil Erf Sin Cos Atan Sinh Cosh Asinh IsNaN Identity Round Flatten Shape Dropout".split()],
    *[case(op, numbers(2, 3, 4, low=0.5)) for op in "Log Sqrt Reciprocal".split()],
    *[case(op, numbers(2, 3, 4) * 0.2) for op in "Tan Asin Acos Atanh".split()],
    case("Acosh", numbers(2, 3, 4, low=1.5)),
    case("Round", np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32), smooth=False),
    case("Softplus", np.array([-100, -30, 0, 15, 25, 80], np.float32)),
    case("Abs", WHOLE), case("Neg", WHOLE), case("Not", SWITCH),
    case("LeakyRelu", A), case("LeakyRelu", A, alpha=0.3),
    case("PRelu", A, numbers(3, 1, seed=3)), case("PRelu", A, numbers(1, seed=3)),
    case("Elu", A), case("Elu", A, alpha=0.4), case("Selu", A), case("Selu", A, alpha=1.2, gamma=0.7),
    case("Celu", A), case("Celu", A, alpha=2.0), case("Gelu", A), case("Gelu", A, approximate="tanh"),
    case("HardSigmoid", A * 3), case("HardSigmoid", A * 3, alpha=0.1666, beta=0.4),
    case("ThresholdedRelu", A), case("ThresholdedRelu", A, alpha=0.2), case("Shrink", A),
    case("Shrink", A, bias=0.3, lambd=0.9),
    *[case("IsInf", np.array([1, np.inf, -np.inf, np.nan], np.float32), smooth=False, **given)
      for given in ({}, {"detect_negative": 0}, {"detect_positive": 0})],
    *[case(op, numbers(2, 3, 4, 5), opset=opset, **axis)
      for op in ("Softmax", "LogSoftmax") for opset in (7, 11, 12, 13, 20) for axis in ({}, {"axis": 2}, {"axis": 1})],
    *[case(op, A, opset=opset, axis=-2) for op in ("Softmax", "LogSoftmax") for opset in (11, 13)],
    case("Softmax", A, opset=11, axis=0),
    *[case("Cast", x, to=to, smooth=False) for x in (A * 9, WHOLE, SWITCH) for to in (1, 6, 7, 9, 11)],
    case("Cast", numbers(2, 2), to=10, opset=9, smooth=False), case("CastLike", A * 9, WHOLE, smooth=False),
    case("Clip", A, opset=7, min=-0.5, max=0.4), case("Clip", A, opset=10, max=0.4), case("Clip", A, opset=10),
    *[case("Clip", A, low, high, opset=opset) for opset in (11, 13) for low, high in [
        (scalar(-0.5, np.float32), scalar(0.4, np.float32)), (None, scalar(0.4, np.float32)),
        (scalar(0.1, np.float32), None)]],
    case("Clip", A), case("Clip", WHOLE, scalar(-2), scalar(3)),
]  # fmt: skip

SEVERAL = [
    *[case(op, A, numbers(3, 1, seed=5), opset=opset) for op in "Add Sub Mul Div".split() for opset in (7, 13, 14)],
    *[case(op, numbers(3, 1, seed=5), A) for op in "Max Min Mean Sum".split()],
    *[case(op, A, B, numbers(4, seed=6)) for op in "Max Min Mean Sum".split()],
    *[case(op, A) for op in "Max Min Mean Sum".split()],
    *[case(op, WHOLE, ints(2, -3, 3, -2)) for op in "Add Sub Mul Div Mod".split()],
    case("Mod", WHOLE, ints(2, -3, 3, -2), fmod=1), case("Mod", A, numbers(4, low=1), fmod=1),
    case("Pow", numbers(2, 3, low=0.2), numbers(3)), case("Pow", A, scalar(2.0, np.float32), smooth=False),
    case("Pow", WHOLE, scalar(2)), case("Pow", numbers(2, 3, low=0.2), scalar(3)),
    case("Pow", WHOLE, scalar(2.0, np.float32)),
    *[case(op, WHOLE, WHOLE[:, ::-1].copy(), opset=opset) for op in "Equal Less Greater".split()
      for opset in (9, 13, 19)],
    *[case(op, A, B) for op in "Equal Less Greater LessOrEqual GreaterOrEqual".split()],
    *[case(op, SWITCH, ~SWITCH[:1]) for op in "And Or Xor".split()],
    case("Where", SWITCH, A, B), case("Where", SWITCH[0], A, scalar(0.5, np.float32)),
    case("Where", SWITCH[0, 0], WHOLE, -WHOLE),
]  # fmt: skip

PRODUCTS = [
    case("MatMul", numbers(3, 4), numbers(4, 5)), case("MatMul", numbers(2, 6, 3, 4), numbers(4, 5)),
    case("MatMul", numbers(2, 1, 3, 4), numbers(6, 4, 5)), case("MatMul", numbers(4), numbers(4, 5)),
    case("MatMul", numbers(3, 4), numbers(4)), case("MatMul", WHOLE, WHOLE.T.copy()),
    *[case("Gemm", numbers(3, 4), numbers(4, 5), c, opset=opset)
      for c in (numbers(5), numbers(3, 1), numbers(1, 5), numbers(3, 5), scalar(0.5, np.float32)) for opset in (7, 13)],
    case("Gemm", numbers(3, 4), numbers(4, 5)), case("Gemm", numbers(3, 4), numbers(4, 5), alpha=0.3),
    case("Gemm", numbers(4, 3), numbers(5, 4), numbers(5), transA=1, transB=1, alpha=0.5, beta=0.25),
    case("Gemm", numbers(3, 4), numbers(5, 4), numbers(5), transB=1),
    case("Einsum", numbers(3, 4), numbers(4, 5), equation="ij, jk -> ik"),
    case("Einsum", numbers(2, 3, 4), numbers(2, 5, 4), equation="bij,bkj->bik"),
    case("Einsum", numbers(2, 3, 3), equation="...ii->...i"),
    *[case("Conv", IMAGE, numbers(6, 4, 3, 3), *bias, **given) for bias in ([], [numbers(6)]) for given in [
        {}, {"pads": [1, 1, 1, 1]}, {"pads": [0, 1, 2, 3]}, {"strides": [2, 3]}, {"dilations": [2, 1]},
        {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        {"auto_pad": "VALID", "strides": [2, 1]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 3], "dilations": [1, 1]},
        {"kernel_shape": [3, 3], "pads": [1, 0, 1, 2], "strides": [2, 2], "dilations": [2, 2], "group": 1}]],
    case("Conv", IMAGE, numbers(6, 2, 3, 2), numbers(6), group=2, pads=[1, 1, 1, 1]),
    case("Conv", IMAGE, numbers(8, 1, 3, 3), group=4, auto_pad="SAME_LOWER"),
    case("Conv", numbers(2, 3, 9), numbers(5, 3, 4), numbers(5), pads=[2, 1], strides=[2]),
    case("Conv", numbers(1, 2, 4, 5, 6), numbers(3, 2, 2, 3, 3), numbers(3), pads=[0, 1, 1, 1, 1, 1]),
    *[case("ConvTranspose", numbers(1, 4, 3, 5), numbers(4, 3, 3, 3), *bias, **given)
      for bias in ([], [numbers(3)]) for given in [
        {}, {"strides": [2, 3]}, {"pads": [1, 1, 1, 1], "strides": [2, 2], "output_padding": [1, 1]},
        {"pads": [0, 1, 1, 0]}, {"dilations": [2, 1]}, {"strides": [2, 2], "output_shape": [7, 11]},
        {"strides": [3, 3], "output_shape": [10, 16]}, {"strides": [2, 2], "output_shape": [6, 10]},
        {"strides": [2, 2], "output_shape": [6, 10], "auto_pad": "SAME_UPPER"},
        {"strides": [2, 2], "output_shape": [6, 10], "auto_pad": "SAME_LOWER"},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, {"strides": [2, 2], "auto_pad": "SAME_LOWER"},
        {"strides": [2, 2], "auto_pad": "VALID"}, {"strides": [3, 3], "pads": [1, 0, 0, 1], "output_padding": [2, 1]}]],
    case("ConvTranspose", numbers(1, 4, 5), numbers(4, 3, 2), group=2, strides=[2]),
    case("ConvTranspose", numbers(1, 2, 3, 3, 3), numbers(2, 1, 2, 2, 2), strides=[2, 2, 2]),
]  # fmt: skip

POOLS = [
    *[case(op, IMAGE, opset=opset, kernel_shape=[3, 2], **given) for op in ("MaxPool", "AveragePool")
      for opset in (7, 19) for given in [
        {}, {"strides": [2, 2]}, {"strides": [2, 3], "pads": [1, 1, 1, 1]}, {"pads": [0, 1, 2, 0], "strides": [1, 2]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        {"auto_pad": "VALID"}]],
    *[case(op, IMAGE, opset=opset, kernel_shape=[3, 3], ceil_mode=1, **given) for op in ("MaxPool", "AveragePool")
      for opset in (10, 19) for given in [
        {"strides": [2, 2]}, {"strides": [3, 2], "pads": [1, 1, 1, 1]}, {"strides": [3, 4], "pads": [0, 1, 1, 1]}]],
    *[case("AveragePool", IMAGE, kernel_shape=[3, 3], count_include_pad=1, **given) for given in [
        {"pads": [1, 1, 1, 1]}, {"pads": [1, 0, 1, 2], "strides": [2, 2]},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, {"pads": [1, 1, 1, 1], "strides": [3, 2], "ceil_mode": 1}]],
    case("MaxPool", IMAGE, kernel_shape=[2, 2], dilations=[2, 3], opset=12),
    case("MaxPool", IMAGE, kernel_shape=[3, 2], dilations=[2, 3], pads=[1, 0, 2, 1], strides=[2, 1], ceil_mode=1),
    case("MaxPool", IMAGE, kernel_shape=[2, 2], storage_order=1),
    case("MaxPool", numbers(1, 2, 9), kernel_shape=[3], strides=[2]),
    case("AveragePool", numbers(1, 2, 9), kernel_shape=[3], pads=[1, 1]),
    case("MaxPool", numbers(1, 2, 5, 6, 7), kernel_shape=[2, 3, 2]),
    case("AveragePool", numbers(1, 2, 5, 6, 7), kernel_shape=[2, 3, 2]),
    *[case(op, x) for op in ("GlobalAveragePool", "GlobalMaxPool")
      for x in (numbers(2, 3, 5), IMAGE, numbers(1, 2, 3, 4, 5))],
]  # fmt: skip

CHANNELS = [numbers(4, seed=i) for i in range(3)] + [numbers(4, low=0.5)]
NORMAL = [
    *[case("BatchNormalization", IMAGE, *CHANNELS, opset=opset) for opset in (7, 9, 14, 15)],
    case("BatchNormalization", IMAGE, *CHANNELS, opset=9, epsilon=0.1, momentum=0.5),
    case("BatchNormalization", numbers(3, 4), *CHANNELS), case("BatchNormalization", numbers(3, 4, 5), *CHANNELS),
    case("LayerNormalization", A, numbers(4), numbers(4, seed=1)), case("LayerNormalization", A, numbers(4)),
    case("LayerNormalization", A, numbers(3, 4), numbers(3, 4, seed=1), axis=1, epsilon=0.01),
    case("LayerNormalization", A, numbers(4), numbers(4, seed=1), outputs=3),
    case("InstanceNormalization", IMAGE, *CHANNELS[:2]),
    case("InstanceNormalization", numbers(2, 4, 5), *CHANNELS[:2], epsilon=0.1),
    case("GroupNormalization", IMAGE, numbers(2), numbers(2, seed=1), num_groups=2, opset=18),
    case("GroupNormalization", IMAGE, *CHANNELS[:2], num_groups=2, opset=21, epsilon=0.01),
    case("RMSNormalization", A, numbers(4), opset=23),
    case("RMSNormalization", A, numbers(3, 4), opset=23, axis=1, epsilon=0.1),
    case("LRN", IMAGE, size=3), case("LRN", IMAGE, size=5, alpha=0.3, beta=0.5, bias=2.0),
    case("LpNormalization", A), case("LpNormalization", A, p=1, axis=1), case("MeanVarianceNormalization", IMAGE),
    case("MeanVarianceNormalization", IMAGE, axes=[0, 2]),
]  # fmt: skip

REDUCTIONS = "Sum Mean Max Min Prod L1 L2 SumSquare LogSum LogSumExp"
REDUCED = [
    *[case(f"Reduce{name}", numbers(2, 3, 4, low=0.5), opset=11, **given)
      for name in REDUCTIONS.split() for given in ({}, {"axes": [1]}, {"axes": [0, -1], "keepdims": 0})],
    *[case(f"Reduce{name}", numbers(2, 3, 4, low=0.5), *axes, opset=18, **given)
      for name in REDUCTIONS.split() for axes in ([], [ints(1)], [ints(0, -1)]) for given in ({}, {"keepdims": 0})],
    case("ReduceSum", A, ints(1), opset=13), case("ReduceSum", A, opset=13, noop_with_empty_axes=1),
    case("ReduceSum", WHOLE, ints(1)), case("ReduceMax", WHOLE, ints(0)),
    *[case(op, np.array([[1, 3, 3, 0], [0, 0, 2, 2]], np.float32), **given)
      for op in ("ArgMax", "ArgMin") for given in ({}, {"axis": 1},
      {"axis": -1, "keepdims": 0, "select_last_index": 1})],
    *[case("CumSum", A, scalar(1), exclusive=exclusive, reverse=reverse) for exclusive in (0, 1) for reverse in (0, 1)],
    case("CumSum", WHOLE, scalar(-1)),
]  # fmt: skip

SHAPED = [
    *[case("Flatten", IMAGE, opset=opset, axis=axis) for opset in (9, 13) for axis in (0, 1, 3, 4)],
    case("Flatten", IMAGE, axis=-1),
    case("Reshape", A, ints(4, 6)), case("Reshape", A, ints(0, -1)), case("Reshape", A, ints(-1), opset=7),
    case("Reshape", numbers(0, 3), ints(3, 0), allowzero=1), case("Transpose", A), case("Transpose", A, perm=[1, 2, 0]),
    case("Squeeze", numbers(1, 3, 1, 2), opset=11), case("Squeeze", numbers(1, 3, 1, 2), opset=11, axes=[0]),
    case("Squeeze", numbers(1, 3, 1, 2)), case("Squeeze", numbers(1, 3, 1, 2), ints(-2), opset=13),
    case("Unsqueeze", A, opset=11, axes=[0, 4]), case("Unsqueeze", A, ints(-1, 0), opset=13),
    case("Unsqueeze", A, ints(2)),
    case("Concat", A, B, axis=1), case("Concat", A, B, A, axis=-1), case("Concat", WHOLE, WHOLE, axis=0),
    case("Split", numbers(2, 6), opset=11, outputs=3, axis=1),
    case("Split", numbers(2, 6), opset=11, outputs=2, axis=1, split=[1, 5]),
    case("Split", numbers(2, 6), ints(1, 5), opset=13, outputs=2, axis=-1),
    case("Split", numbers(6, 2), opset=13, outputs=2),
    case("Split", numbers(7, 2), outputs=3, num_outputs=3), case("Split", numbers(2, 7), ints(3, 4), outputs=2, axis=1),
    case("Slice", A, opset=9, starts=[0, 1], ends=[2, 3]),
    case("Slice", A, opset=9, starts=[-2], ends=[1000], axes=[2]),
    case("Slice", A, ints(0, 1), ints(2, 3)), case("Slice", A, ints(1), ints(-1), ints(-1)),
    case("Slice", A, ints(0, 3), ints(9, -99), ints(1, 2), ints(2, -1)),
    case("Slice", A, ints(-1), ints(-(1 << 63)), ints(1), ints(-2)),
    case("Slice", A, ints(2), ints(1), ints(1)),
    case("Slice", A, ints(3, dtype=np.int32), ints(0, dtype=np.int32), ints(2, dtype=np.int32),
         ints(-1, dtype=np.int32)),
    case("Gather", A, ints(1, 0, -1), axis=1), case("Gather", A, scalar(1), axis=2),
    case("Gather", numbers(5), scalar(-1)),
    case("Gather", numbers(9, 3), ints([1, 8], [0, -2], dtype=np.int32)), case("Gather", WHOLE, ints(2), axis=-1),
    case("GatherElements", A, ints([[0, 1, -1, 2]], [[2, 0, 0, 1]]), axis=1),
    case("GatherND", A, ints([0, 1], [-1, 2])), case("GatherND", A, ints([1], [2]), batch_dims=1),
    case("GatherND", A, ints([[0, 1, 3]])),
    case("ScatterND", A, ints([0, 1], [1, 2]), numbers(2, 4, seed=9)),
    case("ScatterND", A, ints([0, 1], [0, 1]), numbers(2, 4, seed=9), reduction="add"),
    case("ScatterElements", A, ints([[0, 1, -1, 2]]), numbers(1, 1, 4, seed=9), axis=1),
    case("ScatterElements", A, ints([[0, 0, 0, 2]]), numbers(1, 1, 4, seed=9), axis=2, reduction="add"),
    case("OneHot", ints(0, 2, -1, 7), scalar(4), numbers(2)), case("OneHot", ints([0, 2]), ints(3), numbers(2), axis=1),
    case("TopK", A, ints(2), outputs=2), case("TopK", A, ints(2), outputs=2, axis=1, largest=0),
    case("TopK", np.array([1, 3, 3, 2, 3], np.float32), ints(2), outputs=2, opset=10, smooth=False),
    case("Expand", numbers(3, 1), ints(2, 3, 4)), case("Expand", A, ints(1)), case("Expand", A, ints(5, 1, 1, 4)),
    case("Tile", A, ints(1, 2, 3)), case("Shape", A, start=1), case("Shape", A, start=-2, end=-1), case("Size", WHOLE),
    case("ConstantOfShape", ints(2, 3)), case("ConstantOfShape", ints(2, 3), value=tensor("", ints(7))),
    case("ConstantOfShape", ints(2), value=tensor("", np.array([0.5], np.float32))),
    case("Range", scalar(2), scalar(9), scalar(3)), case("Range", scalar(9), scalar(2), scalar(-3)),
    case("Range", *[scalar(x, np.float32) for x in (0.5, 2, 0.25)], smooth=False),
    *[case("Pad", A, opset=opset, pads=[0, 1, 2, 0, 0, 1], mode=mode) for opset in (7, 10)
      for mode in ("constant", "reflect", "edge")],
    case("Pad", A, opset=10, pads=[0, 1, -1, 0, -1, 1], value=1.5),
    case("Pad", A, ints(0, 1, 2, 0, -1, 1), scalar(0.5, np.float32)),
    *[case("Pad", A, ints(0, 2, 3, 1, 1, 2), mode=mode) for mode in ("reflect", "edge", "wrap")][1:],
    case("Pad", A, ints(0, 2, 3, 0, 1, 2), mode="reflect"),
    case("Pad", A, ints(1, 2), scalar(2.0, np.float32), ints(-1)),
    case("Pad", A, ints(1, 0, 2, 1), None, ints(2, 0), mode="edge"), case("Pad", WHOLE, ints(0, 1, 1, 0), scalar(5)),
    *[case("DepthToSpace", numbers(1, 8, 2, 3), blocksize=2, mode=mode) for mode in ("DCR", "CRD")],
    case("DepthToSpace", numbers(1, 8, 2, 3), blocksize=2, opset=9),
    case("SpaceToDepth", numbers(1, 2, 4, 6), blocksize=2),
    case("Trilu", numbers(3, 4)), case("Trilu", numbers(2, 3, 4), scalar(1), upper=0),
    case("Trilu", numbers(3, 4), scalar(-1)),
    case("Dropout", A, opset=7, ratio=0.5),
    case("Dropout", A, scalar(0.5, np.float32), scalar(False, np.bool_), constant=True),
    case("Dropout", A, outputs=2, opset=12),
]  # fmt: skip

MODES = "half_pixel pytorch_half_pixel align_corners asymmetric"
SCALES = [np.array(each, np.float32) for each in ([1, 1, 2, 2], [1, 1, 0.5, 1.5], [1, 1, 1.3, 2.6])]
RESIZED = [
    *[case("Upsample", IMAGE, opset=7, scales=[1.0, 1.0, 2.0, 3.0], mode=mode) for mode in ("nearest", "linear")],
    *[case("Upsample", IMAGE, SCALES[2], opset=9, mode=mode, constant=True) for mode in ("nearest", "linear")],
    *[case("Resize", IMAGE, scales, opset=10, mode=mode, constant=True) for scales in SCALES
      for mode in ("nearest", "linear")],
    *[case("Resize", IMAGE, None, scales, opset=opset, mode=mode, coordinate_transformation_mode=places, constant=True)
      for scales in SCALES for opset in (13, 19) for mode in ("nearest", "linear", "cubic")
      for places in MODES.split()],
    *[case("Resize", IMAGE, None, None, ints(2, 4, 11, 5), mode=mode, coordinate_transformation_mode=places,
      constant=True)
      for mode in ("nearest", "linear", "cubic") for places in MODES.split()],
    *[case("Resize", IMAGE, None, SCALES[2], mode="nearest", nearest_mode=mode, constant=True)
      for mode in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")],
    case("Resize", IMAGE, None, SCALES[2], mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1, constant=True),
    case("Resize", IMAGE, None, SCALES[2][2:], axes=[2, 3], mode="linear", constant=True),
    case("Resize", IMAGE, None, SCALES[2], mode="linear", coordinate_transformation_mode="half_pixel_symmetric",
         constant=True),
]  # fmt: skip


def recurrent(op, gates, *more, directions=1, bias=True, **given) -> Case:
    """A layer of 3 inputs and 4 hidden values, 5 steps of 2 sequences."""
    weights = [numbers(directions, gates * 4, 3), numbers(directions, gates * 4, 4, seed=1)]
    biases = [numbers(directions, 2 * gates * 4, seed=2)] if bias else []
    return case(
        op, numbers(5, 2, 3), *weights, *biases, *more, outputs=3 if op == "LSTM" else 2, hidden_size=4, **given
    )


RECURRENT = [
    *[recurrent(op, gates, opset=opset) for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)) for opset in (7, 14)],
    *[recurrent(op, gates, bias=False) for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1))],
    *[recurrent(op, gates, direction="reverse") for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1))],
    *[recurrent(op, gates, directions=2, direction="bidirectional") for op, gates in (("LSTM", 4), ("GRU", 3),
      ("RNN", 1))],
    recurrent("LSTM", 4, None, numbers(1, 2, 4, seed=5), numbers(1, 2, 4, seed=6)),
    recurrent("GRU", 3, linear_before_reset=1),
    recurrent("LSTM", 4, None, None, numbers(1, 2, 4, seed=6)), recurrent("RNN", 1, None, numbers(1, 2, 4, seed=5)),
    recurrent("RNN", 1, activations=["Relu"]), recurrent("GRU", 3, activations=["Sigmoid", "Tanh"]),
]  # fmt: skip

CASES = [*RECURRENT, *SINGLE, *SEVERAL, *PRODUCTS, *POOLS, *NORMAL, *REDUCED, *SHAPED, *RESIZED]
