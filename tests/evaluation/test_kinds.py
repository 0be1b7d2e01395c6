"""What outputs are judged by, from the graph, the shapes and the values."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import dcz
from dcz.evaluation import compare, integer_inputs, kinds, main_graph, metrics, output_meanings
from dcz.evaluation.kinds import GraphKinds
from dcz.evaluation.output_difference import judged
from tests import models
from tests.models import normal, tensor

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
W, SQUARE, TABLE = normal(8, 5), normal(8, 8, seed=1), normal(30, 8, seed=2)
KERNEL = normal(5, 3, 1, 1)
X, IMAGES = normal(6, 8, seed=3), normal(6, 3, 4, 4, seed=4)
IDS = np.arange(24).reshape(6, 4)
SPLIT = tensor("split", np.array([-1, 2, 4]))
node = helper.make_node
KNOWN = {"ArgMax", "OneHot", "Equal", "Relu", *output_meanings.LAYERS, *output_meanings.SOFTMAXES,
         *output_meanings.CLASSIFIERS, *output_meanings.NORMS, *output_meanings.POOLING, *integer_inputs.TABLE_READERS,
         *integer_inputs.COPYING, *integer_inputs.MIXING, *main_graph.AFFINE}  # fmt: skip


def measures(nodes, names="y", **inputs) -> list[str]:
    """The names of the measures of a model's outputs: x, images and ids are there, and the weights in capitals."""
    arrays = {"x": X, "images": IMAGES, "ids": IDS}
    arrays = {name: inputs.get(name, array) for name, array in arrays.items()}
    read = {name for each in nodes for name in each.input}
    shapes = {name: (INT64 if name == "ids" else FLOAT, [None] * array.ndim) for name, array in arrays.items()}
    weights = [tensor("W", W), tensor("SQUARE", SQUARE), tensor("TABLE", TABLE), tensor("KERNEL", KERNEL), SPLIT,
               tensor("AXES", np.array([1])), tensor("BIAS", normal(5)), tensor("ONES", np.ones(8, np.float32)),
               tensor("FIRST", np.array(0)), tensor("BYTES", np.ones((8, 5), np.uint8))]  # fmt: skip
    outputs = {name: (FLOAT, None) for name in names.split()}
    for each in nodes:
        if each.op_type == "ArgMax" and each.output[0] in outputs:
            outputs[each.output[0]] = (INT64, None)
    proto = models.model(nodes, {name: shapes[name] for name in arrays if name in read}, outputs, weights)
    answers = models.run(proto, **{name: array for name, array in arrays.items() if name in read})
    return [each.name for each in GraphKinds(proto).measures(names.split(), answers, 6)]


@pytest.mark.parametrize("name, measure", [
    ("y", "top class"), ("embedding", "cosine"), ("face_embeddings", "cosine"), ("fingerprint", "cosine"),
])  # fmt: skip
def test_the_name_tells_an_embedding_where_the_graph_does_not(name, measure):
    assert measures([node("MatMul", ["x", "W"], [name])], name) == [measure]
    assert measures([node("MatMul", ["x", "W"], ["m"]), node("Softmax", ["m"], [name])], name) == ["top class"]


