"""Every operator against onnxruntime, its operands constants and inputs in turn; its gradient against differences."""

import inspect

import numpy as np
import pytest
from onnx import helper

from dcz.errors import UnsuitableModel
from dcz.evaluation import runtime
from dcz.model import from_proto, read_program
from tests.models import tensor
from tests.train.cases import CASES, CHANNELS, IMAGE, SCALES, SWITCH, A, Case, case, ints, numbers, recurrent, scalar

torch = pytest.importorskip("torch")

from dcz.train.graph import Graph
from dcz.train.operators import OPERATORS


def build(of: Case, constants: bool):
    """A model of the one node. Its first operand is an input, the others are too unless they are `constants`."""
    names = [f"in{i}" if operand is not None else "" for i, operand in enumerate(of.operands)]
    outputs = [f"out{i}" for i in range(of.outputs)]
    node = helper.make_node(of.op, names, outputs, "node", **of.attributes)
    given = {name: np.asarray(x) for name, x in zip(names, of.operands) if name}
    fixed = {name: x for name, x in given.items() if constants and name != "in0"}
    infos = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), [None] * x.ndim)
        for name, x in given.items()
        if name not in fixed
    ]
    results = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph([node], "net", infos, results, [tensor(name, x) for name, x in fixed.items()])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", of.opset)], ir_version=8 if of.opset < 23 else 11
    )
    return model, {name: x for name, x in given.items() if name not in fixed}


def graph_of(model) -> Graph:
    return Graph(read_program(from_proto(model), "net.onnx"))


@pytest.mark.parametrize("constants", [True, False], ids=["constants", "inputs"])
@pytest.mark.parametrize("of", CASES, ids=str)
def test_an_operator_computes_what_onnxruntime_does(of, constants):
    if of.constant and not constants:
        pytest.skip("onnxruntime takes these operands as constants only")
    model, inputs = build(of, constants)
    expected = runtime.run(runtime.session(model.SerializeToString(), 1), inputs)
    found = graph_of(model)({name: torch.from_numpy(x.copy()) for name, x in inputs.items()})
    for (name, result), wanted in zip(found.items(), expected, strict=True):
        assert result.shape == wanted.shape, name
        assert result.numpy().dtype == (np.float32 if wanted.dtype == np.float16 else wanted.dtype), name
        assert np.allclose(
            result.numpy(), wanted, rtol=1e-3 if wanted.dtype == np.float16 else 1e-4, atol=2e-6, equal_nan=True
        )


SMOOTH = [each for each in CASES if each.smooth and any(np.asarray(x).dtype == np.float32 for x in each.operands)]


