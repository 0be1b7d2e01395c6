"""Small ONNX files, compressed again: codes are found, and the `.dcz` is as it was; models of others stay theirs."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import dcz
from dcz import model as onnx_model
from dcz.codec import found_scales
from dcz.errors import FileAccess
from dcz.evaluation.weight_errors import weight_error
from tests import models
from tests.networks import perceptron, separable

WITHIN = 0.01  # of the file's bytes
FORMS = ("gather", "qdq")


def on_grid(*shape: int, step: float = 0.125, levels: int = 101) -> np.ndarray:
    return ((np.random.default_rng(0).integers(0, levels, shape) - levels // 2) * step).astype(np.float32)


def again(packed, form: str, folder, **options):
    """The file, in a form, compressed again."""
    dcz.decompress(packed, folder / "small.onnx", form=form, force=True)
    return dcz.compress(folder / "small.onnx", folder / "again.dcz", force=True, **options).path


def assert_same(packed, second) -> None:
    with dcz.open(packed) as one, dcz.open(second) as other:
        assert set(one) == set(other)
        assert all(np.array_equal(one[name], other[name]) for name in one)
    assert second.stat().st_size < (1 + WITHIN) * packed.stat().st_size


CASES = {
    "default": (lambda: separable(192), {}),
    "scales and few levels": (lambda: separable(192), {"quality": 20}),
    "k-means": (lambda: perceptron(512), {"bits": 4}),
    "pruned": (lambda: perceptron(512), {"sparsity": 0.9, "bits": 5}),
    "pruned on a grid": (lambda: perceptron(512), {"sparsity": 0.8, "step": 0.3}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make, options", CASES.values(), ids=CASES)
def test_the_file_is_as_it_was(make, options, form, tmp_path):
    packed = dcz.compress(make(), tmp_path / "net.dcz", **options).path
    second = again(packed, form, tmp_path)
    assert_same(packed, second)
    before, after = dcz.load(packed), dcz.load(second)
    assert [node.op_type for node in after.graph.node] == [node.op_type for node in before.graph.node]
    assert {tensor.name for tensor in after.graph.initializer} == {tensor.name for tensor in before.graph.initializer}


def uneven_convolution(dtype=np.float32) -> onnx.ModelProto:
    """Rows whose sizes differ by up to 100 times."""
    sizes = 10.0 ** np.random.default_rng(1).uniform(-2, 0, (64, 1, 1, 1))
    weights = models.tensor("w", (models.normal(64, 96, 3, 3) * sizes).astype(dtype))
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    shapes = {"x": (kind, [1, 96, 4, 4])}, {"y": (kind, [1, 64, 2, 2])}
    return models.model([node], *shapes, [weights])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("quality", [20, 26])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", [{}, {"lossless": True}])
def test_scales_that_values_do_not_tell_are_read_from_the_graph(options, form, quality, dtype, tmp_path, monkeypatch):
    packed = dcz.compress(uneven_convolution(dtype), tmp_path / "net.dcz", quality=quality).path
    assert dcz.inspect(packed).rows[0].scales == 64
    monkeypatch.setattr(found_scales, "find", lambda tensor, mask: [])
    assert_same(packed, again(packed, form, tmp_path, **options))
    assert dcz.inspect(tmp_path / "again.dcz").rows[0].scales == 64


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", [lambda: perceptron(256), uneven_convolution], ids=["perceptron", "with scales"])
def test_what_is_finer_than_the_default_is_kept_where_that_is_asked_for(make, form, tmp_path):
    packed = dcz.compress(make(), tmp_path / "net.dcz", quality=60).path
    for options in ({"lossless": True}, {"quality": 60}):
        assert_same(packed, again(packed, form, tmp_path, **options))
    assert again(packed, form, tmp_path).stat().st_size < 0.9 * packed.stat().st_size


def test_what_had_scales_is_still_rounded_anew_where_that_is_asked_for(tmp_path):
    packed = dcz.compress(uneven_convolution(), tmp_path / "net.dcz", quality=40).path
    for options in ({"bits": 2}, {"rate": 1.5}, {"step": 0.5}):
        assert again(packed, "gather", tmp_path, **options).stat().st_size < 0.8 * packed.stat().st_size


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", models.PLACES)
def test_weights_of_every_corner(place, form, tmp_path):
    packed = dcz.compress(models.place(place), tmp_path / "net.dcz", bits=4).path
    second = again(packed, form, tmp_path)
    (expected,), (found,) = (models.run(dcz.load(each), x=models.INPUT) for each in (packed, second))
    assert np.array_equal(found, expected)
    assert second.stat().st_size < 1.05 * packed.stat().st_size  # a few hundred bytes of graph count here


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("opset", [19, 21])
def test_tables_half_bytes_and_tensors_of_one_record(opset, form, tmp_path):
    table = on_grid(96, 64, levels=15)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], name="embed"),
        helper.make_node("Transpose", ["table"], ["turned"]),
        helper.make_node("MatMul", ["rows", "turned"], ["scores"]),
        helper.make_node("MatMul", ["scores", "twin"], ["y"]),
        helper.make_node("MatMul", ["y", "head"], ["z"]),
        helper.make_node("Gather", ["lonely", "ids"], ["w"], axis=1),
    ]
    tensors = {"table": table, "twin": table.copy(), "head": table.T.copy(), "lonely": on_grid(64, 128, step=2.0**-9)}
    model = models.model(nodes, {"ids": (TensorProto.INT64, ["a", "b"])}, {},
                         [models.tensor(*each) for each in tensors.items()])  # fmt: skip
    model.opset_import[0].version = opset
    for name, shape in {"z": ["a", "b", 96], "w": [64, "a", "b"]}.items():
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    packed = dcz.compress(model, tmp_path / "net.dcz", lossless=True).path
    second = again(packed, form, tmp_path)
    assert_same(packed, second)
    after = dcz.load(second)
    assert [list(node.input) for node in after.graph.node] == [list(node.input) for node in model.graph.node]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reads_all", [False, True])
def test_a_table_that_the_body_of_a_loop_reads(reads_all, form, tmp_path):
    """Its codes are in the graph around that."""
    body = [
        helper.make_node("Identity", ["going"], ["goes"]),
        helper.make_node("Gather", ["table", "turn"], ["row"]),
        helper.make_node("Add", ["sum", "row"], ["more"]),
    ]
    infos = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in
             (("turn", TensorProto.INT64, []), ("going", TensorProto.BOOL, []), ("sum", TensorProto.FLOAT, [1, 64]),
              ("goes", TensorProto.BOOL, []), ("more", TensorProto.FLOAT, [1, 64]))]  # fmt: skip
    loop = helper.make_node("Loop", ["turns", "", "x"], ["h"], body=helper.make_graph(body, "b", infos[:3], infos[3:]))
    nodes = [loop, helper.make_node("MatMul", ["h", "table"] if reads_all else ["h", "m"], ["y"])]
    tensors = {"turns": np.int64(3), "table": on_grid(64, 64), "m": on_grid(64, 64, levels=77)}
    model = models.model(nodes, {"x": [1, 64]}, {"y": [1, 64]}, [models.tensor(*each) for each in tensors.items()])
    packed = dcz.compress(model, tmp_path / "net.dcz", lossless=True).path
    second = again(packed, form, tmp_path)
    assert_same(packed, second)
    after = dcz.load(second).graph
    assert [node.op_type for node in after.node] == ["Loop", "MatMul"]
    assert [list(node.input) for node in after.node[0].attribute[0].g.node] == [list(node.input) for node in body]
    assert not after.node[0].attribute[0].g.initializer


def test_what_the_model_has_of_names_like_ours_is_there_again(tmp_path):
    """Nodes that look like ours, tensors that look like parts of a weight, and some of these that nothing reads."""
    nodes = [
        helper.make_node("Cast", ["k"], ["c"], to=TensorProto.FLOAT, name="dcz:c"),
        helper.make_node("Mul", ["c", "w.scales"], ["bias"], name="dcz:bias"),
        helper.make_node("MatMul", ["x", "w"], ["h"], name="dcz:w"),
        helper.make_node("Add", ["h", "bias"], ["y"]),
    ]
    tensors = {"w": on_grid(64, 64), "k": np.arange(64), "w.scales": np.float32(0.5), "w.spare": np.ones(8),
               "w.codes": np.ones((40, 40), np.float32)}  # fmt: skip
    model = models.model(nodes, {"x": ["n", 64]}, {"y": ["n", 64]}, [models.tensor(*each) for each in tensors.items()])
    packed = dcz.compress(model, tmp_path / "net.dcz", lossless=True).path
    for form in FORMS:
        after = dcz.load(again(packed, form, tmp_path)).graph
        assert list(after.node) == list(model.graph.node)
        found = {tensor.name: tensor for tensor in after.initializer}
        assert found == {tensor.name: tensor for tensor in model.graph.initializer}


def test_a_file_with_its_codes_beside_it(tmp_path):
    packed = dcz.compress(perceptron(512), tmp_path / "net.dcz", bits=4).path
    dcz.decompress(packed, tmp_path / "small.onnx", form="gather", external_data="always")
    assert_same(packed, dcz.compress(tmp_path / "small.onnx", tmp_path / "again.dcz").path)


def test_what_is_smaller_than_all_records_is_no_model_whose_codes_are_elsewhere(tmp_path):
    packed = dcz.compress(models.dense(models.normal(20, 20)), tmp_path / "net.dcz").path
    small = dcz.decompress(packed, tmp_path / "small.onnx", form="gather", external_data="always")
    (beside,) = tmp_path.glob("*.data")
    with pytest.raises(FileAccess, match="is the input"):
        dcz.compress(small, beside, force=True)
    second = dcz.compress(small, tmp_path / "again.dcz").path
    assert np.array_equal(*(models.arrays(dcz.load(each))["w0"] for each in (packed, second)))


@pytest.mark.parametrize("external_data", ["never", "always"])
@pytest.mark.parametrize("form", FORMS)
def test_files_are_calibrated_from_a_small_one_and_held_against_it(form, external_data, tmp_path):
    packed = dcz.compress(perceptron(512), tmp_path / "net.dcz", step=0.1).path
    small = dcz.decompress(packed, tmp_path / "small.onnx", form=form, external_data=external_data)
    samples = models.normal(64, 64)
    second = dcz.compress(small, tmp_path / "again.dcz").path
    calibrated = tmp_path / "calibrated.dcz"
    dcz.tune(small, calibrated, samples, ratio=4)
    for file, is_same in ((second, True), (calibrated, False)):
        compared = dcz.verify(file, against=small, inputs=samples)
        assert {each.name for each in compared.tensors} == {tensor.name for tensor in perceptron(512).graph.initializer}
        found = weight_error(file, small)
        assert found.tensors and (found.equal == found.tensors) == is_same
    assert calibrated.stat().st_size < 0.7 * second.stat().st_size


def test_what_another_program_has_changed_stays_as_it_is(tmp_path):
    packed = dcz.compress(perceptron(), tmp_path / "net.dcz", bits=4).path
    dcz.decompress(packed, tmp_path / "small.onnx", form="gather")
    proto = onnx.load(tmp_path / "small.onnx")
    ours = [node for node in proto.graph.node if node.name.startswith("dcz:")]
    ours[1].op_type, ours[1].input[0] = "Mystery", "somewhere"
    del ours[3].input[:]
    before = proto.SerializeToString(deterministic=True)
    model = onnx_model.from_proto(proto)
    assert onnx_model.expand_codes(model) == 0
    assert [node.op_type for node in model.proto.graph.node] == [node.op_type for node in proto.graph.node]
    dcz.compress(proto, tmp_path / "odd.dcz")
    assert proto.SerializeToString(deterministic=True) == before


def test_quantized_models_of_others_keep_their_nodes(tmp_path):
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s"], ["w"], name="dcz:w"),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    codes = np.random.default_rng(0).integers(-127, 128, (64, 96)).astype(np.int8)
    tensors = [models.tensor("q", codes), models.tensor("s", np.float32(0.01))]
    model = models.model(nodes, {"x": ["n", 64]}, {"y": ["n", 96]}, tensors)
    dcz.compress(model, tmp_path / "net.dcz")
    assert dcz.load(tmp_path / "net.dcz") == model
