"""Models that say that dcz has put codes into them, and did not: `--as gather` and `--as qdq`, misused."""

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import dcz
from dcz.model.compact_graph import FORM_KEY
from tests import models
from tests.hostile.limits import QUICK, SMALL, run_commands_limited

CODES = np.zeros((1000, 1000), np.uint8)


def ours(operator: str, inputs: list[str], outputs: list[str], name: str = "", **attributes) -> NodeProto:
    """A node as dcz puts it there."""
    return helper.make_node(operator, inputs, outputs, name=f"dcz/{name or outputs[0]}", **attributes)


def model(nodes: list[NodeProto], *, last: str, form: bytes = b"gather dcz/", **arrays: np.ndarray) -> ModelProto:
    """A model of these nodes, whose value `last` a layer reads, that is said to be of a small form."""
    tensors = [models.tensor(name, array) for name, array in arrays.items()]
    for tensor in tensors:
        tensor.doc_string = "w" if tensor.name == "codes" else ""
        tensor.name = "w.codes" if tensor.name == "codes" else tensor.name
    made = models.model([*nodes, helper.make_node("MatMul", ["x", last], ["y"])], {"x": [1, 4]}, {"y": [1, 4]}, tensors)
    made.MergeFromString(
        b"\x72" + bytes([12 + len(form)]) + b"\x0a\x08" + FORM_KEY.encode() + b"\x12" + bytes([len(form)]) + form
    )
    return made


def gathers() -> ModelProto:
    """A megabyte of codes, of which ten thousand tensors are made."""
    nodes = [ours("Cast", ["w.codes"], ["i"], to=TensorProto.INT32)]
    nodes += [ours("Gather", ["entries", "i"], [f"g{number}"]) for number in range(10_000)]
    nodes.append(helper.make_node("Sum", [f"g{number}" for number in range(10_000)], ["sum"]))
    return model(nodes, last="sum", codes=CODES, entries=np.zeros(16, np.float32))


def product() -> ModelProto:
    """A column times a row."""
    column, row = np.zeros((30_000, 1), np.float32), np.zeros((1, 30_000), np.float32)
    return model([ours("Mul", ["column", "row"], ["big"])], last="big", column=column, row=row)


def scales() -> ModelProto:
    """A column times the scales of more columns than it has."""
    column, row = np.zeros((30_000, 1), np.int8), np.zeros(30_000, np.float32)
    node = ours("DequantizeLinear", ["column", "row"], ["big"], axis=1)
    return model([node], last="big", column=column, row=row)


def rows() -> ModelProto:
    """A row of two megabytes, chosen a hundred thousand times."""
    arrays = {"table": np.zeros((1, 500_000), np.float32), "places": np.zeros(100_000, np.int32)}
    return model([ours("Gather", ["table", "places"], ["big"])], last="big", **arrays)


def readers() -> ModelProto:
    """Twenty thousand nodes that each read a megabyte of half bytes, of one row."""
    nodes = [ours("Gather", ["w.codes", "places"], [f"g{number}"]) for number in range(20_000)]
    nodes.append(helper.make_node("Sum", [f"g{number}" for number in range(20_000)], ["sum"]))
    made = model(nodes, last="sum", codes=CODES, places=np.zeros(1, np.int32))
    made.graph.initializer[0].data_type, made.graph.initializer[0].dims[0] = TensorProto.UINT4, 2000
    return made


def chains() -> ModelProto:
    """Nodes behind a lookup, each of which reads the one before twice."""
    nodes = [helper.make_node("Gather", ["w.codes", "x"], ["m0"])]
    nodes += [ours("Mul", [f"m{number}"] * 2, [f"m{number + 1}"]) for number in range(40)]
    return model(nodes, last="m40", codes=CODES)


def lookups() -> ModelProto:
    """Thousands of lookups, each with a node behind it."""
    nodes = []
    for number in range(8000):
        nodes.append(helper.make_node("Gather", ["w.codes", f"x{number}"], [f"m{number}"]))
        nodes.append(ours("Cast", [f"m{number}"], [f"c{number}"], to=TensorProto.FLOAT))
    return model([*nodes, helper.make_node("Sum", [f"c{n}" for n in range(8000)], ["sum"])], last="sum", codes=CODES)


HOSTILE = {make.__name__: make for make in (gathers, product, scales, rows, readers, chains, lookups)}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What came of each, all compressed in one process."""
    folder = tmp_path_factory.mktemp("forms")
    commands = []
    for name, make in HOSTILE.items():
        models.save(make(), folder / f"{name}.onnx")
        commands.append(["compress", f"{name}.onnx", "--lossless", "-q"])
    return dict(zip(HOSTILE, run_commands_limited(commands, folder)))


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_is_computed_beyond_what_codes_stand_for(name, outcomes):
    used = outcomes[name]
    assert (used.code, used.seconds < QUICK, used.megabytes < SMALL) == (
        0 if name in ("chains", "lookups") else 3, True, True
    ), used.err  # fmt: skip


ODD = {
    f"{operator}, {len(inputs)} inputs, {len(outputs)} outputs, {maker.__name__}": (maker, operator, inputs, outputs)
    for operator in ("Gather", "Cast", "Mul", "DequantizeLinear", "Transpose", "Identity", "Constant", "If")
    for inputs, outputs in (([], []), (["w.codes"], []), ([], ["z"]), (["w.codes", "w.codes"], ["z", "y2"]))
    for maker in (ours, helper.make_node)
}


@pytest.mark.parametrize("name", ODD)
def test_nodes_without_inputs_or_outputs_stay_as_they_are(name, tmp_path):
    maker, operator, inputs, outputs = ODD[name]
    node = maker(operator, inputs, outputs, name="z")
    reader = helper.make_node("Sum", outputs or ["x"], ["sum"])
    proto = model([node, reader], last="sum", codes=CODES[:20, :20])
    node.name = node.name or "z"
    packed = dcz.compress(proto, tmp_path / "net.dcz", dcz.PRESETS["lossless"])
    found = dcz.load(packed)
    assert [each.op_type for each in found.graph.node] == [operator, "Sum", "MatMul"]
    assert np.array_equal(numpy_helper.to_array(found.graph.initializer[0]), CODES[:20, :20])


@pytest.mark.parametrize("form", [b"", b"gather \xff\xfe", b"\xff", b"zzz", b"gather  "])
def test_a_form_of_another_name_is_none(form, tmp_path):
    packed = dcz.compress(model([], last="w", form=form, w=models.normal(4, 4)), tmp_path / "net.dcz")
    assert models.arrays(dcz.load(packed)).keys() == {"w"}
