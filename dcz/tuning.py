"""The smallest file at equal answers, by what unlabelled inputs tell; or the best answers for a budget of bytes.

    tune("net.onnx", "net.dcz", "inputs.npz", max_bytes=500_000)

One run over the samples measures what a bit buys in each tensor (calibrate.curves). Then, for some number of bits in
all, every tensor gets the step at which a bit buys the same everywhere (allocate.by_bits), and is rounded so that its
layer's outputs change least (calibrate.calibrated). The number of bits is what is sought: for a size by the bytes of
the file, for a drop by the answers on samples that were held out of the calibration: how many stay, or, with labels,
how many are right (judging).
"""

import glob
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from . import allocate, calibrate, data, packing, pipeline
from .crew import assembled
from .errors import BadPlan
from .files import check_output
from .judging import Accuracy, Agreement
from .parallel import thread_count
from .plan import LOSSLESS, PRUNING, SAFE_QUALITY, SHARING, Plan, Rule, Settings
from .sampled import Batches, Sampled
from .search import TOLERANCE, File, Sink, fitting

HELD = 0.25  # of the samples, which decide whether a drop is small enough
DROP = 0.01  # where no goal is named
FEWEST = 8  # samples to calibrate with
MEASURED = 128  # samples, at most, by which tensors are compared
MOST_BITS, LEAST_BITS = 7.5, 0.05  # a weight: beyond, 256 values are no nearer; below, nothing is left
FIRST = 4.0  # bits a weight, the first to be judged by its answers
FILLINGS = 4  # rounds in which exact tensors are added
TRIALS = 8
NARROW = 1.03  # between bits that hold and bits that do not: nearer ones are not told apart by some dozens of samples
FALL, RISE = 1.5, 1.4  # from one trial to the next, until one holds and one does not
PASSES = 10  # trials for a drop: eight at most from 7.5 to 0.3 bits, the others between


@dataclass(frozen=True)
class Trial:
    """One setting that was tried: bits a weight as reckoned, and the bytes of the file.

    Where a drop was asked for, shares of the held-out samples: without labels `agreement`, how many keep their top
    class; with labels `accuracy`, how many have the right one; `drop`, how much less that is than of the original.
    """

    bits: float
    nbytes: int
    agreement: float | None = None
    accuracy: float | None = None
    drop: float | None = None


@dataclass(frozen=True)
class Tuned:
    """A finished run: the trial that was kept (its bits are inf where all stayed exact), how many samples calibrated,
    how many were held out, and, with labels, the original's top-1 accuracy on these (a share); how many biases, and
    means of BatchNormalizations, were moved to take mean errors."""

    path: str
    kept: Trial
    calibrated_on: int
    held_out: int
    accuracy: float | None = None
    biases: int = 0
    means: int = 0


def tune(
    model,
    output: str | os.PathLike,
    inputs: str | os.PathLike | Mapping[str, np.ndarray],
    *,
    max_bytes: int | None = None,
    ratio: float | None = None,
    max_drop: float | None = None,
    labels: str | os.PathLike | np.ndarray | None = None,
    plan: Plan | Settings | str | os.PathLike | None = None,
    threads: int | None = None,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    trial: Callable[[Trial], None] = lambda trial: None,
    warn: Callable[[str], None] = lambda message: None,
    force: bool = True,
) -> Tuned:
    """Compress `model` (a path or a ModelProto) into the file `output` as its own `inputs` advise.

    `inputs`: the path of an .npz with an array for each input (or an .npy), or the arrays; samples along the first
    axis, a few hundred being enough. One of `max_bytes`, `ratio` (how many times smaller) and `max_drop`: the share of
    samples whose top class may change, judged by a quarter of them, which are not calibrated on; by default 0.01. With
    `labels` it is top-1 accuracy that may fall by so much (0.01: by a percentage point); these are the name of an array
    of `inputs`, the path of an .npy or .npz file, or whole numbers [n], and the model never sees them. The
    plan's rules and exclusions hold bit for bit; what its default goes for is calibrated, and so are the biases of
    those layers. A default that says how finely to share is a BadPlan. `progress` is told a tensor's name, how many are
    done, and how many there are, anew in each trial; `trial` is told of each trial. For the rest see pipeline.compress.
    Raises BadPlan where the budget cannot be met, saying what could; an older `output` stays as it was.
    """
    goals = [goal for goal in (max_bytes, ratio, max_drop) if goal is not None]
    if len(goals) > 1:
        raise BadPlan("give one of a size, a ratio and a drop")
    if ratio is not None and not 0 < ratio < math.inf:
        raise BadPlan(f"a ratio is how many times smaller the file shall be, above 0, not {ratio!r}")
    if max_drop is not None and not 0 <= max_drop < 1:
        raise BadPlan(f"a drop is a share of samples from 0 to below 1, not {max_drop!r}")
    if labels is not None and len(goals) > 0 and max_drop is None:
        raise BadPlan("labels judge a drop, which a size or a ratio does not ask for: leave one of them out")
    named = [given for given in (model, inputs, labels) if isinstance(given, (str, os.PathLike))]
    check_output(output, force, inputs=[path for path in named if os.path.exists(path)])
    plan = _undecided(pipeline.as_plan(plan))
    run = _Tuning(model, inputs, labels, plan, thread_count(threads), progress, trial, warn)
    check_output(output, force, inputs=[site.external[0] for site in run.source.sites if site.external])
    if ratio is not None:
        max_bytes = int(run.source.source_bytes / ratio)
    kept = run.to_drop(DROP if max_drop is None else max_drop) if max_bytes is None else run.to_size(max_bytes)
    run.write(output, force)
    before = run.judge.before if isinstance(run.judge, Accuracy) else None
    return Tuned(os.fspath(output), kept, len(run.samples.chosen), len(run.held.chosen), before, *run.moved())


