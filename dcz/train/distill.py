"""Calibrated values, trained toward the outputs of the original network on inputs without labels.

    trainee = Trainee(original, calibration_model, new, shared, frozen)     refuses what cannot be trained
    for values in trainee.epochs(batches):  ...                             {name: new values} after each epoch

Calibration rounds layer by layer, for the outputs of each layer; this minimises the divergence of the whole network's
outputs (losses.Distillation: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015). The centroids, the
biases and the parameters of normalisations follow their gradients, by small steps.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..codec.stages import grid, share
from ..errors import InvalidArgument
from ..evaluation.runtime import Inputs
from ..model import Model, with_values
from .losses import Distillation
from .network import Network
from .pytorch import torch
from .weight import Weight

MIN_SAMPLES = 8  # behind each step; more where a batch holds more
SIGNIFICAND_BITS = 53  # of a float64
MAX_LEVEL = 2048  # below it, level times step is exact in float32 (grid.round_step)


@dataclass(frozen=True)
class Schedule:
    """How to train: `epochs` over the samples, with Adam, at rates that fall as a half cosine to zero.

    Over all steps, a centroid moves by at most about `centroids` of the median distance between neighbours in its
    tensor, and another parameter by about `others` of its tensor's standard deviation.
    """

    epochs: int = 4
    centroids: float = 0.5
    others: float = 0.3


class Trainee:
    """The network with calibrated values (the student), and the original one (the teacher).

    `original` is the model as it was, `calibration_model` the one with what a plan's rules make of it, `new` calibrated
    values for its tensors. The tensors in `shared` (names) keep their few distinct values and their codes: only the
    values are trained. Other tensors, biases and those of normalisations, are trained element by element; those for
    whose names `frozen` is true are not. Raises UnsuitableModel, naming the operator, for a graph that cannot be
    trained.
    """

    def __init__(
        self,
        original: Model,
        calibration_model: Model,
        new: Mapping[str, np.ndarray],
        shared: Iterable[str],
        frozen: Callable[[str], bool],
    ):
        names, self.place = set(shared), original.path or "the model"
        self.teacher = Network(with_values(original, {}), place=self.place)
        self.network = Network(with_values(calibration_model, new), frozen, self.place)
        self.loss = Distillation(self.network, self.teacher)
        tensors = [_SharedTensor(w) if w.name in names else _DenseTensor(w) for w in self.network]
        self.tensors = [tensor for tensor in tensors if tensor.unit > 0 and math.isfinite(tensor.unit)]

    def check(self, batch: Inputs) -> None:
        """Raise InvalidArgument where a batch gives no gradient, UnsuitableModel where the graph does not take it."""
        if not self._loss(batch).requires_grad:
            raise InvalidArgument(
                f"{self.place}: its outputs are whole numbers, or depend on no weight that may be trained, and leave "
                "nothing to distill: compress it without --distill"
            )

    def epochs(
        self,
        batches: Callable[[int], Sequence[Inputs]],
        schedule: Schedule = Schedule(),
        progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    ) -> Iterator[dict[str, np.ndarray]]:
        """Train, and yield {name: values} after each epoch; end early where values or the loss are not finite.

        `batches(epoch)` gives the batches of an epoch, the same number in each. `progress` gets the epoch's title, and
        how many batches of how many are done, over all epochs.
        """
        optimizer = torch.optim.Adam([tensor.group(schedule) for tensor in self.tensors], eps=1e-16)
        for epoch in range(schedule.epochs):
            inputs = batches(epoch)
            total, every = schedule.epochs * len(inputs), math.ceil(MIN_SAMPLES / _samples(inputs[0]))
            steps = schedule.epochs * math.ceil(len(inputs) / every)
            for number, batch in enumerate(inputs, 1):
                loss = self._loss(batch)
                if not bool(torch.isfinite(loss)):
                    return
                torch.autograd.backward(_samples(batch) * loss)
                done = epoch * len(inputs) + number
                if number % every == 0 or number == len(inputs):  # the rates add up to 1, or nearly
                    self._step(optimizer, (1 + math.cos(math.pi * (done - 1) / total)) / steps)
                progress(f"distilling, epoch {epoch + 1} of {schedule.epochs}", done, total)
            values = {tensor.weight.name: tensor.values() for tensor in self.tensors}
            if not all(_is_finite(values[tensor.weight.name], tensor.weight.dtype) for tensor in self.tensors):
                return
            yield values

    def _loss(self, batch: Inputs) -> torch.Tensor:
        inputs = self.network.as_inputs(dict(batch))
        return self.loss(self.network(inputs), inputs, None)

    def _step(self, optimizer: torch.optim.Optimizer, rate: float) -> None:
        """One step of Adam, which does not depend on the scale of the gradients, summed over a number of samples."""
        for group in optimizer.param_groups:
            group["lr"] = rate * group["full_rate"]
        for tensor in self.tensors:
            tensor.collect_gradient()
        optimizer.step()
        for tensor in self.tensors:
            tensor.update()
        optimizer.zero_grad(set_to_none=True)


class _SharedTensor:
    """A tensor of few values: its centroids except zero are trained, `unit` being their median distance.

    Where they are multiples of one step, so that the file need not list them, only that step is trained.
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
        self.step = _ramp_step(centroids, float(gaps.min())) if len(gaps) else None
        if self.step is not None:
            self.levels = torch.from_numpy(np.rint(centroids / self.step)).to(weight.values.dtype)
            self.factor = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def group(self, schedule: Schedule) -> dict[str, Any]:
        """The parameters for the optimizer, and their rate over all steps."""
        if self.step is None:
            return {"params": [self.weight.values], "full_rate": schedule.centroids * self.unit}
        typical = float(self.levels.double().square().mean().sqrt())  # such a level moves as a centroid would
        return {"params": [self.factor], "full_rate": schedule.centroids / typical}

    def collect_gradient(self) -> None:
        """The gradient of the step is that of the centroids times their levels, by the chain rule."""
        if self.step is not None and self.weight.values.grad is not None:
            self.factor.grad = self.step * (self.weight.values.grad * self.levels).sum().double()
            self.weight.values.grad = None

    def update(self) -> None:
        """Set the centroids to the multiples of their step."""
        if self.step is not None:
            with torch.no_grad():
                self.weight.values.copy_(self.levels * grid.round_step(self.step * float(self.factor)))

    def values(self) -> np.ndarray:
        """The tensor (float64); its centroids are float16 numbers where they were before."""
        values = self.weight.numpy().astype(np.float64)
        return _half(values) if self.is_half and self.step is None else values


