"""Calibrated values, trained toward the answers of the original network on inputs without labels.

    trainee = Trainee(original, advisor, new, shared, frozen)      refuses what cannot be trained
    for values in trainee.epochs(batches):  ...                    {name: new values} after each epoch

Calibration rounds layer by layer, for each layer's own outputs; this looks at the answers of the whole network. The
centroids, the biases and the parameters of normalisations move against their gradient, a little at a time.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..codec.stages import grid, share
from ..errors import BadPlan
from ..evaluation.runtime import Inputs
from ..model import Model, with_values
from .losses import Distillation
from .network import Network
from .weight import Weight

SAMPLES = 8  # at least, behind each step; more where a batch holds more
SIGNIFICAND = 53  # bits of a float64


@dataclass(frozen=True)
class Schedule:
    """How to train: so many `epochs` over the samples, with Adam, at rates that fall as a cosine to nothing.

    In all, a centroid moves by about `centroids` of the distance between two of its tensor at most, and another
    parameter by about `others` of its tensor's standard deviation.
    """

    epochs: int = 4
    centroids: float = 0.5
    others: float = 0.3


class Trainee:
    """The network with calibrated values, and the original one that teaches it.

    `original` is the model as it was, `calibration_model` the one with what a plan's rules make of it, `new` calibrated
    values for its tensors. Those that `shared` names keep their few values, each weight the one that it has; other
    tensors, biases and those of normalisations, are trained as they are; those that `frozen` (a predicate on names)
    names are not. Raises UnsuitableModel, naming the operator, where the graph cannot be trained.
    """

    def __init__(
        self,
        original: Model,
        calibration_model: Model,
        new: Mapping[str, np.ndarray],
        shared: Iterable[str],
        frozen: Callable[[str], bool],
    ):
        shared, self.place = set(shared), original.path or "the model"
        self.teacher = Network(with_values(original, {}), place=self.place)
        self.network = Network(with_values(calibration_model, new), frozen, self.place)
        self.loss = Distillation(self.network, self.teacher)
        made = (_Shared(each) if each.name in shared else _Plain(each) for each in self.network)
        self.parts = [part for part in made if part.unit > 0 and math.isfinite(part.unit)]

    def check(self, batch: Inputs) -> None:
        """Raise BadPlan where no gradient comes of a batch, UnsuitableModel where the graph does not take it."""
        if not self._loss(batch).requires_grad:
            raise BadPlan(
                f"{self.place}: its outputs are whole numbers, or depend on no weight that may be trained, and leave "
                "nothing to distill: compress it without --distill"
            )

    def epochs(
        self,
        batches: Callable[[int], Sequence[Inputs]],
        schedule: Schedule = Schedule(),
        progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Train, and give {name: values} after each epoch; ends early where they are no numbers any more.

        `batches` gives those of an epoch, as many in each. `progress` is told which epoch it is, and of all epochs how
        many batches are done, and how many there are.
        """
        optimizer = torch.optim.Adam([part.group(schedule) for part in self.parts], eps=1e-16)
        for epoch in range(schedule.epochs):
            given = batches(epoch)
            total, every = schedule.epochs * len(given), math.ceil(SAMPLES / _samples(given[0]))
            steps = schedule.epochs * math.ceil(len(given) / every)
            for number, batch in enumerate(given, 1):
                loss = self._loss(batch)
                if not bool(torch.isfinite(loss)):
                    return
                (_samples(batch) * loss).backward()
                done = epoch * len(given) + number
                if number % every == 0 or number == len(given):  # the rates add up to 1, or nearly
                    self._step(optimizer, (1 + math.cos(math.pi * (done - 1) / total)) / steps)
                progress(f"distilling, epoch {epoch + 1} of {schedule.epochs}", done, total)
            found = {part.weight.name: part.values() for part in self.parts}
            if not all(_is_finite(array, part.weight.dtype) for array, part in zip(found.values(), self.parts)):
                return
            yield found

    def _loss(self, batch: Inputs) -> torch.Tensor:
        given = self.network.as_inputs(dict(batch))
        return self.loss(self.network(given), given, None)

    def _step(self, optimizer: torch.optim.Optimizer, rate: float) -> None:
        """One step; Adam does not mind over how many samples the gradients were added up."""
        for group in optimizer.param_groups:
            group["lr"] = rate * group["full"]
        for part in self.parts:
            part.gather()
        optimizer.step()
        for part in self.parts:
            part.spread()
        optimizer.zero_grad(set_to_none=True)