@pytest.mark.parametrize("of", SMOOTH, ids=str)
def test_a_gradient_is_the_limit_of_differences(of):
    """Along a random direction of all real operands at once, in float64."""
    model, inputs = build(of, constants=of.constant)
    graph, rng = graph_of(model), np.random.default_rng(7)
    start = {name: torch.from_numpy(x.copy()) for name, x in inputs.items()}
    start = {name: x.double() if x.is_floating_point() else x for name, x in start.items()}
    ways = {name: torch.from_numpy(rng.normal(size=x.shape)) for name, x in start.items() if x.is_floating_point()}
    weights = {}

    def total(values) -> torch.Tensor:
        parts = []
        for name, result in graph(values).items():
            if result.is_floating_point():
                weights.setdefault(name, torch.from_numpy(rng.normal(size=result.shape)))
                parts.append((result.double() * weights[name]).sum())
        return sum(parts, 0 * sum(x.sum() for x in values.values() if x.is_floating_point()))

    leaves = {name: x.clone().requires_grad_() for name, x in start.items() if name in ways}
    total({**start, **leaves}).backward()
    slope = sum((leaf.grad * ways[name]).sum().item() for name, leaf in leaves.items() if leaf.grad is not None)
    near = [total({**start, **{name: start[name] + h * way for name, way in ways.items()}}) for h in (1e-6, -1e-6)]
    assert slope == pytest.approx((near[0] - near[1]).item() / 2e-6, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    "of, message",
    [
        (case("Conv", IMAGE, numbers(6, 4, 3, 3), auto_pad="SAME"),
             "attribute auto_pad is 'SAME'; dcz can train NOTSET"),
        (case("Relu", A, alpha=0.5), "operator Relu: attribute alpha = 0.5 is not one that dcz can train"),
        (case("Clip", A, min=0.0), "attribute min = 0.0 is not"),
        (case("Softmax", A, temperature=[1, 2]), r"attribute temperature = \[1, 2\]"),
        (case("ConstantOfShape", ints(2), values=tensor("", ints(7))), r"attribute values = a tensor of \(1,\)"),
        (case("MaxPool", IMAGE, kernel_shape=[2, 2], outputs=2), "MaxPool: its output 'out1' is not"),
        (case("MaxPool", IMAGE), "it has no attribute kernel_shape"),
        (case("AveragePool", IMAGE, kernel_shape=[2, 2], dilations=[2, 2]), r"attribute dilations is \[2, 2\]"),
        (case("BatchNormalization", IMAGE, *CHANNELS, training_mode=1),
             "attribute training_mode is 1; dcz can train 0"),
        (case("Dropout", A, scalar(0.5, np.float32), scalar(True, np.bool_)), "training_mode is not false"),
        (case("Cast", A, to=8), "the element type 8"),
        (case("Cast", A, to=17), "the element type float8e4m3fn"),
        (case("Gelu", A, approximate="quick"), "attribute approximate is 'quick'; dcz can train none, tanh"),
        (case("Resize", IMAGE, None, SCALES[0], antialias=1), "attribute antialias is 1"),
        (case("Resize", IMAGE, None, SCALES[0], coordinate_transformation_mode="tf_crop_and_resize"),
             "'tf_crop_and_resize'"),
        (case("Resize", IMAGE, None, SCALES[0], mode="linear", exclude_outside=1),
             "exclude_outside is 1 in mode linear"),
        (case("Upsample", IMAGE, mode="cubic", scales=[1.0, 1.0, 2.0, 2.0], opset=7), "attribute mode is 'cubic'"),
        (case("Pad", A, ints(0) * 6, mode="mirror"), "attribute mode is 'mirror'"),
        (case("ScatterND", A, ints([0, 1]), numbers(1, 4), reduction="max"), "attribute reduction is 'max'"),
        (case("ReduceL2", A, noop_with_empty_axes=1), "noop_with_empty_axes is 1"),
        (recurrent("LSTM", 4, clip=1.0), "attribute clip is 1.0"),
        (recurrent("LSTM", 4, input_forget=1), "attribute input_forget is 1"),
        (recurrent("LSTM", 4, ints(5, 5, dtype=np.int32)), "it has sequence_lens"),
        (recurrent("LSTM", 4, None, None, None, numbers(1, 12)), "it has peepholes"),
        (recurrent("GRU", 3, activations=["Sigmoid", "Relu"]), r"attribute activations is \['Sigmoid', 'Relu'\]"),
        (recurrent("RNN", 1, layout=1), "attribute layout is 1"),
        (case("LpNormalization", A, p=3), "attribute p is 3"),
    ],
    ids=str,
)  # fmt: skip
def test_what_an_operator_cannot_honour_is_refused_when_the_graph_is_made(of, message):
    model, _ = build(of, constants=True)
    with pytest.raises(UnsuitableModel, match=message) as error:
        graph_of(model)
    assert str(error.value).startswith(f"net.onnx: node 'node': operator {of.op}: ")


@pytest.mark.parametrize(
    "of, message",
    [
        (
            case("Conv", IMAGE, numbers(6, 3, 3, 3)),
            r"does not take operands of shapes \(2, 4, 7, 9\), \(6, 3, 3, 3\): ",
        ),
        (case("Conv", IMAGE, numbers(6, 4, 3)), r"a weight of \(6, 4, 3\) for an input of \(2, 4, 7, 9\)"),
        (case("Conv", IMAGE, numbers(6, 4, 3, 3), kernel_shape=[2, 2]), r"kernel_shape is \[2, 2\]"),
        (case("Conv", IMAGE, numbers(6, 4, 3, 3), strides=[2]), "are not for 2 spatial dims"),
        (case("Squeeze", A, ints(1)), r"axes \[1\] of \(2, 3, 4\) are not all of 1"),
        (case("ReduceSum", A, ints(5)), "there is no axis 5 in 3 dims"),
        (case("Pad", A, ints(0, 0, 0, 0, 0, -1), mode="edge"), "crop, which mode edge cannot"),
        (case("Where", SWITCH, A), "operator Where does not take operands"),
    ],
    ids=str,
)
def test_operands_that_do_not_fit_name_the_node_and_their_shapes(of, message):
    model, inputs = build(of, constants=True)
    with pytest.raises(UnsuitableModel, match=message) as error:
        graph_of(model)({name: torch.from_numpy(x.copy()) for name, x in inputs.items()})
    assert str(error.value).startswith("net.onnx: node 'node': ")


def test_every_operator_has_a_case():
    assert OPERATORS.keys() - {each.op for each in CASES} == {"Swish"}  # of opset 24: tested against its formula


def test_swish():
    x = torch.tensor(A)
    for alpha in (1.0, 0.5):
        model, _ = build(case("Swish", A, opset=24, alpha=alpha), constants=True)
        assert torch.allclose(graph_of(model)({"in0": x})["out0"], x / (1 + torch.exp(-alpha * x)))


def test_every_operator_says_what_it_does():
    functions = {each for each in OPERATORS.values() if each.__name__ not in ("<lambda>", "operator", "run")}
    assert [each.__name__ for each in functions if not inspect.getdoc(each)] == []
