"""Graphs that cost more than they weigh, and those that are wrong: told soon, in bounded memory."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import dcz
from dcz import model as onnx_model
from dcz.plan import LOSSLESS
from tests import models

WEIGHT = models.tensor("w", models.normal(64, 64))


def behind(nodes, *tensors):
    """x @ what these nodes make of `w`."""
    product = helper.make_node("MatMul", ["x", "h"], ["y"])
    return models.model([*nodes, product], {"x": [2, 64]}, {"y": [2, None]}, [WEIGHT, *tensors])


ONE = models.tensor("one", np.float32([2]))
LARGE = {
    "expand": behind(
        [helper.make_node("Expand", ["one", "to"], ["e"]), helper.make_node("ReduceMax", ["e"], ["m"], keepdims=0),
         helper.make_node("Mul", ["w", "m"], ["h"])], ONE, models.tensor("to", np.int64([1 << 20, 1 << 20])),
    ),
    "tile": behind(
        [helper.make_node("Tile", ["one", "to"], ["e"]), helper.make_node("ReduceMax", ["e"], ["m"], keepdims=0),
         helper.make_node("Mul", ["w", "m"], ["h"])], ONE, models.tensor("to", np.int64([1 << 40])),
    ),
    "a shape that depends on values": behind(
        [helper.make_node("NonZero", ["w"], ["z"]), helper.make_node("Cast", ["z"], ["c"], to=TensorProto.FLOAT),
         helper.make_node("Transpose", ["c"], ["h"])],
    ),
}  # fmt: skip


@pytest.mark.parametrize("proto", LARGE.values(), ids=LARGE)
def test_arithmetic_of_unbounded_size_keeps_the_weight_exact(proto, tmp_path):
    packed = dcz.compress(proto, tmp_path / "net.dcz")
    assert np.array_equal(models.arrays(dcz.load(packed))["w"], models.arrays(proto)["w"])


@pytest.mark.parametrize("block, shape", [(1 << 40, (1, 64)), (-1, (64, 64)), (64, (1, 1 << 12))])
def test_blocks_of_any_size_take_no_memory(block, shape):
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s"], ["q"], axis=0, block_size=block),
        helper.make_node("DequantizeLinear", ["q", "s"], ["h"], axis=0, block_size=block),
    ]
    loaded = onnx_model.from_proto(behind(nodes, models.tensor("s", np.full(shape, 0.01, np.float32))))
    assert onnx_model.snap_to_grids(loaded) == (shape == (1, 64))


def test_a_constant_without_output_is_no_crash(tmp_path):
    proto = behind([helper.make_node("Identity", ["w"], ["h"])])
    packed = dcz.compress(proto, tmp_path / "net.dcz", LOSSLESS)
    proto.graph.node.insert(0, helper.make_node("Constant", [], [], value_float=1.0))
    path = models.save(proto, tmp_path / "net.onnx")
    try:
        dcz.verify(packed, against=path)
    except dcz.DczError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("place", ["model", "graph", "node", "tensor"])
def test_a_group_that_no_reader_takes_goes_into_no_file(place, tmp_path):
    """protobuf keeps groups that it does not know; readers of a .dcz refuse graphs that hold any."""
    proto = behind([helper.make_node("Identity", ["w"], ["h"])])
    places = {"model": proto, "graph": proto.graph, "node": proto.graph.node[0], "tensor": proto.graph.initializer[0]}
    places[place].MergeFromString(b"\xf3\x01\x08\x05\xf4\x01")  # field 30
    path = models.save(proto, tmp_path / "net.onnx")
    for lossless in (True, False):
        with pytest.raises(dcz.UnsuitableModel, match=r"net.onnx: the model holds a group.*DiscardUnknownFields"):
            dcz.compress(path, tmp_path / "net.dcz", lossless=lossless)
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]
    proto.DiscardUnknownFields()
    assert dcz.load(dcz.compress(proto, tmp_path / "net.dcz", LOSSLESS)) == proto
