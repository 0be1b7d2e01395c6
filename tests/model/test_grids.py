"""Weights that the model itself rounds (QuantizeLinear) are put on that grid: the outputs stay the same to the bit."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import dcz
from dcz import model as onnx_model
from dcz.plan import LOSSLESS, Plan, Settings
from tests import models

WEIGHT = models.normal(96, 64)
WEIGHT[0, :6] = [0.0035, -0.0035, 0.0105, 9.0, -9.0, -0.0]  # ties of a step of 0.007 or so, saturated ones, -0.0
SCALE = np.float32(0.007)
SCALES = np.linspace(0.001, 0.01, 64, dtype=np.float32)
ZERO = np.int8(0)


def rounded(
    scale: np.ndarray = SCALE,
    zero: np.ndarray | None = ZERO,
    weight: np.ndarray = WEIGHT,
    opset: int = 21,
    **attributes,
) -> onnx.ModelProto:
    """x @ DequantizeLinear(QuantizeLinear(w))."""
    parameters = ["scale", *(["zero"] if zero is not None else [])]
    given = dict(attributes)
    nodes = [
        helper.make_node("QuantizeLinear", ["w", *parameters], ["q"], **given),
        helper.make_node("DequantizeLinear", ["q", *parameters], ["d"], **given),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    tensors = {"w": weight, "scale": scale, **({"zero": zero} if zero is not None else {})}
    kind = helper.np_dtype_to_tensor_dtype(weight.dtype)
    proto = models.model(
        nodes, {"x": (kind, [2, 96])}, {"y": (kind, [2, 64])}, [models.tensor(name, a) for name, a in tensors.items()]
    )
    proto.opset_import[0].version = opset
    return proto


GRIDS = {
    "one step": (rounded(), 256),
    "with a zero point": (rounded(zero=np.uint8(120)), 256),
    "without a zero point": (rounded(zero=None), 256),
    "by column": (rounded(SCALES, np.zeros(64, np.int8), axis=1), 64 * 256),
    "by row": (rounded(np.linspace(0.001, 0.01, 96, dtype=np.float32), np.arange(-48, 48).astype(np.int8), axis=-2),
               96 * 256),
    "by block": (rounded(np.linspace(0.001, 0.01, 128, dtype=np.float32).reshape(2, 64), np.zeros((2, 64), np.int8),
                         axis=0, block_size=48), 128 * 256),
    "of 16 bits": (rounded(np.float32(1e-5), np.int16(0)), 1 << 16),
    "of half floats": (rounded(np.float16(SCALE), ZERO, WEIGHT.astype(np.float16)), 256),
}  # fmt: skip


@pytest.mark.parametrize("name", GRIDS)
def test_weights_on_their_grid_give_the_same_outputs(name):
    proto, most = GRIDS[name]
    loaded = onnx_model.from_proto(proto)
    assert onnx_model.snap_to_grids(loaded) == 1
    snapped = models.arrays(loaded.proto)["w"]
    assert not np.array_equal(snapped, models.arrays(proto)["w"]) and len(np.unique(snapped)) <= most
    x = models.normal(2, 96, seed=1).astype(snapped.dtype)
    assert np.array_equal(*(models.run(each, x=x)[0] for each in (proto, loaded.proto)))
    assert np.array_equal(*(quantized(each) for each in (proto, loaded.proto)))


@pytest.mark.parametrize("name, axis", [("one step", None), ("by column", 1), ("by row", 0)])
def test_a_tensor_says_which_grid_it_is_on(name, axis):
    loaded = onnx_model.from_proto(GRIDS[name][0])
    onnx_model.snap_to_grids(loaded)
    (tensor,) = [tensor for tensor in loaded.tensors if tensor.grid]
    assert (tensor.name, tensor.grid.axis) == ("w", axis)
    scales = tensor.grid.scales.reshape([-1 if number == axis else 1 for number in range(2)])
    codes = np.rint(tensor.values() / scales)
    assert np.array_equal((codes.astype(np.float64) * scales).astype(np.float32), tensor.values())


def test_weights_in_external_data_are_put_on_their_grid_too(tmp_path):
    path = models.save(rounded(), tmp_path / "net.onnx", location="net.data")
    packed = dcz.compress(path, tmp_path / "net.dcz")
    x = models.normal(2, 96, seed=1)
    assert np.array_equal(*(models.run(each, x=x)[0] for each in (path, dcz.load(packed))))
    assert len(np.unique(models.arrays(dcz.load(packed))["w"])) <= 256


def test_a_model_whose_only_external_data_is_put_on_a_grid_keeps_it(tmp_path):
    """Deflated whole, without its weights, it would be the smallest."""
    path = models.save(rounded(), tmp_path / "net.onnx", location="net.data", size_threshold=1024)
    packed = dcz.compress(path, tmp_path / "net.dcz")
    assert np.array_equal(*(models.run(each, x=models.normal(2, 96))[0] for each in (path, dcz.load(packed))))


def test_calibration_leaves_them_on_their_grid(tmp_path):
    proto = rounded(weight=models.normal(96, 64))
    proto.graph.node.append(helper.make_node("MatMul", ["y", "v"], ["z"]))
    proto.graph.initializer.append(models.tensor("v", models.normal(64, 80, seed=2)))
    proto.graph.output[0].CopyFrom(helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 80]))
    proto.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 96]))
    dcz.tune(proto, tmp_path / "net.dcz", {"x": models.normal(64, 96, seed=3)}, ratio=3.5)
    found = models.arrays(dcz.load(tmp_path / "net.dcz"))
    loaded = onnx_model.from_proto(proto)
    onnx_model.snap_to_grids(loaded)
    assert np.array_equal(found["w"], models.arrays(loaded.proto)["w"])
    with dcz.open(tmp_path / "net.dcz") as tensors:
        assert tensors.metadata["snapped"] == "1"


def quantized(proto: onnx.ModelProto) -> np.ndarray:
    """The codes that onnxruntime makes of the weights."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.graph.output.append(helper.make_empty_tensor_value_info("q"))
    x = models.normal(2, 96, seed=1).astype(models.arrays(proto)["w"].dtype)
    return models.run(copy, x=x)[1]