class _Shared:
    """A tensor of few values: its centroids but zero are trained, `unit` being the usual distance between two.

    Where they are multiples of one step, which the file then need not list, only that step is trained.
    """

    def __init__(self, weight: Weight):
        flat = weight.numpy().ravel()
        weight.prune(flat != 0)  # zeros are left out of the file, and so stay zeros
        centroids, codes = np.unique(flat[flat != 0].astype(np.float64), return_inverse=True)
        if len(centroids):
            weight.share(share.SharedWeights(centroids, codes.astype(np.uint8)))
        gaps = np.diff(np.union1d(centroids, [0.0]))
        self.unit = float(np.median(gaps)) if len(gaps) else 0.0
        self.weight, self.is_half = weight, np.array_equal(_half(centroids), centroids)
        self.step = _step(centroids, float(gaps.min())) if len(gaps) else None
        if self.step is not None:
            self.levels = torch.from_numpy(np.rint(centroids / self.step)).to(weight.values.dtype)
            self.factor = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def group(self, schedule: Schedule) -> dict:
        """What the optimizer is told."""
        if self.step is None:
            return {"params": [self.weight.values], "full": schedule.centroids * self.unit}
        typical = float(self.levels.double().square().mean().sqrt())  # such a level moves as a centroid would
        return {"params": [self.factor], "full": schedule.centroids / typical}

    def gather(self) -> None:
        """The gradient of the step is that of the centroids times their levels."""
        if self.step is not None and self.weight.values.grad is not None:
            self.factor.grad = self.step * (self.weight.values.grad * self.levels).sum().double()
            self.weight.values.grad = None

    def spread(self) -> None:
        """The centroids follow their step."""
        if self.step is not None:
            with torch.no_grad():
                self.weight.values.copy_(self.levels * grid.round_step(self.step * float(self.factor)))

    def values(self) -> np.ndarray:
        """The tensor; its centroids are float16 where they were."""
        found = self.weight.numpy().astype(np.float64)
        return _half(found) if self.is_half and self.step is None else found


class _Plain:
    """A tensor whose numbers are trained one by one. `unit` is their standard deviation."""

    def __init__(self, weight: Weight):
        numbers = weight.numpy().astype(np.float64)
        self.unit, self.grid, self.weight = float(numbers.std()), _grid(numbers), weight

    def group(self, schedule: Schedule) -> dict:
        """What the optimizer is told."""
        return {"params": [self.weight.values], "full": schedule.others * self.unit}

    def gather(self) -> None:
        """Its gradient is where the optimizer looks for it."""

    def spread(self) -> None:
        """Its numbers are what the optimizer moves."""

    def values(self) -> np.ndarray:
        """The tensor, its numbers as short as they were."""
        return np.rint(self.weight.numpy().astype(np.float64) / self.grid) * self.grid


def _samples(batch: Inputs) -> int:
    return max((len(array) for array in batch.values() if array.ndim), default=1)


def _is_finite(array: np.ndarray, dtype: str) -> bool:
    """Whether all numbers are finite in the type that the tensor has in the model."""
    return bool(torch.isfinite(torch.from_numpy(array).to(getattr(torch, dtype))).all())


def _step(centroids: np.ndarray, gap: float) -> float | None:
    """The step of which all `centroids` are multiples, `gap` being the least distance between two; None without one."""
    step = grid.round_step(gap)
    levels = np.rint(centroids / step)
    is_even = len(centroids) > 2 and bool((levels * step == centroids).all()) and np.abs(levels).max() < 2048
    return step if is_even else None


def _half(numbers: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return numbers.astype(np.float16).astype(np.float64)


def _grid(numbers: np.ndarray) -> float:
    """The largest power of two of which all `numbers` (float64) are multiples; 1 where all are zero."""
    part, exponent = np.frexp(numbers[numbers != 0])
    if not part.size:
        return 1.0
    whole = (part * 2.0**SIGNIFICAND).astype(np.int64)
    return float(np.ldexp(1.0, int((exponent - SIGNIFICAND + np.log2(whole & -whole).astype(np.int64)).min())))
