"""BatchNormalizations folded into the layers before them: the same answers, and nothing folded that may not be."""

import math
import os
import tomllib
from dataclasses import replace

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import dcz
from dcz import model as onnx_model
from dcz.cli import cli
from dcz.compression.exact_tensors import fitting
from dcz.compression.measured_file import MeasuredFile
from dcz.errors import BadPlan
from dcz.model import batchnorm_arithmetic
from dcz.plan import LOSSLESS, Plan, Rule, Settings, parse
from dcz.tuning import sensitivity
from tests import models
from tests.models import constant, model, normal, tensor

IMAGE = normal(2, 6, 5, 5, seed=90) * 20
FLAT = normal(2, 6, seed=91) * 20


def statistics(channels: int, seed: int = 7, dtype=np.float32) -> dict[str, np.ndarray]:
    """Scale, bias, mean and variance, different in each channel: scales of either sign."""
    random = np.random.default_rng(seed)
    found = random.normal(size=channels), random.normal(size=channels), random.normal(size=channels)
    return {k: v.astype(dtype) for k, v in zip("sbmv", (*found, random.uniform(0.01, 3, channels)))}


def norm(x: str = "h", y: str = "y", names: str = "sbmv", **attributes) -> onnx.NodeProto:
    return helper.make_node("BatchNormalization", [x, *names], [y], **attributes)


def net(op: str, weight, bias=None, channels=None, x=IMAGE, normed=None, **attributes) -> onnx.ModelProto:
    """x -> layer (W, perhaps C) -> BatchNormalization -> y"""
    dtype = weight.dtype
    operands = {"W": weight} | ({} if bias is None else {"C": bias})
    layer = helper.make_node(op, ["x", *operands], ["h"], **attributes)
    arrays = operands | statistics(channels or len(weight), dtype=dtype)
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    shapes = {"x": (kind, x.shape)}, {"y": (kind, [None] * x.ndim)}
    return model([layer, normed or norm()], *shapes, [tensor(*each) for each in arrays.items()])


def conv(**changes) -> onnx.ModelProto:
    return net("Conv", normal(8, 6, 3, 3), normal(8, seed=1), **changes)


def folded(proto, count: int = 1, **options) -> onnx.ModelProto:
    loaded = onnx_model.from_proto(proto)
    assert onnx_model.fold_batchnorms(loaded, **options) == count
    if proto.ir_version >= 4:
        onnx.checker.check_model(loaded.proto)
    names = {weight.name for weight in loaded.tensors}
    assert names == {weight.name for weight in onnx_model.from_proto(loaded.proto).tensors}
    return loaded.proto


def arrays(proto) -> dict[str, np.ndarray]:
    return {each.name: numpy_helper.to_array(each) for each in proto.graph.initializer}


def assert_alike(one, other, tolerance=1e-5, **feeds):
    for a, b in zip(models.run(one, **feeds), models.run(other, **feeds), strict=True):
        assert a.dtype == b.dtype and np.abs(a - b).max() <= tolerance * np.abs(a).max()


