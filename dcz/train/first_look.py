"""What the original's answers tell of the data, in words, before training hides it.

    doubts(network, training)
    ->  ["the images hold numbers from 0 to 255: with pixels imagenet the model is right on 89.06% of the first 128
         labels, as they are on 7.03%: say so (the recipe's pixels, --pixels)"]

Labels that do not belong to their samples, images in another range and a single class all train without an error, to
a file that is worth nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..arguments import as_percent
from ..evaluation.kinds import GraphKinds
from .batch_stream import BatchStream
from .batches import Labels
from .data import Data
from .device import moved
from .images import image_axes
from .network import Network
from .pixels import WHITE, Pixels
from .pytorch import Tensor, torch
from .targets import Tensors, by_output, class_rows, is_class_like, top_classes

MAX_SAMPLES = 512  # that are looked at
MIN_ANSWERS = 32  # below so many, chance and a class that is always given tell nothing
MIN_PIXEL_RANGE = 100  # images with a number above it, and none below 0, hold pixels of 0 to 255
DEVIATIONS = 2  # of the share of right answers, within which it is no better than chance
SHUFFLES = 100  # of the labels, none of which a true relation may be as weak as
RANGE_SAMPLES = 128  # on which other ranges are tried
RANGE_DEVIATIONS = 3  # of the difference in right answers, by which another range must be better
RANGES = ("0..1", "imagenet", "-1..1", "0..255", "0..255,mean=104/117/123,bgr")  # the last is that of Caffe's networks

Change = Callable[[str, Tensor], Tensor]  # of an input, by its name


@dataclass
class _Look:
    """What was seen: top classes (int64) that the model gave and that the labels say, of all outputs one after another;
    where there are labels that are numbers, the least and greatest of them; the same of the images."""

    answers: list[np.ndarray] = field(default_factory=list)
    truths: list[np.ndarray] = field(default_factory=list)
    values: list[tuple[float, float]] = field(default_factory=list)
    pixels: list[tuple[float, float]] = field(default_factory=list)
    classes: int = 0
    samples: int = 0
    embeddings: frozenset[str] = frozenset()  # outputs whose largest entries are no answers

    def joined(self) -> tuple[np.ndarray, np.ndarray]:
        """`answers` and `truths`, int64 [n] each; the second is empty without labels."""
        answers, truths = (np.concatenate(parts or [np.zeros(0, np.int64)]) for parts in (self.answers, self.truths))
        return answers, truths

    def pixel_range(self) -> tuple[float, float] | None:
        """The range of the images, where it may be that of pixels: from 0 to 255, or to 1."""
        low = min((low for low, _ in self.pixels), default=-1.0)
        high = max((high for _, high in self.pixels), default=0.0)
        return (low, high) if low >= 0 and (0 < high <= 1 or MIN_PIXEL_RANGE < high <= WHITE) else None


def doubts(network: Network, data: Data) -> list[str]:
    """Sentences on what looks wrong in the first MAX_SAMPLES samples, for the network as it was given."""
    look = _look(network, data)
    answers, truths = look.joined()
    if len(truths) > 1 and (truths == truths[0]).all():
        return [f"all of the first {len(truths):,} labels are the class {truths[0]}: there is nothing to tell apart"]
    if look.values and look.samples > 1 and _is_constant(look.values):
        return [
            f"all labels of the first {look.samples:,} samples are {look.values[0][0]:g}: look at how they were made"
        ]
    if len(answers) < MIN_ANSWERS:
        return []
    if len(truths) and (better := _better_range(network, data, look)):
        return [better]
    if len(truths) and _is_chance(answers, truths, look.classes):
        return [_at_chance(look, answers, truths)]
    if not len(truths) and (answers == answers[0]).all():
        return [f"for all of the first {len(answers):,} samples {_one_class(answers, look)}"]
    return []


def _look(network: Network, data: Data, count: int = MAX_SAMPLES, change: Change = lambda name, x: x) -> _Look:
    """The answers to the first `count` samples or a few more, with `change` made to their images."""
    look, images = _Look(embeddings=GraphKinds(network.source.proto).embeddings), image_axes(network)
    with torch.no_grad():
        for inputs, labels in data.epoch(0):
            tensors = network.as_inputs(inputs)
            look.pixels += [(float(tensors[name].min()), float(tensors[name].max())) for name in images]
            tensors = {name: change(name, x) if name in images else x for name, x in tensors.items()}
            _add_answers(look, network, network(tensors), dict(by_output(network, moved(labels, network.device))))
            look.samples += network.layout.count(tensors)
            if look.samples >= count:
                break
    return look


def _add_answers(look: _Look, network: Network, outputs: Tensors, labels: Tensors) -> None:
    """Add the top classes of outputs with labels; without any labels, of the first output where it has classes."""
    for name in labels or [name for name in network.outputs[:1] if name not in look.embeddings]:
        output = outputs[name]
        if output.dim() < 2 or not output.is_floating_point() or not (labels or is_class_like(output)):
            rows = truth = None
        else:
            rows = class_rows(output)
            truth = top_classes(labels[name], rows) if labels else None
        if rows is None or (labels and truth is None):
            if labels and labels[name].is_floating_point() and labels[name].numel():
                look.values.append((float(labels[name].min()), float(labels[name].max())))
            continue
        answers, look.classes = rows.argmax(1).cpu().numpy(), max(look.classes, rows.shape[1])
        if truth is not None:
            is_class = (
                ((truth >= 0) & (truth < rows.shape[1])).cpu().numpy()
            )  # a loss of the user's may leave others out
            answers = answers[is_class]
            look.truths.append(truth.cpu().numpy()[is_class])
        look.answers.append(answers)


def _is_constant(ranges: list[tuple[float, float]]) -> bool:
    return min(low for low, _ in ranges) == max(high for _, high in ranges)


def _chance(answers: np.ndarray, truths: np.ndarray, classes: int) -> float:
    """The share of right answers that would be expected if answers and labels had nothing to do with each other."""
    given, wanted = (np.bincount(each, minlength=classes) / len(each) for each in (answers, truths))
    return float((given * wanted).sum())


def _is_chance(answers: np.ndarray, truths: np.ndarray, classes: int) -> bool:
    """Whether the answers are right no more often than by chance; no, where the samples are too few to tell."""
    chance = _chance(answers, truths, classes)
    deviation = math.sqrt(chance * (1 - chance) / len(answers))
    if 2 * DEVIATIONS * deviation > (1 - chance) / 2:
        return False
    return float((answers == truths).mean()) <= chance + DEVIATIONS * deviation


def _at_chance(look: _Look, answers: np.ndarray, truths: np.ndarray) -> str:
    """The sentence for answers that are no better than chance, with the cause as far as it can be told."""
    right, chance = float((answers == truths).mean()), _chance(answers, truths, look.classes)
    known = (
        f"the model is right on {_percent(right)} of the first {len(truths):,} labels, no more than chance "
        f"({_percent(chance)})"
    )
    if cause := _renumbered(answers, truths, look.classes):
        return f"{known}: {cause}"
    if (answers == answers[0]).all():
        return f"{known}: {_one_class(answers, look)}"
    return (
        f"{known}: the labels may belong to other samples (shuffled), or the inputs be prepared otherwise than it "
        "expects; an untrained model is like that, too"
    )


def _one_class(answers: np.ndarray, look: _Look) -> str:
    """The sentence for a model that always gives one class."""
    sentence, pixels = (
        f"the model gives the class {answers[0]}: they may not be prepared as it expects",
        look.pixel_range(),
    )
    if pixels is None:
        return sentence
    return f"{sentence}; the images hold numbers from {pixels[0]:g} to {pixels[1]:g} (see pixels, --pixels)"


def _renumbered(answers: np.ndarray, truths: np.ndarray, classes: int) -> str:
    """The cause where the labels tell the answers' classes apart, but by other numbers; else ""."""

    def agreement(labels: np.ndarray) -> float:
        """The share of answers that would be right if each class were called what it is most often labelled."""
        table = np.bincount(answers * classes + labels, minlength=classes**2).reshape(classes, classes)
        return float(table.max(1).sum()) / len(labels)

    random, found = np.random.default_rng(0), agreement(truths)
    if found <= 0.5 or found <= max(agreement(random.permutation(truths)) for _ in range(SHUFFLES)):
        return ""
    table = np.bincount(answers * classes + truths, minlength=classes**2).reshape(classes, classes)
    given, labelled = np.unravel_index(int((table - np.diag(np.diag(table))).argmax()), table.shape)
    return (
        f"the labels count the classes in another order; what the model calls {given} is mostly labelled {labelled}, "
        f"and with each class renumbered so it is right on {_percent(found)}"
    )


