"""Tensors out of a model and back: wherever they sit, whatever holds them, and nothing else touched."""

import os
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import dcz
from dcz import model as onnx_model
from dcz.errors import CorruptFile, FileAccess, UnsuitableModel
from dcz.format.container import Archive
from dcz.plan import LOSSLESS, Plan, Settings
from dcz.tensor import DTYPES, round_to, values
from tests import models
from tests.networks import perceptron

ALL = Plan(Settings(quality=30.0), include=("*",))  # whatever uses them
REAL = [dtype for dtype in DTYPES.values() if dtype.real]
EXACT = [dtype for dtype in DTYPES.values() if not dtype.real]


def by_name(dtypes):
    return pytest.mark.parametrize("dtype", dtypes, ids=lambda dtype: dtype.name)


def roundtrip(proto, tmp_path, plan=LOSSLESS):
    """(the restored model, the entries of the `.dcz` file between)."""
    path = dcz.compress(proto, tmp_path / "net.dcz", plan)
    return dcz.load(path), models.entries(path)


# -- wherever they sit -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", models.PLACES)
def test_weights_are_found_and_compressed_wherever_they_sit(place, tmp_path):
    restored, entries = roundtrip(models.place(place), tmp_path, plan=None)
    assert {entry.name for entry in entries} == models.PLACES[place][1]
    assert all(entry.info.encoding for entry in entries if entry.dtype.real), "a weight was stored as it is"
    (exact,), (close,) = models.run(models.place(place), x=models.INPUT), models.run(restored, x=models.INPUT)
    assert 0 < np.abs(exact - close).max() < 0.1 * exact.std()


@pytest.mark.parametrize("place", models.PLACES)
def test_lossless_gives_the_same_model_and_the_same_outputs(place, tmp_path):
    proto = models.place(place)
    restored, entries = roundtrip(proto, tmp_path)
    assert entries and restored == proto
    assert np.array_equal(*models.run(proto, x=models.INPUT), *models.run(restored, x=models.INPUT))


@pytest.mark.parametrize("own", ["raw_data", "float_data"])
@pytest.mark.parametrize(
    ("field", "values"), [("float_data", [1.0]), ("int32_data", [1]), ("int64_data", [1]), ("string_data", [b"x"])]
)
def test_a_tensor_with_data_in_two_fields_stays_in_the_graph(own, field, values, tmp_path):
    """A record could hold that of one; readers refuse a reference beside the other."""
    if own == field:
        return
    weight = models.tensor("w", models.normal(40, 40))
    if own == "float_data":
        weight.float_data.extend(models.normal(1600).tolist())
        weight.ClearField("raw_data")
    getattr(weight, field).extend(values)
    other = models.tensor("v", models.normal(40, 40))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("MatMul", ["h", "v"], ["y"])]
    proto = models.model(nodes, {"x": [1, 40]}, {"y": [1, 40]}, [weight, other])
    for apart in (False, True):
        assert [each.name for each in onnx_model.from_proto(proto, apart).tensors] == ["v"]
    restored, entries = roundtrip(proto, tmp_path)
    assert restored == proto and "w" not in [entry.name for entry in entries]


def test_a_tensor_with_data_in_the_model_and_in_another_file_is_refused(tmp_path):
    weight = models.tensor("w", models.normal(40, 40))
    proto = models.model([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [1, 40]}, {"y": [1, 40]}, [weight])
    path = models.save(proto, tmp_path / "net.onnx", location="net.data")
    stored = onnx.load(path, load_external_data=False)
    stored.graph.initializer[0].float_data.append(1)
    path.write_bytes(stored.SerializeToString())
    with pytest.raises(UnsuitableModel, match="in the model and in another file"):
        dcz.compress(path, tmp_path / "net.dcz")


def test_no_big_tensor_keeps_its_data_in_the_graph(tmp_path):
    proto = models.everything()
    path = dcz.compress(proto, tmp_path / "net.dcz", LOSSLESS)
    with Archive(path) as archive:
        graph = onnx.ModelProto.FromString(archive.graph())
    before, big = ([t for t in models.tensors(m) if np.prod(t.dims) >= 256] for m in (proto, graph))
    assert len(big) == len(before) + 1, "the Constant's value_floats is a tensor in the graph only"
    assert all(tensor.data_location == TensorProto.EXTERNAL for tensor in big)


def test_two_overloads_of_a_function_keep_their_own_weights(tmp_path):
    bodies = [
        models.function("f", ["x"], ["y"], [models.constant("w", models.normal(128, 64, seed=i)), models.matmul()])
        for i in range(2)
    ]
    bodies[1].overload = "second"
    call = helper.make_node("f", ["x"], ["y"], domain="local", overload="second")
    proto = models.model([call], {"x": [1, 128]}, {"y": [1, 64]}, functions=bodies, domains=["local"])
    restored, entries = roundtrip(proto, tmp_path)
    assert restored == proto and [entry.name for entry in entries] == ["w", "w~2"]


@pytest.mark.parametrize("change", [{"t": models.tensor("stray", models.normal(40, 20))}, {"type": 0}], ids=str)
def test_value_floats_that_are_malformed_come_back_as_they_were(change, tmp_path):
    proto = models.place("constant_floats")
    proto.graph.node[0].attribute[0].MergeFrom(onnx.AttributeProto(**change))
    proto.graph.initializer.append(models.tensor("other", models.WEIGHT))
    restored, entries = roundtrip(proto, tmp_path)
    assert restored == proto and "other" in {entry.name for entry in entries}


# -- whatever holds them -----------------------------------------------------------------------------------------------


def real_tensor(dtype, shape=(40, 25)) -> TensorProto:
    return models.patterns("w", dtype, shape, round_to(models.normal(*shape).astype(np.float64).ravel(), dtype))


