"""Weights that change no output are removed, at no cost in accuracy.

    a unit that lost its incoming weights is a constant: its outgoing weights go, the next bias takes what they gave
    a weight whose gradient is zero on all of the data changes nothing: it goes

Both are looked for on data, so that units which are merely never active, and inputs which never vary, are found too.
"""

from collections.abc import Callable, Iterable

import torch

from .network import Network, Weight

ROUNDS = 8  # one removal makes room for the next; deep networks settle after a few


def drop_idle(network: Network, batches: Callable[[], Iterable], loss, prunable: set[str]) -> int:
    """Prune the idle weights of the tensors in `prunable` (names) and zero the idle biases; returns how many went.

    `batches()` gives the training data anew, as (inputs, labels); `loss` is what training makes small.
    """
    before = _kept(network)
    for _ in range(ROUNDS):
        start = _kept(network)
        constants, moving = _measure(network, batches(), loss)
        for node, values in constants.values():
            _fold(network, node, values, prunable)
        for weight in network:
            if weight.name in prunable:
                weight.prune(moving[weight.name])
        if _kept(network) == start:
            break
    for weight in network:  # not before: until then, constants may be folded into them
        if not weight.is_weight:
            weight.prune(moving[weight.name])
    return before - _kept(network)


def _kept(network: Network) -> int:
    return sum(weight.kept for weight in network)


def _measure(network: Network, batches: Iterable, loss):
    """The input features of each linear node that are constant on the data: {node: (node, values, nan elsewhere)}; and
    for each tensor which of its weights have a gradient (bool, flat)."""
    lowest, highest, nodes = {}, {}, {}

    def observe(node, inputs, outputs):
        if node.op not in ("Gemm", "MatMul", "Conv") or network.weight_of(node.inputs[1]) is None:
            return
        rows = inputs[0].detach()
        rows = rows.transpose(0, 1).flatten(1) if node.op == "Conv" else _features(node, rows)
        low, high = rows.amin(1), rows.amax(1)
        key = node.outputs[0]
        nodes[key] = node
        lowest[key] = torch.minimum(lowest[key], low) if key in lowest else low
        highest[key] = torch.maximum(highest[key], high) if key in highest else high

    moving = {weight.name: torch.zeros(weight.count, dtype=torch.bool) for weight in network}
    for inputs, labels in batches:
        network.zero_grad(set_to_none=True)
        loss(network(inputs, observe), network.as_inputs(inputs), labels).backward()
        for weight in network:
            if weight.values.grad is not None:
                moving[weight.name] |= weight.values.grad.reshape(-1) != 0
    network.zero_grad(set_to_none=True)
    still = {key: torch.where(lowest[key] == highest[key], lowest[key], torch.nan) for key in lowest}
    return {key: (nodes[key], still[key]) for key in still}, moving


def _features(node, rows: torch.Tensor) -> torch.Tensor:
    """The inputs of a Gemm or MatMul as [features, samples]."""
    if node.op == "Gemm" and node.attributes.get("transA"):
        return rows
    return rows.reshape(-1, rows.shape[-1]).T


def _fold(network: Network, node, constant: torch.Tensor, prunable: set[str]) -> None:
    """Prune the weights of features that are constant (float[features], nan where they are not), if the bias can take
    what these gave."""
    weight = network.weight_of(node.inputs[1])
    if weight.name not in prunable or weight.regrow or network.uses(weight) > 1:
        return
    axis = 1 if node.op == "Conv" or node.attributes.get("transB") else 0
    if len(weight.shape) < 2 or weight.shape[axis] != len(constant):  # a grouped convolution
        return
    gone = constant == 0
    if (bias := _bias(network, node)) is not None:
        by_feature = torch.from_numpy(weight.numpy()).movedim(axis, 0)
        given = torch.nan_to_num(constant) @ by_feature.reshape(len(constant), bias.count, -1).sum(2)
        with torch.no_grad():
            bias.values += given
        gone = ~torch.isnan(constant)
    along = [-1 if place == axis else 1 for place in range(len(weight.shape))]
    weight.prune((~gone).view(along).expand(weight.shape))


def _bias(network: Network, node) -> Weight | None:
    """The trainable bias of a node, if constants can be folded into it."""
    if node.op == "MatMul" or len(node.inputs) < 3:
        return None
    bias = network.weight_of(node.inputs[2])
    if bias is None or bias.mask is not None or network.uses(bias) > 1 or len(bias.shape) != 1:
        return None
    if node.op == "Gemm":
        plain = node.attributes.get("alpha", 1.0) == 1 and node.attributes.get("beta", 1.0) == 1
        return bias if plain and bias.count > 1 else None
    padded = any(node.attributes.get("pads", ())) or node.attributes.get("auto_pad", "NOTSET") not in (
        "NOTSET",
        "VALID",
    )
    return None if padded or node.attributes.get("group", 1) != 1 else bias