def operators(proto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


# -- the same answers --------------------------------------------------------------------------------------------------

LAYERS = {
    "conv": net("Conv", normal(8, 6, 3, 3)),
    "bias": conv(),
    "groups": net("Conv", normal(8, 3, 3, 3), normal(8, seed=1), group=2, pads=[1, 1, 1, 1]),
    "depthwise": net("Conv", normal(6, 1, 3, 3), group=6, strides=[2, 2]),
    "one dimension": net("Conv", normal(8, 6, 3), x=normal(2, 6, 9) * 20),
    "transposed": net("ConvTranspose", normal(6, 8, 3, 3), normal(8, seed=1), channels=8, strides=[2, 2]),
    "transposed groups": net("ConvTranspose", normal(6, 4, 2, 3), channels=12, group=3),
    "gemm": net("Gemm", normal(6, 9), normal(9, seed=1), channels=9, x=FLAT),
    "gemm turned": net("Gemm", normal(9, 6), normal(9, seed=1), x=FLAT, transB=1),
    "gemm scaled": net("Gemm", normal(9, 6), normal(9, seed=1), x=FLAT, transB=1, alpha=0.5, beta=-3.0),
    "gemm unbiased": net("Gemm", normal(6, 9), channels=9, x=FLAT, alpha=2.0, beta=0.0),
    "gemm by rows": net("Gemm", normal(6, 9), normal(1, 9, seed=1), channels=9, x=FLAT, beta=0.5),
    "gemm x turned": net("Gemm", normal(6, 9), channels=9, x=FLAT.T.copy(), transA=1),
    "epsilon": conv(normed=norm(epsilon=0.3, momentum=0.5)),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_answers_are_the_same_but_for_rounding(layer):
    proto = LAYERS[layer]
    made = folded(proto)
    x = FLAT.T.copy() if layer == "gemm x turned" else FLAT if "gemm" in layer else IMAGE
    x = normal(2, 6, 9) * 20 if layer == "one dimension" else x
    assert operators(made) == operators(proto)[:1] and made.graph.node[0].output[0] == "y"
    assert_alike(proto, made, x=x)
    wrong = folded(proto)
    arrays_of_wrong = {t.name: t for t in wrong.graph.initializer}
    arrays_of_wrong["W"].CopyFrom(next(t for t in proto.graph.initializer if t.name == "W"))
    with pytest.raises(AssertionError):
        assert_alike(proto, wrong, x=x)


@pytest.mark.parametrize("opset", [7, 8, 9, 13, 14, 15, 17, 20, 22])
def test_all_versions_of_the_operator(opset):
    proto = conv()
    proto.opset_import[0].version = opset
    assert_alike(proto, folded(proto), x=IMAGE)


@pytest.mark.parametrize("dtype, tolerance", [(np.float16, 5e-3), (np.float64, 1e-12)])
def test_other_types(dtype, tolerance):
    x = IMAGE.astype(dtype)
    proto = net("Conv", normal(8, 6, 3, 3, dtype=dtype), normal(8, seed=1, dtype=dtype), x=x)
    made = folded(proto)
    assert {each.dtype for each in arrays(made).values()} == {np.dtype(dtype)}
    if dtype == np.float64:  # onnxruntime has no Conv for it
        for each in (proto, made):
            for held in each.graph.initializer:
                held.CopyFrom(tensor(held.name, numpy_helper.to_array(held).astype(np.float32)))
            for info in (*each.graph.input, *each.graph.output):
                info.type.tensor_type.elem_type = TensorProto.FLOAT
        x, tolerance = IMAGE, 1e-5
    assert_alike(proto, made, tolerance, x=x)


def test_statistics_of_another_type_than_the_weight():
    proto = net("Conv", normal(8, 6, 3, 3, dtype=np.float16), x=IMAGE.astype(np.float16))
    del proto.graph.initializer[1:]
    proto.graph.initializer.extend(tensor(*each) for each in statistics(8).items())
    made = arrays(folded(proto))
    assert {name: each.dtype for name, each in made.items()} == {"W": np.float16, "b": np.float16}


def test_constants_typed_fields_and_old_versions_of_the_file():
    proto = conv()
    held = arrays(proto)
    del proto.graph.initializer[:]
    for name in ("s", "b", "v"):
        proto.graph.node.insert(1, constant(name, held[name]))
    proto.graph.node.insert(1, constant("m", held["m"].tolist()))
    for name in ("W", "C"):
        proto.graph.node.insert(0, constant(name, held[name]))
    proto.graph.node[0].attribute[0].t.CopyFrom(models.typed("value", held["C"]))
    del proto.graph.node[2].input[2]  # no bias, and a file in which an initializer would be an input
    del proto.graph.node[0]
    proto.ir_version = 3
    proto.opset_import[0].version = 13
    made = folded(proto)
    assert operators(made) == ["Constant", "Constant", "Conv"] and not made.graph.initializer
    assert_alike(proto, made, x=IMAGE)


def chain() -> onnx.ModelProto:
    """Two layers whose normalisations share one of their vectors."""
    nodes = [
        helper.make_node("Conv", ["x", "W"], ["h"]),
        norm("h", "n", "sbmv"),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("Conv", ["r", "W2"], ["h2"]),
        norm("h2", "n2", "tbmv"),
        helper.make_node("Relu", ["n2"], ["y"]),
    ]
    held = {"W": normal(8, 6, 3, 3), "W2": normal(8, 8, 2, 2, seed=1)} | statistics(8) | {"t": normal(8, seed=2) + 1}
    made = model(nodes, {"x": list(IMAGE.shape)}, {"y": [None] * 4}, [tensor(*each) for each in held.items()])
    for name in ("h", "n", "h2"):
        made.graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 8, None, None]))
    return made