def in_typed_field(tensor: TensorProto, field: str, pattern: str) -> TensorProto:
    found = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    getattr(found, field).extend(np.frombuffer(tensor.raw_data, pattern).tolist())
    return found


TYPED = {
    "float32": ("float_data", "<f4"), "float64": ("double_data", "<f8"),
    "float16": ("int32_data", "<u2"), "bfloat16": ("int32_data", "<u2"),
}  # fmt: skip


@pytest.mark.parametrize("field", ["raw", "typed"])
@by_name(REAL)
def test_the_four_real_types_are_compressed_and_come_back_in_their_own_field(dtype, field, tmp_path):
    raw = real_tensor(dtype)
    proto = models.bag(raw if field == "raw" else in_typed_field(raw, *TYPED[dtype.name]))
    restored, (entry,) = roundtrip(proto, tmp_path, ALL)
    assert entry.info.encoding and entry.info.length < entry.nbytes / 2
    assert models.without_data(restored) == models.without_data(proto)
    (tensor,) = restored.graph.initializer
    found = tensor if field == "raw" else models.patterns("w", dtype, tensor.dims, typed_bytes(tensor, dtype))
    before = values(np.frombuffer(raw.raw_data, dtype.pattern), dtype).astype(np.float64)
    after = values(np.frombuffer(found.raw_data, dtype.pattern), dtype).astype(np.float64)
    assert 0 < np.square(before - after).sum() < 10**-2.9 * np.square(before).sum()


def typed_bytes(tensor: TensorProto, dtype) -> np.ndarray:
    field, pattern = TYPED[dtype.name]
    return np.array(getattr(tensor, field)).astype(pattern)


@by_name(EXACT)
def test_every_other_type_comes_back_exactly(dtype, tmp_path):
    shape = (3, 1001)  # odd: the last element of a packed type does not fill its byte
    data = np.random.default_rng(1).integers(0, 256, dtype.nbytes(shape), np.uint8)
    proto = models.bag(models.patterns("w", dtype, shape, data))
    restored, entries = roundtrip(proto, tmp_path, ALL)
    assert restored == proto and all(entry.info.encoding == 0 for entry in entries)


@pytest.mark.parametrize(
    "tensor",
    [
        models.typed("w", np.arange(-500, 500, dtype=np.int64)),
        models.typed("w", np.arange(-500, 500, dtype=np.int32)),
        models.typed("w", np.arange(1000, dtype=np.uint8)),
        models.typed("w", np.arange(1000, dtype=np.uint64)),
        helper.make_tensor("w", TensorProto.COMPLEX64, [300], [1 - 2j] * 300),
        helper.make_tensor("w", TensorProto.INT4, [301], [-8, 7, 3] * 100 + [1]),
        helper.make_tensor("w", TensorProto.FLOAT8E5M2, [600], [0.5, 1, -0.0] * 200),
        helper.make_tensor("w", TensorProto.STRING, [200], [b"\xff\0", "ü".encode()] * 100),
        TensorProto(name="w", data_type=10, dims=[600], int32_data=[-1, 70000, 0] * 200),  # not what float16 holds
        TensorProto(name="w", data_type=1, dims=[1000]),  # no data at all
        TensorProto(name="w", data_type=99, dims=[1000], raw_data=bytes(1000)),  # a type of the future
    ],
    ids="int64 int32 uint8 uint64 complex64 int4 float8 string wild empty unknown".split(),
)
def test_typed_fields_of_every_kind_come_back_as_they_were(tensor, tmp_path):
    proto = models.bag(tensor, models.tensor("ids", np.arange(200) ** 3))
    restored, entries = roundtrip(proto, tmp_path, ALL)
    assert restored == proto and "ids" in {entry.name for entry in entries}


@pytest.mark.parametrize("pattern", [0x80000000, 1, 0x7F7FFFFF, 0x7F800000], ids="-0 subnormal largest inf".split())
@pytest.mark.parametrize("place", ["raw_data", "float_data", "value_floats"])
def test_lossless_keeps_odd_floats_bit_for_bit(pattern, place, tmp_path):
    array = models.normal(600)
    array[::7] = np.array(pattern, np.uint32).view(np.float32)
    if place == "value_floats":
        proto = models.model([models.constant("w", array.tolist())], {"x": [1]}, {"w": [600]})
    else:
        proto = models.bag((models.tensor if place == "raw_data" else models.typed)("w", array))
    # compared as bytes: to protobuf, and to numpy, 0.0 == -0.0
    assert roundtrip(proto, tmp_path)[0].SerializeToString() == proto.SerializeToString()


@pytest.mark.parametrize("elements, names", [(127, ["big"]), (128, ["big", "small"])])
def test_tensors_below_512_bytes_stay_in_the_graph(elements, names, tmp_path):
    proto = models.bag(models.tensor("big", models.WEIGHT), models.tensor("small", models.normal(elements)))
    restored, entries = roundtrip(proto, tmp_path)
    assert [entry.name for entry in entries] == names and restored == proto


@pytest.mark.parametrize("elements, lossy", [(255, False), (256, True)])
def test_weights_of_fewer_than_256_elements_stay_exact(elements, lossy, tmp_path):
    proto = models.dense(models.normal(elements, 1), models.normal(1, 500))
    restored, _ = roundtrip(proto, tmp_path, plan=None)
    assert np.array_equal(models.arrays(restored)["w0"], models.arrays(proto)["w0"]) != lossy


def test_empty_tensors_survive(tmp_path):
    empty = [np.zeros(shape, np.float32) for shape in [(0,), (3, 0), (0, 9)]]
    proto = models.bag(*(models.tensor(f"w{i}", array) for i, array in enumerate(empty)))
    restored, entries = roundtrip(proto, tmp_path, ALL)
    assert restored == proto and not entries