@pytest.mark.parametrize("measure, nodes", [
    ("top class", [node("MatMul", ["x", "W"], ["y"])]),
    ("top class", [node("Gemm", ["x", "W", "BIAS"], ["g"]), node("Identity", ["g"], ["y"])]),
    ("top class", [node("MatMul", ["x", "W"], ["m"]), node("Add", ["m", "BIAS"], ["y"])]),
    ("top class", [node("Relu", ["x"], ["r"]), node("Softmax", ["r"], ["y"])]),
    ("top class", [node("Neg", ["x"], ["y"]), node("ArgMax", ["y"], ["unread"], axis=1)]),
    ("top class", [node("Conv", ["images", "KERNEL"], ["c"]), node("GlobalAveragePool", ["c"], ["y"])]),
    ("top class", [node("Conv", ["images", "KERNEL"], ["c"]), node("Relu", ["c"], ["r"]),
                   node("GlobalAveragePool", ["r"], ["y"])]),
    ("top class", [node("GlobalAveragePool", ["images"], ["p"]), node("Conv", ["p", "KERNEL"], ["y"])]),
    ("top class", [node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
                   node("MatMulInteger", ["q", "BYTES", "zero"], ["i"]), node("Cast", ["i"], ["f"], to=FLOAT),
                   node("Mul", ["f", "scale"], ["y"])]),
    ("top token", [node("Gather", ["TABLE", "ids"], ["e"]), node("MatMul", ["e", "W"], ["y"])]),
    ("top token", [node("Conv", ["images", "KERNEL"], ["c"]), node("Softmax", ["c"], ["y"], axis=1)]),
    ("cosine", [node("MatMul", ["x", "SQUARE"], ["m"]), node("LpNormalization", ["m"], ["y"])]),
    ("cosine", [node("MatMul", ["x", "SQUARE"], ["m"]), node("LayerNormalization", ["m", "ONES"], ["y"])]),
    ("cosine", [node("MatMul", ["x", "SQUARE"], ["m"]), node("ReduceL2", ["m", "AXES"], ["n"]),
                node("Div", ["m", "n"], ["y"])]),
    ("cosine", [node("Gather", ["TABLE", "ids"], ["e"]), node("MatMul", ["e", "SQUARE"], ["m"]),
                node("ReduceMean", ["m", "AXES"], ["y"], keepdims=0)]),
    ("cosine", [node("Conv", ["images", "KERNEL"], ["c"]), node("Sigmoid", ["c"], ["s"]),
                node("GlobalAveragePool", ["s"], ["y"])]),
    ("cosine", [node("MatMul", ["x", "SQUARE"], ["m"]), node("LayerNormalization", ["m", "ONES"], ["n"]),
                node("Concat", ["n"], ["y"], axis=1)]),
    ("relative error", [node("LpNormalization", ["x"], ["n"]), node("Concat", ["n", "x"], ["y"], axis=1)]),
    ("relative error", [node("MatMul", ["x", "W"], ["m"]), node("Relu", ["m"], ["y"])]),
    ("relative error", [node("MatMul", ["x", "W"], ["m"]), node("Sigmoid", ["m"], ["y"])]),
    ("relative error", [node("Conv", ["images", "KERNEL"], ["y"])]),
    ("relative error", [node("MatMul", ["x", "SQUARE"], ["m"]), node("Reshape", ["m", "split"], ["y"])]),
    ("relative error", [node("Neg", ["x"], ["y"])]),
    ("relative error", [node("ReduceMean", ["x", "AXES"], ["y"], keepdims=0)]),
    ("label", [node("MatMul", ["x", "W"], ["m"]), node("ArgMax", ["m"], ["y"], axis=1)]),
    ("label", [node("MatMul", ["x", "W"], ["m"]), node("ArgMax", ["m"], ["y"], axis=1, keepdims=0)]),
    ("entries", [node("Gather", ["TABLE", "ids"], ["e"]), node("ArgMax", ["e"], ["y"], axis=2, keepdims=0)]),
])  # fmt: skip
def test_an_output_is_judged_by_what_the_graph_says_it_is(measure, nodes):
    assert measures(nodes) == [measure]


def test_what_a_layer_adds_up_is_no_classes_beside_a_better_or_an_equal_claim():
    head, other = node("MatMul", ["x", "W"], ["y"]), node("MatMul", ["x", "SQUARE"], ["m"])
    assert measures([head, other, node("Softmax", ["m"], ["p"])], "y p") == ["relative error", "top class"]
    assert measures([head, node("MatMul", ["x", "SQUARE"], ["z"])], "y z") == ["relative error"] * 2
    assert measures([head, other, node("ArgMax", ["m"], ["label"], axis=1)], "y label") == ["relative error", "label"]
    assert measures([head, node("ArgMax", ["y"], ["label"], axis=1)], "y label") == ["top class", "label"]


def test_probabilities_are_known_by_their_sums():
    rows = np.array([[0.25, 0.75], [1, 0]], np.float32)
    assert metrics.measure_of(rows) == metrics.TOP_CLASS
    assert metrics.measure_of(2 * rows) == metrics.measure_of(rows[:, :1]) == metrics.RELATIVE
    assert metrics.measure_of([{1: 0.5}]) == metrics.TOP_KEY
    assert metrics.measure_of(np.array(["a", "b"], object)) == metrics.LABEL
    assert metrics.measure_of(np.zeros((7, 3), int), 4) == metrics.ROWS


