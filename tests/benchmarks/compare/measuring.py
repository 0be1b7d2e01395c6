"""One way measured on one network: bytes, how far answers stay the same, and the time that it takes to load and to run.

Times are of the processor, on one thread, the best of several: a machine that does other things too adds less to these.
"""

import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcz.evaluation import runtime

from ..corpus.packages import Missing
from ..corpus.subject import SCORING, Outputs, Sample, Task
from .networks import Network
from .ways import Way

LOADS, RUNS, TIMED = 5, 3, 8  # how often it is loaded; how often each of the first samples is run for its time


@dataclass(frozen=True)
class Result:
    """What a way made of a network.

    `alike` is how far the answers are the original's, and `right` how far they are true where that is known, 0 to 1;
    `make`, `load` (decoding and a session) and `run` (one sample) are seconds of processor. `missing` says why there
    is nothing.
    """

    bytes: int | None = None
    as_it_is: bool = False
    alike: float | None = None
    right: float | None = None
    extra: dict[str, float] | None = None
    make: float | None = None
    load: float | None = None
    run: float | None = None
    missing: str = ""


class Judge:
    """Holds the answers of other models against those of a network's own.

    A model that has been `judged` already (by its digest) is not run again: xz gives back the same model.
    """

    def __init__(self, network: Network):
        self.judged: dict[str, tuple[float | None, float | None, dict[str, float], float]] = {}
        self.task: Task = network.task()
        self.samples = self.task.samples(SCORING)
        self.wanted = self.answers(runtime.session(network.model(), 1))

    def answers(self, session: runtime.Session) -> list[Any]:
        """What a model says of each sample."""
        return [self.task.decode(self._run(session, sample), sample) for sample in self.samples]

    def _run(self, session: runtime.Session, sample: Sample) -> Outputs:
        return self.task.run(lambda feeds: session.run(self.task.outputs, feeds), sample)

    def scores(self, found: list[Any]) -> tuple[float | None, float | None, dict[str, float]]:
        """How far these answers are the original's; how far they are true, None where nobody knows; further figures."""
        measure, truths = self.task.measure, [sample.truth for sample in self.samples]
        right = None if truths[0] is None else measure.score(truths, found)
        return measure.score(self.wanted, found), right, measure.extra(self.wanted, found)

    def seconds(self, session: runtime.Session) -> float:
        """Of processor, for one sample."""
        chosen = self.samples[:TIMED]
        for sample in chosen:  # the first run of a shape takes memory
            self._run(session, sample)
        return sum(best(lambda: self._run(session, each), RUNS) for each in chosen) / len(chosen)  # noqa: B023


def best(do: Callable[[], object], times: int) -> float:
    """The least seconds of processor that it takes."""
    found = []
    for _ in range(times):
        began = time.process_time()
        do()
        found.append(time.process_time() - began)
    return min(found)


def measure(network: Network, way: Way, judge: Judge) -> Result:
    """One result; what cannot be made or run is told in it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        try:
            began = time.process_time()
            file = way.make(network.model(), folder, network.calibration())
            made = time.process_time() - began
            restored = way.restore(file)
            session = runtime.session(restored, 1)
            load = best(lambda: runtime.session(way.restore(file), 1), LOADS)
            if (outside := folder / "seconds").exists():  # of a decoder that is another program
                load += float(outside.read_text())
            digest = hashlib.sha256(restored).hexdigest()
            if digest not in judge.judged:
                judge.judged[digest] = (*judge.scores(judge.answers(session)), judge.seconds(session))
            alike, right, extra, run = judge.judged[digest]
            return Result(file.stat().st_size, way.as_it_is, alike, right, extra, made, load, run)
        except Missing as error:
            return Result(missing=str(error))
        except Exception as error:  # converters fail in every way; ours are told, too
            said = (str(error).strip().splitlines() or [""])[0].replace(f"{scratch}/", "")
            return Result(missing=f"{type(error).__name__}: {said[:200]}")
