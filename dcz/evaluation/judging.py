"""Whether the answers of a classifier speak against the preprocessing of its images.

A wrong range, mean or order of colours raises no error: answers become alike, or unsure. How much they tell of the
images is measured in nats: the entropy of the mean answer, less the mean entropy of the answers (the logarithm of the
inception score: Salimans et al., "Improved Techniques for Training GANs", 2016). The same images are prepared in the
usual other ways, too, and one that tells clearly more is named, or as much and with clearly more confidence.

SqueezeNet 1.1 takes "caffe", and answers 48 images of ImageNet so (nats, mean confidence, share of one class):

    caffe    3.78  77 %   2 %        0..255, red first  3.58  60 %   4 %        imagenet  0.29  32 %  90 %
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..text import counted
from . import metrics, runtime
from .predictor import Predictor
from .preprocessing import PRESETS, Preprocessing
from .samples import Samples

JUDGED = 32  # images that are answered to judge a preprocessing
ENOUGH = 12  # fewer say nothing
ONE_CLASS = 0.9  # of the images
MORE, SHARE = 0.4, 1.15  # nats, and times as many, by which another preprocessing must tell more to be named
SURER = 0.15  # of confidence, where it tells as much: nats end at the logarithm of the number of images


@dataclass(frozen=True)
class Answers:
    """What a classifier makes of some images: nats that its answers tell of them, the mean of its top probability, the
    share of the images that get the most frequent class, and that class."""

    information: float
    confidence: float
    one_class: float
    frequent: int


def answers(
    predictor: Predictor, chosen: Preprocessing, channels: int, prepare: Callable[[Preprocessing], Samples]
) -> dict[str, Answers]:
    """The answers to some images as they were prepared (""), and prepared in the usual other ways; {} of no classifier.

    `prepare` gives the images as samples; `predictor` knows the model.
    """
    found: dict[str, Answers] = {}
    for name, way in {"": chosen, **_alternatives(chosen, channels)}.items():
        each = Predictor(predictor.path, predictor.session, prepare(way), predictor.output, predictor.kinds)
        count = each.count
        if each.choose_output(min(runtime.BATCH, count)).name != metrics.TOP_CLASS.name:
            return {}
        rows = np.concatenate(list(_rows(each, count)))
        if len(rows) != count:  # answers at many places of each image
            return {}
        found[name] = _measured(rows)
    return found


def _rows(predictor: Predictor, count: int) -> Iterator[np.ndarray]:
    for start in range(0, count, runtime.BATCH):
        for output in predictor.answers(np.arange(start, min(start + runtime.BATCH, count))):
            yield metrics.class_rows(np.asarray(output)).astype(np.float64)


def _measured(rows: np.ndarray) -> Answers:
    """What rows of classes say together; those without a top class say nothing."""
    good = rows[metrics.has_top_class(rows)]
    if not len(good):
        return Answers(0.0, 0.0, 1.0, 0)
    p = np.exp(metrics.log_probabilities(good, metrics.are_probabilities(good)))
    p /= p.sum(1, keepdims=True)
    counts = np.bincount(p.argmax(1), minlength=p.shape[1])
    information = max(0.0, _entropy(p.mean(0)) - float(np.mean([_entropy(row) for row in p])))
    share = len(good) / len(rows)
    return Answers(information * share, float(p.max(1).mean()), float(counts.max() / len(good)), int(counts.argmax()))


def _entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def _alternatives(chosen: Preprocessing, channels: int) -> dict[str, Preprocessing]:
    """The usual other ways to numbers, each as options name it; sizes stay as they are."""
    found: dict[str, Preprocessing] = {}
    for name, preset in PRESETS.items():
        for bgr in (preset.bgr, not preset.bgr):
            if channels == 1 and (len(preset.mean) > 1 or bgr):
                continue
            other = replace(chosen, range=preset.range, mean=preset.mean, std=preset.std, bgr=bgr)
            if other != chosen and other not in found.values():
                order = "" if bgr == preset.bgr else " --bgr" if bgr else " --rgb"
                found[f"--preset {name}{order}"] = other
    return found


def doubts(answers: Mapping[str, Answers], count: int, path: str) -> Iterator[str]:
    """What speaks against the preprocessing that was chosen."""
    if "" not in answers or count < ENOUGH:
        return
    own = answers[""]
    best = max(answers, key=lambda name: answers[name].information)
    tells_more = answers[best].information > max(own.information + MORE, own.information * SHARE)
    tells_more |= answers[best].confidence > own.confidence + SURER
    if own.one_class >= ONE_CLASS:
        yield (
            f"{path} gives class {own.frequent} to {own.one_class:.0%} of {counted(count, 'image')}: the preprocessing "
            "may be wrong, or all of them show the same"
        )
    if best and tells_more:
        other = answers[best]
        yield (
            f"with {best} the answers of {path} tell more of the images: {other.information:.2f} nats instead of "
            f"{own.information:.2f} (mean confidence {other.confidence:.0%}, {own.confidence:.0%} as it is): look up "
            "what the network takes"
        )
