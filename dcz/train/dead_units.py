"""Removal of weights that change no output, at no cost in accuracy.

    a unit without incoming weights is constant: its outgoing weights go, the next bias takes what they contributed
    a unit without a gradient on any of the data is read by nothing: its incoming weights and its bias go

Both are found on data. So units that are never active, and inputs that never vary, are found too. A zero gradient may
also come from a function that is flat where the unit is: removals by the second rule are tested on the outputs.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from ..model import Node
from .network import Network
from .pytorch import torch
from .weight import Weight

LINEAR = ("Gemm", "MatMul", "Conv")
SAMPLED = 8  # batches, on which what is not dead at all is told
MAX_ROUNDS = 8  # one removal makes others possible; deep networks need a few rounds
TOLERANCE = 1e-5  # of an output's largest magnitude: how far rounding may move the same sums

Data = Iterable[tuple[Any, Any]]  # (inputs, labels)


@dataclass(frozen=True)
class _LinearNode:
    """A linear node on the data: the least and the greatest value of each input feature, and which of its output
    features have a gradient (bool)."""

    node: Node
    weight: Weight
    lowest: torch.Tensor
    highest: torch.Tensor
    has_gradient: torch.Tensor


def drop_dead_units(network: Network, batches: Callable[[], Data], prunable: set[str]) -> int:
    """Prune the dead weights of the tensors in `prunable` (names) and zero the dead biases; return how many went.

    `batches()` gives the data from its start, as (inputs, labels). On these the outputs stay the same, within
    TOLERANCE. Tensors that are shared, or whose weights may regrow, are left alone.
    """
    names = {w.name for w in network if w.name in prunable and not w.shared and not w.regrow}
    kept, tensors, states = _kept(network), _copied_tensors(network), network.state()
    for by_gradient in (True, False):
        _prune_dead(network, batches, names, by_gradient)
        if _same_outputs(network, tensors, batches()):
            break
        network.restore(states)
    return kept - _kept(network)


drop_idle = drop_dead_units  # its earlier public name


def _kept(network: Network) -> int:
    return sum(weight.kept for weight in network)


def _copied_tensors(network: Network) -> dict[str, torch.Tensor]:
    return {value: tensor.detach().clone() for value, tensor in network.tensors().items()}


def _prune_dead(network: Network, batches: Callable[[], Data], names: set[str], by_gradient: bool) -> None:
    """Rounds of removals, until one removes nothing."""
    some = list(itertools.islice(batches(), SAMPLED))
    biases: dict[Weight, torch.Tensor] = {}
    for _ in range(MAX_ROUNDS):
        if not _may_remove(network, some, names, by_gradient):
            break
        kept_before = _kept(network)
        biases = _remove(network, batches(), names, by_gradient, some[:1])
        if _kept(network) == kept_before:
            break
    if by_gradient:  # biases last: constants may be folded into them until then
        for weight, mask in biases.items():
            _prune_if_outputs_stay(network, weight, mask, some[:1])


def _may_remove(network: Network, some: Data, names: set[str], by_gradient: bool) -> bool:
    """Whether a round on `some` of the data would remove anything: on all of them no more can be dead. (Most networks
    have no dead units, and some batches show it.)"""
    kept, state = _kept(network), network.state()
    biases = _remove(network, some, names, by_gradient, [])
    removes = _kept(network) != kept
    network.restore(state)
    is_dead = (bool((~mask & (weight.values != 0)).any()) for weight, mask in biases.items())
    return removes or (by_gradient and any(is_dead))


def _remove(
    network: Network, batches: Data, names: set[str], by_gradient: bool, first: Data
) -> dict[Weight, torch.Tensor]:
    """A round of removals that leave the outputs on `first` as they are; return which entries of each bias have a
    gradient (bool, flat)."""
    layers, biases = _measure(network, batches)
    for layer in layers:
        if layer.weight.name in names and network.uses(layer.weight) == 1:
            _fold_constants(network, layer)
            if by_gradient:
                mask = _feature_mask(layer.has_gradient, layer.weight, 1 - _input_axis(layer.node))
                _prune_if_outputs_stay(network, layer.weight, mask, first)
    return biases


def _prune_if_outputs_stay(network: Network, weight: Weight, mask: torch.Tensor, batches: Data) -> None:
    """Prune to the mask (bool, flat), unless this changes the outputs for these batches."""
    if bool(mask.all() if weight.mask is None else mask[weight.mask].all()):
        return
    tensors, state = _copied_tensors(network), weight.state()
    weight.prune(mask)
    if not _same_outputs(network, tensors, batches):
        weight.restore(state)


def _same_outputs(network: Network, tensors: dict[str, torch.Tensor], batches: Data) -> bool:
    """Whether the outputs equal those that the network has with other tensors (by value name), within TOLERANCE."""
    with torch.no_grad():
        if all(torch.equal(tensor, tensors[value]) for value, tensor in network.tensors().items()):
            return True
        for inputs, _ in batches:
            expected = network.graph(network.as_inputs(inputs), tensors)
            for name, output in network(inputs).items():
                finite = expected[name][torch.isfinite(expected[name])].double().abs()
                tolerance = TOLERANCE * float(finite.max()) if len(finite) else 0.0
                other = expected[name].double()
                if not torch.allclose(output.double(), other, rtol=0, atol=tolerance, equal_nan=True):
                    return False
    return True


def _measure(network: Network, batches: Data) -> tuple[list[_LinearNode], dict[Weight, torch.Tensor]]:
    """The linear nodes as they are on the data, and which entries of each bias have a gradient (bool, flat)."""
    layers: dict[str, _LinearNode] = {}

    def observe(node: Node, operands: list[torch.Tensor | None], results: list[torch.Tensor]) -> None:
        x = operands[0]
        if node.op not in LINEAR or x is None or not x.numel() or (weight := network.weight_of(node.inputs[1])) is None:
            return
        low, high = _feature_range(node, x.detach())
        key, axis = node.outputs[0], 1 if node.op == "Conv" else -1
        if key in layers:
            low, high = torch.minimum(layers[key].lowest, low), torch.maximum(layers[key].highest, high)
            has_gradient = layers[key].has_gradient
        else:
            has_gradient = torch.zeros(results[0].shape[axis], dtype=torch.bool)
        layers[key] = _LinearNode(node, weight, low, high, has_gradient)

        def add_gradient(gradient: torch.Tensor) -> None:
            nonzero = (gradient.movedim(axis, 0).reshape(gradient.shape[axis], -1) != 0).any(1)
            layers[key] = replace(layers[key], has_gradient=layers[key].has_gradient | nonzero)

        results[0].register_hook(add_gradient)  # type: ignore[no-untyped-call]

    biases = {w: torch.zeros(w.count, dtype=torch.bool) for w in network if not w.is_weight and not w.shared}
    random = torch.Generator().manual_seed(0)
    for inputs, _ in batches:
        network.zero_grad(set_to_none=True)
        outputs = [output for output in network(inputs, observe).values() if output.requires_grad]
        # A sum of the outputs with random coefficients: their gradients do not cancel.
        sums = [(output * torch.randn(output.shape, generator=random)).sum() for output in outputs]
        torch.autograd.backward(sum(sums, torch.zeros(())))
        gradients = {weight: weight.values.grad for weight in biases}
        biases = {w: mask if (g := gradients[w]) is None else mask | (g != 0) for w, mask in biases.items()}
    network.zero_grad(set_to_none=True)
    return list(layers.values()), biases


def _input_axis(node: Node) -> int:
    """The axis of a linear node's weight along its input features, 0 or 1; the other one is that of its outputs."""
    return 1 if node.op == "Conv" or node.attributes.get("transB") else 0


