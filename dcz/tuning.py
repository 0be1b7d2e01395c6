"""The smallest file at equal answers, by what unlabelled inputs tell; or the best answers for a budget of bytes.

    tune("net.onnx", "net.dcz", "inputs.npz", max_bytes=500_000)

One run over the samples measures what a bit buys in each tensor (calibrate.curves). Then, for some number of bits in
all, every tensor gets the step at which a bit buys the same everywhere (allocate.by_bits), and is rounded so that its
layer's outputs change least (calibrate.calibrated). The number of bits is what is sought: for a size by the bytes of
the file, for a quality by the answers on samples that were held out of the calibration.
"""

import glob
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from . import allocate, calibrate, packing, pipeline, runtime
from .errors import BadPlan
from .files import check_output
from .parallel import thread_count
from .plan import LOSSLESS, PRUNING, SAFE_QUALITY, SHARING, Plan, Rule, Settings
from .sampled import Batches, Sampled
from .search import TOLERANCE, File, Sink, fitting

if TYPE_CHECKING:
    from .distilling import Verdict

HELD = 0.25  # of the samples, which decide whether a drop is small enough
DROP = 0.01  # where no goal is named
FEWEST = 8  # samples to calibrate with
MEASURED = 256  # samples, at most, by which tensors are compared
MOST_BITS, LEAST_BITS = 7.5, 0.05  # a weight: beyond, 256 values are no nearer; below, nothing is left
FIRST = 4.0  # bits a weight, the first to be judged by its answers
FILLINGS = 4  # rounds in which exact tensors are added
TRIALS = 8
NARROW = 1.03  # between bits that hold and bits that do not: nearer ones are not told apart by some dozens of samples
FALL, RISE = 1.5, 1.4  # from one trial to the next, until one holds and one does not
SLACK = 0.002  # of the file, by which it may grow for better answers where no size was asked for
PASSES = 10  # trials for a drop: eight at most from 7.5 to 0.3 bits, the others between


@dataclass(frozen=True)
class Trial:
    """One setting that was tried: bits a weight as reckoned, the bytes of the file, and, where a drop was
    asked for, the agreement of the top class with the original on the held-out samples (a share), else None."""

    bits: float
    nbytes: int
    agreement: float | None = None


@dataclass(frozen=True)
class Tuned:
    """A finished run: the trial that was kept (its bits are inf where all stayed exact), how many samples calibrated,
    how many were held out, and what came of distilling, if that was asked for."""

    path: str
    kept: Trial
    calibrated_on: int
    held_out: int
    distilled: "Verdict | None" = None


