"""What labels are, and how they lie beside a network's outputs.

is_shares(labels, rows)          soft labels: for each row of classes the share that each class has
as_classes(labels, rows)         int64, one class for each row
count_wrong(network, outputs, labels)      -> (wrong, rows): whose top class is another
"""

from collections.abc import Iterator

from ..errors import InvalidArgument
from .batches import Labels
from .network import Network
from .pytorch import Tensor

IGNORED = -100  # a label that says nothing, such as of padding: PyTorch's own number for it
SUM_TOLERANCE = 1e-2  # of soft labels: those that come in float16 add up to 1 within this

Tensors = dict[str, Tensor]


def is_class_like(output: Tensor) -> bool:
    """Whether an output may hold classes: [n, classes], or [n, classes, 1, 1]."""
    return output.dim() >= 2 and output.shape[1] > 1 and output[0].numel() == output.shape[1]


def is_vectors(output: Tensor) -> bool:
    """Whether an output is vectors, of a sample or of each place of a sequence: [n, width], [n, t, width] or [n, width,
    1, 1]."""
    return is_class_like(output) or (output.dim() in (2, 3) and output.shape[-1] > 1)


def class_rows(output: Tensor) -> Tensor:
    """An output as rows of classes: [n, classes, 1, 1] as [n, classes], [n, t, classes] as [n * t, classes].

    Raises InvalidArgument where it has no axis of classes.
    """
    if output.dim() < 2:
        raise InvalidArgument(f"an output of the shape {list(output.shape)} has no classes; give a loss of your own")
    return output.flatten(1) if is_class_like(output) else output.flatten(0, -2)


def is_shares(labels: Tensor, rows: Tensor) -> bool:
    """Whether labels are soft: of as many numbers as the rows of classes, none negative, and each row adding up to
    1."""
    if labels.dim() < 2 or labels.numel() != rows.numel() or class_rows(labels).shape != rows.shape:
        return False
    shares = class_rows(labels).float()
    return bool((shares >= 0).all()) and bool(((shares.sum(1) - 1).abs() <= SUM_TOLERANCE).all())


def as_classes(labels: Tensor, rows: Tensor) -> Tensor:
    """Labels as int64, one for each row, IGNORED among them; raises InvalidArgument for another number of labels, or
    labels that are no class."""
    if labels.is_floating_point():
        raise InvalidArgument(
            "labels are whole numbers, the classes, or soft ones, whose shares of all classes add up to 1; for other "
            "targets give another loss: mse, cosine or one of your own"
        )
    labels = labels.reshape(-1).long()
    if len(labels) != len(rows):
        raise InvalidArgument(f"{len(labels)} labels for {len(rows)} rows of classes")
    wrong = labels[((labels < 0) & (labels != IGNORED)) | (labels >= rows.shape[1])]
    if len(wrong):
        raise InvalidArgument(f"label {int(wrong[0])} is no class: the output has the classes 0 to {rows.shape[1] - 1}")
    return labels


def as_values(labels: Tensor, output: Tensor) -> Tensor:
    """Labels as numbers of the output's shape and type; raises InvalidArgument for another number of them."""
    if labels.shape != output.shape and (labels.numel() != output.numel() or labels.shape[:1] != output.shape[:1]):
        raise InvalidArgument(f"labels of the shape {list(labels.shape)} for an output of {list(output.shape)}")
    return labels.reshape(output.shape).to(output.dtype)


def top_classes(labels: Tensor, rows: Tensor) -> Tensor | None:
    """The class of each row, int64, by labels that are classes or shares; None where they are neither."""
    if rows.shape[1] < 2:
        return None
    if is_shares(labels, rows):
        return class_rows(labels).argmax(1)
    return None if labels.is_floating_point() or labels.numel() != len(rows) else labels.reshape(-1).long()


def by_output(network: Network, labels: Labels | None) -> Iterator[tuple[str, Tensor]]:
    """(output, its labels) of labels that are those of the first output, or of several by name.

    A dict may hold more, for a loss of the caller's own.
    """
    if isinstance(labels, dict):
        yield from ((name, given) for name, given in labels.items() if name in network.outputs)
    elif labels is not None:
        yield network.outputs[0], labels


def count_wrong(network: Network, outputs: Tensors, labels: Labels | None) -> tuple[int, int]:
    """(rows whose top class is not that of the labels, rows), over all outputs with labels that are classes.

    Rows whose label is IGNORED do not count.
    """
    wrong, count = 0, 0
    for name, given in by_output(network, labels):
        rows = class_rows(outputs[name]) if outputs[name].dim() > 1 else None
        truth = None if rows is None else top_classes(given, rows)
        if rows is not None and truth is not None:
            told = truth != IGNORED
            wrong, count = wrong + int((rows.argmax(1) != truth)[told].sum()), count + int(told.sum())
    return wrong, count