def _feature_mask(mask: torch.Tensor, weight: Weight, axis: int) -> torch.Tensor:
    """A mask of features along `axis` as one of a weight, flat; all true where the weight lacks these features."""
    if len(weight.shape) < 2 or weight.shape[axis] != len(mask):
        return torch.ones(weight.count, dtype=torch.bool)
    along = [-1 if each == axis else 1 for each in range(len(weight.shape))]
    return mask.view(along).expand(weight.shape).reshape(-1)


def _feature_range(node: Node, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The least and the greatest value of each input feature of a linear node."""
    axis = 1 if node.op == "Conv" else x.dim() - 1
    if node.op == "Gemm" and node.attributes.get("transA"):
        axis = 0
    features = x.movedim(axis, 0).flatten(1) if x.dim() > 1 else x[:, None]
    return features.amin(1), features.amax(1)


def _fold_constants(network: Network, layer: _LinearNode) -> None:
    """Prune the weights of constant input features, where they are zero or the bias can take their contribution."""
    node, weight, constant = layer.node, layer.weight, layer.lowest
    axis = _input_axis(node)
    is_plain = len(weight.shape) == 2 if node.op != "Conv" else node.attributes.get("group", 1) == 1
    if not is_plain or weight.shape[axis] != len(constant):
        return
    is_constant = (layer.lowest == layer.highest) & torch.isfinite(constant)
    gone = is_constant & (constant == 0)
    if (bias := _foldable_bias(network, node)) is not None:
        by_feature = torch.from_numpy(weight.numpy()).double().movedim(axis, 0)
        by_output = by_feature.reshape(len(constant), bias.count, -1).sum(2)
        contribution = torch.where(is_constant, constant, 0).double() @ by_output
        with torch.no_grad():
            bias.values.add_(contribution)
        gone = is_constant
    weight.prune(_feature_mask(~gone, weight, axis))


def _foldable_bias(network: Network, node: Node) -> Weight | None:
    """The trainable bias of a node, if constants can be folded into it."""
    if node.op == "MatMul" or len(node.inputs) < 3:
        return None
    bias = network.weight_of(node.inputs[2])
    if bias is None or bias.mask is not None or bias.shared or network.uses(bias) > 1 or len(bias.shape) != 1:
        return None
    if node.op == "Gemm":
        is_plain = node.attributes.get("alpha", 1.0) == 1 and node.attributes.get("beta", 1.0) == 1
        return bias if is_plain and bias.count > 1 else None
    is_padded = any(node.attributes.get("pads", ())) or node.attributes.get("auto_pad", "NOTSET")[:4] == "SAME"
    return None if is_padded else bias
