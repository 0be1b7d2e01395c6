"""The networks to compare on: one of images, one of text, one that reads.

NETWORKS["SqueezeNet 1.1"].model()  ->  path;  .task()  ->  samples, and how to judge what it makes of them
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..corpus import measures
from ..corpus.packages import Missing
from ..corpus.subject import CALIBRATION, Feeds, Sample, Subject, Task
from ..corpus.table import SUBJECTS


@dataclass(frozen=True, eq=False)
class Network:
    """A network and its task; `about` says what it is scored on, in a sentence. Both functions raise Missing."""

    name: str
    about: str
    model: Callable[[], Path]
    task: Callable[[], Task]

    def calibration(self) -> list[Feeds]:
        """Inputs that are not scored, a run each, in an order that no sample decides."""
        feeds = [sample.feeds for sample in self.task().samples(CALIBRATION)]
        return [feeds[place] for place in np.random.default_rng(0).permutation(len(feeds))]


def stacked(feeds: list[Feeds]) -> Feeds:
    """The feeds of single runs as the arrays that `--calibrate` takes: shorter ones are padded by zeros."""
    found = {}
    for name in feeds[0]:
        arrays = [each[name] for each in feeds]
        shape = np.max([array.shape[1:] for array in arrays], axis=0)
        found[name] = np.concatenate(
            [np.pad(a, [(0, 0), *((0, most - n) for most, n in zip(shape, a.shape[1:], strict=True))]) for a in arrays]
        )
    return found


def _squeezenet() -> Path:
    from ..agreement import DATA

    path = DATA / "nets" / "squeezenet_v1.1.onnx"
    if not path.is_file() or not (DATA / "imagenet").is_dir():
        raise Missing(f"{DATA} (set DCZ_DATA)")
    return path


def _photographs() -> Task:
    from ..agreement import images

    def samples(seed: int) -> list[Sample]:
        return [Sample({"data": image}) for image in images("calibration256" if seed == CALIBRATION else "val650")]

    return Task(samples, lambda outputs, sample: int(outputs[0].argmax()), measures.CLASS)


def _of_the_corpus(name: str, about: str) -> Network:
    subject: Subject = SUBJECTS[name]
    return Network(
        name,
        about,
        lambda: subject.locate(subject.package.folder(), subject.path),
        lambda: subject.task(subject.package.folder()),
    )


_ALL = [
    Network("SqueezeNet 1.1", "650 images of ImageNet's validation set", _squeezenet, _photographs),
    _of_the_corpus("paraphrase-MiniLM-L3", "60 texts of drawn tokens"),
    _of_the_corpus("PP-OCRv4 rec", "96 rendered lines of text"),
]
NETWORKS = {network.name: network for network in _ALL}
