"""Small ONNX models for tests, built on the spot: the same call gives the same model.

proto = place("if_branches")         the weight WEIGHT in some corner of a model that computes x @ WEIGHT
run(proto, x=INPUT)                  -> the outputs, by onnxruntime
entries("net.dcz")                   -> what the directory says of each record
"""

import re
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, helper, numpy_helper, parser

from dcz.format.container import Archive
from dcz.format.directory import Entry
from dcz.tensor import Dtype

OPSET = 19
IR = 10


def normal(*shape: int, seed: int = 0, dtype=np.float32) -> np.ndarray:
    """Weights as a trained layer has them: normally distributed."""
    return np.random.default_rng(seed).normal(0, 0.05, shape).astype(dtype)


WEIGHT = normal(128, 64)
INPUT = normal(1, 128, seed=1) * 20


def tensor(name: str, array: np.ndarray) -> TensorProto:
    """A tensor in raw_data, as exporters write it."""
    return numpy_helper.from_array(np.asarray(array), name)


def typed(name: str, array: np.ndarray) -> TensorProto:
    """The same tensor in the typed field that ONNX has for it."""
    raw = tensor(name, array)
    values = array.reshape(-1)
    if array.dtype.itemsize == 2 and array.dtype.kind in "fV":
        values = values.view(np.uint16)  # float16 and bfloat16 lie bit for bit in int32_data
    found = TensorProto(name=name, data_type=raw.data_type, dims=raw.dims)
    getattr(found, helper.tensor_dtype_to_field(raw.data_type)).extend(values.tolist())
    return found


def nibbles(name: str, shape: Sequence[int], values: Sequence[int]) -> TensorProto:
    """A tensor of INT4, the same bytes by all versions of onnx: older ones write numbers below zero."""
    found = helper.make_tensor(name, TensorProto.INT4, shape, values)
    found.int32_data[:] = [each & 0xFF for each in found.int32_data]
    return found


def sparse(name: str, array: np.ndarray) -> SparseTensorProto:
    """`array` without its zeros."""
    places = np.flatnonzero(array)
    return helper.make_sparse_tensor(
        tensor(name, array.ravel()[places]), tensor("", places.astype(np.int64)), list(array.shape)
    )


def patterns(name: str, dtype: Dtype, shape, data: np.ndarray) -> TensorProto:
    """A tensor of any type from its bytes."""
    return TensorProto(name=name, data_type=dtype.code, dims=shape, raw_data=data.tobytes())


def constant(output: str, value) -> NodeProto:
    """A Constant node: of `value` (array), `sparse_value` (SparseTensorProto) or `value_floats` (list)."""
    if isinstance(value, SparseTensorProto):
        return helper.make_node("Constant", [], [output], sparse_value=value)
    if isinstance(value, list):
        return helper.make_node("Constant", [], [output], value_floats=value)
    return helper.make_node("Constant", [], [output], value=tensor(f"{output}_value", value))


def graph(nodes, inputs=None, outputs=None, initializers=(), name="net") -> onnx.GraphProto:
    """`inputs` and `outputs` are shapes by name, of float32 unless one says otherwise as (type, shape)."""

    def infos(shapes):
        typed_shapes = {k: v if isinstance(v, tuple) else (TensorProto.FLOAT, v) for k, v in (shapes or {}).items()}
        return [helper.make_tensor_value_info(k, *v) for k, v in typed_shapes.items()]

    return helper.make_graph(list(nodes), name, infos(inputs), infos(outputs), list(initializers))


def model(nodes, inputs=None, outputs=None, initializers=(), functions=(), domains=()) -> ModelProto:
    """A model around `graph(...)`."""
    imports = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(domain, 1) for domain in domains)]
    made = graph(nodes, inputs, outputs, initializers)
    more = {"opset_imports": imports, "functions": list(functions), "ir_version": IR, "producer_name": "tests"}
    return helper.make_model(made, **more)


def dense(*arrays: np.ndarray) -> ModelProto:
    """x -> a MatMul with each of `arrays` (named w0, w1 ...; first dims must fit) -> y."""
    values = ["x", *(f"h{i}" for i in range(len(arrays) - 1)), "y"]
    nodes = [helper.make_node("MatMul", [values[i], f"w{i}"], [values[i + 1]]) for i in range(len(arrays))]
    initializers = [tensor(f"w{i}", array) for i, array in enumerate(arrays)]
    return model(nodes, {"x": ["n", arrays[0].shape[0]]}, {"y": ["n", arrays[-1].shape[1]]}, initializers)


def bag(*tensors: TensorProto) -> ModelProto:
    """A model whose initializers are `tensors`, used by nothing."""
    identity = helper.make_node("Identity", ["x"], ["y"])
    return model([identity], {"x": [1]}, {"y": [1]}, tensors)