def test_indices_are_known_by_the_smallest_table_that_they_read():
    nodes = [
        node("Cast", ["ids"], ["wide"], to=INT64),
        node("Gather", ["TABLE", "wide"], ["e"]),
        node("Gather", ["SMALL", "ids"], ["f"]),
        node("Mul", ["LINE", "SCALE"], ["line"]),
        node("Gather", ["line", "other"], ["g"]),
        node("OneHot", ["third", "DEPTH", "VALUES"], ["h"]),
        node("Unsqueeze", ["fourth", "LAST"], ["u"]),
        node("Equal", ["u", "RANGE"], ["i"]),
        node("Equal", ["rate", "RATE"], ["j"]),
    ]
    inputs = {name: (INT64, ["n", "s"]) for name in ("ids", "other", "third", "fourth", "mask")}
    constants = {
        "TABLE": TABLE, "SMALL": TABLE[:12], "LINE": np.ones(9, np.float32), "SCALE": np.array(2, np.float32),
        "DEPTH": np.array(257), "VALUES": np.array([0, 1], np.float32), "RANGE": np.arange(26), "LAST": np.array([-1]),
        "RATE": np.array(16000),
    }  # fmt: skip
    outputs = {name: (FLOAT if name in "efgh" else TensorProto.BOOL, None) for name in "efghij"}
    weights = [tensor(name, array) for name, array in constants.items()]
    found = GraphKinds(models.model(nodes, {**inputs, "rate": (INT64, [])}, outputs, weights))
    assert found.index_limits == {"ids": 12, "other": 9, "third": 257, "fourth": 26}
    assert found.compared == {"rate": 16000}


def test_a_graph_that_is_no_valid_one_and_constants_in_other_files_are_left_to_others(tmp_path):
    for operator in sorted(KNOWN):
        for inputs in ([], ["y"], ["y", "y"], ["", ""]):
            GraphKinds(models.model([node(operator, inputs, ["y"])], {}, {"y": (FLOAT, None)}))
    nodes = [node("OneHot", ["ids", "DEPTH", "VALUES"], ["y"])]
    weights = [tensor("DEPTH", np.array(9)), tensor("VALUES", np.zeros(2, np.float32))]
    proto = models.model(nodes, {"ids": (INT64, ["n"])}, {"y": (FLOAT, None)}, weights)
    onnx.save(proto, tmp_path / "a.onnx", save_as_external_data=True, location="a.data", size_threshold=0)
    assert compare.graph_kinds(tmp_path / "a.onnx").index_limits == {}


def test_a_copy_of_an_input_is_no_answer(tmp_path):
    """Its entries are always equal, whatever became of the weights."""
    nodes = [
        helper.make_node("Identity", ["mask"], ["copied"]),
        helper.make_node("MatMul", ["x", "w"], ["memory"]),
    ]
    inputs = {"mask": (TensorProto.BOOL, ["n", 3]), "x": ["n", 64]}
    outputs = {"copied": (TensorProto.BOOL, ["n", 3]), "memory": ["n", 64]}
    proto = models.model(nodes, inputs, outputs, [models.tensor("w", models.normal(64, 64))])
    x = {"mask": np.ones((8, 3), bool), "x": models.normal(8, 64)}
    found = kinds.GraphKinds(proto).measures(["copied", "memory"], [x["mask"], x["x"]], 8)
    assert found[0] == metrics.COPY and metrics.answer_output(found) == 1
    path = models.save(proto, tmp_path / "net.onnx")
    packed = dcz.compress(path, tmp_path / "net.dcz", dcz.Settings(bits=1))
    np.savez(tmp_path / "x.npz", **x)
    result = dcz.verify(packed, against=path, inputs=tmp_path / "x.npz")
    assert [each.output for each in judged(result.outputs)] == ["memory"]
    assert "tells nothing" in result.outputs[0].describe()


def test_outputs_that_are_embeddings_or_inputs_are_told_without_values():
    nodes = [
        node("LpNormalization", ["x"], ["y"]),
        node("MatMul", ["x", "W"], ["z"]),
        node("Concat", ["x"], ["c"], axis=1),
    ]
    proto = models.model(nodes, {"x": (FLOAT, ["n", 8])}, dict.fromkeys("yzc"), [tensor("W", W)])
    graph = GraphKinds(proto)
    assert (graph.embeddings, graph.copies) == ({"y"}, {"c"})
