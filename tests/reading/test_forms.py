"""Small ONNX models whose weights are computed from codes: exact, valid, and no table is expanded."""

import math

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper

import dcz
from dcz.errors import CorruptFile, FileAccess, InvalidArgument, UnsuitableModel
from dcz.tensor import BFLOAT16, round_to
from tests import models
from tests.networks import perceptron, separable

X = models.normal(5, 64)
FORMS = ("gather", "qdq")


def decoded(packed, form: str, folder, **options) -> tuple[ModelProto, list[str]]:
    """The file in a form, checked by onnx, and what was said of it."""
    said: list[str] = []
    path = dcz.decompress(packed, folder / f"{form}.onnx", form=form, warn=said.append, force=True, **options)
    onnx.checker.check_model(str(path))
    return onnx.load(path), said


def in_both(model: ModelProto, form: str, folder, *plan, **options) -> tuple[ModelProto, ModelProto, list[str]]:
    """A model compressed, and decoded densely and in a form."""
    packed = dcz.compress(model, folder / "net.dcz", *plan, force=True, **options).path
    proto, said = decoded(packed, form, folder)
    return dcz.load(packed), proto, said


def assert_alike(dense: ModelProto, proto: ModelProto, form: str, **feeds: np.ndarray) -> None:
    """The answers are the same: to the bit where the runtime folds what it looks up, as it does with `gather`.

    What it computes itself in each run is summed up in another order, and DequantizeLinear may be fused with MatMul,
    which then rounds what is multiplied: that is left out here.
    """
    expected, found = models.run(dense, **feeds), models.run(proto, **feeds)
    if form == "gather":
        assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
        return
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    exact = onnxruntime.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"]).run(None, feeds)
    for one, other, fused in zip(exact, expected, found, strict=True):
        assert np.allclose(one, other, rtol=1e-5, atol=1e-5 * np.abs(other).max())
        assert np.allclose(fused, other, atol=0.05 * np.abs(other).max())


def operators(proto: ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node]


def initializers(proto: ModelProto) -> dict[str, TensorProto]:
    return {tensor.name: tensor for tensor in proto.graph.initializer}