def parsed(text: str, functions: str = "", shape=(16, 64)) -> ModelProto:
    """A model from ONNX's textual form; every name in capitals becomes an initializer of `shape`."""
    head = f'<ir_version: {IR}, opset_import: ["" : {OPSET}, "local" : 1, "com.microsoft" : 1]>'
    made = parser.parse_model(f"{head} net {text} {functions}")
    names = sorted(set(re.findall(r"\b[A-Z]\b", text)))
    made.graph.initializer.extend(tensor(name, normal(*shape, seed=i)) for i, name in enumerate(names))
    return made


# -- one weight in every corner of a model -----------------------------------------------------------------------------


def matmul(weight: str = "w", output: str = "y") -> NodeProto:
    """x @ `weight`."""
    return helper.make_node("MatMul", ["x", weight], [output])


def _simple(*nodes: NodeProto, initializers=(), **more) -> ModelProto:
    return model([*nodes, matmul()], {"x": [1, 128]}, {"y": [1, 64]}, initializers, **more)


def _branch(body: list, output: str, initializers=()) -> onnx.GraphProto:
    return graph(body, {}, {output: [1, 64]}, initializers, name=f"branch_{output}")


def _if(output: str, then: onnx.GraphProto, other: onnx.GraphProto) -> NodeProto:
    return helper.make_node("If", ["yes"], [output], then_branch=then, else_branch=other)


def _conditional(node: NodeProto) -> ModelProto:
    return model([node], {"x": [1, 128]}, {"y": [1, 64]}, [tensor("yes", np.array(True))])


def _initializer():
    return _simple(initializers=[tensor("w", WEIGHT)])


def _float_data():
    return _simple(initializers=[typed("w", WEIGHT)])


def _sparse_initializer():
    made = _simple()
    made.graph.sparse_initializer.append(sparse("w", _half()))
    return made


def _half() -> np.ndarray:
    return np.where(np.abs(WEIGHT) > 0.034, WEIGHT, 0).astype(np.float32)


def _constant_value():
    return _simple(constant("w", WEIGHT))


def _constant_floats():
    shape = constant("shape", np.array([128, 64]))
    reshape = helper.make_node("Reshape", ["flat", "shape"], ["w"])
    return _simple(constant("flat", WEIGHT.ravel().tolist()), shape, reshape)


def _constant_sparse():
    return _simple(constant("w", sparse("", _half())))


def _if_branches():
    """Both branches call their weight `w`."""
    then = _branch([matmul(output="t")], "t", [tensor("w", WEIGHT)])
    other = _branch([constant("w", -WEIGHT), matmul(output="e")], "e")
    return _conditional(_if("y", then, other))


def _nested_if():
    inner = _if("t", _branch([matmul(output="i")], "i", [tensor("w", WEIGHT)]), _branch([matmul("v", "j")], "j"))
    other = _branch([matmul("v", "e")], "e")
    made = _conditional(_if("y", _branch([inner], "t"), other))
    made.graph.initializer.append(tensor("v", -WEIGHT))
    return made


