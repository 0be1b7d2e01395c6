"""The smallest file at equal answers, by what unlabelled inputs tell; or the best answers for a budget of bytes.

    tune("net.onnx", "net.dcz", "inputs.npz", max_bytes=500_000)

One run over the samples measures what a bit buys in each tensor (calibrate.curves). Then, for some number of bits in
all, every tensor gets the step at which a bit buys the same everywhere (allocate.by_bits), and is rounded so that its
layer's outputs change least (calibrate.calibrated). The number of bits is what is sought: for a size by the bytes of
the file, for a quality by the answers on samples that were held out of the calibration.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from . import allocate, calibrate, packing, pipeline, runtime
from .calibration import Batches, Calibration
from .errors import BadPlan
from .files import check_output
from .parallel import thread_count
from .plan import LOSSLESS, Plan, Rule, Settings
from .search import TOLERANCE, Sink

HELD = 0.25  # of the samples, which decide whether a drop is small enough
FEWEST = 8  # samples to calibrate with
MEASURED = 256  # samples, at most, by which tensors are compared
MOST_BITS, LEAST_BITS = 7.5, 0.05  # a weight: beyond, 256 values are no nearer; below, nothing is left
TRIALS = 6
PASSES = 8  # of bisection for a drop


@dataclass(frozen=True)
class Trial:
    """One setting that was tried: bits a weight as reckoned, the bytes of the file, and, where it was measured, the
    agreement of the top class with the original on the held-out samples (a share), else None."""

    bits: float
    nbytes: int
    agreement: float | None = None


@dataclass(frozen=True)
class Tuned:
    """A finished run: the trial that was kept, how many samples calibrated, and how many were held out."""

    path: str
    kept: Trial
    calibrated_on: int
    held_out: int


def tune(
    model,
    output: str | os.PathLike,
    inputs: str | os.PathLike | Mapping[str, np.ndarray],
    *,
    max_bytes: int | None = None,
    ratio: float | None = None,
    max_drop: float | None = None,
    plan: Plan | str | os.PathLike | None = None,
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
    plan's rules and exclusions hold; what its default goes for is calibrated, and so are the biases of those layers.
    `trial` is told of each trial. For the rest see pipeline.compress. Raises BadPlan where the budget cannot be met,
    saying what could; an older `output` stays as it was.
    """
    check_output(output, force, inputs=[inputs if isinstance(inputs, (str, os.PathLike)) else None])
    run = _Tuning(model, inputs, plan, thread_count(threads), progress, trial, warn)
    goals = [goal for goal in (max_bytes, ratio, max_drop) if goal is not None]
    if len(goals) > 1:
        raise BadPlan("give one of a size, a ratio and a drop")
    if ratio is not None:
        if not 0 < ratio < math.inf:
            raise BadPlan(f"a ratio is how many times smaller the file shall be, above 0, not {ratio!r}")
        max_bytes = int(run.source.source_bytes / ratio)
    if max_bytes is not None:
        kept = run.to_size(max_bytes)
    else:
        drop = 0.01 if max_drop is None else max_drop
        if not 0 <= drop < 1:
            raise BadPlan(f"a drop is a share of samples from 0 to below 1, not {drop!r}")
        kept = run.to_drop(drop)
    run.write(output, force)
    return Tuned(os.fspath(output), kept, len(run.samples.chosen), len(run.held.chosen))