@pytest.mark.parametrize("shape", [(300,), (1, 1, 300), (300, 1), (4, 5, 6, 7), (1, 300, 1)])
def test_weights_of_any_rank_are_compressed(shape, tmp_path):
    restored, (entry,) = roundtrip(models.bag(models.tensor("w", models.normal(*shape))), tmp_path, ALL)
    assert entry.info.encoding and models.arrays(restored)["w"].shape == shape


def test_a_rule_may_compress_a_single_number(tmp_path):
    plan = Plan(LOSSLESS, rules=dcz.plan.parse({"rule": [{"match": "w", "bits": 1}]}).rules)
    restored, _ = roundtrip(models.bag(models.tensor("w", np.float32(0.3))), tmp_path, plan)
    assert models.arrays(restored)["w"] == np.float32(0.3)


def test_names_that_are_not_utf8_survive(tmp_path):
    """protobuf checks no names in ONNX's files; runtimes compare them as bytes."""
    path = tmp_path / "net.onnx"
    path.write_bytes(models.dense(models.WEIGHT).SerializeToString().replace(b"w0", b"\xff\xfe"))
    packed = dcz.compress(path, tmp_path / "net.dcz", LOSSLESS)
    assert [entry.name for entry in models.entries(packed)] == [r"\xff\xfe"]
    assert dcz.decompress(packed, tmp_path / "again.onnx").read_bytes() == path.read_bytes()


# -- external data -----------------------------------------------------------------------------------------------------


def external(tmp_path, **entries) -> str:
    """The path of a model whose weight lies in w.bin, as `entries` say."""
    folder = tmp_path / "model"
    folder.mkdir(exist_ok=True)
    (folder / "w.bin").write_bytes(b"\0" * 7 + models.WEIGHT.tobytes())
    proto = models.dense(models.WEIGHT)
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": "w.bin", "offset": "7", "length": "32768"} | entries).items():
        if value is not None:
            tensor.external_data.add(key=key, value=value)
    return models.save(proto, folder / "net.onnx")


def plain(path) -> onnx.ModelProto:
    """What onnx makes of a model with external data, without the traces that it leaves."""
    proto = onnx.load(path)
    for tensor in models.tensors(proto):
        tensor.ClearField("data_location")
    return proto


def test_external_data_is_mapped_not_read(tmp_path):
    (weight,) = onnx_model.load(external(tmp_path)).tensors
    data = weight.read()
    assert data.tobytes() == models.WEIGHT.tobytes()
    assert not data.flags.owndata and type(data.base).__name__ in ("mmap", "memoryview")


@pytest.mark.parametrize("entries", [{}, {"length": None}, {"checksum": "0" * 40}], ids=["", "no length", "checksum"])
def test_external_data_comes_back_inside_the_model(entries, tmp_path):
    path = external(tmp_path, **entries)
    packed = dcz.compress(path, tmp_path / "net.dcz", LOSSLESS)
    assert len(models.entries(packed)) == 1 and dcz.load(packed) == plain(path)


def test_external_data_too_small_for_a_record_moves_into_the_graph(tmp_path):
    small = models.tensor("small", np.arange(5, dtype=np.float32))
    proto = models.bag(small, models.tensor("big", models.WEIGHT), models.tensor("none", np.zeros((0, 3), np.float32)))
    path = models.save(proto, tmp_path / "net.onnx", location="net.bin")
    assert [tensor.data_location for tensor in onnx.load(path, load_external_data=False).graph.initializer] == [1, 1, 1]
    packed = dcz.compress(path, tmp_path / "net.dcz", LOSSLESS)
    assert [entry.name for entry in models.entries(packed)] == ["big"] and dcz.load(packed) == proto


def test_external_data_may_lie_in_a_subfolder_and_behind_a_link_within_the_folder(tmp_path):
    path = external(tmp_path, location="sub/link.bin")
    (path.parent / "sub").mkdir()
    (path.parent / "sub" / "link.bin").symlink_to("../w.bin")
    assert onnx_model.load(path).tensors[0].read().tobytes() == models.WEIGHT.tobytes()


def test_source_bytes_count_the_external_data(tmp_path):
    path = external(tmp_path)
    packed = dcz.compress(path, tmp_path / "net.dcz")
    with dcz.open(packed) as tensors:
        assert int(tensors.metadata["source-bytes"]) == path.stat().st_size + models.WEIGHT.nbytes