class _DenseTensor:
    """A tensor whose elements are trained one by one. `unit` is their standard deviation."""

    def __init__(self, weight: Weight):
        values = weight.numpy().astype(np.float64)
        self.unit, self.grid, self.weight = float(values.std()), _grid(values), weight

    def group(self, schedule: Schedule) -> dict[str, Any]:
        """The parameters for the optimizer, and their rate over all steps."""
        return {"params": [self.weight.values], "full_rate": schedule.others * self.unit}

    def collect_gradient(self) -> None:
        """Nothing to do: the elements are the parameters."""

    def update(self) -> None:
        """Nothing to do: the elements are the parameters."""

    def values(self) -> np.ndarray:
        """The tensor (float64), rounded to as few bits as it had before."""
        return np.rint(self.weight.numpy().astype(np.float64) / self.grid) * self.grid


def _samples(batch: Inputs) -> int:
    return max((len(array) for array in batch.values() if array.ndim), default=1)


def _is_finite(array: np.ndarray, dtype: str) -> bool:
    """Whether all numbers are finite in the type that the tensor has in the model."""
    return bool(torch.isfinite(torch.from_numpy(array).to(getattr(torch, dtype))).all())


def _ramp_step(centroids: np.ndarray, gap: float) -> float | None:
    """The step of which all `centroids` are multiples, `gap` being the least distance of two; None if there is none."""
    step = grid.round_step(gap)
    levels = np.rint(centroids / step)
    is_ramp = len(centroids) > 2 and bool((levels * step == centroids).all()) and np.abs(levels).max() < MAX_LEVEL
    return step if is_ramp else None


def _half(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float64)


def _grid(values: np.ndarray) -> float:
    """The largest power of two of which all `values` (float64) are multiples; 1 where all are zero."""
    fraction, exponent = np.frexp(values[values != 0])
    if not fraction.size:
        return 1.0
    whole = (fraction * 2.0**SIGNIFICAND_BITS).astype(np.int64)
    trailing = np.log2(whole & -whole).astype(np.int64)
    return float(np.ldexp(1.0, int((exponent - SIGNIFICAND_BITS + trailing).min())))