def on_grid(*shape: int, step: float = 0.125, levels: int = 101, seed: int = 0) -> np.ndarray:
    low = -(levels // 2)
    return (np.random.default_rng(seed).integers(low, low + levels, shape) * step).astype(np.float32)


# -- exact -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", models.PLACES)
def test_a_weight_in_any_corner_of_a_model(place, form, tmp_path):
    dense, proto, _ = in_both(models.place(place), form, tmp_path, bits=4)
    assert_alike(dense, proto, form, x=models.INPUT)
    if "sparse" not in place:
        assert len(proto.SerializeToString()) < 0.5 * len(dense.SerializeToString())


SETTINGS = {
    "default": {}, "few levels": {"bits": 3}, "pruned and shared": {"sparsity": 0.9, "bits": 5},
    "pruned on a grid": {"sparsity": 0.8, "step": 0.3}, "fine": {"quality": 60}, "lossless": {"lossless": True},
    "no sharing": {"sparsity": 0.5, "share": False},
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("make", [perceptron, lambda: separable(96)], ids=["perceptron", "separable"])
def test_answers_are_those_of_the_dense_model(make, options, form, tmp_path):
    dense, proto, said = in_both(make(), form, tmp_path, **options)
    x = models.normal(5, *[dim.dim_value for dim in dense.graph.input[0].type.tensor_type.shape.dim][1:])
    assert_alike(dense, proto, form, x=x)
    assert form == "qdq" or not any("equal but for rounding" in sentence for sentence in said)


def weights_of(proto: ModelProto, names: list[str]) -> list[np.ndarray]:
    """The values of weights as the model computes them: made its outputs."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    for name in names:
        copy.graph.output.append(helper.make_empty_tensor_value_info(name))
    feeds = {info.name: np.zeros([d.dim_value or 1 for d in info.type.tensor_type.shape.dim], np.float32)
             for info in copy.graph.input}  # fmt: skip
    return models.run(copy, **feeds)[len(proto.graph.output) :]


@pytest.mark.parametrize("form", FORMS)
def test_rows_with_scales_keep_every_bit(form, tmp_path):
    dense, proto, said = in_both(separable(192), form, tmp_path, quality=20)
    (found,) = weights_of(proto, ["depthwise"])
    expected = models.arrays(dense)["depthwise"]
    scales = initializers(proto)["depthwise.scales" if form == "gather" else "depthwise.scale"]
    assert len(scales.dims) >= 1 and math.prod(scales.dims) == max(scales.dims) > 1
    if any("equal but for rounding" in each for each in said):
        assert form == "qdq" and np.allclose(found, expected, rtol=2.0**-22, atol=0)
    else:
        assert np.array_equal(found.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float16", "float64", "bfloat16"])
@pytest.mark.parametrize("has_scales", [False, True])
def test_weights_of_other_types(dtype, has_scales, form, tmp_path):
    """The weight becomes an output, as float32, so that every bit of it is seen."""
    rows = np.geomspace(1, 512, 64).astype(np.float32)[:, None] if has_scales else 1.0
    numbers = np.exp2(np.round(np.log2(rows))) * on_grid(64, 96, step=2.0**-9, levels=61)
    kinds = {"float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE, "bfloat16": TensorProto.BFLOAT16}
    data = round_to(numbers.astype(np.float64), BFLOAT16) if dtype == "bfloat16" else numbers.astype(dtype)
    weight = TensorProto(name="w", data_type=kinds[dtype], dims=numbers.shape, raw_data=data.tobytes())
    nodes = [helper.make_node("Cast", ["w"], ["wide"], to=1), helper.make_node("MatMul", ["x", "wide"], ["y"])]
    model = models.model(nodes, {"x": ["n", 64]}, {"y": ["n", 96], "wide": [64, 96]}, [weight])
    dense, proto, _ = in_both(model, form, tmp_path)
    expected, found = models.run(dense, x=X), models.run(proto, x=X)
    assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    assert initializers(proto)["w.codes"].data_type in (TensorProto.UINT8, TensorProto.INT8)


def test_zeros_of_any_sign_and_values_that_are_no_numbers(tmp_path):
    values = np.array([0.0, -0.0, np.inf, -np.inf, 1.5, -2.0], np.float32)
    weight = values[np.random.default_rng(0).integers(0, 6, (64, 96))]
    weight[0, 0] = np.frombuffer(b"\x01\x00\xa0\x7f", "<f4")[0]  # a NaN with a payload
    model = models.model(
        [helper.make_node("Identity", ["w"], ["y"])], {}, {"y": [64, 96]}, [models.tensor("w", weight)]
    )
    _, proto, _ = in_both(model, "gather", tmp_path, lossless=True)
    (found,) = models.run(proto)
    assert np.array_equal(found.view(np.uint32), weight.view(np.uint32)) and "w.codes" in initializers(proto)


# -- what is written ---------------------------------------------------------------------------------------------------


def test_ramps_become_dequantize_linear(tmp_path):
    cases = {
        "int8": (on_grid(64, 96, levels=201), TensorProto.INT8, None),
        "uint8": (on_grid(64, 96, levels=201) + np.float32(6), TensorProto.UINT8, 52),
    }
    for weight, kind, zero in cases.values():
        _, proto, said = in_both(models.dense(weight), "qdq", tmp_path, quality=60)
        assert operators(proto) == ["DequantizeLinear", "MatMul"] and not said
        found = initializers(proto)
        assert found["w0.codes"].data_type == kind and found["w0.scale"].dims == []
        if zero is not None:
            assert found["w0.zero_point"].data_type == kind and found["w0.zero_point"].raw_data[0] == zero


@pytest.mark.parametrize("form", FORMS)
def test_half_bytes_from_operator_set_21_on(form, tmp_path):
    weight = on_grid(64, 96, levels=15)
    for opset, kinds in ((20, {TensorProto.UINT8, TensorProto.INT8}), (21, {TensorProto.UINT4, TensorProto.INT4})):
        model = models.dense(weight)
        model.opset_import[0].version = opset
        dense, proto, said = in_both(model, form, tmp_path, lossless=True)
        codes = initializers(proto)["w0.codes"]
        assert codes.data_type in kinds and not said
        assert_alike(dense, proto, form, x=X)
        if opset == 21:
            assert len(codes.raw_data) == weight.size / 2


def test_an_odd_number_of_half_bytes(tmp_path):
    model = models.dense(on_grid(33, 21, levels=15))
    model.opset_import[0].version = 21
    for form in FORMS:
        dense, proto, _ = in_both(model, form, tmp_path, lossless=True)
        assert_alike(dense, proto, form, x=models.normal(2, 33))


def test_more_than_256_levels_take_two_bytes_where_that_is_less(tmp_path):
    weight = on_grid(200, 300, levels=3001, step=2.0**-10)
    dense, proto, said = in_both(models.dense(weight), "gather", tmp_path, lossless=True)
    assert initializers(proto)["w0.codes"].data_type == TensorProto.INT16 and "Mul" in operators(proto)
    assert np.array_equal(*weights_of(proto, ["w0"]), models.arrays(dense)["w0"])
    small = on_grid(10, 15, levels=3001, step=2.0**-10)
    _, proto, said = in_both(models.dense(small), "gather", tmp_path, quality=70)
    assert "w0" in initializers(proto) and said == ["kept as it is, being no smaller by codes: w0"]


def test_an_older_operator_set_is_raised_where_nothing_else_changes(tmp_path):
    model = separable(192)
    model.opset_import[0].version = 11
    dense, proto, said = in_both(model, "qdq", tmp_path, quality=20)
    assert proto.opset_import[0].version == 13 and "raised from version 11 to 13" in said[0]
    assert any(node.op_type == "DequantizeLinear" and node.attribute for node in proto.graph.node)
    assert_alike(dense, proto, "qdq", x=models.normal(3, 8, 8, 8))


def test_an_operator_set_that_cannot_be_raised_leaves_gather(tmp_path):
    model = perceptron()
    model.opset_import[0].version = 9
    model.graph.node.append(helper.make_node("Squeeze", ["y"], ["z"], axes=[0]))
    model.graph.node.append(helper.make_node("Pad", ["y"], ["p"], pads=[0, 0, 0, 1]))  # another in version 11
    model.graph.node.append(helper.make_node("Slice", ["y"], ["s"], starts=[0], ends=[1]))  # and in version 10
    _, proto, said = in_both(model, "qdq", tmp_path, step=0.2)
    assert proto.opset_import[0].version == 9 and "DequantizeLinear" not in operators(proto)
    assert any("the operator set stays at version 9" in each and "Slice" in each for each in said)
    assert any("not by DequantizeLinear, being no ramps that it takes in version 9" in each for each in said)


def test_weights_that_old_models_list_as_inputs_are_inputs_no_longer(tmp_path):
    model = perceptron()
    model.ir_version = 3
    model.opset_import[0].version = 8
    for tensor in model.graph.initializer:
        model.graph.input.add().CopyFrom(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims))
    dense, proto, said = in_both(model, "gather", tmp_path)
    assert_alike(dense, proto, "gather", x=X)
    assert [info.name for info in proto.graph.input] == ["x", "fc1.bias", "fc2.bias"]
    assert proto.ir_version == 4 and any("2 weights that the model listed among its inputs" in each for each in said)


def test_an_input_with_a_default_stays_one(tmp_path):
    model = perceptron()
    model.graph.input.append(helper.make_tensor_value_info("fc1.weight", TensorProto.FLOAT, [64, 128]))
    _, proto, said = in_both(model, "gather", tmp_path)
    assert "fc1.weight" in initializers(proto) and "fc2.weight" not in initializers(proto)
    assert "it is the default of an input, which callers may give: fc1.weight" in said[0]


def test_strict_names_what_is_no_ramp(tmp_path):
    packed = dcz.compress(perceptron(), tmp_path / "net.dcz", bits=4).path
    (tmp_path / "out.onnx").write_bytes(b"old")
    with pytest.raises(UnsuitableModel, match=r"no ramps.*: fc1\.weight, fc2\.weight; leave --strict"):
        dcz.decompress(packed, tmp_path / "out.onnx", form="qdq", strict=True, force=True)
    assert (tmp_path / "out.onnx").read_bytes() == b"old"
    packed = dcz.compress(models.dense(on_grid(64, 96)), tmp_path / "grid.dcz", lossless=True).path
    proto, _ = decoded(packed, "qdq", tmp_path, strict=True)
    assert "DequantizeLinear" in operators(proto)


# -- tables ------------------------------------------------------------------------------------------------------------


def embedding(weight: np.ndarray, tied: bool = False, **attributes) -> ModelProto:
    """ids -> rows of a table -> y, and where it is tied, also the scores of all its rows."""
    nodes = [helper.make_node("Gather", ["table", "ids"], ["y"], name="embed", **attributes)]
    names = ["y"]
    if tied:
        nodes += [
            helper.make_node("Transpose", ["table"], ["turned"]),
            helper.make_node("MatMul", ["y", "turned"], ["z"]),
        ]
        names.append("z")
    made = models.model(nodes, {"ids": (TensorProto.INT64, ["a", "b"])}, {}, [models.tensor("table", weight)])
    ranks = {"y": ["a", "b", "c"], "z": ["a", "b", "d"]}
    made.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, ranks[name]) for name in names)
    return made


IDS = np.array([[3, 60, 3], [0, 1, 63]])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_a_table_is_looked_up_in_its_codes(axis, form, tmp_path):
    dense, proto, _ = in_both(embedding(on_grid(96, 64, levels=15), axis=axis), form, tmp_path, lossless=True)
    ids = IDS if axis == 0 else IDS % 64
    assert_alike(dense, proto, form, ids=ids)
    first = proto.graph.node[0]
    assert (first.op_type, first.name, first.input[0]) == ("Gather", "embed", "table.codes")
    assert "table" not in {name for node in proto.graph.node for name in node.output}  # never the whole table


def test_no_table_is_expanded_when_a_session_is_made(tmp_path):
    """Of half bytes, too, which Gather does not take."""
    model = embedding(on_grid(1024, 64, levels=15))
    model.opset_import[0].version = 21
    for form in FORMS:
        in_both(model, form, tmp_path, lossless=True)
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        options.log_severity_level = 4
        onnxruntime.InferenceSession(str(tmp_path / f"{form}.onnx"), options, providers=["CPUExecutionProvider"])
        biggest = max(onnx.load(tmp_path / "optimized.onnx").graph.initializer, key=lambda each: math.prod(each.dims))
        assert biggest.data_type in (TensorProto.UINT8, TensorProto.INT8)


@pytest.mark.parametrize("form", FORMS)
def test_a_table_that_a_layer_reads_too(form, tmp_path):
    dense, proto, _ = in_both(embedding(on_grid(96, 64), tied=True), form, tmp_path, lossless=True)
    assert_alike(dense, proto, form, ids=IDS)
    assert "table.codes" in [node.input[0] for node in proto.graph.node if node.name == "embed"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("gathered", [0, 1])
def test_a_table_with_scales(gathered, form, tmp_path):
    """The scales lie along the columns of a matrix that is multiplied, too: they come from that."""
    weight = on_grid(96, 64, step=0.5) * np.exp2(np.arange(64) % 9).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["w", "ids"], ["y"], axis=gathered),
        helper.make_node("MatMul", ["x", "w"], ["z"]),
    ]
    model = models.model(
        nodes, {"x": ["n", 96], "ids": (TensorProto.INT64, ["a", "b"])}, {}, [models.tensor("w", weight)]
    )
    for name, shape in (("y", ["a", "b", "c"]), ("z", ["n", 64])):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    dense, proto, _ = in_both(model, form, tmp_path)
    assert_alike(dense, proto, form, ids=IDS, x=models.normal(2, 96))


# -- tensors that share a record ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_one_record_of_many_tensors_has_its_codes_once(form, tmp_path):
    weight = on_grid(64, 48)
    chain = ["x", "h", "i", "j", "y"]
    nodes = [helper.make_node("MatMul", [chain[n], f"w{n}"], [chain[n + 1]]) for n in range(4)]
    nodes.insert(0, models.constant("w3", weight.T.copy()))
    tensors = [models.tensor(f"w{n}", weight if n % 2 == 0 else weight.T) for n in range(3)]
    model = models.model(nodes, {"x": ["n", 64]}, {"y": ["n", 64]}, tensors)
    dense, proto, _ = in_both(model, form, tmp_path, lossless=True)
    assert len(models.entries(tmp_path / "net.dcz")) == 1
    assert_alike(dense, proto, form, x=X)
    assert [name for name in initializers(proto) if name.endswith(".codes")] == ["w0.codes"]


def test_names_that_are_taken_are_not_taken_twice(tmp_path):
    model = models.dense(on_grid(64, 48), on_grid(48, 16, seed=1))
    model.graph.node[0].output[0] = model.graph.node[1].input[0] = "w0.codes"
    dense, proto, _ = in_both(model, "gather", tmp_path, lossless=True)
    assert "w0.codes.2" in initializers(proto)
    assert_alike(dense, proto, "gather", x=X)


@pytest.mark.parametrize("form", FORMS)
def test_nodes_of_the_model_may_be_called_as_ours_are(form, tmp_path):
    """onnxruntime refuses two nodes of one name."""
    model = models.dense(on_grid(64, 48), on_grid(48, 16, seed=1))
    model.graph.node[0].name, model.graph.node[1].name = "dcz:w0", "dcz2:w1"
    dense, proto, _ = in_both(model, form, tmp_path, lossless=True)
    names = [node.name for node in proto.graph.node]
    assert {"dcz:w0", "dcz2:w1"} < set(names) and len(set(names)) == len(names)
    assert_alike(dense, proto, form, x=X)


@pytest.mark.parametrize("form", FORMS)
def test_a_function_does_not_read_what_the_main_graph_computes(form, tmp_path):
    """A branch within a function has a weight that the main graph has, too."""
    weight = on_grid(64, 64)
    branches = [models.graph([models.matmul("w")], {}, {"y": ["n", 64]}, [models.tensor("w", weight)], name=name)
                for name in ("then", "else")]  # fmt: skip
    choice = helper.make_node("If", ["yes"], ["z"], then_branch=branches[0], else_branch=branches[1])
    imports = [helper.make_opsetid("", models.OPSET)]
    function = helper.make_function("local", "Choose", ["x", "yes"], ["z"], [choice], imports)
    nodes = [
        helper.make_node("MatMul", ["x", "m"], ["h"]),
        helper.make_node("Choose", ["h", "yes"], ["z"], domain="local"),
    ]
    tensors = [models.tensor("m", weight), models.tensor("yes", np.array(True))]
    model = models.model(nodes, {"x": ["n", 64]}, {"z": ["n", 64]}, tensors, [function], ["local"])
    dense, proto, _ = in_both(model, form, tmp_path, lossless=True)
    assert len(models.entries(tmp_path / "net.dcz")) == 1
    assert_alike(dense, proto, form, x=X)


def test_what_nothing_reads_stays_as_it_is(tmp_path):
    model = models.dense(on_grid(64, 48))
    model.graph.initializer.append(models.tensor("spare", on_grid(64, 48, seed=1)))
    dense, proto, said = in_both(model, "gather", tmp_path, lossless=True)
    assert any("nothing reads it: spare" in sentence for sentence in said)
    assert initializers(proto)["spare"] == initializers(dense)["spare"]


def test_whatever_is_no_weight_stays_as_it_was(tmp_path):
    packed = dcz.compress(models.everything(), tmp_path / "net.dcz", bits=4).path
    path = dcz.decompress(packed, tmp_path / "small.onnx", form="gather")
    before, after = dcz.load(packed), onnx.load(path)
    assert after.training_info == before.training_info
    assert after.functions[0].attribute_proto == before.functions[0].attribute_proto
    kept = [tensor for tensor in before.graph.initializer if tensor.name in initializers(after)]
    assert {"yes", "ids", "nothing", "words", "nibbles", "eighths"} <= {tensor.name for tensor in kept}
    assert all(initializers(after)[tensor.name] == tensor for tensor in kept)
    custom = next(node for node in after.graph.node if node.op_type == "Mystery")
    assert custom.attribute[0] == next(n for n in before.graph.node if n.op_type == "Mystery").attribute[0]
    onnx.checker.check_model(str(path))


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part_size", [None, 8192])
def test_codes_beside_the_model(part_size, tmp_path):
    packed = dcz.compress(perceptron(512), tmp_path / "net.dcz", bits=4).path
    path = dcz.decompress(packed, tmp_path / "small.onnx", form="gather",
                          external_data="always", part_size=None if part_size is None else 4 * part_size)  # fmt: skip
    assert len(list(tmp_path.glob("small.onnx.*.data*"))) == (1 if part_size is None else 3)
    onnx.checker.check_model(str(path))
    assert path.stat().st_size < 8000
    assert np.array_equal(models.run(onnx.load(path), x=X)[0], models.run(dcz.load(packed), x=X)[0])


def test_forms_that_are_none_and_files_that_are_damaged(tmp_path):
    packed = dcz.compress(perceptron(), tmp_path / "net.dcz").path
    for options, words in (({"form": "int8"}, "dense, qdq, gather, not 'int8'"), ({"form": 3}, "not 3"),
                           ({"strict": True}, "strict is for the form qdq")):  # fmt: skip
        with pytest.raises(InvalidArgument, match=words):
            dcz.decompress(packed, tmp_path / "out.onnx", **options)
    with pytest.raises(FileAccess, match="exists already"):
        dcz.decompress(packed.read_bytes(), packed, form="gather")
    with pytest.raises(UnsuitableModel, match="more than the limit"):
        dcz.decompress(packed, tmp_path / "out.onnx", form="gather", max_bytes=100)
    damaged = bytearray(packed.read_bytes())
    damaged[-3] ^= 4
    for form in FORMS:
        with pytest.raises(CorruptFile, match="tensor 'fc2.weight'"):
            dcz.decompress(damaged, tmp_path / "out.onnx", form=form)
    assert not (tmp_path / "out.onnx").exists()


def test_the_same_bytes_on_any_number_of_threads(tmp_path):
    packed = dcz.compress(separable(), tmp_path / "net.dcz").path
    for form in FORMS:
        made = [dcz.decompress(packed, tmp_path / f"{n}.onnx", form=form, threads=n, force=True) for n in (1, 4)]
        assert made[0].read_bytes() == made[1].read_bytes()