def _undecided(plan: Plan) -> Plan:
    """The plan, if its default leaves to calibration what calibration decides."""
    default = plan.default
    given = [name for name in (*PRUNING, *SHARING) if getattr(default, name) is not None and name != "quality"]
    given += [] if default.quality in (None, SAFE_QUALITY) else ["quality"]
    given += ["lossless"] if default.lossless else [] if default.share else ["share = false"]
    given += [] if default.codebook == "auto" else ["codebook"]
    if given:
        raise BadPlan(
            f"calibration decides how finely weights are shared, and which become zero: leave {given[0]} out, "
            "or give it in a rule for some tensors"
        )
    return plan


class _Tuning(Sampled):
    """One run: what each tensor costs, and the best trial so far with its values."""

    def __init__(self, model, inputs, labels, plan: Plan, threads: int, progress, trial, warn):
        super().__init__(model, inputs, plan, threads)
        self.labels, self.progress, self.tell, self.warn = labels, progress, trial, warn
        if self.count < FEWEST:
            place = self.network.samples.path
            raise BadPlan(f"{place}: {self.count} samples; calibration wants {FEWEST} at least, better hundreds")
        self.best: tuple[Trial, dict] | None = None
        self.judge: Agreement | Accuracy | None = None

    def _divide(self, held: bool) -> None:
        """Say which samples calibrate, and which, if any, are held out; and measure the curves."""
        places, every = np.arange(self.count), round(1 / HELD)
        out = held & (places % every == every - 1)
        self.samples, self.held = Batches(self.network, places[~out]), Batches(self.network, places[out])
        self.judge = self._judge() if held else None
        self.costs = self.curves(Batches(self.network, self.samples.chosen[:MEASURED]))

    def _judge(self) -> Agreement | Accuracy:
        if self.labels is None:
            return Agreement(self.network, self.held)
        if isinstance(self.labels, (str, os.PathLike)):
            return Accuracy(self.network, self.held, self.labels, self.data)
        name = "the labels"
        arrays = {**self.data.arrays, name: np.asarray(self.labels)}
        return Accuracy(self.network, self.held, name, data.Samples(self.data.path, arrays))

    # -- trials --------------------------------------------------------------------------------------------------------

    def to_size(self, max_bytes: int) -> Trial:
        """The most bits whose file has `max_bytes` at most; where there is room for more, tensors stay exact."""
        self._divide(held=False)
        low = high = before = None  # the nearest trials that fit and do not, and the last one
        bits = self._guess(max_bytes)
        if bits == MOST_BITS and (whole := self._file({}).nbytes) <= max_bytes:
            self.best = Trial(math.inf, whole), {}
            return self.best[0]
        for _ in range(TRIALS):
            found = self._attempt(bits, lambda new: new.nbytes <= max_bytes)
            low, high = (found, high) if found.nbytes <= max_bytes else (low, found)
            if low is not None and low.nbytes >= (1 - TOLERANCE) * max_bytes:
                break
            further = _nearer(found, before, low, high, (1 - TOLERANCE / 2) * max_bytes, self.weights)
            if further == bits:
                break
            bits, before = further, found
        if low is None and bits > LEAST_BITS:
            found = self._attempt(LEAST_BITS, lambda new: new.nbytes <= max_bytes)
        if self.best is None:
            raise BadPlan(
                f"calibrated as coarsely as {found.bits:.2f} bits a weight, the file still takes {found.nbytes:,} "
                f"bytes, more than {max_bytes:,}: allow more, or retrain it (dcz retrain)"
            )
        if high is None:
            self._fill(max_bytes)
        return self.best[0]

    def _guess(self, max_bytes: int) -> float:
        """Bits a weight, by what the file takes besides."""
        besides = self._file({name: np.zeros(self.sites[name].shape, np.float32) for name in self.names}).nbytes
        return min(MOST_BITS, max(LEAST_BITS, 8 * (max_bytes - besides) / self.weights))

    def _fill(self, max_bytes: int) -> None:
        """Beyond the most bits: leave as many tensors exact as the budget has room for, the largest first."""
        whole, exact = self._file({}), ()
        for _ in range(FILLINGS):
            trial, new = self.best
            if trial.nbytes >= (1 - TOLERANCE) * max_bytes:
                return
            more = tuple(name for name in fitting(whole, self._file(new), max_bytes) if name in self.names)
            exact = tuple({*exact, *more})
            if not more or len(exact) == len(self.names):
                return
            self._attempt(trial.bits, lambda found: found.nbytes <= max_bytes, exact=exact)

    def to_drop(self, drop: float) -> Trial:
        """The fewest bits at which the judge finds no more than `drop` lost on the held-out samples."""
        self._divide(held=True)
        count = len(self.held.chosen)
        if 0 < drop < 1 / count:
            self.warn(f"{count} held-out samples tell no drop below {1 / count:.1%}, so there may be none")
        low = high = nearest = None  # the most bits that do not hold, the fewest that do
        bits = FIRST
        for _ in range(PASSES):
            found = self._attempt(bits, lambda new: new.drop <= drop, judged=True)
            low, high = (low, bits) if found.drop <= drop else (bits, high)
            nearest = min(nearest or found, found, key=lambda each: each.drop)
            if bits == (MOST_BITS if high is None else LEAST_BITS) or (low and high and high / low < NARROW):
                break
            if high is None:
                bits = min(MOST_BITS, bits * RISE)
            else:
                bits = max(LEAST_BITS, high / FALL) if low is None else math.sqrt(low * high)
        if self.best is None:
            raise BadPlan(
                f"even at {bits:.1f} bits a weight more than {self.judge.lost(drop)}; the least was "
                f"{nearest.drop:.2%}, at {nearest.bits:.1f} bits: allow more, or compress without calibration"
            )
        return self.best[0]

    def _attempt(
        self, bits: float, fits: Callable[[Trial], bool], judged: bool = False, exact: tuple[str, ...] = ()
    ) -> Trial:
        """Calibrate at so many bits a weight, some tensors staying exact; kept where it fits, and is better than what
        was kept."""
        steps = allocate.by_bits(self.costs, bits * self.weights)
        steps = {name: step for name, step in steps.items() if name not in exact}
        options = calibrate.Options(threads=self.threads)
        with self.sound():
            new = calibrate.calibrated(self.advisor, self.samples, steps, options, self.progress)
        if not all(np.isfinite(array).all() for array in new.values()):
            raise self.unsound()
        judgement = self.judge(self.run_with(new)) if judged else {}
        found = Trial(bits, self._file(new).nbytes, **judgement)
        self.tell(found)
        before = self.best and self.best[0].nbytes
        if fits(found) and (before is None or (found.nbytes < before if judged else found.nbytes > before)):
            self.best = found, new
        return found

    # -- files ---------------------------------------------------------------------------------------------------------

    def _file(self, new: dict[str, np.ndarray]) -> File:
        """What the file with these values takes."""
        from . import model as onnx_model

        proto, plan = self._changed(new)
        sink, records = Sink(), {}

        def note(name: str, done: int, total: int) -> None:
            records[name] = sink.nbytes - sum(records.values())

        with assembled(self.threads) as crew:
            options = {"place": "the file", "crew": crew, "metadata": self._metadata(), "progress": note}
            packed = packing.pack(proto, onnx_model.from_proto(proto), plan, sink, **options)
        return File(packed.nbytes, records)

    def _changed(self, new: dict[str, np.ndarray]):
        """The model with new values, and the plan that codes these exactly."""
        from . import model as onnx_model

        patterns = tuple(glob.escape(name) for name in self.names)
        rules = (*self.plan.rules, Rule(patterns, Settings(index_bits=self.plan.default.index_bits)))
        exact = replace(self.plan, default=LOSSLESS, rules=rules)
        return onnx_model.with_values(self.source, new), exact

    def _metadata(self) -> dict[str, str]:
        source = {"source-sha256": self.source.source_sha256, "source-bytes": str(self.source.source_bytes)}
        return source | {"settings": "calibrated"}

    def moved(self) -> tuple[int, int]:
        """How many biases and BatchNormalization means of the best trial are new."""
        beside = self.best[1].keys() - set(self.names)
        means = sum(("BatchNormalization", 3) in self.sites[name].uses for name in beside)
        return len(beside) - means, means

    def write(self, output: str | os.PathLike, force: bool) -> None:
        """Write the best trial."""
        proto, plan = self._changed(self.best[1])
        options = {"threads": self.threads, "metadata": self._metadata(), "warn": self.warn, "force": force}
        pipeline.compress(proto, output, plan, **options)


def _nearer(
    found: Trial, before: Trial | None, low: Trial | None, high: Trial | None, aim: float, weights: int
) -> float:
    """The bits to try next for a file of `aim` bytes, `found` being the last trial and `before` the one before it."""
    if low is not None and high is not None:  # within the middle nine tenths
        share = min(0.95, max(0.05, (aim - low.nbytes) / (high.nbytes - low.nbytes)))
        return low.bits + share * (high.bits - low.bits) if high.bits - low.bits > 1e-4 else found.bits
    # The file grows by about as many bits as it is given; less than half of what was tried is not believed.
    rise = 1.0 if before is None else 8 * (found.nbytes - before.nbytes) / weights / (found.bits - before.bits)
    further = found.bits + 8 * (aim - found.nbytes) / weights / min(2.0, max(0.5, rise))
    return min(MOST_BITS, max(found.bits / 2, LEAST_BITS, further))