def test_what_lost_its_use_goes_and_what_others_use_stays():
    made = folded(chain(), 2)
    assert operators(made) == ["Conv", "Relu", "Conv", "Relu"]
    assert [info.name for info in made.graph.value_info] == ["n"]
    assert arrays(made).keys() == {"W", "W2", "W.bias", "b"}  # the first found b in use; the second had it alone
    assert_alike(chain(), made, x=IMAGE)
    only = folded(chain(), 1, may_fold=lambda weight, names: weight.name == "W2", rounds_biases=True)
    assert arrays(only).keys() == {"W", "W2", "W2.bias", *"sbmv"}
    assert_alike(chain(), only, 1e-3, x=IMAGE)
    assert folded(chain(), 1, folded_like=only) == only


def test_a_new_name_is_taken_by_nothing_else():
    proto = chain()
    proto.graph.node[2].output[0] = proto.graph.node[3].input[0] = "W.bias"
    proto.graph.initializer.append(tensor("W.bias2", np.ones(3, np.float32)))
    made = folded(proto, 2)
    assert made.graph.node[0].input[2] == "W.bias3"
    assert_alike(proto, made, x=IMAGE)


# -- what stays --------------------------------------------------------------------------------------------------------


def _input(name):
    def change(proto):
        proto.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, arrays(proto)[name].shape))

    return change


def _output(name):
    return lambda proto: proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))


def _node(op, *inputs):
    return lambda proto: proto.graph.node.append(helper.make_node(op, list(inputs), ["other"]))


def _values(name, array):
    def change(proto):
        (found,) = (each for each in proto.graph.initializer if each.name == name)
        found.CopyFrom(tensor(name, array))

    return change


def _attribute(number, **attributes):
    made = helper.make_node("Any", [], [], **attributes).attribute
    return lambda proto: proto.graph.node[number].attribute.extend(made)


def _branch(proto):
    then, other = (models.graph([helper.make_node("Neg", ["h"], [y])], {}, {y: None}, name=y) for y in "tu")
    proto.graph.initializer.append(tensor("yes", np.array(True)))
    proto.graph.node.append(helper.make_node("If", ["yes"], ["other"], then_branch=then, else_branch=other))


def _old(proto):
    proto.opset_import[0].version = 6


def _computed(proto):
    proto.graph.node.insert(0, helper.make_node("Neg", ["W"], ["V"]))
    proto.graph.node[1].input[1] = "V"


def _between(proto):
    proto.graph.node.insert(1, helper.make_node("Relu", ["h"], ["r"]))
    proto.graph.node[2].input[0] = "r"


def _sparse(proto):
    dense = next(each for each in proto.graph.initializer if each.name == "s")
    proto.graph.sparse_initializer.append(models.sparse("s", numpy_helper.to_array(dense)))
    proto.graph.initializer.remove(dense)


def _function(proto):
    proto.functions.append(
        helper.make_function("", "Conv", ["x", "w", "c"], ["y"], [helper.make_node("Add", ["x", "c"], ["y"])], [])
    )


