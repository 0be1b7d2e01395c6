"""What training minimises: `loss(outputs, inputs, labels) -> scalar tensor`, with `outputs` and `inputs` by name.

CrossEntropy(network)                 against labels
Distillation(network, teacher)        against the outputs of the original network: no labels needed
"""

from collections.abc import Callable

from ..errors import InvalidArgument
from .network import Network
from .pytorch import functional, torch

MOVES = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze")  # often follow the last Softmax
MIN_PROBABILITY = 1e-12  # the floor of probabilities before their logarithm
MIN_MEAN_SQUARE = 1e-12  # of a teacher's output, by which its squared error is divided

Tensors = dict[str, torch.Tensor]

Loss = Callable[[Tensors, Tensors, torch.Tensor | None], torch.Tensor]


class CrossEntropy:
    """Mean cross-entropy of one output (default: the first) against labels.

    Classes are along axis 1 of [n, classes], trailing axes of length 1 ignored, else along the last axis: [n, t,
    classes] needs n * t labels. An output of a Softmax node is probabilities (not below MIN_PROBABILITY), any other
    logits. Raises InvalidArgument for labels that are missing, no integers, no classes, or too many or few.
    """

    def __init__(self, network: Network, output: str | None = None):
        self.output, self.producer = output_of(network, output)
        self.made_by = self.producer  # its earlier name

    def __call__(self, outputs: Tensors, inputs: Tensors, labels: torch.Tensor | None) -> torch.Tensor:
        """The loss of a batch, a scalar."""
        if labels is None:
            raise InvalidArgument("cross-entropy wants labels: give them, or distill from the original network")
        rows = class_rows(outputs[self.output])
        return functional.nll_loss(log_probabilities(rows, self.producer), as_classes(labels, rows))


class Distillation:
    """The distance of outputs from those of the original network, the teacher.

    For outputs of the shape [n, classes]: T^2 KL(teacher || student) in nats, the mean over the rows, of the softmax of
    both outputs' logits divided by `temperature` T (Hinton et al., "Distilling the Knowledge in a Neural Network",
    2015, section 2). With labels, `weight` times that plus 1 - weight times the cross-entropy; the labels are those of
    the first output. Logits have no floor; for an output of a Softmax node they are the logarithms of probabilities
    not below MIN_PROBABILITY. For outputs of other shapes, the mean squared error over the teacher's mean square.
    Several outputs are averaged; `output` chooses one. Raises InvalidArgument as CrossEntropy does.
    """

    def __init__(
        self,
        network: Network,
        teacher: Network,
        temperature: float = 1.0,
        weight: float = 0.9,
        output: str | None = None,
    ):
        if not temperature > 0 or not 0 <= weight <= 1:
            raise InvalidArgument("distillation takes a temperature above 0 and a weight from 0 to 1")
        self.teacher, self.temperature, self.weight = teacher, temperature, weight
        names = network.outputs if output is None else (output,)
        self.outputs = [output_of(network, name) for name in names]

    def __call__(self, outputs: Tensors, inputs: Tensors, labels: torch.Tensor | None) -> torch.Tensor:
        """The loss of a batch, a scalar."""
        with torch.no_grad():
            targets = self.teacher(inputs)
        terms = [
            self._term(outputs[name], targets[name], producer, None if number else labels)
            for number, (name, producer) in enumerate(self.outputs)
        ]
        return torch.stack(terms).mean()

    def _term(
        self, output: torch.Tensor, target: torch.Tensor, producer: str, labels: torch.Tensor | None
    ) -> torch.Tensor:
        if not output.is_floating_point():
            return torch.zeros(())
        if not is_class_like(target):
            return functional.mse_loss(output, target) / target.square().mean().clamp_min(MIN_MEAN_SQUARE)
        student, teacher = (log_probabilities(class_rows(x), producer) for x in (output, target))
        t = self.temperature
        log_q, log_p = functional.log_softmax(student / t, 1), functional.log_softmax(teacher / t, 1)
        divergence = t * t * functional.kl_div(log_q, log_p, reduction="batchmean", log_target=True)  # KL(p || q)
        if labels is None:
            return divergence
        return self.weight * divergence + (1 - self.weight) * functional.nll_loss(student, as_classes(labels, student))


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


def is_class_like(output: torch.Tensor) -> bool:
    """Whether an output may hold classes: [n, classes], or [n, classes, 1, 1]."""
    return output.dim() >= 2 and output.shape[1] > 1 and output[0].numel() == output.shape[1]


def class_rows(output: torch.Tensor) -> torch.Tensor:
    """An output as rows of classes: [n, classes, 1, 1] as [n, classes], [n, t, classes] as [n * t, classes].

    Raises InvalidArgument where it has no axis of classes.
    """
    if output.dim() < 2:
        raise InvalidArgument(f"an output of the shape {list(output.shape)} has no classes; give a loss of your own")
    return output.flatten(1) if is_class_like(output) else output.reshape(-1, output.shape[-1])


def log_probabilities(rows: torch.Tensor, producer: str) -> torch.Tensor:
    """Logarithms of the classes' probabilities, from probabilities (`producer` is Softmax) or logits."""
    return rows.clamp_min(MIN_PROBABILITY).log() if producer == "Softmax" else functional.log_softmax(rows, 1)


def as_classes(labels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Labels as int64, one for each row; raises InvalidArgument for another number of labels, or labels that are no
    class."""
    if labels.is_floating_point():
        raise InvalidArgument("labels are whole numbers, the classes; for other targets give a loss of your own")
    labels = labels.reshape(-1).long()
    if len(labels) != len(rows):
        raise InvalidArgument(f"{len(labels)} labels for {len(rows)} rows of classes")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < rows.shape[1]:
        worst = labels[(labels < 0) | (labels >= rows.shape[1])][0]
        raise InvalidArgument(f"label {int(worst)} is no class: the output has the classes 0 to {rows.shape[1] - 1}")
    return labels