def _better_range(network: Network, data: Data, look: _Look) -> str:
    """The sentence for images that are answered better in another range; "" where there is none.

    By McNemar's test: of the samples that one range has right and the other not.
    """
    pixels, axes = look.pixel_range(), image_axes(network)
    if pixels is None:
        return ""
    factor = WHITE if pixels[1] <= 1 else 1
    batches = BatchStream(_first_batches(network, data, RANGE_SAMPLES))  # held: a loader may give others each time

    def answered(chosen: Pixels | None) -> tuple[np.ndarray, np.ndarray]:
        """The answers to the first samples and their labels, with their pixels prepared so."""

        def change(name: str, x: Tensor) -> Tensor:
            axis = 3 if axes[name] == (1, 2) else 1
            fits = chosen is not None and len(chosen.mean) in (1, x.shape[axis])
            return chosen.apply((x * factor).clamp(0, WHITE), axis) if chosen is not None and fits else x

        return _look(network, batches, RANGE_SAMPLES, change).joined()

    def rights(chosen: Pixels | None) -> np.ndarray:
        answers, truths = answered(chosen)
        return np.asarray(answers == truths)

    before = rights(None)
    found = {name: rights(Pixels.parse(name)) for name in RANGES}
    best = max(found, key=lambda name: int(found[name].sum()))
    gained, lost = int((found[best] & ~before).sum()), int((before & ~found[best]).sum())
    is_clear = gained - lost > RANGE_DEVIATIONS * math.sqrt(gained + lost)
    if not is_clear or _is_chance(*answered(Pixels.parse(best)), look.classes):
        return ""
    remedy = "say so (the recipe's pixels, --pixels)" if factor == 1 else f"give pixels of 0 to 255 and --pixels {best}"
    return (
        f"the images hold numbers from {pixels[0]:g} to {pixels[1]:g}: with pixels {best} the model is right on "
        f"{_percent(float(found[best].mean()))} of the first {len(before):,} labels, as they are on "
        f"{_percent(float(before.mean()))}: {remedy}"
    )


def _first_batches(network: Network, data: Data, count: int) -> list[tuple[Tensors, Labels | None]]:
    """The batches of the first `count` samples or a few more."""
    held: list[tuple[Tensors, Labels | None]] = []
    for inputs, labels in data.epoch(0):
        held.append((network.as_inputs(inputs), labels))
        count -= network.layout.count(held[-1][0])
        if count <= 0:
            break
    return held


def _percent(share: float) -> str:
    return as_percent(round(share, 4))
