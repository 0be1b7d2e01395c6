"""Weights behind arithmetic of constants: what an error of a tensor becomes where a layer reads the result.

    h = Mul(w, 0.5); y = MatMul(x, h)    ->    gain(<w>, w, uses, tensors) == 0.0      decibels that errors grow by
    h = Sub(w, 128); y = MatMul(x, h)    ->    20.0 or so: what is left of w is small beside its errors

Only the main graph is looked at, and only what is computed from the model's own tensors.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnx.checker import ValidationError
from onnx.shape_inference import InferenceError, infer_shapes

from .flows import Read, Value
from .uses import TensorUses

if TYPE_CHECKING:
    from .tensors import ModelTensor

NOISE = 0.02  # of a tensor's root mean square: what rounding at 34 dB adds
# What onnx's reference raises for an operator that it does not have, or for operands that do not fit.
_REFUSALS = (
    RuntimeError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError, MemoryError,
    ValidationError, InferenceError,
)  # fmt: skip
MAX_ELEMENTS = 1 << 24  # of a tensor that is tried: the numbers of a chain are all in memory
STEPS_OF_TRIAL = 2000  # what trying a chain takes, in reads that are looked at (uses.MAX_STEPS)
MAX_NODES = 100  # of a chain of constants
ROUNDED_BY_THE_MODEL = ("QuantizeLinear", "DequantizeLinear")  # see grids


def results(value: Value, uses: TensorUses, is_weight_read: Callable[[Read], bool]) -> dict[Value, list[Read]]:
    """The values that are computed from `value` and other constants alone, and that layers read as weights."""
    found: dict[Value, list[Read]] = {}
    waiting, seen = [value], {value}
    while waiting and len(seen) < MAX_NODES and uses.steps_left > 0:
        current = waiting.pop()
        reads, _ = uses.next_of(current)
        uses.steps_left -= 1 + len(reads)
        for read in reads:
            is_constant = read.outputs and all(map(uses.is_constant, read.outputs))
            if is_constant and read.operator not in ROUNDED_BY_THE_MODEL and read.scope is uses.main:
                fresh = [output for output in read.outputs if output not in seen]
                seen.update(fresh)
                waiting += fresh
            elif current != value and not is_constant and is_weight_read(read):
                found.setdefault(current, []).append(read)
    return found


def gain(
    value: Value, result: Value, tensor: "ModelTensor", uses: TensorUses, tensors: Mapping[Value, "ModelTensor"]
) -> float:
    """The decibels by which the relative error of `result` is greater than that of the tensor, which is `value`.

    Measured with normally distributed errors. Infinite where that cannot be computed, or the tensor has less elements
    than the result: one of its errors is then one of many.
    """
    uses.steps_left -= STEPS_OF_TRIAL
    inputs = _inputs(result, uses, tensors) if uses.steps_left > 0 else None
    if inputs is None or value not in inputs[1] or math.prod(tensor.shape) > MAX_ELEMENTS:
        return math.inf
    weights = tensor.values()
    random = np.random.default_rng(0)
    if not weights.any():  # no numbers of their own to try
        weights = random.normal(0, 1, weights.shape).astype(weights.dtype)
    with np.errstate(all="ignore"):  # what is not finite is found below
        scale = math.sqrt(float(np.mean(np.square(weights, dtype=np.float64))))
        noise = NOISE * scale * random.normal(0, 1, weights.shape)
    try:
        before, after = (
            _evaluate(result, *inputs, {value: numbers}, uses, tensors) for numbers in (weights, weights + noise)
        )
    except _REFUSALS:
        return math.inf
    if before.shape != after.shape or before.size > weights.size or not before.size:
        return math.inf
    with np.errstate(all="ignore"):
        signal, error = float(np.square(before).sum()), float(np.square(after - before).sum())
    if not (math.isfinite(signal) and math.isfinite(error)) or signal == 0:
        return math.inf
    return 10 * math.log10(max(error, 1e-30) / signal) - 20 * math.log10(NOISE)


def _inputs(
    result: Value, uses: TensorUses, tensors: Mapping[Value, "ModelTensor"]
) -> tuple[list[NodeProto], list[Value]] | None:
    """The nodes that compute a value, in order, and the tensors that they begin with; None where these are too many or
    not known."""
    nodes: list[NodeProto] = []
    leaves: list[Value] = []
    waiting, seen = [result], {result}
    while waiting:
        value = waiting.pop()
        if value in tensors:
            leaves.append(value)
            if len(leaves) > MAX_NODES:
                return None
            continue
        node = uses.producer(value)
        if node is None or value[0] is not uses.main or len(nodes) >= MAX_NODES:
            return None
        nodes.append(node)
        operands = [(uses.main, name) for name in node.input if name]
        fresh = [operand for operand in dict.fromkeys(operands) if operand not in seen]
        seen.update(fresh)
        waiting += fresh
    unique = {id(node): node for node in nodes}
    return sorted(unique.values(), key=lambda node: uses.constant_order[id(node)]), leaves


def _evaluate(
    result: Value,
    nodes: list[NodeProto],
    leaves: list[Value],
    numbers: Mapping[Value, np.ndarray],
    uses: TensorUses,
    tensors: Mapping[Value, "ModelTensor"],
) -> np.ndarray:
    """What the nodes make of the tensors, of which some have the `numbers` given (float64)."""
    from onnx.reference import ReferenceEvaluator

    arrays = {value[1]: _array(tensors[value], numbers.get(value)) for value in leaves}
    feeds = {name: array for name, array in arrays.items() if array.dtype.kind == "f"}
    whole = [numpy_helper.from_array(array, name) for name, array in arrays.items() if name not in feeds]
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feeds.items()
    ]
    graph = helper.make_graph(nodes, "constants", inputs, [helper.make_empty_tensor_value_info(result[1])], whole)
    model = helper.make_model(graph, opset_imports=uses.opset_imports)
    _check_sizes(model)
    with np.errstate(all="ignore"):
        (found,) = ReferenceEvaluator(model).run(None, feeds)
    return np.asarray(found, np.float64)


def _check_sizes(model: ModelProto) -> None:
    """Raise ValueError where a value of the graph may be larger than MAX_ELEMENTS, before anything is computed."""
    graph = infer_shapes(model, data_prop=True).graph
    sizes = {
        info.name: math.prod(dim.dim_value for dim in info.type.tensor_type.shape.dim)
        for info in (*graph.value_info, *graph.output)
        if info.type.tensor_type.HasField("shape")
        and all(dim.HasField("dim_value") for dim in info.type.tensor_type.shape.dim)
    }
    for node in graph.node:
        for name in node.output:
            if name and sizes.get(name, MAX_ELEMENTS + 1) > MAX_ELEMENTS:
                raise ValueError(f"the size of {name!r} is not known, or too large")


def _array(tensor: "ModelTensor", numbers: np.ndarray | None) -> np.ndarray:
    """A tensor's numbers, or others instead, as numpy has them."""
    if not tensor.dtype.real:
        return tensor.read().view(tensor.dtype.name).reshape(tensor.shape)
    own = tensor.values()
    return own if numbers is None else numbers.astype(own.dtype)
