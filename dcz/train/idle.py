"""Weights that change no output are removed, at no cost in accuracy.

    a unit that lost its incoming weights is a constant: its outgoing weights go, the next bias takes what they gave
    a unit that has no gradient on any of the data is read by nobody: its incoming weights and its bias go

Both are looked for on data, so that units which are merely never active, and inputs which never vary, are found too.
No gradient may also mean a function that is flat where the unit stands: what goes by the second rule is tried out.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from ..model import Node
from .network import Network
from .weight import Weight

LINEAR = ("Gemm", "MatMul", "Conv")
ROUNDS = 8  # one removal makes room for the next; deep networks settle after a few
TOLERANCE = 1e-5  # of an output's largest magnitude: what other roundings may make of the same sums


@dataclass
class _Layer:
    """What was seen of a linear node: the least and the greatest value of each input feature, and which of its output
    features have a gradient."""

    node: Node
    lowest: torch.Tensor
    highest: torch.Tensor
    read: torch.Tensor


def drop_idle(network: Network, batches: Callable[[], Iterable], prunable: set[str]) -> int:
    """Prune the idle weights of the tensors in `prunable` (names) and zero the idle biases; returns how many went.

    `batches()` gives the data anew, as (inputs, labels). On these the outputs stay what they are, within TOLERANCE.
    Tensors that are shared, or whose weights may regrow, are left alone.
    """
    kept, names = _kept(network), {w.name for w in network if w.name in prunable and not w.shared and not w.regrow}
    original, states = _tensors(network), network.state()
    for by_gradient in (True, False):
        _remove(network, batches, names, by_gradient)
        if _is_same(network, original, batches()):
            break
        network.restore(states)
    return kept - _kept(network)


def _kept(network: Network) -> int:
    return sum(weight.kept for weight in network)


def _tensors(network: Network) -> dict[str, torch.Tensor]:
    return {value: tensor.detach().clone() for value, tensor in network.tensors().items()}


def _remove(network: Network, batches: Callable[[], Iterable], names: set[str], by_gradient: bool) -> None:
    """One round of removals after another, until one finds nothing."""
    first, biases = [next(iter(batches()))], {}
    for _ in range(ROUNDS):
        start = _kept(network)
        layers, biases = _measure(network, batches())
        for layer in layers:
            weight = network.weight_of(layer.node.inputs[1])
            if weight.name in names and network.uses(weight) == 1:
                _fold(network, layer, weight)
                if by_gradient:
                    _try(network, weight, _along(layer.read, weight, 1 - _input_axis(layer.node)), first)
        if _kept(network) == start:
            break
    if by_gradient:  # biases not before: until then, constants may be folded into them
        for weight, mask in biases.items():
            _try(network, weight, mask, first)


def _try(network: Network, weight: Weight, mask: torch.Tensor, batches: Iterable) -> None:
    """Prune to the mask (bool, flat), unless this changes the outputs for these batches."""
    if bool(mask.all() if weight.mask is None else mask[weight.mask].all()):
        return
    before, state = _tensors(network), weight.state()
    weight.prune(mask)
    if not _is_same(network, before, batches):
        weight.restore(state)


def _is_same(network: Network, tensors: dict[str, torch.Tensor], batches: Iterable) -> bool:
    """Whether the outputs are those that the network has with other tensors (by value name)."""
    with torch.no_grad():
        for inputs, _ in batches:
            wanted = network.graph(network.as_inputs(inputs), tensors)
            for name, found in network(inputs).items():
                finite = wanted[name][torch.isfinite(wanted[name])].double().abs()
                slack = TOLERANCE * float(finite.max()) if len(finite) else 0.0
                if not torch.allclose(found.double(), wanted[name].double(), rtol=0, atol=slack, equal_nan=True):
                    return False
    return True


def _measure(network: Network, batches: Iterable) -> tuple[list[_Layer], dict[Weight, torch.Tensor]]:
    """The linear nodes as they are on the data, and which entries of each bias have a gradient (bool, flat)."""
    layers: dict[str, _Layer] = {}

    def observe(node, inputs, outputs):
        if node.op in LINEAR and network.weight_of(node.inputs[1]) is not None:
            low, high = _range(node, inputs[0].detach())
            key, features = node.outputs[0], 1 if node.op == "Conv" else -1
            layer = layers.setdefault(key, _Layer(node, low, high, torch.zeros(outputs[0].shape[features], dtype=bool)))
            layer.lowest, layer.highest = torch.minimum(layer.lowest, low), torch.maximum(layer.highest, high)
            outputs[0].register_hook(lambda gradient: _add(layer.read, gradient.movedim(features, 0)))

    def _add(read: torch.Tensor, gradient: torch.Tensor) -> None:
        read |= (gradient.reshape(len(read), -1) != 0).any(1)

    biases = {w: torch.zeros(w.count, dtype=torch.bool) for w in network if not w.is_weight and not w.shared}
    random = torch.Generator().manual_seed(0)
    for inputs, _ in batches:
        network.zero_grad(set_to_none=True)
        outputs = [output for output in network(inputs, observe).values() if output.requires_grad]
        # A sum of the outputs in which each has a weight of its own: their changes do not cancel.
        sum((output * torch.randn(output.shape, generator=random)).sum() for output in outputs).backward()
        for weight, moving in biases.items():
            if weight.values.grad is not None:
                moving |= weight.values.grad != 0
    network.zero_grad(set_to_none=True)
    return list(layers.values()), biases


def _input_axis(node: Node) -> int:
    """The axis of a linear node's weight that goes along its input features; 0 or 1, the other are its outputs."""
    return 1 if node.op == "Conv" or node.attributes.get("transB") else 0


def _along(mask: torch.Tensor, weight: Weight, axis: int) -> torch.Tensor:
    """A mask of features as one of a weight, flat; all true where the weight has not these features."""
    if len(weight.shape) < 2 or weight.shape[axis] != len(mask):
        return torch.ones(weight.count, dtype=torch.bool)
    return (
        mask.view([-1 if place == axis else 1 for place in range(len(weight.shape))]).expand(weight.shape).reshape(-1)
    )


def _range(node: Node, given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The least and the greatest value of each input feature of a linear node."""
    axis = 1 if node.op == "Conv" else given.dim() - 1
    if node.op == "Gemm" and node.attributes.get("transA"):
        axis = 0
    features = given.movedim(axis, 0).flatten(1) if given.dim() > 1 else given[:, None]
    return features.amin(1), features.amax(1)


def _fold(network: Network, layer: _Layer, weight: Weight) -> None:
    """Prune the weights of input features that are constant, if the bias can take what these gave."""
    node, constant = layer.node, layer.lowest
    axis = _input_axis(node)
    is_plain = len(weight.shape) == 2 if node.op != "Conv" else node.attributes.get("group", 1) == 1
    if not is_plain or weight.shape[axis] != len(constant):
        return
    still = (layer.lowest == layer.highest) & torch.isfinite(constant)
    gone = still & (constant == 0)
    if (bias := _bias(network, node)) is not None:
        by_feature = torch.from_numpy(weight.numpy()).double().movedim(axis, 0)
        given = torch.where(still, constant, 0).double() @ by_feature.reshape(len(constant), bias.count, -1).sum(2)
        with torch.no_grad():
            bias.values += given
        gone = still
    weight.prune(_along(~gone, weight, axis))


def _bias(network: Network, node: Node) -> Weight | None:
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
