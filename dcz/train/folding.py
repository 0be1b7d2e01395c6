"""Normalizations that a network has only while it is trained, and those that are folded when it is pruned.

    proto = normalizations.add(source)         Conv -> BatchNormalization that changes nothing yet
    start(network, added, batches)             its scale and bias become what it measures: still no change
    normalizations.fold(network)               both in one layer again, zeros where they were

A folded scale multiplies whole rows of a weight tensor, and so leaves zeros at zero: masks survive it.
"""

import math
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from .. import model as onnx_model
from ..plan import ANY_SIZE, Plan
from . import scaling
from .network import Network
from .normalization import BatchNorm, estimate_statistics
from .pytorch import torch
from .weight import Weight

if TYPE_CHECKING:
    from onnx import ModelProto

MIN_SIZE = 0.1  # of the median row's: smaller rows are not raised to the size of the others

MayChange = Callable[[onnx_model.ModelTensor, tuple[str, ...]], bool]


class Normalizations:
    """Which normalizations a run adds to a model, and which of all it folds in the end, as a plan allows.

    `is_frozen`: whether a tensor of the model (by name) must not change. `added`: the weights of the layers that have
    got one, and `tensors` those that came with it, none of which the plan speaks of.
    """

    def __init__(self, plan: Plan, is_frozen: Callable[[str], bool]):
        self.plan, self.is_frozen = plan, is_frozen
        self.added: frozenset[str] = frozenset()
        self.tensors: frozenset[str] = frozenset()

    def add(self, source: onnx_model.Model) -> "ModelProto | None":
        """A copy of the model with a normalization behind each layer that has none; None where there are none."""
        copy = onnx_model.from_proto(onnx_model.with_values(source, {}))
        self.added = frozenset(onnx_model.insert_batchnorms(copy, self._may_add))
        self.tensors = frozenset(tensor.name for tensor in copy.tensors) - {tensor.name for tensor in source.tensors}
        return copy.proto if self.added else None

    def fold(self, network: Network, later: Collection[str] = (), rounds_biases: bool = False) -> int:
        """Change the network (see `fold`), and return how many normalizations were folded: all that may be, but those
        behind the layers of the weights in `later`."""

        def may_fold(weight: onnx_model.ModelTensor, others: tuple[str, ...]) -> bool:
            return weight.name not in later and self._may_fold(weight, others)

        return fold(network, may_fold, rounds_biases)

    def _may_add(self, weight: onnx_model.ModelTensor, others: tuple[str, ...]) -> bool:
        """Whether a layer's weight and bias may change."""
        is_named = any(self.plan.rule(name) is not None for name in others)
        return not is_named and not any(map(self.is_frozen, (weight.name, *others)))

    def _may_fold(self, weight: onnx_model.ModelTensor, others: tuple[str, ...]) -> bool:
        """Whether it was added, or the weight is shared and the plan names nothing else: see compression.foldable."""
        if weight.name in self.added:
            return True
        if not self.plan.fold or self.plan.settings(weight.name, True, ANY_SIZE).shares_nothing:
            return False
        return not self.is_frozen(weight.name) and not any(map(self.plan.names, others))


def start(network: Network, weights: frozenset[str], batches: Iterable[tuple[Any, Any]]) -> None:
    """Change the network: the normalizations behind the layers of these weights get the statistics of `batches`, and
    the scales and biases that undo these, so that its outputs stay the same.

    The rows of these weights get the size that they had when they were made for a normalization, a root mean square of
    sqrt(2 / inputs) (He et al., "Delving deep into rectifiers", 2015): the outputs no longer depend on it, but steps
    and scores by magnitude do. Rows far below the median, of channels that do nothing, stay as far below it.
    """
    layers = {norm.output: layer for norm in network.batchnorms if (layer := _layer_before(network, norm)) in weights}
    if not layers:
        return
    for norm in network.batchnorms:
        if norm.output in layers:
            _resize_rows(network, norm)
    before = network.state()
    estimate_statistics(network, batches, by_batch=False)
    for norm in network.batchnorms:
        mean, variance = (before[norm.names[0]][part] for part in ("mean", "variance"))
        assert mean is not None and variance is not None, "both are parts of the state"
        if norm.output not in layers:  # estimated beside the others; what the model says of its own stays
            norm.restore(before[norm.names[0]])
            continue
        scale, bias = (network.weight_of(name) for name in _node(network, norm.output).inputs[1:3])
        assert scale is not None and bias is not None, "what was added is trained"
        with torch.no_grad():
            factor = scale.values * torch.rsqrt(variance + norm.epsilon)
            bias.values.add_(factor * (norm.mean - mean))
            scale.values.copy_(factor * torch.sqrt(norm.variance + norm.epsilon))


def _resize_rows(network: Network, norm: BatchNorm) -> None:
    """Scale the rows of a layer's weight, and undo that in the normalization behind it, which is as it was made."""
    layer = _node(network, _node(network, norm.output).inputs[0])
    weight, scale = network.weight_of(layer.inputs[1]), network.weight_of(_node(network, norm.output).inputs[1])
    if weight is None or scale is None or layer.op == "ConvTranspose":
        return
    axis = 1 if layer.op == "Gemm" and not layer.attributes.get("transB") else 0
    with torch.no_grad():
        rows = weight.values.view(weight.shape).movedim(axis, 0).flatten(1)
        sizes = rows.double().square().mean(1).sqrt()
        floor = MIN_SIZE * float(sizes.median())
        if not floor > 0:
            return
        factors = (math.sqrt(2 / rows.shape[1]) / sizes.clamp_min(floor)).to(weight.values.dtype)
        shape = [-1 if number == axis else 1 for number in range(len(weight.shape))]
        weight.values.copy_((weight.values.view(weight.shape) * factors.view(shape)).reshape(-1))
        scale.values.div_(factors)


def fold(network: Network, may_fold: MayChange, rounds_biases: bool = False) -> int:
    """Change the network: its normalizations become part of the layers before them where `may_fold` (see
    model.fold_batchnorms) allows it; those of shared weights become scales, and biases, rounded where that is asked for
    (see scaling). Its tensors are others then, but masks, codes and centroids stay. Returns how many were folded."""
    masked = {weight.name for weight in network if weight.mask is not None}
    shared = {weight.name: weight.state() for weight in network if weight.shared}
    factors = scaling.factors(scaling.scalable(network, shared))
    folded = onnx_model.from_proto(network.to_proto())
    count = onnx_model.fold_batchnorms(folded, may_fold)
    if count:
        device = network.device
        network.replace_model(folded.proto)
        network.to(device)
        for weight in network:
            if weight.name in shared:
                weight.restore(shared[weight.name])
            elif weight.name in masked:
                weight.prune(weight.values != 0)
        for output, found in factors.items():
            layer = _node(network, output)
            if layer.op != "BatchNormalization":
                scaling.scale(_operand(network, layer, 1), _operand(network, layer, 2), found, rounds_biases)
    return count


def _operand(network: Network, layer: onnx_model.Node, number: int) -> Weight:
    weight = network.weight_of(layer.inputs[number])
    assert weight is not None, "what was folded is trained"
    return weight


def _node(network: Network, output: str) -> onnx_model.Node:
    return next(node for node in network.program.nodes if output in node.outputs)


def _layer_before(network: Network, norm: BatchNorm) -> str:
    """The name of the weight of the layer before a normalization, or ""."""
    value = _node(network, norm.output).inputs[0]
    layer = next((node for node in network.program.nodes if value in node.outputs), None)
    return "" if layer is None or len(layer.inputs) < 2 else network.program.weights.get(layer.inputs[1], "")
