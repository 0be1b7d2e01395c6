"""What training minimises: `loss(outputs, inputs, labels) -> scalar tensor`, with `outputs` and `inputs` by name.

CrossEntropy(network)                 against labels: classes, or shares of them
Distillation(network, teacher)        against the outputs of the original network: no labels needed
ValueLoss(network, cosine_distance)   against labels that are numbers, or, with a teacher, against its outputs
LabelledOutputs({"digit": ..., "angle": ...})     several outputs, each against its own labels
"""

from collections.abc import Callable, Mapping

from ..errors import InvalidArgument
from ..evaluation.kinds import GraphKinds
from .batches import Labels
from .network import Network
from .pytorch import Tensor, functional, torch
from .targets import (
    IGNORED,
    Tensors,
    as_classes,
    as_values,
    by_output,
    class_rows,
    is_class_like,
    is_shares,
    is_vectors,
)

MOVES = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze")  # often follow the last Softmax
MIN_PROBABILITY = 1e-12  # the floor of probabilities before their logarithm
MIN_MEAN_SQUARE = 1e-12  # of a teacher's output, by which its squared error is divided

Loss = Callable[[Tensors, Tensors, Labels | None], Tensor]
Distance = Callable[[Tensor, Tensor], Tensor]  # of an output from what it should be: a scalar


class CrossEntropy:
    """Mean cross-entropy of one output (default: the first) against labels.

    Classes are along axis 1 of [n, classes], trailing axes of length 1 ignored, else along the last axis: [n, t,
    classes] needs n * t labels, of which those that are -100 are left out. Soft labels have a share for each class:
    -sum(share * log(probability)). An output of a Softmax node is probabilities (not below MIN_PROBABILITY), any other
    logits. Raises InvalidArgument for labels that are missing, neither integers nor shares, no classes, or too many or
    few.
    """

    def __init__(self, network: Network, output: str | None = None):
        self.output, self.producer = output_of(network, output)
        self.made_by = self.producer  # its earlier name

    def __call__(self, outputs: Tensors, inputs: Tensors, labels: Labels | None) -> Tensor:
        """The loss of a batch, a scalar."""
        given = labels.get(self.output) if isinstance(labels, dict) else labels
        if given is None:
            raise InvalidArgument("cross-entropy wants labels: give them, or distill from the original network")
        return _label_loss(log_probabilities(class_rows(outputs[self.output]), self.producer), given)


class Distillation:
    """The distance of outputs from those of the original network, the teacher.

    For outputs of the shape [n, classes]: T^2 KL(teacher || student) in nats, the mean over the rows, of the softmax of
    both outputs' logits divided by `temperature` T (Hinton et al., "Distilling the Knowledge in a Neural Network",
    2015, section 2). With labels, `weight` times that plus 1 - weight times the cross-entropy; the labels are those of
    the first output, or of several by name. Logits have no floor; for an output of a Softmax node they are the
    logarithms of probabilities not below MIN_PROBABILITY. For embeddings, vectors behind a pooling or a normalization
    (see evaluation.kinds), 1 less the mean cosine. For outputs of other shapes, the mean squared error over the
    teacher's mean square. Several outputs are averaged, by `weights` (output -> number; those that it does not name
    have none) where they are given, but for those that are inputs or whole numbers; `output` chooses one. Raises
    InvalidArgument as CrossEntropy does.
    """

    def __init__(
        self,
        network: Network,
        teacher: Network,
        temperature: float = 1.0,
        weight: float = 0.9,
        output: str | None = None,
        weights: Mapping[str, float] | None = None,
    ):
        if not temperature > 0 or not 0 <= weight <= 1:
            raise InvalidArgument("distillation takes a temperature above 0 and a weight from 0 to 1")
        self.teacher, self.temperature, self.weight = teacher, temperature, weight
        names = network.outputs if output is None else (output,)
        self.outputs = [output_of(network, name) for name in names if weights is None or weights.get(name)]
        self.network, self.weights = network, weights
        kinds = GraphKinds(network.source.proto)
        self.embeddings, self.copies = kinds.embeddings, kinds.copies

    def __call__(self, outputs: Tensors, inputs: Tensors, labels: Labels | None) -> Tensor:
        """The loss of a batch, a scalar."""
        with torch.no_grad():
            targets = self.teacher(inputs)
        given = dict(by_output(self.network, labels))
        terms = {
            name: self._term(name, outputs[name], targets[name], producer, given.get(name))
            for name, producer in self.outputs
            if outputs[name].is_floating_point() and name not in self.copies
        }
        if not terms and self.weights is None:  # without a gradient, which the step tells in words
            return torch.zeros((), device=self.network.device)
        return _mean(terms, self.weights)

    def _term(self, name: str, output: Tensor, target: Tensor, producer: str, labels: Tensor | None) -> Tensor:
        if name in self.embeddings and labels is None and is_vectors(target):
            return cosine_distance(*(class_rows(x) for x in (output, target)))
        if not is_class_like(target):
            return functional.mse_loss(output, target) / target.square().mean().clamp_min(MIN_MEAN_SQUARE)
        student, teacher = (log_probabilities(class_rows(x), producer) for x in (output, target))
        t = self.temperature
        log_q, log_p = functional.log_softmax(student / t, 1), functional.log_softmax(teacher / t, 1)
        divergence = t * t * functional.kl_div(log_q, log_p, reduction="batchmean", log_target=True)  # KL(p || q)
        if labels is None:
            return divergence
        return self.weight * divergence + (1 - self.weight) * _label_loss(student, labels)


