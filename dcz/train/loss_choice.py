"""The loss that a run minimises, as asked for or as its labels are, and whether the data fit it.

labels that are classes, or shares of them   ->   cross-entropy
other numbers of the output's shape          ->   mse
none                                         ->   distill
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import InvalidArgument, told
from .batches import Batches, Labels, Targets
from .data import Data
from .device import moved
from .losses import (
    CrossEntropy,
    Distance,
    Distillation,
    LabelledOutputs,
    Loss,
    ValueLoss,
    cosine_distance,
    mean_squared_error,
)
from .network import Network
from .pytorch import Tensor, torch
from .ragged import Ragged
from .recipe import Recipe, parse_output_weights
from .targets import IGNORED, Tensors, by_output, class_rows, is_shares

DISTANCES: dict[str, Distance] = {"mse": mean_squared_error, "cosine": cosine_distance}
OURS = CrossEntropy, Distillation, ValueLoss, LabelledOutputs
NAMES = ("cross-entropy", *DISTANCES, "distill")


def choose_loss(
    loss: str | Loss | type | None,
    network: Network,
    original: Callable[[], Network],
    recipe: Recipe,
    training: Data,
) -> Loss:
    """The loss of a run: `loss` is one of NAMES, a function, a class that is made of the network and its original, or
    None for what fits the labels of the first batch."""
    if isinstance(loss, type) and loss not in (CrossEntropy, Distillation):
        return _OwnLoss(loss, network, original())
    if callable(loss) and not isinstance(loss, type):
        return loss
    names: dict[Any, str] = {CrossEntropy: "cross-entropy", Distillation: "distill"}
    name = names.get(loss, loss)
    if name is not None and name not in NAMES:
        raise InvalidArgument(f"a loss is {', '.join(NAMES[:-1])}, {NAMES[-1]} or a function, not {loss!r}")
    weights = None if recipe.output_weights is None else output_weights(recipe.output_weights, network)
    inputs, labels = next(iter(training.epoch(0)), (None, None))
    labels = moved(labels, network.device)
    if name is None and (labels is None or inputs is None):
        name = "distill"
    if name == "distill":
        return Distillation(network, original(), recipe.temperature, 1 - recipe.label_share, weights=weights)
    if labels is None and name in DISTANCES:
        return ValueLoss(network, DISTANCES[name], original(), weights)
    if isinstance(labels, dict) and (unknown := sorted(labels.keys() - set(network.outputs))):
        raise InvalidArgument(
            f"labels for {unknown[0]!r}, which is no output (the model has {', '.join(network.outputs)}), want a loss "
            "of your own"
        )
    with torch.no_grad():
        outputs = {} if inputs is None else network(inputs)
    losses = {
        output: _loss_of(name or _fitting(output, outputs[output], given), network, output)
        for output, given in by_output(network, labels)
    }
    if isinstance(labels, dict):
        return LabelledOutputs(losses, weights)
    if weights is not None:
        raise InvalidArgument("output_weights are for distillation, or labels of several outputs: leave them out")
    return next(iter(losses.values()), CrossEntropy(network))


class _OwnLoss:
    """A loss that is made of a class of the user's own; whatever that raises is told."""

    def __init__(self, kind: type, network: Network, original: Network):
        self.__name__ = kind.__name__
        with told(f"the loss {kind.__name__} cannot be made"):
            self._made: Any = kind(network, original)
        if not callable(self._made):
            raise InvalidArgument(f"the loss {kind.__name__} is no function (outputs, inputs, labels) once it is made")

    def __call__(self, outputs: Tensors, inputs: Tensors, labels: Labels | None) -> Tensor:
        """The loss of a batch, a scalar."""
        with told(f"the loss {self.__name__} fails"):
            return self._made(outputs, inputs, labels)  # type: ignore[no-any-return]


def _loss_of(name: str, network: Network, output: str) -> Loss:
    return CrossEntropy(network, output) if name == "cross-entropy" else ValueLoss(network, DISTANCES[name])