def test_external_data_that_thousands_of_tensors_share_is_refused(tmp_path):
    """A terabyte, of a hundred megabytes that take no room on the disk; a few may share it."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[25_000_000], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="zeros.bin")
    with open(tmp_path / "zeros.bin", "wb") as file:
        file.truncate(100_000_000)
    models.save(models.bag(*[tensor] * 10_000), tmp_path / "many.onnx")
    with pytest.raises(dcz.UnsuitableModel, match="1,000,000,000,000 bytes of external data, of which there are 100,0"):
        onnx_model.load(tmp_path / "many.onnx")
    models.save(models.bag(*[tensor] * 3), tmp_path / "few.onnx")
    assert onnx_model.load(tmp_path / "few.onnx").source_bytes > 300_000_000


@pytest.mark.parametrize(
    "location",
    ["../out.bin", "sub/../../out.bin", "/etc/passwd", "WITHIN", "link.bin", "linked/out.bin", "\0.bin", ""],
)
def test_external_data_outside_the_models_folder_is_refused(location, tmp_path):
    if location == "WITHIN":
        location = str(tmp_path / "model" / "w.bin")  # absolute paths are refused even so
    path = external(tmp_path, location=location, offset="0")
    (tmp_path / "out.bin").write_bytes(models.WEIGHT.tobytes())
    (path.parent / "sub").mkdir()
    (path.parent / "link.bin").symlink_to(tmp_path / "out.bin")
    (path.parent / "linked").symlink_to(tmp_path)
    with pytest.raises(UnsuitableModel, match="tensor 'w0'"):
        dcz.compress(path, tmp_path / "net.dcz")


@pytest.mark.parametrize(
    "entries, error",
    [
        ({"location": "missing.bin"}, FileAccess),
        ({"location": None}, UnsuitableModel),
        ({"offset": "8"}, UnsuitableModel),  # one byte past the end
        ({"offset": "-1"}, UnsuitableModel),
        ({"offset": "x"}, UnsuitableModel),
        ({"offset": "9" * 5000}, UnsuitableModel),  # more digits than int() takes
        ({"length": "32767"}, UnsuitableModel),
        ({"length": "32769"}, UnsuitableModel),
        ({"length": "-32768"}, UnsuitableModel),
        ({"length": "", "offset": "100"}, UnsuitableModel),
        ({"location": "."}, UnsuitableModel),  # a folder
    ],
    ids=lambda value: str(value)[:40],
)
def test_external_data_that_is_missing_short_or_misplaced_is_refused(entries, error, tmp_path):
    path = external(tmp_path, **entries)
    with pytest.raises(error, match="tensor 'w0'"):
        dcz.compress(path, tmp_path / "net.dcz")
    assert not (tmp_path / "net.dcz").exists()


def test_a_model_in_memory_cannot_have_external_data(tmp_path):
    proto = onnx.load(external(tmp_path), load_external_data=False)
    with pytest.raises(UnsuitableModel, match="path"):
        dcz.compress(proto, tmp_path / "net.dcz")


def test_external_data_of_an_unknown_type_is_refused(tmp_path):
    path = external(tmp_path)
    proto = onnx.load(path, load_external_data=False)
    proto.graph.initializer[0].data_type = 99
    with pytest.raises(UnsuitableModel, match="type 99"):
        dcz.compress(models.save(proto, path), tmp_path / "net.dcz")


# -- sharing -----------------------------------------------------------------------------------------------------------


def twins(*tensors: TensorProto) -> onnx.ModelProto:
    return models.bag(*tensors, models.tensor("other", models.normal(128, 64, seed=3)))


def test_a_tensor_that_several_nodes_use_is_written_once(tmp_path):
    proto = models.dense(models.normal(128, 128))
    proto.graph.node.append(helper.make_node("MatMul", ["y", "w0"], ["z"]))
    restored, entries = roundtrip(proto, tmp_path)
    assert len(entries) == 1 and restored == proto


@pytest.mark.parametrize("plan", [LOSSLESS, ALL], ids=["lossless", "lossy"])
def test_a_tensor_that_is_stored_twice_is_written_once_and_comes_back_twice(plan, tmp_path):
    proto = twins(models.tensor("first", models.WEIGHT), models.typed("second", models.WEIGHT))
    restored, entries = roundtrip(proto, tmp_path, plan)
    assert [entry.name for entry in entries] == ["first", "other"]
    found = models.arrays(restored)
    assert np.array_equal(found["first"], found["second"])
    assert models.without_data(restored) == models.without_data(proto), "each in its own field"
    assert (restored == proto) == (plan is LOSSLESS)


def test_equal_tensors_with_different_settings_get_records_of_their_own(tmp_path):
    proto = twins(models.tensor("first", models.WEIGHT), models.tensor("second", models.WEIGHT))
    restored, entries = roundtrip(proto, tmp_path, Plan(include=("*",), exclude=("second",)))
    assert len(entries) == 3
    found = models.arrays(restored)
    assert np.array_equal(found["second"], models.WEIGHT) and not np.array_equal(found["first"], models.WEIGHT)


def test_equal_bytes_of_different_shape_or_type_stay_apart(tmp_path):
    ints = models.WEIGHT.view(np.int32)
    alike = [models.WEIGHT, models.WEIGHT.reshape(64, 128), ints, ints.reshape(-1)]
    proto = twins(*(models.tensor(f"w{i}", array) for i, array in enumerate(alike)))
    restored, _ = roundtrip(proto, tmp_path)
    assert restored == proto


# -- what counts as a weight -------------------------------------------------------------------------------------------

FUNCTIONS = """
<domain: "local", opset_import: ["" : 19]> dense (a, w, b) => (c) { t = Transpose(w)  m = MatMul(a, t)  c = Add(m, b) }
<domain: "local", opset_import: ["" : 19]> flip (w) => (t) { t = Transpose(w) }
<domain: "local", opset_import: ["" : 19]> twice (w) => (t) { u = local.flip(w)  t = local.flip(u) }
"""
IF = "If (x) <then_branch = t () => (float a) {{ a = {} }}, else_branch = e () => (float b) {{ b = {} }}>"
SCAN = (
    "y = Scan <num_scan_inputs = 1, body = b (float s, float v) => (float p, float q)"
    " { p = Add(s, S)  q = MatMul(v, s) }>(Z, V)"
)
BODY = "body = b ({}) => (bool k, float r) {{ k = Identity(go)  r = MatMul({}) }}"


@pytest.mark.parametrize(
    "nodes, weights",
    [
        ("y = Conv(x, W, B)", "W"),
        ("y = ConvTranspose(x, W, B)", "W"),
        ("y = Gemm(x, W, B)", "W"),
        ("y = Gemm(W, x)", "W"),
        ("y = MatMul(W, x)", "W"),
        ("y = Einsum <equation = \"ij,jk->ik\">(x, W)", "W"),
        ("y = Gather(W, x)", "W"),
        ("y = Gather(x, B)", ""),
        ("y, h, c = LSTM(x, W, R, B, , H, C, P)", "W R"),
        ("y, h = GRU(x, W, R, B)", "W R"),
        ("y, h = RNN(x, W, R, B)", "W R"),
        ("y = BatchNormalization(x, S, B, M, V)", ""),
        ("y = LayerNormalization(x, S, B)", ""),
        ("y = InstanceNormalization(x, S, B)", ""),
        ("y = Add(x, B)", ""),
        ("y = Mul(x, S)", ""),
        ("y = PRelu(x, S)", ""),
        ("y = Clip(x, L, H)", ""),
        ("y = Relu(B)", ""),
        ("t = Transpose(W)  y = MatMul(x, t)", "W"),
        ("t = Reshape(W, S)  y = MatMul(x, t)", "W"),
        ("t = Cast <to = 1>(W)  u = Identity(t)  y = MatMul(x, u)", "W"),
        ("t = Concat <axis = 0>(W, V)  y = MatMul(x, t)", "W V"),
        ("t = Unsqueeze(W, A)  u = Slice(t, B, E)  y = Conv(x, u)", "W"),
        ("t = Dropout(W, R)  y = MatMul(x, t)", "W"),
        ("t, u = Split(W)  y = MatMul(x, u)", "W"),
        # arithmetic of constants is followed to the layer that uses the result
        ("t = Add(W, V)  y = MatMul(x, t)", "V W"),
        ("k = Constant <value_float = 0.5>()  t = Mul(W, k)  u = Neg(t)  v = Transpose(u)  y = MatMul(x, v)", "W"),
        ("n = ReduceL2 <axes = [1]>(W)  t = Div(W, n)  y = MatMul(x, t)", "W"),
        ("k = Constant <value_float = 0.3>()  t = Sub(W, k)  u = Tanh(t)  y = MatMul(x, u)", "W"),
        ("k = Constant <value_float = 0.5>()  t = Mul(W, k)  u = local.flip(t)  y = Mul(x, u)", ""),
        ("k = Constant <value_float = 0.5>()  t = com.microsoft.BiasGelu(W, k)  y = MatMul(x, t)", ""),  # not computed
        ("k = Constant <value_float = 128.0>()  t = Add(W, k)  u = Sub(t, k)  y = MatMul(x, u)", "W"),
        ("k = Constant <value_float = 100.0>()  t = Mul(W, k)  u = Exp(t)  y = MatMul(x, u)", ""),
        ("t = Mul(W, x)  y = MatMul(x, t)", ""),  # no constant
        ("t = Sub(Z, x)  y = Mul(t, S)  u = MatMul(t, W)", "W"),
        ("y = Add(x, W)  z = MatMul(x, W)", "W"),
        (f"y = {IF.format('MatMul(x, W)', 'Add(x, B)')}", "W"),
        (f"w = {IF.format('Identity(W)', 'Neg(B)')}  y = MatMul(x, w)", "W"),
        (f"y = Loop (M, K, W) <{BODY.format('int64 i, bool go, float w', 'x, w')}>", "W"),
        (f"y = Loop (M, K, Z) <{BODY.format('int64 i, bool go, float z', 'x, W')}>", "W"),
        (f"y = Loop (, K, Z) <{BODY.format('int64 i, bool go, float W', 'x, W')}>", "Z"),  # the body's W is its own
        (SCAN, "Z V"),
        ("y = local.dense(x, W, B)", "W"),
        ("t = local.flip(W)  y = MatMul(x, t)", "W"),
        ("t = local.twice(W)  y = MatMul(x, t)", "W"),
        # what the call with B gives is no weight
        ("t = local.flip(W)  y = MatMul(x, t)  u = local.flip(B)  z = Add(y, u)", "W"),
        ("t = local.twice(W)  y = MatMul(x, t)  u = local.twice(B)  z = Add(y, u)", "W"),
        # operators are told by domain too: com.microsoft's Attention has weights where ONNX's has keys
        ("y = com.microsoft.Attention(x, W, B)", "W"),
        ("y = Attention(x, B, V)", ""),
        ("y = com.microsoft.MoE(x, P, W, B, V, C, U, D)", "U V W"),
        ("y = com.microsoft.LongformerAttention(x, W, B, M, V, C, G)", "V W"),
        ("y = com.microsoft.DecoderAttention(x, x, W, V, B)", "V W"),
        ("y = com.microsoft.PackedAttention(x, W, B)", "W"),
        ("y = com.microsoft.AttnLSTM(x, W, R, B, S, H, C, P, Q, M, V, x, L, A)", "A M Q R W"),
        ("y = com.microsoft.GemmFastGelu(x, W, B)", "W"),
        ("y = com.microsoft.GemmFloat8(x, W, B, S, T, U)", "W"),
        ("y = com.microsoft.TransposeMatMul(x, W)", "W"),
        ("y = com.microsoft.NhwcFusedConv(x, W, B, Z)", "W"),
        ("y = com.microsoft.ConvTransposeWithDynamicPads(x, W, P, B)", "W"),
        ("y = com.microsoft.WordConvEmbedding(x, W, B, C)", "C W"),
        ("y = com.microsoft.MultiHeadAttention(x, x, x, B)", ""),
        ("y = com.microsoft.MatMul(x, B)", ""),  # there is none
        ("y = local.Conv(x, B)", ""),
        ("y = FusedConv(x, B)", ""),
        # a Gather at constant places only moves elements
        ("k = Constant <value_ints = [1, 3]>()  t = Gather <axis = 1>(W, k)  y = MatMul(x, t)", "W"),
        ("k = Constant <value_ints = [1, 3]>()  t = Gather <axis = 1>(B, k)  y = Mul(x, t)", ""),
        ("k = Constant <value_ints = [1, 3]>()  j = Neg(k)  t = Gather(B, j)  y = Mul(x, t)", ""),
        ("k = Constant <value_ints = [1]>()  t = GatherND(B, k)  y = Mul(x, t)", ""),
        # outputs left out and operands left out have the same name, none, and do not meet
        ("t, , u = Split(B)  y = com.microsoft.EmbedLayerNormalization(x, , W, V, , G)", "W V"),
    ],
)  # fmt: skip
def test_weights_are_what_operators_use_as_weights(nodes, weights):
    proto = models.parsed(f"(float[1,16] x) => (float[1,16] y) {{ {nodes} }}", FUNCTIONS)
    found = onnx_model.from_proto(proto).tensors
    assert found and {each.name for each in found if each.is_weight} == set(weights.split())


LOOKUP = "body = b (int64 n, bool g, float v) => (bool h, float u) { h = Identity(g)  t = Gather(W, i)  u = Add(t, v) }"
COLUMN = "k = Constant <value_int = 1>()  u = Gather <axis = 1>(W, k)"


@pytest.mark.parametrize("offset, is_weight", [(0.0, True), (0.1, False), (128.0, False)])
def test_weights_that_are_small_beside_what_is_taken_from_them_stay_exact(offset, is_weight):
    proto = models.parsed("(float[1,16] x) => (float y) { t = Sub(W, O)  y = MatMul(x, t) }")
    arrays = {"W": models.normal(16, 64) + np.float32(offset), "O": np.full((1, 1), offset, np.float32)}
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(models.tensor(tensor.name, arrays[tensor.name]))
    tensors = {tensor.name: tensor for tensor in onnx_model.from_proto(proto).tensors}
    assert tensors["W"].is_weight == is_weight and not tensors["O"].is_weight
    assert tensors["W"].exact_because == ("" if is_weight else "changed before MatMul in a way that lets errors grow")


TABLES = {
    "boxes to outputs": ((900, 4), "t = Gather(W, i)  y = Add(t, x)", False),
    "boxes to outputs, by column": ((4, 900), "t = Gather <axis = 1>(W, i)  y = Add(t, x)", False),
    "boxes by GatherND": ((900, 4), "j = Unsqueeze(i, a)  t = GatherND(W, j)  y = Add(t, x)", False),
    "boxes that also go into layers": ((900, 4), "t = Gather(W, i)  m = MatMul(t, x)  y = Add(m, t)", False),
    "ids": ((900,), "y = Gather(W, i)", False),
    "compared": ((900, 64), "t = Gather(W, i)  b = Greater(t, x)  c = Cast <to = 1>(b)  y = MatMul(c, x)", False),
    "places": ((900, 4), "t = Gather(W, i)  r = RoiAlign(x, t, i)  y = Conv(r, x)", False),
    "through a loop's body": ((900, 4), f"k = Cast <to = 9>(x)  y = Loop (i, k, x) <{LOOKUP}>", False),
    "an embedding": ((900, 64), "t = Gather(W, i)  m = Mul(t, x)  y = MatMul(m, x)", True),
    "a narrow embedding": ((900, 4), "t = Gather(W, i)  m = Mul(t, x)  y = MatMul(m, x)", True),
    "an embedding that stays in the sum": ((900, 64), "t = Gather(W, i)  m = MatMul(t, x)  y = Add(m, t)", True),
    "an embedding alone": ((900, 64), "t = Gather(W, i)  y = ReduceMean(t)", True),
    "an embedding and columns": ((900, 64), f"t = Gather(W, i)  y = MatMul(t, x)  {COLUMN}  z = Mul(u, x)", True),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_tables_that_are_looked_up_are_weights_where_layers_use_what_is_found(name):
    shape, nodes, is_weight = TABLES[name]
    proto = models.parsed(f"(float[1,16] x, int64[5] i, int64[1] a) => (float y) {{ {nodes} }}", shape=shape)
    (table,) = [tensor for tensor in onnx_model.from_proto(proto).tensors if tensor.name == "W"]
    assert table.is_weight == is_weight
    assert bool(table.exact_because) != is_weight


ADDED = {
    "positions": ((600, 64), "t = Slice(W, s, e)  h = Add(x, t)  y = MatMul(h, x)", True),
    "positions that stay in the sum": ((600, 64), "h = Add(W, x)  m = MatMul(h, x)  y = Add(m, h)", True),
    "positions of images, resized": ((600, 64), "t = Resize(W, , , s)  h = Add(x, t)  y = MatMul(h, x)", True),
    "a grid to outputs": ((600, 64), "m = MatMul(x, x)  y = Add(m, W)", False),
    "boxes": ((8400, 4), "h = Add(x, W)  y = MatMul(h, x)", False),
    "a bias": ((1, 16384, 1), "h = Add(x, W)  y = MatMul(h, x)", False),
    "a few": ((16, 64), "h = Add(x, W)  y = MatMul(h, x)", False),
    "slopes by distance": ((600, 64), "h = Add(x, W)  p = Softmax(h)  y = MatMul(p, x)", False),
    "compared": ((600, 64), "h = Add(x, W)  b = Greater(h, x)  c = Cast <to = 1>(b)  y = MatMul(c, x)", False),
    "multiplied, too": ((600, 64), "h = Add(x, W)  g = Mul(h, W)  y = MatMul(g, x)", False),
}  # fmt: skip


@pytest.mark.parametrize("name", ADDED)
def test_tables_that_are_added_to_what_goes_to_layers_are_weights(name):
    shape, nodes, is_weight = ADDED[name]
    proto = models.parsed(f"(float[1,16] x, int64[1] s, int64[1] e) => (float y) {{ {nodes} }}", shape=shape)
    for offset, expected in ((0, is_weight), (100, False)):  # numbers far from zero are none: a mean image, say
        proto.graph.initializer[0].CopyFrom(models.tensor("W", models.normal(*shape) + np.float32(offset)))
        (table,) = [tensor for tensor in onnx_model.from_proto(proto).tensors if tensor.name == "W"]
        assert table.is_weight == expected


def test_a_weight_inside_a_function_may_leave_it_by_any_call():
    source = '<domain: "local", opset_import: ["" : 19]> w () => (t) { t = Constant <value_floats = [1.0, 2.0]>() }'
    proto = models.parsed("(float[2] x) => (float y) { a = local.w()  y = MatMul(x, a) }", source)
    (weight,) = onnx_model.from_proto(proto).tensors
    assert weight.is_weight


def test_functions_that_call_each_other_in_a_circle_end():
    """ONNX forbids them; a walk must not hang on them."""
    circle = """
    <domain: "local", opset_import: ["" : 19]> a (w) => (t) { u = local.b(w)  t = Transpose(u) }
    <domain: "local", opset_import: ["" : 19]> b (w) => (t) { u = local.a(w)  t = MatMul(u, w) }
    """
    proto = models.parsed("(float x) => (float y) { y = local.a(W) }", circle)
    assert onnx_model.from_proto(proto).tensors[0].is_weight


# -- nothing else touched ----------------------------------------------------------------------------------------------


def test_lossless_restores_every_field_of_a_model(tmp_path):
    proto = models.everything()
    onnx.checker.check_model(proto)
    restored, entries = roundtrip(proto, tmp_path)
    assert len(entries) > 10 and restored == proto
    assert restored.SerializeToString(deterministic=True) == proto.SerializeToString(deterministic=True)


def test_lossy_changes_the_numbers_of_weights_and_nothing_else(tmp_path):
    proto = models.everything()
    restored, entries = roundtrip(proto, tmp_path, ALL)
    onnx.checker.check_model(restored)
    assert sum(entry.info.encoding > 0 for entry in entries) > 10 and restored != proto
    assert models.without_data(restored) == models.without_data(proto)


def test_fields_that_this_onnx_does_not_know_survive(tmp_path):
    path = tmp_path / "net.onnx"
    unknown = struct.pack("<HB5s", 0x3EFA, 5, b"later")  # field 1007, five bytes
    path.write_bytes(models.dense(models.WEIGHT).SerializeToString() + unknown)
    packed = dcz.compress(path, tmp_path / "net.dcz", LOSSLESS)
    assert dcz.decompress(packed, tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_explicit_default_locations_are_the_one_trace_that_is_lost(tmp_path):
    """`data_location: DEFAULT` written out means the same as left out, and that is how it comes back."""
    proto = models.dense(models.WEIGHT)
    expected = models.dense(models.WEIGHT)
    proto.graph.initializer[0].data_location = TensorProto.DEFAULT
    assert roundtrip(proto, tmp_path)[0] == expected != proto


# -- bad input ---------------------------------------------------------------------------------------------------------

GARBAGE = {
    "random": np.random.default_rng(3).bytes(4000),
    "empty": b"",
    "text": b"import torch\nimport onnx\n" * 50,
    "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(500),
    "zip": b"PK\x03\x04" + bytes(100),
    "no graph": models.model([]).SerializeToString()[:2],
}


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_what_is_no_model_is_refused_by_path(data, tmp_path):
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(UnsuitableModel, match="bad.onnx: not an ONNX model"):
        dcz.compress(path, tmp_path / "net.dcz")
    assert os.listdir(tmp_path) == ["bad.onnx"]


def test_a_dcz_file_is_not_compressed_again(tmp_path):
    packed = dcz.compress(models.dense(models.WEIGHT), tmp_path / "net.dcz")
    with pytest.raises(UnsuitableModel, match="not an ONNX model"):
        dcz.compress(packed, tmp_path / "again.dcz")


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.9999])
def test_a_truncated_model_is_refused(share, tmp_path):
    data = models.place("if_branches").SerializeToString()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UnsuitableModel, match="cut.onnx"):
        dcz.compress(path, tmp_path / "net.dcz")


@pytest.mark.parametrize("name", ["missing.onnx", "folder"])
def test_a_model_that_cannot_be_read_is_named(name, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileAccess, match=name):
        dcz.compress(tmp_path / name, tmp_path / "net.dcz")


@pytest.mark.parametrize(
    "tensor",
    [
        TensorProto(name="w", data_type=1, dims=[64, 32], raw_data=bytes(8191)),
        TensorProto(name="w", data_type=1, dims=[64, 32], raw_data=bytes(8196)),
        TensorProto(name="w", data_type=22, dims=[3], raw_data=bytes(1)),  # int4: three need two bytes
        TensorProto(name="w", data_type=1, dims=[64], float_data=[0.0] * 63),
        TensorProto(name="w", data_type=10, dims=[64], int32_data=[0] * 128),
        TensorProto(name="w", data_type=1, dims=[-1, 4], raw_data=bytes(16)),
        TensorProto(name="w", data_type=1, dims=[-4, -4], raw_data=bytes(64)),  # the product would fit
        TensorProto(name="w", data_type=1, dims=[1 << 62, 1 << 62], raw_data=bytes(64)),
        TensorProto(name="w", data_type=1, dims=[1] * 256, raw_data=bytes(4)),
    ],
    ids=["short", "long", "packed", "typed", "typed long", "negative", "negative twice", "overflow", "256 dims"],
)
def test_tensors_whose_data_does_not_fit_their_dims_are_refused_by_name(tensor, tmp_path):
    with pytest.raises(UnsuitableModel, match="tensor 'w'"):
        dcz.compress(models.bag(tensor), tmp_path / "net.dcz")


# -- references of a graph (spec, section 4) ---------------------------------------------------------------------------


def lifted(place="initializer", **change) -> tuple[onnx.ModelProto, list]:
    """A graph whose weight is in record 0, and (dtype, shape) of that record; `change` spoils the reference."""
    loaded = onnx_model.from_proto(models.place(place))
    weight = loaded.tensors[0]
    weight.replace_with_reference(0)
    tensor = weight.proto if isinstance(weight.proto, TensorProto) else weight.proto.t
    for name, value in change.items():
        if name in ("key", "value"):
            setattr(tensor.external_data[0], name, value)
        elif name == "dims":
            tensor.dims[:] = value
        else:
            setattr(tensor, name, value)
    return loaded.proto, [(weight.dtype.code, weight.shape)]


@pytest.mark.parametrize("place", ["initializer", "float_data", "constant_floats"])
def test_a_reference_names_its_field_and_record(place):
    proto, records = lifted(place)
    types = [attribute.type for node in proto.graph.node for attribute in node.attribute]
    assert onnx.AttributeProto.FLOATS not in types, "a tensor stands for the floats"
    (reference,) = onnx_model.find_references(proto, records, "net.dcz")
    onnx_model.restore_data(reference, models.WEIGHT.reshape(-1).view(np.uint8))
    assert proto == models.place(place)


@pytest.mark.parametrize(
    "place, change",
    [
        ("initializer", {"value": "1"}),  # no such record
        ("initializer", {"value": "-1"}),
        ("initializer", {"value": ""}),
        ("initializer", {"value": "０"}),  # a digit to Python, not to the spec
        ("initializer", {"value": "1" * 5000}),
        ("initializer", {"key": "location"}),
        ("initializer", {"key": "floats"}),  # no Constant's floats
        ("initializer", {"key": "int32_data"}),  # not the field of its type
        ("initializer", {"dims": [64, 128]}),
        ("initializer", {"data_type": TensorProto.INT32}),
        ("constant_floats", {"key": "double_data"}),
        ("constant_floats", {"dims": [128, 64]}),
    ],
    ids=str,
)
def test_a_reference_that_does_not_fit_is_refused(place, change):
    proto, records = lifted(place, **change)
    with pytest.raises(CorruptFile) as refused:
        onnx_model.find_references(proto, records, "net.dcz")
    assert refused.value.reason == "graph-reference"


@pytest.mark.parametrize("count", [0, 2])
def test_a_reference_has_exactly_one_entry(count):
    proto, records = lifted()
    entry = proto.graph.initializer[0].external_data[0]
    del proto.graph.initializer[0].external_data[:]
    proto.graph.initializer[0].external_data.extend([entry] * count)
    with pytest.raises(CorruptFile, match="graph-reference"):
        onnx_model.find_references(proto, records, "net.dcz")


@pytest.mark.parametrize("dtype, dims", [(TensorProto.DOUBLE, [8192]), (TensorProto.FLOAT, [128, 64])])
def test_floats_of_a_constant_are_one_row_of_float32(dtype, dims):
    """A record that agrees with the reference does not make it one that can be restored."""
    proto, _ = lifted("constant_floats", data_type=dtype, dims=dims)
    with pytest.raises(CorruptFile, match="graph-reference"):
        onnx_model.find_references(proto, [(dtype, tuple(dims))], "net.dcz")


def test_a_graph_that_is_no_model_is_refused():
    with pytest.raises(CorruptFile, match="graph-reference"):
        onnx_model.parse_graph(b"\xff\xff\xff", 3, "net.dcz")


def test_a_dcz_file_given_as_a_model_is_called_what_it_is(tmp_path):
    packed = dcz.compress(perceptron(), tmp_path / "net.dcz")
    with pytest.raises(UnsuitableModel, match="net.dcz: not an ONNX model but a .dcz file.*decompress"):
        dcz.compress(packed, tmp_path / "again.dcz")


ROWS = {
    "Gemm": (helper.make_node("Gemm", ["x", "w"], ["y"]), -1),
    "Gemm, turned": (helper.make_node("Gemm", ["x", "w"], ["y"], transB=1), 1),
    "Gemm, first": (helper.make_node("Gemm", ["w", "x"], ["y"]), 1),
    "Gemm, first, turned": (helper.make_node("Gemm", ["w", "x"], ["y"], transA=1), -1),
    "MatMul": (helper.make_node("MatMul", ["x", "w"], ["y"]), -1),
    "Gather": (helper.make_node("Gather", ["w", "x"], ["y"]), 0),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_layer_tells_which_elements_are_summed_up(name):
    node, rows = ROWS[name]
    proto = models.model([node], {"x": [4, 4]}, {"y": [4, 4]}, [models.tensor("w", models.normal(4, 4))])
    assert [weight.rows for weight in onnx_model.from_proto(proto).tensors if weight.name == "w"] == [rows]


def test_readers_that_differ_tell_nothing_of_rows():
    nodes = [ROWS["Gemm"][0], helper.make_node("Gemm", ["x", "w"], ["z"], transB=1)]
    proto = models.model(nodes, {"x": [4, 4]}, {"y": [4, 4], "z": [4, 4]}, [models.tensor("w", models.normal(4, 4))])
    assert [weight.rows for weight in onnx_model.from_proto(proto).tensors if weight.name == "w"] == [0]


def test_no_function_has_the_name_of_a_module_of_the_room():
    """It would hide the module, or be hidden by it, whichever is imported last."""
    modules = {path.stem for path in Path(onnx_model.__file__).parent.glob("*.py")}
    assert modules.isdisjoint(onnx_model.__all__)
