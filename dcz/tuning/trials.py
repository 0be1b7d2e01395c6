"""Calibrated settings of a model, tried one after another: the values that each gives, and the bytes of its file.

run.divide(held=True)                        measures what a bit buys in each tensor
trial, new = run.attempt(4.0, judged=True)   Trial(bits=4.0, nbytes=671_331, agreement=0.98, drop=0.02), new values
run.keep(trial, new)
run.write("net.dcz", force=True)
"""

import glob
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from .. import calibrate
from ..calibrate import allocate
from ..compression.compress import compress
from ..compression.executors import open_pool
from ..compression.fold_batchnorm import noted
from ..compression.target_size import File, measured
from ..errors import BadPlan
from ..evaluation.batches import SampleBatches, evenly_spaced
from ..evaluation.samples import Samples
from ..plan import LOSSLESS, Plan, Rule, Settings
from .criteria import Accuracy, Agreement
from .session import TuningSession

HELD = 0.25  # of the samples, which decide whether a drop is small enough
FEWEST = 8  # samples to calibrate with
MEASURED = 128  # samples, at most, by which tensors are compared


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


class Trials(TuningSession):
    """One run: what each tensor costs, and the trial that is kept, `best`, with its `values_of_best`.

    `samples` are those that calibrate, `held` those that do not; `judge` tells by these what is lost. For `labels` see
    dcz.tune. `progress` is told a tensor's name, how many are done, and how many there are, anew in each trial;
    `tell` is told of each trial.
    """

    def __init__(self, model, inputs, labels, plan: Plan, threads: int, progress: Callable, tell: Callable):
        super().__init__(model, inputs, plan, threads)
        self.labels, self.progress, self.tell = labels, progress, tell
        if self.count < FEWEST:
            place = self.network.samples.path
            raise BadPlan(f"{place}: {self.count} samples; calibration wants {FEWEST} at least, better hundreds")
        self.best: Trial | None = None
        self.values_of_best: dict[str, np.ndarray] = {}
        self.judge: Agreement | Accuracy | None = None
        self.made_by = "calibrated"  # what the file says of its settings

    def divide(self, held: bool) -> None:
        """Say which samples calibrate, and which, if any, are held out; and measure the curves."""
        places, every = np.arange(self.count), round(1 / HELD)
        out = held & (places % every == every - 1)
        self.samples, self.held = SampleBatches(self.network, places[~out]), SampleBatches(self.network, places[out])
        self.judge = self._judge() if held else None
        self.costs = self.curves(SampleBatches(self.network, evenly_spaced(self.samples.indices, MEASURED)))

    def _judge(self) -> Agreement | Accuracy:
        if self.labels is None:
            return Agreement(self.network, self.held)
        if isinstance(self.labels, (str, os.PathLike)):
            return Accuracy(self.network, self.held, self.labels, self.data)
        name = "the labels"
        arrays = {**self.data.arrays, name: np.asarray(self.labels)}
        return Accuracy(self.network, self.held, name, Samples(self.data.path, arrays))

    def attempt(self, bits: float, judged: bool = False, exact: tuple[str, ...] = ()) -> tuple[Trial, dict]:
        """Calibrate at so many bits a weight, tensors named in `exact` staying so: what came of it, and the values."""
        steps = allocate.by_bits(self.costs, bits * self.weights)
        steps = {name: step for name, step in steps.items() if name not in exact}
        options = calibrate.Options(threads=self.threads)
        with self.numerics_guard():
            new = calibrate.calibrated(self.calibration_model, self.samples, steps, options, self.progress)
        if not all(np.isfinite(array).all() for array in new.values()):
            raise self.numerics_error()
        judgement = self.judge(self.run_with(new)) if judged else {}
        trial = Trial(bits, self.file(new).nbytes, **judgement)
        self.tell(trial)
        return trial, new

    def keep(self, trial: Trial, new: dict[str, np.ndarray]) -> None:
        """Let this be the best trial."""
        self.best, self.values_of_best = trial, new

    # -- files ---------------------------------------------------------------------------------------------------------

    def file(self, new: Mapping[str, np.ndarray]) -> File:
        """What the file with these values takes."""
        proto, plan = self._changed(new)
        with open_pool(self.threads) as pool:
            return measured(proto, plan, pool, metadata=self._metadata(new))

    def write(self, output: str | os.PathLike, **options) -> None:
        """Write the best trial; for `options` see dcz.compress."""
        new = self.values_of_best
        proto, plan = self._changed(new)
        compress(proto, output, plan, threads=self.threads, metadata=self._metadata(new), **options)

    def _changed(self, new: Mapping[str, np.ndarray]):
        """The model with new values, and the plan that codes these exactly; without any, the model as it was."""
        from .. import model as onnx_model

        patterns = tuple(glob.escape(name) for name in self.names)
        rules = (*self.plan.rules, Rule(patterns, Settings(index_bits=self.plan.default.index_bits)))
        exact = replace(self.plan, default=LOSSLESS, rules=rules, fold=False)
        unfolded = self.folded and not new
        return self.unfolded if unfolded else onnx_model.with_values(self.source, new), exact

    def _metadata(self, new: Mapping[str, np.ndarray]) -> dict[str, str]:
        source = {"source-sha256": self.source.source_sha256, "source-bytes": str(self.source.source_bytes)}
        return noted(source | {"settings": self.made_by}, self.folded if new else 0)

    def moved(self) -> tuple[int, int]:
        """How many biases and BatchNormalization means of the best trial are new."""
        beside = self.values_of_best.keys() - set(self.names)
        means = sum(("BatchNormalization", 3) in self.tensors[name].uses for name in beside)
        return len(beside) - means, means
