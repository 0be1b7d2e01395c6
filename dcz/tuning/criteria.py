"""What a change of the weights costs, on samples that were held out: by the answers that change, or by labels.

judge = Agreement(network, held)                      judge(changed)  ->  {"agreement": 0.98, "drop": 0.02}
judge = Accuracy(network, held, "y", samples)         judge(changed)  ->  {"accuracy": 0.71, "drop": 0.005}

`changed` is an onnxruntime session of the same model with other weights. A drop is a share of the samples, 0 to 1: of
answers that are not the same, or of right answers fewer than before. More of these than before are a drop of 0.
"""

import math
import os

import numpy as np

from ..errors import BadPlan
from ..evaluation import runtime
from ..evaluation.batches import SampleBatches
from ..evaluation.metrics import class_rows, has_top_class
from ..evaluation.predictor import Predictor
from ..evaluation.samples import Samples, read_labels


class Agreement:
    """How often the answer stays: the largest entry of the first output that holds classes, or, where none does, the
    whole numbers of the first one that holds such."""

    def __init__(self, network: Predictor, held: SampleBatches):
        self.network, self.held = network, held

    def __call__(self, changed) -> dict[str, float]:
        """`agreement` (a share) and `drop` (the others). Raises BadPlan where no output holds classes."""
        place, same, total = None, 0, 0
        for number, batch in enumerate(self.held):
            before, after = runtime.run(self.network.session, batch), runtime.run(changed, batch)
            if place is None:
                place = _telling(before)
            x, y = (
                _answers(found[place], len(self.held.indices_of(number)), self.held.size) for found in (before, after)
            )
            same, total = same + int((x == y).sum()), total + x.size
        return {"agreement": same / total, "drop": (total - same) / total} if total else {"agreement": 1.0, "drop": 0.0}

    def lost(self, drop: float) -> str:
        """A drop in words, for messages."""
        return f"{drop:.2%} of the {len(self.held.indices)} held-out samples change their top class"


class Accuracy:
    """How often the top class is the sample's label.

    `labels`: the name of an array of `samples` (which are all that the data file holds), or the path of an .npy or .npz
    file; see samples.read_labels. `before`: top-1 accuracy of the model as it was, a share. Raises BadPlan for labels
    that do not fit the samples or the classes, and for those that the model itself does no better on than by guessing.
    """

    def __init__(self, network: Predictor, held: SampleBatches, labels: str | os.PathLike, samples: Samples):
        self.network, self.held = network, held
        classes = network.rows(held.indices_of(0)).shape[1]
        self.labels = read_labels(labels, samples, network.samples.count, classes)
        self.right = self._right(network)
        self.before = self.right / len(held.indices)
        if self.before <= 1 / classes:
            raise BadPlan(
                f"{samples.path}, labels {os.fspath(labels)!r}: {network.path} itself is right on {self.right} of the "
                f"{len(held.indices)} held-out samples, no more than by guessing among {classes} classes; give the "
                "number of each sample's class, counted from 0"
            )

    def __call__(self, changed) -> dict[str, float]:
        """`accuracy` (top 1, a share) and `drop` (how much less it is than before, 0 or more)."""
        right = self._right(Predictor(self.network.path, changed, self.network.samples, self.network.output))
        count = len(self.held.indices)
        return {"accuracy": right / count, "drop": max(0, self.right - right) / count}

    def lost(self, drop: float) -> str:
        """A drop in words, for messages."""
        return f"{100 * drop:.2f} points of top-1 accuracy are lost on the {len(self.held.indices)} held-out samples"

    def _right(self, network: Predictor) -> int:
        right = 0
        for number in range(len(self.held)):
            chosen = self.held.indices_of(number)
            rows = network.rows(chosen)
            right += int(((rows.argmax(1) == self.labels[chosen]) & has_top_class(rows)).sum())
        return right


def _telling(outputs: list) -> int:
    """Which of a network's outputs tells its answer."""
    arrays = [(place, each) for place, each in enumerate(outputs) if isinstance(each, np.ndarray) and each.ndim]
    classes = [n for n, each in arrays if each.dtype.kind == "f" and math.prod(each.shape[1:]) > 1]
    numbers = [n for n, each in arrays if each.dtype.kind in "iub"]
    if not classes and not numbers:
        raise BadPlan("no output holds classes, so that no drop can be told: give a size or a ratio")
    return (classes or numbers)[0]


def _answers(output: np.ndarray, count: int, size: int) -> np.ndarray:
    """The answers of the first `count` of `size` samples, one for each place of the output; of none, all places."""
    if len(output) % size == 0:
        output = output[: len(output) // size * count]
    return output if output.dtype.kind != "f" else class_rows(output).argmax(1)