def also_used() -> onnx.ModelProto:
    proto = rounded()
    proto.graph.node.append(helper.make_node("Mul", ["y", "w"], ["z"]))
    return proto


def moved() -> onnx.ModelProto:
    proto = rounded()
    proto.graph.node.append(helper.make_node("Transpose", ["w"], ["z"]))
    return proto


def an_output() -> onnx.ModelProto:
    proto = rounded()
    proto.graph.output.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [96, 64]))
    return proto


def overridable() -> onnx.ModelProto:
    proto = rounded()
    proto.graph.input.append(helper.make_tensor_value_info("scale", TensorProto.FLOAT, []))
    return proto


def two_grids() -> onnx.ModelProto:
    proto = rounded()
    proto.graph.node.append(helper.make_node("QuantizeLinear", ["w", "other", "zero"], ["r"]))
    proto.graph.initializer.append(models.tensor("other", np.float32(0.0031)))
    return proto


def computed() -> onnx.ModelProto:
    proto = rounded()
    proto.graph.node.insert(0, helper.make_node("ReduceMax", ["x"], ["s"], keepdims=0))
    proto.graph.node[1].input[1] = "s"
    return proto


@pytest.mark.parametrize(
    "proto",
    [
        also_used(), moved(), an_output(), overridable(), two_grids(), computed(), rounded(np.float32(0)),
        rounded(np.float32(np.nan)), rounded(SCALES[:5], np.zeros(5, np.int8), axis=1), rounded(zero=np.int32(0)),
        rounded(weight=np.full((96, 64), np.inf, np.float32)),
    ],
    ids="used,moved,output,overridable,two,computed,zero,nan,wrong,int32,inf".split(","),
)  # fmt: skip
def test_weights_whose_grid_is_not_known_or_not_all_stay_as_they_are(proto):
    loaded = onnx_model.from_proto(proto)
    assert onnx_model.snap_to_grids(loaded) == 0 and loaded.proto == proto


def test_files_of_such_models_are_small_say_so_and_give_the_same_outputs(tmp_path):
    proto = rounded(weight=models.normal(96, 64))
    path = dcz.compress(proto, tmp_path / "net.dcz")
    x = models.normal(2, 96, seed=1)
    assert np.array_equal(*(models.run(each, x=x)[0] for each in (proto, dcz.load(path))))
    assert path.stat().st_size < len(proto.SerializeToString()) / 3.3
    with dcz.open(path) as tensors:
        assert tensors.metadata["snapped"] == "1"
    verified = dcz.verify(path, against=models.save(proto, tmp_path / "net.onnx"))
    assert verified.snapped == 1 and not verified.worst_first


@pytest.mark.parametrize("name, places", [("by column", 64), ("by row", 96)])
def test_a_scale_for_each_channel_is_coded_as_such(name, places, tmp_path):
    weight = (
        models.normal(96, 64) * (SCALES if places == 64 else np.linspace(0.001, 0.01, 96)[:, None]).astype("f4") * 30
    )
    scale, axis = (SCALES, 1) if places == 64 else (np.linspace(0.001, 0.01, 96, dtype=np.float32), 0)
    proto = rounded(scale, np.zeros(places, np.int8), weight.astype(np.float32), axis=axis)
    packed = dcz.compress(models.save(proto, tmp_path / "net.onnx"), tmp_path / "net.dcz")
    row = next(row for row in dcz.inspect(packed).rows if row.name == "w")
    assert row.scales == places and row.huffman < weight.nbytes / 3
    x = models.normal(2, 96, seed=1)
    assert np.array_equal(models.run(proto, x=x)[0], models.run(dcz.load(packed), x=x)[0])


@pytest.mark.parametrize("plan", [LOSSLESS, Plan(fold=False), Plan(exclude=("w",)), Settings(lossless=True)], ids=str)
def test_a_plan_may_keep_them_as_they_are(plan, tmp_path):
    path = dcz.compress(rounded(), tmp_path / "net.dcz", plan)
    assert models.arrays(dcz.load(path))["w"].tobytes() == WEIGHT.tobytes()
    with dcz.open(path) as tensors:
        assert "snapped" not in tensors.metadata


def test_pruning_acts_on_them(tmp_path):
    path = dcz.compress(rounded(), tmp_path / "net.dcz", Settings(sparsity=0.5))
    assert 0.45 < np.mean(models.arrays(dcz.load(path))["w"] == 0) < 0.6