def tune(
    model,
    output: str | os.PathLike,
    inputs: str | os.PathLike | Mapping[str, np.ndarray],
    *,
    max_bytes: int | None = None,
    ratio: float | None = None,
    max_drop: float | None = None,
    distill: bool = False,
    plan: Plan | Settings | str | os.PathLike | None = None,
    threads: int | None = None,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    trial: Callable[[Trial], None] = lambda trial: None,
    warn: Callable[[str], None] = lambda message: None,
    force: bool = True,
) -> Tuned:
    """Compress `model` (a path or a ModelProto) into the file `output` as its own unlabelled `inputs` advise.

    `inputs`: the path of an .npz with an array for each input (or an .npy), or the arrays; samples along the first
    axis, a few hundred being enough. One of `max_bytes`, `ratio` (how many times smaller) and `max_drop`: the share of
    samples whose top class may change, judged by a quarter of them, which are not calibrated on; by default 0.01. The
    plan's rules and exclusions hold bit for bit; what its default goes for is calibrated, and so are the biases of
    those layers. A default that says how finely to share is a BadPlan. `distill` then trains the values toward the
    original's answers, and takes what is clearly better (distilling.distill): it wants PyTorch, and holds a quarter of
    the samples out. `progress` is told a tensor's name, how many are done, and how many there are, anew in each trial;
    `trial` is told of each trial. For the rest see pipeline.compress.
    Raises BadPlan where the budget cannot be met, saying what could; an older `output` stays as it was.
    """
    goals = [goal for goal in (max_bytes, ratio, max_drop) if goal is not None]
    if len(goals) > 1:
        raise BadPlan("give one of a size, a ratio and a drop")
    if ratio is not None and not 0 < ratio < math.inf:
        raise BadPlan(f"a ratio is how many times smaller the file shall be, above 0, not {ratio!r}")
    if max_drop is not None and not 0 <= max_drop < 1:
        raise BadPlan(f"a drop is a share of samples from 0 to below 1, not {max_drop!r}")
    named = [given for given in (model, inputs) if isinstance(given, (str, os.PathLike))]
    check_output(output, force, inputs=[path for path in named if os.path.exists(path)])
    plan = _undecided(pipeline.as_plan(plan))
    run = _Tuning(model, inputs, plan, thread_count(threads), progress, trial, warn)
    check_output(output, force, inputs=[site.external[0] for site in run.source.sites if site.external])
    if distill:
        run.prepare_to_distill()
    if ratio is not None:
        max_bytes = int(run.source.source_bytes / ratio)
    kept = run.to_drop(DROP if max_drop is None else max_drop) if max_bytes is None else run.to_size(max_bytes)
    verdict = run.distill(int((1 + SLACK) * kept.nbytes) if max_bytes is None else max_bytes) if distill else None
    run.write(output, force)
    return Tuned(os.fspath(output), run.best[0], len(run.samples.chosen), len(run.held.chosen), verdict)


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

    def __init__(self, model, inputs, plan: Plan, threads: int, progress, trial, warn):
        super().__init__(model, inputs, plan, threads)
        self.progress, self.tell, self.warn = progress, trial, warn
        if self.count < FEWEST:
            place = self.network.samples.path
            raise BadPlan(f"{place}: {self.count} samples; calibration wants {FEWEST} at least, better hundreds")
        self.best: tuple[Trial, dict] | None = None
        self.distills = self.is_distilled = False

    def _divide(self, held: bool) -> None:
        """Say which samples calibrate, and which, if any, are held out; and measure the curves."""
        places, every = np.arange(self.count), round(1 / HELD)
        out = held & (places % every == every - 1)
        self.samples, self.held = Batches(self.network, places[~out]), Batches(self.network, places[out])
        self.costs = self.curves(Batches(self.network, self.samples.chosen[:MEASURED]))

    # -- trials --------------------------------------------------------------------------------------------------------

    def to_size(self, max_bytes: int) -> Trial:
        """The most bits whose file has `max_bytes` at most; where there is room for more, tensors stay exact."""
        self._divide(held=self.distills)
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
        """The fewest bits at which no more than `drop` of the held-out samples change their top class."""
        self._divide(held=True)
        count = len(self.held.chosen)
        if 0 < drop < 1 / count:
            self.warn(f"{count} held-out samples tell no drop below {1 / count:.1%}, so none of them may change")
        low = high = nearest = None  # the most bits that do not hold, the fewest that do
        bits = FIRST
        for _ in range(PASSES):
            found = self._attempt(bits, lambda new: 1 - new.agreement <= drop, judged=True)
            low, high = (low, bits) if 1 - found.agreement <= drop else (bits, high)
            nearest = max(nearest or found, found, key=lambda each: each.agreement)
            if bits == (MOST_BITS if high is None else LEAST_BITS) or (low and high and high / low < NARROW):
                break
            if high is None:
                bits = min(MOST_BITS, bits * RISE)
            else:
                bits = max(LEAST_BITS, high / FALL) if low is None else math.sqrt(low * high)
        if self.best is None:
            raise BadPlan(
                f"even at {bits:.1f} bits a weight more than {drop:.2%} of the {count} held-out samples change their "
                f"top class; the least was {1 - nearest.agreement:.2%}, at {nearest.bits:.1f} bits: allow more, or "
                "compress without calibration"
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
            new = calibrate.calibrated(self.advisor, self.samples, steps, options, progress=self.progress)
        if not all(np.isfinite(array).all() for array in new.values()):
            raise self.unsound()
        found = Trial(bits, self._file(new).nbytes, self._agreement(new) if judged else None)
        self.tell(found)
        before = self.best and self.best[0].nbytes
        if fits(found) and (before is None or (found.nbytes < before if judged else found.nbytes > before)):
            self.best = found, new
        return found

    def _agreement(self, new: dict[str, np.ndarray]) -> float:
        """The share of held-out samples whose answer stays: the largest entry of the first output that holds classes,
        or, where none does, the whole numbers of the first one that holds such."""
        changed = self.run_with(new)
        place, same, total = None, 0, 0
        for number, batch in enumerate(self.held):
            before, after = runtime.run(self.session, batch), runtime.run(changed, batch)
            if place is None:
                place = _telling(before)
            x, y = (_answers(found[place], len(self.held.rows(number)), self.held.size) for found in (before, after))
            same, total = same + int((x == y).sum()), total + x.size
        return same / total if total else 1.0

    # -- distilling ----------------------------------------------------------------------------------------------------

    def prepare_to_distill(self) -> None:
        """Refuse what cannot be trained, before all that takes long."""
        from . import distilling

        distilling.check(self)
        self.distills = True

    def distill(self, max_bytes: int) -> "Verdict | None":
        """Train the best trial's values, and keep what is better, in `max_bytes` at most; None where all are exact."""
        from . import distilling

        kept, new = self.best
        if not new:
            return None
        self.is_distilled = True  # as the file will say

        def fits(values: dict[str, np.ndarray]) -> bool:
            same = kept.agreement is None or self._agreement(values) >= kept.agreement
            return same and self._file(values).nbytes <= max_bytes

        better, verdict = distilling.distill(self, new, self.samples, self.held, fits, progress=self.progress)
        if better is not None:
            agreement = None if kept.agreement is None else self._agreement(better)
            self.best = Trial(kept.bits, self._file(better).nbytes, agreement), better
        self.is_distilled = better is not None
        return verdict

    # -- files ---------------------------------------------------------------------------------------------------------

    def _file(self, new: dict[str, np.ndarray]) -> File:
        """What the file with these values takes."""
        from . import model as onnx_model

        proto, plan = self._changed(new)
        sink, records = Sink(), {}

        def note(name: str, done: int, total: int) -> None:
            records[name] = sink.nbytes - sum(records.values())

        options = {"place": "the file", "threads": self.threads, "metadata": self._metadata(), "progress": note}
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
        return source | {"settings": "distilled" if self.is_distilled else "calibrated"}

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
    return output if output.dtype.kind != "f" else runtime.rows(output).argmax(1)