EIGHT = np.ones(8, np.float32)
STAYS = {
    "weight is an input": _input("W"),
    "bias is an input": _input("C"),
    "mean is an input": _input("m"),
    "output is the model's": _output("h"),
    "output is used elsewhere": _node("Relu", "h"),
    "output is used by a branch": _branch,
    "weight is used elsewhere": _node("Relu", "W"),
    "weight is an output": _output("W"),
    "bias is used elsewhere": _node("Relu", "C"),
    "weight is computed": _computed,
    "something between": _between,
    "training": _attribute(1, training_mode=1),
    "variance below zero": _values("v", -EIGHT),
    "variance is no number": _values("v", EIGHT * np.nan),
    "weight becomes infinite": _values("s", EIGHT * 1e38),
    "bias becomes infinite": _values("m", EIGHT * 3e38),
    "vector does not fit": _values("m", np.ones(1, np.float32)),
    "vector is sparse": _sparse,
    "bias does not fit": _values("C", np.ones((8, 1), np.float32)),
    "each place for itself": _attribute(1, spatial=0),
    "an opset of another time": _old,
    "a Conv of its own": _function,
    "to be trained": lambda proto: proto.training_info.add(),
    "annotated": lambda proto: proto.graph.quantization_annotation.add(tensor_name="h"),
}


@pytest.mark.parametrize("case", STAYS)
def test_what_may_not_be_folded_stays_as_it_is(case):
    proto = conv()
    folded(proto)
    STAYS[case](proto)
    loaded = onnx_model.from_proto(proto)
    assert onnx_model.fold_batchnorms(loaded) == 0 and loaded.proto == proto


@pytest.mark.parametrize(
    "proto",
    [
        net("MatMul", normal(6, 9), channels=9, x=FLAT),
        net("Gemm", normal(6, 9), normal(2, 9), channels=9, x=FLAT),  # a bias for each sample
        net("Gemm", normal(6, 9), np.ones(1, np.float32), channels=9, x=FLAT),
        net("ConvTranspose", normal(6, 4, 2, 3), channels=12, group=0),
        net("Conv", normal(8, 6), x=FLAT),
    ],
)
def test_other_layers_stay(proto):
    loaded = onnx_model.from_proto(proto)
    assert onnx_model.fold_batchnorms(loaded) == 0 and loaded.proto == proto


def test_external_data_stays(tmp_path):
    path = models.save(conv(), tmp_path / "net.onnx", location="net.data")
    assert onnx_model.fold_batchnorms(onnx_model.load(path)) == 0


def test_statistics_that_two_outputs_need_are_no_inference():
    proto = conv()
    proto.opset_import[0].version = 8
    proto.graph.node[1].output.extend(["mean", "var"])
    assert onnx_model.fold_batchnorms(onnx_model.from_proto(proto)) == 0


def test_a_second_normalisation_stays():
    proto = net("Conv", normal(8, 6, 3, 3), normed=norm(y="n"))
    proto.graph.node.append(norm("n", "y", "stuv"))
    proto.graph.initializer.extend([tensor("t", EIGHT), tensor("u", EIGHT)])
    assert_alike(proto, folded(proto), x=IMAGE)


def test_zeros_stay_zeros_bit_for_bit():
    weight = np.where(np.abs(normal(8, 6, 3, 3)) > 0.05, normal(8, 6, 3, 3), 0).astype(np.float32)
    made = arrays(folded(net("Conv", weight)))["W"]
    assert np.array_equal(made.view(np.uint32) == 0, weight == 0)


# -- who folds ---------------------------------------------------------------------------------------------------------


def deep(layers: int = 3, width: int = 16) -> onnx.ModelProto:
    """x [n, 6, 5, 5] -> (Conv -> BatchNormalization -> Relu) a few times -> mean -> Gemm -> y [n, 10]"""
    nodes, held, value = [], {}, "x"
    for number in range(layers):
        names = [f"{letter}{number}" for letter in "sbmv"]
        held[f"w{number}"] = normal(width, width if number else 6, 3, 3, seed=number)
        held |= dict(zip(names, statistics(width, seed=number).values()))
        nodes += [
            helper.make_node("Conv", [value, f"w{number}"], [f"h{number}"], pads=[1, 1, 1, 1]),
            helper.make_node("BatchNormalization", [f"h{number}", *names], [f"n{number}"]),
            helper.make_node("Relu", [f"n{number}"], [f"r{number}"]),
        ]
        value = f"r{number}"
    nodes += [
        helper.make_node("GlobalAveragePool", [value], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "wy", "cy"], ["y"], transB=1),
    ]
    held |= {"wy": normal(10, width, seed=50), "cy": normal(10, seed=51)}
    return model(nodes, {"x": ["n", 6, 5, 5]}, {"y": ["n", 10]}, [tensor(*each) for each in held.items()])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return models.save(deep(), tmp_path_factory.mktemp("fold") / "net.onnx")