def _loop():
    body = graph(
        [
            matmul(output="part"),
            helper.make_node("Add", ["sum", "part"], ["more"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        {"i": (TensorProto.INT64, []), "go": (TensorProto.BOOL, []), "sum": [1, 64]},
        {"on": (TensorProto.BOOL, []), "more": [1, 64]},
        [tensor("w", WEIGHT)],
        name="body",
    )
    start = [tensor("three", np.array(3)), tensor("yes", np.array(True)), tensor("zero", np.zeros((1, 64), np.float32))]
    node = helper.make_node("Loop", ["three", "yes", "zero"], ["y"], body=body)
    return model([node], {"x": [1, 128]}, {"y": [1, 64]}, start)


def _scan():
    body = graph(
        [constant("w", WEIGHT), helper.make_node("MatMul", ["row", "w"], ["out"])],
        {"row": [1, 128]}, {"out": [1, 64]}, name="body",
    )  # fmt: skip
    axes = constant("axes", np.array([0]))
    nodes = [
        axes,
        helper.make_node("Unsqueeze", ["x", "axes"], ["rows"]),
        helper.make_node("Scan", ["rows"], ["outs"], body=body, num_scan_inputs=1),
        helper.make_node("Squeeze", ["outs", "axes"], ["y"]),
    ]
    return model(nodes, {"x": [1, 128]}, {"y": [1, 64]})


def function(name: str, inputs, outputs, nodes, **more) -> onnx.FunctionProto:
    """A local function of the domain `local`."""
    return helper.make_function("local", name, inputs, outputs, nodes, [helper.make_opsetid("", OPSET)], **more)


def _call() -> dict:
    return {"inputs": {"x": [1, 128]}, "outputs": {"y": [1, 64]}, "domains": ["local"]}


def _function():
    body = function("f", ["x"], ["y"], [constant("w", WEIGHT), matmul()])
    return model([helper.make_node("f", ["x"], ["y"], domain="local")], functions=[body], **_call())


def _function_if():
    """A subgraph inside a function: the branches see the function's operands."""
    then = _branch([constant("w", WEIGHT), matmul(output="t")], "t")
    other = _branch([constant("w", -WEIGHT), matmul(output="e")], "e")
    body = function("f", ["x", "yes"], ["y"], [_if("y", then, other)])
    call = helper.make_node("f", ["x", "yes"], ["y"], domain="local")
    return model([call], functions=[body], initializers=[tensor("yes", np.array(True))], **_call())


# Where a weight may sit -> (the model, the names under which dcz finds it and its like). All of them compute
# x @ WEIGHT, or something as good as that, in onnxruntime.
PLACES = {
    "initializer": (_initializer, {"w"}),
    "float_data": (_float_data, {"w"}),
    "sparse_initializer": (_sparse_initializer, {"w", "w.indices"}),
    "constant_value": (_constant_value, {"w"}),
    "constant_floats": (_constant_floats, {"flat"}),
    "constant_sparse": (_constant_sparse, {"w", "w.indices"}),
    "if_branches": (_if_branches, {"w", "w~2"}),
    "nested_if": (_nested_if, {"w", "v"}),
    "loop": (_loop, {"w"}),
    "scan": (_scan, {"w"}),
    "function": (_function, {"w"}),
    "function_if": (_function_if, {"w", "w~2"}),
}


def place(name: str) -> ModelProto:
    """The model of PLACES under this name."""
    return PLACES[name][0]()


def everything() -> ModelProto:
    """A model with what a compressor might forget: every field must come back as it was. It passes onnx.checker."""
    then = _branch([matmul(output="t")], "t", [tensor("w", normal(128, 64, seed=5))])
    other = _branch([constant("w", normal(128, 64, seed=6)), matmul(output="e")], "e")
    flat = constant("flat", WEIGHT.ravel().tolist())
    flat.attribute[0].doc_string = "floats of a Constant"
    custom = helper.make_node(
        "Mystery", ["y", "embedding"], ["z"], name="unknown", domain="com.example", doc_string="nobody knows it",
        table=tensor("table", normal(40, 40, seed=7)), scale=0.5, names=["a", "b"], ints=[1, -2], floats=[0.5, -0.0],
        body=_branch([constant("c", normal(20, 20, seed=8))], "c"),
    )  # fmt: skip
    tables = custom.attribute.add(name="tables", type=AttributeProto.TENSORS)
    tables.tensors.append(tensor("", normal(30, 30, seed=9)))
    tables.tensors.append(typed("doubles", normal(200, seed=10, dtype=np.float64)))
    blank = custom.attribute.add(name="sparse", type=AttributeProto.SPARSE_TENSORS)
    blank.sparse_tensors.append(sparse("", _half()))
    body = function(
        "f", ["a"], ["b"],
        [constant("k", normal(64, 64, seed=11)), helper.make_node("MatMul", ["a", "k"], ["b"])],
        doc_string="a local function", value_info=[helper.make_tensor_value_info("k", TensorProto.FLOAT, [64, 64])],
    )  # fmt: skip
    default = body.attribute_proto.add(name="default", type=AttributeProto.TENSOR)
    default.t.CopyFrom(tensor("default", normal(300, seed=12)))
    nodes = [
        flat,
        constant("shape", np.array([128, 64])),
        helper.make_node("Reshape", ["flat", "shape"], ["dense"], name="reshape"),
        helper.make_node("ConstantOfShape", ["shape"], ["half"], value=tensor("fill", np.array([0.5], np.float32))),
        helper.make_node("Add", ["dense", "half"], ["sum"]),
        helper.make_node("MatMul", ["x", "sum"], ["m"]),
        _if("branch", then, other),
        helper.make_node("f", ["m"], ["g"], domain="local"),
        helper.make_node("Add", ["g", "branch"], ["y"], doc_string="the end"),
        custom,
    ]
    initializers = [
        tensor("yes", np.array(True)),
        tensor("embedding", normal(100, 16, seed=13)),
        tensor("halves", normal(500, seed=14, dtype=np.float16)),
        typed("ids", np.arange(-300, 300, dtype=np.int64)),
        tensor("nothing", np.zeros((0, 7), np.float32)),
        helper.make_tensor("words", TensorProto.STRING, [2], [b"null \0 byte", "ümlaut".encode()]),
        nibbles("nibbles", [3, 5], [-8, 7, 0] * 5),
        helper.make_tensor("eighths", TensorProto.FLOAT8E4M3FN, [4], [0.5, 1, 2, -0.25]),
    ]
    initializers[1].doc_string = "a table"
    initializers[1].metadata_props.add(key="origin", value="trained")
    made = model(
        nodes, {"x": [1, 128], "seq": ["n"]}, {"z": ["n"]}, initializers, [body], ["local", "com.example"]
    )  # fmt: skip
    made.graph.sparse_initializer.append(sparse("gaps", _half()))
    made.graph.value_info.append(helper.make_tensor_value_info("m", TensorProto.FLOAT, [1, 64]))
    made.graph.doc_string, made.doc_string = "the graph", "the model\nin two lines"
    annotation = made.graph.quantization_annotation.add(tensor_name="m")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="yes")
    made.producer_version, made.domain, made.model_version = "3.1", "org.example", 7
    for holder in (made, made.graph, made.graph.node[5], made.functions[0]):
        holder.metadata_props.add(key="author", value="nobody")
    training = made.training_info.add()
    training.algorithm.CopyFrom(_branch([matmul(output="loss")], "loss", [tensor("w", normal(128, 64, seed=15))]))
    training.initialization.CopyFrom(_branch([constant("c", normal(20, 20, seed=16))], "c"))
    training.update_binding.add(key="embedding", value="loss")
    return made


# -- looking at results ------------------------------------------------------------------------------------------------


def trees(count: int) -> ModelProto:
    """A TreeEnsembleRegressor of `count` nodes in all, in trees of 2,047 or fewer: the model is in its attributes."""
    numbers = np.arange(count)
    nodes, draws = numbers % 2047, np.random.default_rng(0)
    is_leaf = nodes >= 1023
    inner, leaves = np.where(is_leaf, 0, nodes), int(is_leaf.sum())
    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1,
        nodes_treeids=(numbers // 2047).tolist(), nodes_nodeids=nodes.tolist(),
        nodes_featureids=draws.integers(0, 50, count).tolist(), nodes_values=normal(count).tolist(),
        nodes_modes=["LEAF" if leaf else "BRANCH_LEQ" for leaf in is_leaf],
        nodes_truenodeids=(2 * inner + 1).tolist(), nodes_falsenodeids=(2 * inner + 2).tolist(),
        nodes_missing_value_tracks_true=[0] * count, target_ids=[0] * leaves, target_weights=normal(leaves).tolist(),
        target_nodeids=nodes[is_leaf].tolist(), target_treeids=(numbers // 2047)[is_leaf].tolist(),
    )  # fmt: skip
    return model([node], {"x": ["n", 50]}, {"y": ["n", 1]}, domains=["ai.onnx.ml"])


def save(proto: ModelProto, path: Path, **external) -> Path:
    """Write a model; with keyword arguments, its big tensors as external data (`location=` ...)."""
    if external:
        copy = ModelProto()
        copy.CopyFrom(proto)
        onnx.save(copy, path, save_as_external_data=True, **{"size_threshold": 0, **external})
    else:
        path.write_bytes(proto.SerializeToString())
    return path


def run(source, **feeds: np.ndarray) -> list[np.ndarray]:
    """The outputs of a model (a ModelProto or the path of one), by onnxruntime on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    serialized = source.SerializeToString() if isinstance(source, ModelProto) else str(source)
    return onnxruntime.InferenceSession(serialized, options, ["CPUExecutionProvider"]).run(None, feeds)


def entries(path) -> tuple[Entry, ...]:
    """The entries of a `.dcz` file's directory."""
    with Archive(path) as archive:
        return archive.directory.entries


def overhead(path) -> int:
    """Bytes of a `.dcz` file's header and directory."""
    with Archive(path) as archive:
        return archive.directory.graph_offset


def deflated(data: bytes) -> int:
    """Bytes of `data` as raw DEFLATE, level 9."""
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    return len(engine.compress(data) + engine.flush())


def tensors(message) -> list[TensorProto]:
    """Every TensorProto anywhere within a protobuf message, by reflection: it knows nothing of ONNX."""
    if isinstance(message, TensorProto):
        return [message]
    found = []
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                found += tensors(part)
    return found


def without_data(proto: ModelProto) -> ModelProto:
    """A copy whose real tensors and value_floats have lost their data: what lossy coding may change."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    for held in tensors(copy):
        if held.data_type in (1, 10, 11, 16):
            for field in ("raw_data", "float_data", "double_data", "int32_data"):
                held.ClearField(field)
    for node in copy.graph.node:
        for attribute in node.attribute:
            if attribute.name == "value_floats":
                attribute.ClearField("floats")
    return copy


def arrays(proto: ModelProto) -> dict[str, np.ndarray]:
    """The main graph's initializers as arrays."""
    return {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
