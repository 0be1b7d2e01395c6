"""Networks, inputs and steps that several tests of calibration use."""

from onnx import helper

from dcz.calibrate import layers
from dcz.model import from_proto, read_program
from tests.models import model, normal, tensor


def layer_of(proto):
    (found,) = layers.find_layers(read_program(from_proto(proto), "net.onnx"))
    return found


def network():
    """Two convolutions, one in groups, a pool and a dense layer."""
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b0"], ["h0"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["h0"], ["r0"]),
        helper.make_node("Conv", ["r0", "w1"], ["h1"], group=4),
        helper.make_node("Relu", ["h1"], ["r1"]),
        helper.make_node("GlobalAveragePool", ["r1"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w2"], ["m"]),
        helper.make_node("Add", ["m", "b2"], ["y"]),
    ]
    shapes = {"w0": (16, 3, 3, 3), "b0": (16,), "w1": (32, 4, 3, 3), "w2": (32, 10), "b2": (10,)}
    initializers = [tensor(name, 4 * normal(*shape, seed=i)) for i, (name, shape) in enumerate(shapes.items())]
    return from_proto(model(nodes, {"x": ["n", 3, 8, 8]}, {"y": ["n", 10]}, initializers))


def batches(samples=64, size=16):
    x = normal(samples, 3, 8, 8, seed=9) * 20 + 0.3
    return [{"x": x[start : start + size]} for start in range(0, samples, size)]


STEPS = {"w0": 0.15, "w1": 0.15, "w2": 0.15}