class _Tuning(Calibration):
    """One run: what each tensor costs, and the best trial so far with its values."""

    def __init__(self, model, inputs, plan, threads: int, progress, trial, warn):
        super().__init__(model, inputs, plan, threads)
        self.progress, self.tell, self.warn = progress, trial, warn
        if self.count < FEWEST:
            place = self.network.samples.path
            raise BadPlan(f"{place}: {self.count} samples; calibration wants {FEWEST} at least, better hundreds")
        places, every = np.arange(self.count), round(1 / HELD)
        held = places % every == every - 1
        self.samples, self.held = Batches(self.network, places[~held]), Batches(self.network, places[held])
        self.costs = self.curves(self.samples.first(MEASURED))
        self.best: tuple[Trial, dict] | None = None

    # -- trials --------------------------------------------------------------------------------------------------------

    def to_size(self, max_bytes: int) -> Trial:
        """The most bits whose file has `max_bytes` at most."""
        bits = self._guess(max_bytes)
        for _ in range(TRIALS):
            found = self.attempt(bits, lambda new: new.nbytes <= max_bytes)
            if (1 - TOLERANCE) * max_bytes <= found.nbytes <= max_bytes:
                break
            # the file grows by about as many bits as it is given; aimed at the middle of what is allowed
            further = bits + 8 * ((1 - TOLERANCE / 3) * max_bytes - found.nbytes) / self.weights
            further = min(MOST_BITS, max(bits / 2, LEAST_BITS, further))
            if further == bits:
                break
            bits = further
        if self.best is None:
            raise BadPlan(
                f"calibrated as coarsely as {bits:.2f} bits a weight, the file still takes {found.nbytes:,} bytes, "
                f"more than {max_bytes:,}: allow more, prune it too, or retrain it (dcz retrain)"
            )
        return self.best[0]

    def _guess(self, max_bytes: int) -> float:
        """Bits a weight, by what the file takes besides."""
        besides = self._nbytes({name: np.zeros(self.sites[name].shape, np.float32) for name in self.names})
        return min(MOST_BITS, max(LEAST_BITS, 8 * (max_bytes - besides) / self.weights))

    def to_drop(self, drop: float) -> Trial:
        """The fewest bits at which no more than `drop` of the held-out samples change their top class."""
        low, high = LEAST_BITS, MOST_BITS
        bits = 4.0
        for _ in range(PASSES):
            found = self.attempt(bits, lambda new: 1 - new.agreement <= drop, judged=True)
            low, high = (low, bits) if 1 - found.agreement <= drop else (bits, high)
            bits = math.sqrt(low * high) if low > LEAST_BITS else high / 1.5
            if high / low < 1.03:
                break
        if self.best is None:
            raise BadPlan(
                f"even at {high:.1f} bits a weight more than {drop:.2%} of the {len(self.held.chosen)} held-out "
                "samples change their top class: allow more, or compress without calibration"
            )
        return self.best[0]

    def attempt(self, bits: float, fits: Callable[[Trial], bool], judged: bool = False) -> Trial:
        """Calibrate at so many bits a weight; kept where it fits, and is better than what was kept."""
        steps = allocate.by_bits(self.costs, bits * self.weights)
        new = calibrate.calibrated(
            self.source, self.samples, steps, calibrate.Options(threads=self.threads), progress=self.progress
        )
        found = Trial(bits, self._nbytes(new), self._agreement(new) if judged else None)
        self.tell(found)
        if fits(found):
            before = self.best and self.best[0].nbytes
            better = before is None or (found.nbytes < before if judged else found.nbytes > before)
            if better:
                self.best = found, new
        return found

    def _agreement(self, new: dict[str, np.ndarray]) -> float:
        """The share of held-out samples whose first output has the same largest entry."""
        changed = self.run_with(new)
        sums = runtime.Sums()
        for batch in self.held:
            sums.add(runtime.run(self.session, batch)[0], runtime.run(changed, batch)[0])
        agreement = sums.difference("").agreement
        if agreement is None:
            raise BadPlan("the first output holds no classes, so that no drop can be told: give a size or ratio")
        return agreement

    # -- files ---------------------------------------------------------------------------------------------------------

    def _nbytes(self, new: dict[str, np.ndarray]) -> int:
        proto, plan = self._changed(new)
        from . import model as onnx_model

        loaded = onnx_model.from_proto(proto)
        options = {"place": "the file", "threads": self.threads, "metadata": self._metadata()}
        return packing.pack(proto, loaded, plan, Sink(), **options).nbytes

    def _changed(self, new: dict[str, np.ndarray]):
        """The model with new values, and the plan that codes these exactly."""
        from . import model as onnx_model

        rules = (*self.plan.rules, Rule(tuple(self.names), Settings()))
        exact = replace(self.plan, default=LOSSLESS, rules=rules)
        return onnx_model.with_values(self.source, new), exact

    def _metadata(self) -> dict[str, str]:
        source = {"source-sha256": self.source.source_sha256, "source-bytes": str(self.source.source_bytes)}
        return source | {"settings": "calibrated"}

    def write(self, output: str | os.PathLike, force: bool) -> None:
        """Write the best trial."""
        proto, plan = self._changed(self.best[1])
        options = {"threads": self.threads, "metadata": self._metadata(), "warn": self.warn, "force": force}
        pipeline.compress(proto, output, plan, **options)
