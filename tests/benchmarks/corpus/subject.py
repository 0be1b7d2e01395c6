"""What a network of the corpus is: where it comes from, what goes in, and what its answers are worth."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .measures import Measure
from .packages import Package

Feeds = dict[str, np.ndarray]
Outputs = list[np.ndarray]
Run = Callable[[Feeds], Outputs]  # one run of a network
SCORING, CALIBRATION = 1, 2  # seeds of inputs: nothing is chosen by those that are scored


@dataclass(frozen=True, eq=False)
class Sample:
    """Inputs of a network by name, what they show (where that is known), and what decoding its answer needs."""

    feeds: Feeds
    truth: Any = None
    context: Any = None


def once(run: Run, sample: Sample) -> Outputs:
    """The outputs for one sample."""
    return run(sample.feeds)


@dataclass(frozen=True, eq=False)
class Task:
    """What a network does: samples by seed, and how to judge what it makes of them.

    `decode` makes an answer of a sample's outputs, which `measure` compares with another network's; `run` runs a
    network that keeps a state several times for one sample. `outputs` are those that the package asks for, all where
    None.
    """

    samples: Callable[[int], list[Sample]]
    decode: Callable[[Outputs, Sample], Any]
    measure: Measure
    run: Callable[[Run, Sample], Outputs] = once
    outputs: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Subject:
    """A network: the file `path` of a package, and its task, made from the package's folder.

    `note` says what about its inputs is not as its users' are. `locate` finds the file where it is not simply there.
    """

    name: str
    package: Package
    path: str
    task: Callable[[Path], Task]
    note: str = ""
    locate: Callable[[Path, str], Path] = lambda folder, path: folder / path
