"""What training makes small: `loss(outputs, inputs, labels) -> scalar tensor`, with `outputs` and `inputs` by name.

CrossEntropy(network)                 against labels
Distillation(network, teacher)        against the answers of the original network: no labels needed
"""

from collections.abc import Callable

from ..errors import BadPlan
from .network import Network
from .pytorch import functional, torch

MOVES = ("Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze")  # what often follows a last Softmax

Loss = Callable[[dict[str, torch.Tensor], dict[str, torch.Tensor], torch.Tensor | None], torch.Tensor]


class CrossEntropy:
    """Mean cross-entropy of one output (default: the first) against labels.

    Classes are along axis 1 of [n, classes], with trailing axes of length 1 set aside, else along the last axis: [n, t,
    classes] wants n * t labels. An output that Softmax makes counts as probabilities. Raises BadPlan for labels that
    are missing, no whole numbers, no classes, or too many or few.
    """

    def __init__(self, network: Network, output: str | None = None):
        self.output, self.made_by = output_of(network, output)

    def __call__(self, outputs, inputs, labels) -> torch.Tensor:
        if labels is None:
            raise BadPlan("cross-entropy wants labels: give them, or distill from the original network")
        rows = class_rows(outputs[self.output])
        return functional.nll_loss(log_probabilities(rows, self.made_by), as_classes(labels, rows))


class Distillation:
    """How far outputs are from those of the original network (Hinton et al., "Distilling the Knowledge in a Neural
    Network", 2015).

    For outputs of the shape [n, classes], `weight` times T^2 times the Kullback-Leibler divergence at `temperature` T
    plus, where there are labels, 1 - weight times their cross-entropy; the labels are those of the first output. For
    outputs of other shapes, the mean squared error over the teacher's mean square. Several outputs are averaged;
    `output` chooses one. Raises BadPlan as CrossEntropy does.
    """

    def __init__(self, network: Network, teacher: Network, temperature=1.0, weight=0.9, output: str | None = None):
        if not temperature > 0 or not 0 <= weight <= 1:
            raise BadPlan("distillation takes a temperature above 0 and a weight from 0 to 1")
        self.teacher, self.temperature, self.weight = teacher, temperature, weight
        names = network.outputs if output is None else (output,)
        self.outputs = [output_of(network, name) for name in names]

    def __call__(self, outputs, inputs, labels) -> torch.Tensor:
        with torch.no_grad():
            wanted = self.teacher(inputs)
        terms = [
            self._term(outputs[name], wanted[name], made_by, None if number else labels)
            for number, (name, made_by) in enumerate(self.outputs)
        ]
        return torch.stack(terms).mean()

    def _term(self, found, wanted, made_by, labels) -> torch.Tensor:
        if not found.is_floating_point():
            return torch.zeros(())
        if not is_class_like(wanted):
            return functional.mse_loss(found, wanted) / wanted.square().mean().clamp_min(1e-12)
        found, wanted = (log_probabilities(class_rows(x), made_by) for x in (found, wanted))
        t = self.temperature
        soft, target = functional.log_softmax(found / t, 1), functional.log_softmax(wanted / t, 1)
        divergence = t * t * functional.kl_div(soft, target, reduction="batchmean", log_target=True)
        if labels is None:
            return divergence
        return self.weight * divergence + (1 - self.weight) * functional.nll_loss(found, as_classes(labels, found))


def output_of(network: Network, name: str | None) -> tuple[str, str]:
    """The name of an output (None: the first), and the operator that makes it, behind those that only move it."""
    name = network.outputs[0] if name is None else name
    if name not in network.outputs:
        raise BadPlan(f"no output {name!r}; the model has {', '.join(network.outputs)}")
    makers = {output: node for node in network.program.nodes for output in node.outputs}
    maker = makers.get(name)
    while maker is not None and maker.op in MOVES and maker.inputs[0] in makers:
        maker = makers[maker.inputs[0]]
    return name, "" if maker is None else maker.op


def is_class_like(output: torch.Tensor) -> bool:
    """Whether an output may hold classes: [n, classes], or [n, classes, 1, 1]."""
    return output.dim() >= 2 and output.shape[1] > 1 and output[0].numel() == output.shape[1]


def class_rows(output: torch.Tensor) -> torch.Tensor:
    """An output as rows of classes: [n, classes, 1, 1] as [n, classes], [n, t, classes] as [n * t, classes]; raises
    BadPlan where it has no axis of classes."""
    if output.dim() < 2:
        raise BadPlan(f"an output of the shape {list(output.shape)} has no classes; give a loss of your own")
    return output.flatten(1) if is_class_like(output) else output.reshape(-1, output.shape[-1])


def log_probabilities(rows: torch.Tensor, made_by: str) -> torch.Tensor:
    """Logarithms of the classes' probabilities; rows that Softmax made are probabilities already."""
    return rows.clamp_min(1e-12).log() if made_by == "Softmax" else functional.log_softmax(rows, 1)


def as_classes(labels: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Labels as int64, one for each of the rows; raises BadPlan where they are not one a row, or no class."""
    if labels.is_floating_point():
        raise BadPlan("labels are whole numbers, the classes; for other targets give a loss of your own")
    labels = labels.reshape(-1).long()
    if len(labels) != len(rows):
        raise BadPlan(f"{len(labels)} labels for {len(rows)} rows of classes")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < rows.shape[1]:
        worst = labels[(labels < 0) | (labels >= rows.shape[1])][0]
        raise BadPlan(f"label {int(worst)} is no class: the output has the classes 0 to {rows.shape[1] - 1}")
    return labels