class ValueLoss:
    """The distance of outputs from labels that are numbers of their shape, or, without labels, from the teacher's
    outputs.

    `distance` is mean_squared_error, cosine_distance, or another function (output, target) -> scalar. Labels are those
    of the first output, or of several by name; without labels all outputs count. Several are averaged, by `weights`
    (output -> number) where they are given. Raises InvalidArgument for labels of another shape, or neither labels nor
    a teacher.
    """

    def __init__(
        self,
        network: Network,
        distance: Distance,
        teacher: Network | None = None,
        weights: Mapping[str, float] | None = None,
    ):
        self.network, self.distance, self.teacher, self.weights = network, distance, teacher, weights
        self.__name__ = distance.__name__

    def __call__(self, outputs: Tensors, inputs: Tensors, labels: Labels | None) -> Tensor:
        """The loss of a batch, a scalar."""
        if labels is not None:
            targets = {name: as_values(given, outputs[name]) for name, given in by_output(self.network, labels)}
        elif self.teacher is not None:
            with torch.no_grad():
                targets = {name: x for name, x in self.teacher(inputs).items() if x.is_floating_point()}
        else:
            raise InvalidArgument("the loss wants labels, or the original network to learn from: give one of them")
        names = [name for name in targets if self.weights is None or self.weights.get(name)]
        return _mean({name: self.distance(outputs[name], targets[name]) for name in names}, self.weights)


class LabelledOutputs:
    """The mean of several losses, each of one output with its own labels (a dict by output name), by `weights`."""

    def __init__(self, losses: Mapping[str, Loss], weights: Mapping[str, float] | None = None):
        self.losses, self.weights = losses, weights

    def __call__(self, outputs: Tensors, inputs: Tensors, labels: Labels | None) -> Tensor:
        """The loss of a batch, a scalar."""
        if not isinstance(labels, dict) or not self.losses.keys() <= labels.keys():
            wanted = ", ".join(self.losses)
            raise InvalidArgument(f"labels are a dict with those of {wanted}, as of the first batch; these are none")
        names = [name for name in self.losses if self.weights is None or self.weights.get(name)]
        return _mean({name: self.losses[name](outputs, inputs, {name: labels[name]}) for name in names}, self.weights)


def mean_squared_error(output: Tensor, target: Tensor) -> Tensor:
    """The mean of the squared differences."""
    return functional.mse_loss(output, target)


def cosine_distance(output: Tensor, target: Tensor) -> Tensor:
    """1 less the mean cosine of the angle between vectors, along the last axis."""
    return 1 - functional.cosine_similarity(output, target, dim=-1).mean()


def _mean(terms: Mapping[str, Tensor], weights: Mapping[str, float] | None) -> Tensor:
    """The mean of several outputs' losses, by weights where there are some."""
    if not terms:
        raise InvalidArgument("no output that training could improve has a weight above 0: give it one")
    if weights is None:
        return torch.stack(list(terms.values())).mean()
    total = sum(weights[name] for name in terms)
    return torch.stack([weights[name] / total * term for name, term in terms.items()]).sum()


def _label_loss(log_probability: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of rows of classes against labels: classes, or soft ones."""
    if is_shares(labels, log_probability):
        return -(class_rows(labels).to(log_probability.dtype) * log_probability).sum(1).mean()
    classes = as_classes(labels, log_probability)
    if bool((classes == IGNORED).all()):  # of none, the mean is no number
        return 0 * log_probability.sum()
    return functional.nll_loss(log_probability, classes, ignore_index=IGNORED)


def output_of(network: Network, name: str | None) -> tuple[str, str]:
    """(name of an output, None: the first; operator that computes it, behind those in MOVES, or "" for an input)."""
    name = network.outputs[0] if name is None else name
    if name not in network.outputs:
        raise InvalidArgument(f"no output {name!r}; the model has {', '.join(network.outputs)}")
    producers = {output: node for node in network.program.nodes for output in node.outputs}
    producer = producers.get(name)
    while producer is not None and producer.op in MOVES and producer.inputs[0] in producers:
        producer = producers[producer.inputs[0]]
    return name, "" if producer is None else producer.op


def log_probabilities(rows: Tensor, producer: str) -> Tensor:
    """Logarithms of the classes' probabilities, from probabilities (`producer` is Softmax) or logits."""
    return rows.clamp_min(MIN_PROBABILITY).log() if producer == "Softmax" else functional.log_softmax(rows, 1)
