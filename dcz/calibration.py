"""A model and the inputs that advise on it: what tuning and sensitivity stand on.

calibration = Calibration("net.onnx", "inputs.npz", Plan(), threads=2)
calibration.names          the tensors that the plan's default goes for
calibration.curves(calibration.batches(64))      what a bit buys in each of them
"""

import math
import os
from collections.abc import Iterator, Mapping

import numpy as np

from . import allocate, answers, calibrate, data, pipeline, runtime
from .errors import UnsuitableModel
from .plan import Plan, Settings
from .tensor import values


class Batches:
    """Batches of the `chosen` samples (int64) of a network, read anew each time they are asked for."""

    def __init__(self, network: answers.Network, chosen: np.ndarray):
        self._network, self.chosen = network, chosen

    def __iter__(self) -> Iterator[runtime.Inputs]:
        size = self._network.fixed or min(runtime.BATCH, len(self.chosen))
        for start in range(0, len(self.chosen), size):
            rows = self.chosen[start : start + size]
            yield self._network.batch(rows, self._network.fixed or len(rows))

    def first(self, count: int) -> list[runtime.Inputs]:
        """The batches of the first `count` samples, in memory."""
        return list(Batches(self._network, self.chosen[:count]))


class Calibration:
    """A model, the inputs that advise on it, and the tensors that the plan's default goes for, by name."""

    def __init__(self, model, inputs, plan: Plan | Settings | str | os.PathLike | None, threads: int):
        from . import model as onnx_model

        given = isinstance(model, (str, os.PathLike))
        self.source = onnx_model.load(model) if given else onnx_model.from_proto(model)
        self.plan, self.threads = pipeline.as_plan(plan), threads
        self.sites = {site.name: site for site in self.source.sites}
        self.plan.check_names(self.sites)
        self.names = [site.name for site in self.source.sites if self._is_calibrated(site)]
        if not self.names:
            raise UnsuitableModel(f"{self.source.path or 'the model'}: holds no weights that could be calibrated")
        self.weights = sum(math.prod(self.sites[name].shape) for name in self.names)
        self.session = self.run_with({})
        self.network = answers.Network(self.source.path or "the model", self.session, _samples(inputs), None)
        self.count = self.network.samples.count

    def _is_calibrated(self, site) -> bool:
        """Whether the plan's default goes for a tensor."""
        if not site.dtype.real or self.plan.rule(site.name) is not None:
            return False
        return not self.plan.settings(site.name, site.is_weight, math.prod(site.shape)).lossless

    def values(self, name: str) -> np.ndarray:
        """A tensor's numbers as they are in the model."""
        site = self.sites[name]
        return values(site.read().view(site.dtype.pattern), site.dtype).reshape(site.shape)

    def batches(self, count: int) -> list[runtime.Inputs]:
        """The first `count` samples, in memory."""
        return list(Batches(self.network, np.arange(min(count, self.count))))

    def curves(self, batches: list[runtime.Inputs]) -> dict[str, allocate.Curve]:
        """What a bit buys in each tensor."""
        options = calibrate.Options(sweeps=0, follow=0.0, threads=self.threads)  # quick: only tensors are compared
        return calibrate.curves(self.source, batches, self.names, options=options)

    def run_with(self, new: Mapping[str, np.ndarray]):
        """An onnxruntime session of the model with new values for some tensors."""
        from . import model as onnx_model

        proto = onnx_model.with_values(self.source, new)
        return runtime.session(onnx_model.serialize(proto, "the model"), self.threads, self.source.path or "the model")


def _samples(inputs) -> data.Samples:
    if isinstance(inputs, Mapping):
        return data.Samples("the inputs", {name: np.asarray(array) for name, array in inputs.items()})
    return data.open(inputs)