SAMPLES = normal(16, 6, 5, 5, seed=60) * 20


def norms(path) -> int:
    return operators(dcz.load(path)).count("BatchNormalization")


@pytest.mark.parametrize(
    "plan, count",
    [
        (None, 3),
        (Plan(fold=False), 0),
        (LOSSLESS, 0),
        (Settings(), 0),
        (Settings(sparsity=0.5, share=False), 0),  # what pruning leaves stays as it is
        (Settings(sparsity=0.5, bits=4), 3),
        (Plan(exclude=("w0",)), 2),
        (Plan(exclude=("m1",)), 2),
        (Plan(include=("b2",)), 2),
        (Plan(rules=(Rule(("w*",), Settings(bits=5)),)), 3),  # shared, as the default would
        (Plan(rules=(Rule(("w0",), LOSSLESS),)), 2),
        (Plan(rules=(Rule(("?1",), Settings(bits=5)),)), 2),
        (Plan(LOSSLESS, (Rule(("w1",), Settings(bits=5)),)), 1),
    ],
)
def test_layers_are_folded_whose_weights_change_anyway(plan, count, source, tmp_path):
    path = dcz.compress(source, tmp_path / "net.dcz", plan, force=True)
    metadata = dcz.inspect(path).metadata
    assert norms(path) == 3 - count and metadata.get("folded", "0") == str(count)
    assert metadata["source-bytes"] == str(os.path.getsize(source))
    result = dcz.verify(path, against=source)
    assert result.folded == count and all(each.decibels > 5 for each in result.tensors)
    if not count and plan is LOSSLESS:
        assert dcz.load(path) == onnx.load(source)


def test_the_plans_file_says_so_too():
    assert parse({"fold": False}) == Plan(fold=False)
    with pytest.raises(BadPlan, match="fold"):
        parse({"fold": 1})


def test_the_command_says_how_many_and_leaves_them_if_told_to(source, tmp_path):
    path = str(tmp_path / "net.dcz")
    command = ["compress", str(source), "-f", "-o", path]
    told = " ".join(CliRunner().invoke(cli, command).stdout.split())
    assert "3 BatchNormalizations folded into layers" in told and norms(path) == 0
    shown = CliRunner().invoke(cli, ["verify", path, "--against", str(source)]).stdout
    assert "3 BatchNormalizations of it folded likewise" in shown
    told = CliRunner().invoke(cli, [*command, "--no-fold"]).stdout
    assert "folded" not in told and norms(path) == 3


def test_compressing_once_more_loses_little(source, tmp_path):
    """Rows with scales and small tensors are rounded once more, to the same quality."""
    for plan in (None, Plan(fold=False)):
        first = dcz.load(dcz.compress(source, tmp_path / "net.dcz", plan, force=True))
        again = dcz.compress(first, tmp_path / "again.dcz", force=True)
        compared = dcz.verify(again, against=models.save(first, tmp_path / "first.onnx")).tensors
        assert all(each.decibels > 34 for each in compared)


def test_new_biases_are_short_where_a_file_is_made():
    """12 bits of each; of those that are far larger than the deviation of their outputs, more."""
    proto, scales = conv(), np.array([1, 1, 1, 1, 1, 1, 1e-3, 1e-3], np.float32)
    for held in proto.graph.initializer:
        if held.name == "s":
            held.CopyFrom(tensor("s", scales))
    exact, short = (arrays(folded(proto, rounds_biases=rounds))["C"] for rounds in (False, True))
    errors, is_large = np.abs(short.astype(np.float64) - exact), np.abs(exact) > 4 * scales
    assert (errors <= 2.0**-12 * np.minimum(np.abs(exact), 4 * scales)).all() and errors.any()
    assert is_large[6:].any() and not is_large[:6].all()
    assert (np.frexp(short[~is_large])[0] * 2.0**12 % 1 == 0).all()