def _fitting(name: str, output: Tensor, labels: Tensor) -> str:
    """The name of the loss that fits an output's labels."""
    if not labels.is_floating_point() or (output.dim() > 1 and is_shares(labels, class_rows(output))):
        return "cross-entropy"
    if labels.shape == output.shape or (labels.numel() == output.numel() and labels.shape[:1] == output.shape[:1]):
        return "mse"
    raise InvalidArgument(
        f"labels are whole numbers (classes), or numbers of the shape of the output {name!r}, which is "
        f"{list(output.shape)} in a batch (soft labels, or values); these are {list(labels.shape)} of "
        f"{str(labels.dtype).removeprefix('torch.')}"
    )


def output_weights(text: str, network: Network) -> dict[str, float]:
    """The weights that a text such as "boxes=2,scores=1" gives to outputs; raises InvalidArgument."""
    weights = parse_output_weights(text)
    if unknown := sorted(weights.keys() - set(network.outputs)):
        raise InvalidArgument(f"no output {unknown[0]!r} to weight; the model has {', '.join(network.outputs)}")
    return weights


def check_fit(
    network: Network, loss: Loss, batches: Data, inputs: Tensors, outputs: Tensors, labels: Labels | None
) -> None:
    """Raise InvalidArgument for a first output that is not one or more rows for each sample, and for labels that are no
    class, where the loss is one of ours. All labels are checked where they are an array."""
    if not isinstance(loss, OURS):
        return
    name = network.outputs[0]
    rows, axis = network.layout.count(inputs), network.layout.outputs.get(name, 0)
    if outputs[name].dim() <= axis or outputs[name].shape[axis] % rows:
        raise InvalidArgument(
            f"the output {name!r} is {list(outputs[name].shape)} for a batch of {rows}: where the model is made "
            "for batches of one size, give that as the recipe's batch, or export it with an open batch axis"
        )
    for name, _ in by_output(network, labels):
        each = loss.losses.get(name) if isinstance(loss, LabelledOutputs) else loss
        found = _all_labels(batches, name)
        if found is not None and found.dtype.kind == "f":
            _check_numbers(name, found)
        elif found is not None and isinstance(each, (CrossEntropy, Distillation)):
            _check_classes(name, outputs[name], found)


def _all_labels(batches: Data, output: str) -> Targets | None:
    """The labels of all samples for an output, where they are known in advance."""
    if not isinstance(batches, Batches):
        return None
    return batches.labels[output] if isinstance(batches.labels, Mapping) else batches.labels


def _check_numbers(name: str, labels: Targets) -> None:
    """Raise InvalidArgument for labels that are NaN or infinite."""
    found = _first(labels, lambda array: ~np.isfinite(array))
    if found is not None:
        label, sample = found
        raise InvalidArgument(f"a label of sample {sample} for the output {name!r} is {label}: leave this sample out")


def _check_classes(name: str, output: Tensor, labels: Targets) -> None:
    classes = class_rows(output).shape[1]
    if classes < 2:
        raise InvalidArgument(
            f"the output {name!r} is {list(output.shape)}, which has no classes to label; leave the labels out, or "
            "give another loss: mse, or one of your own"
        )
    wrong = _first(labels, lambda array: ((array < 0) & (array != IGNORED)) | (array >= classes))
    if wrong is not None:
        label, sample = wrong
        raise InvalidArgument(
            f"label {label} of sample {sample} is no class: the output {name!r} has the classes 0 to {classes - 1}"
        )


def _first(labels: Targets, is_wrong: Callable[[np.ndarray], np.ndarray]) -> tuple[Any, int] | None:
    """The first label (a number) that is wrong, and its sample."""
    for first, array in enumerate(labels) if isinstance(labels, Ragged) else [(0, labels)]:
        wrong = is_wrong(array)
        if wrong.any():
            place = tuple(int(axis) for axis in np.argwhere(wrong)[0])
            return array[place], first + (0 if isinstance(labels, Ragged) else place[0])
    return None