@pytest.mark.parametrize("scale, bias", [(0.0, 3.0), (1e-300, 3.0), (1.0, 5e-324), (5e-324, 1e300), (1.0, 0.0)])
def test_biases_that_have_no_short_numbers_stay(scale, bias):
    made = np.array([bias]), np.array([scale])
    with np.errstate(all="ignore"):
        assert batchnorm_arithmetic._short(*made) == bias


def test_biases_of_a_file_are_those_of_the_model_folded_likewise(source, tmp_path):
    path = dcz.compress(source, tmp_path / "net.dcz", force=True)
    found = {each.name: each.decibels for each in dcz.verify(path, against=source).tensors}
    biases = [name for name in found if not name.startswith("w")]
    assert biases and all(found[name] == math.inf for name in biases)


def test_a_model_that_is_smallest_whole_is_the_original(tmp_path):
    proto, ids = conv(), np.random.default_rng(0).integers(1 << 62, size=2000)
    proto.graph.initializer.extend(tensor(f"ids{n}", np.append(ids, n)) for n in range(5))
    path = dcz.compress(proto, tmp_path / "net.dcz", force=True)
    assert not models.entries(path) and dcz.load(path) == proto and "folded" not in dcz.inspect(path).metadata


def test_a_size_is_met_and_what_is_left_filled_with_exact_layers(source, tmp_path):
    lossless = os.path.getsize(dcz.compress(source, tmp_path / "whole.dcz", LOSSLESS, force=True))
    coarse, fine, whole = (tmp_path / f"{name}.dcz" for name in ("coarse", "fine", "exact"))
    dcz.compress_to_size(source, coarse, lossless // 6, threads=1, force=True)
    dcz.compress_to_size(source, fine, int(0.8 * lossless), threads=1, force=True)
    dcz.compress_to_size(source, whole, lossless, threads=1, force=True)
    assert [norms(path) for path in (coarse, fine, whole)][::2] == [0, 3] and 0 < norms(fine) < 3
    assert dcz.load(whole) == onnx.load(source) and os.path.getsize(coarse) <= lossless // 6


def test_exact_tensors_are_none_that_were_folded_away():
    whole, found = MeasuredFile(100, {"w": 60, "m": 20}), MeasuredFile(30, {"w": 20})
    assert fitting(whole, found, 1000) == ("w",)


def test_tuning_folds_and_stays_with_the_original_where_all_is_exact(source, tmp_path):
    lossless = os.path.getsize(dcz.compress(source, tmp_path / "whole.dcz", LOSSLESS, force=True))
    path = tmp_path / "net.dcz"
    tuned = dcz.tune(source, path, {"x": SAMPLES}, max_bytes=lossless // 6, threads=1, force=True)
    assert norms(path) == 0 and dcz.inspect(path).metadata["folded"] == "3"
    assert tuned.kept.nbytes == os.path.getsize(path) and tuned.biases and not tuned.means
    dcz.tune(source, path, {"x": SAMPLES}, max_bytes=lossless + 100, threads=1, force=True)
    assert dcz.load(path) == onnx.load(source) and "folded" not in dcz.inspect(path).metadata


def test_the_plan_of_sensitivity_fits(source, tmp_path):
    found = sensitivity.measure(source, {"x": SAMPLES}, bits=(4,), sparsities=(), samples=8, output=tmp_path / "p.toml")
    assert [row.name for row in found.rows] == ["w0", "w1", "w2"]
    assert norms(dcz.compress(source, tmp_path / "net.dcz", tmp_path / "p.toml", force=True)) == 0
    assert parse(tomllib.loads(found.to_toml())).fold
    assert not parse(tomllib.loads(replace(found, plan=Plan(fold=False)).to_toml())).fold
