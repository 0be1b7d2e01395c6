"""A model and the inputs that advise on it: what tuning and sensitivity stand on.

sampled = Sampled("net.onnx", "inputs.npz", Plan(), threads=2)
sampled.names          the tensors that the plan's default goes for
sampled.curves(sampled.batches(64))      what a bit buys in each of them
"""

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator, Mapping

import numpy as np

from .. import calibrate
from ..calibrate import allocate
from ..codec.encode import quantize
from ..compression.compress import as_plan
from ..compression.fold_batchnorm import fold
from ..errors import BadPlan, UnsuitableModel
from ..evaluation import runtime
from ..evaluation.batches import SampleBatches, evenly_spaced
from ..evaluation.predictor import Predictor
from ..evaluation.samples import Samples, open_samples
from ..plan import Plan, Settings
from ..tensor import values


class TuningSession:
    """A model, the inputs that advise on it, and the tensors that the plan's default goes for, by name.

    `source` is the model that is compressed, `folded` of whose BatchNormalizations are in the layers before them, and
    `unfolded` the ModelProto that it was, if any are; `calibration_model` is the one that runs: the tensors that the
    plan's rules name are in it as these leave them, and what the plan names is hidden from calibration, biases too.
    `data` is all that was given, `network.samples` what the model takes of it.
    """

    def __init__(self, model, inputs, plan: Plan | Settings | str | os.PathLike | None, threads: int):
        from .. import model as onnx_model

        given = isinstance(model, (str, os.PathLike))
        self.source = onnx_model.load(model) if given else onnx_model.from_proto(model)
        self.plan, self.threads = as_plan(plan), threads
        self.path = self.source.path or "the model"
        self.plan.check_names(tensor.name for tensor in self.source.tensors)
        original = onnx_model.with_values(self.source, {})
        self.folded = fold(self.source, self.plan)
        self.unfolded = original if self.folded else None
        self.tensors = {tensor.name: tensor for tensor in self.source.tensors}
        self.names = [tensor.name for tensor in self.source.tensors if self._is_calibrated(tensor)]
        if not self.names:
            raise UnsuitableModel(f"{self.path}: holds no weights that could be calibrated")
        self.weights = sum(math.prod(self.tensors[name].shape) for name in self.names)
        self.session = self._session(original)
        self.data = _samples(inputs)
        self.network = Predictor(self.path, self.session, self.data, None)
        self.count = self.network.samples.count
        for _ in self.batches(self.count):
            pass  # refused now if one does not fit, not after minutes of work
        self.calibration_model = self._advisor()

    def _is_calibrated(self, tensor) -> bool:
        """Whether the plan's default goes for a tensor, and there is something to choose."""
        if not tensor.dtype.real or self.plan.rule(tensor.name) is not None:
            return False
        if self.plan.settings(tensor.name, tensor.is_weight, math.prod(tensor.shape)).lossless:
            return False
        numbers = self.values(tensor.name)
        return numbers.size > 0 and bool(np.isfinite(numbers).all()) and bool((numbers != numbers.flat[0]).any())

    def _advisor(self):
        from .. import model as onnx_model

        hidden = {name for name in self.tensors if self.plan.excludes(name) or self.plan.rule(name) is not None}
        if not hidden:
            return self.source
        ruled = {}
        for name in hidden:
            settings = self.plan.settings(name, True, 1 << 62)
            if self.tensors[name].dtype.real and not settings.lossless:
                ruled[name] = self.compressed(name, settings)
        made = onnx_model.from_proto(onnx_model.with_values(self.source, ruled))
        shown = [tensor for tensor in made.tensors if tensor.name not in hidden]
        return dataclasses.replace(made, tensors=shown, path=self.source.path)

    def values(self, name: str) -> np.ndarray:
        """A tensor's numbers as they are in the model."""
        return self.tensors[name].values()

    def compressed(self, name: str, settings: Settings) -> np.ndarray:
        """A tensor's numbers as compress would give them back."""
        tensor = self.tensors[name]
        return values(quantize(tensor.tensor(), settings).view(tensor.dtype.pattern), tensor.dtype).reshape(
            tensor.shape
        )

    def batches(self, count: int) -> SampleBatches:
        """`count` samples, if there are so many."""
        return SampleBatches(self.network, evenly_spaced(np.arange(self.count), count))

    def curves(self, batches: SampleBatches) -> dict[str, allocate.Curve]:
        """What a bit buys in each tensor."""
        options = calibrate.Options(sweeps=0, asymmetry=0.0, threads=self.threads)  # quick: only tensors are compared
        with self.numerics_guard():
            return calibrate.measure_curves(self.calibration_model, batches, self.names, options=options)

    @contextlib.contextmanager
    def numerics_guard(self) -> Iterator[None]:
        """Say what is wrong where a layer's inputs are no numbers to reckon with."""
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                yield
        except (np.linalg.LinAlgError, IndexError) as error:  # IndexError: a level chosen by NaN
            raise self.numerics_error() from error

    def numerics_error(self) -> BadPlan:
        """Samples that tell nothing."""
        path = self.network.samples.path
        return BadPlan(
            f"{path}: {self.path} makes infinities or NaN of some samples, or one answer of all: that tells nothing"
        )

    def run_with(self, new: Mapping[str, np.ndarray]):
        """An onnxruntime session of the model with new values for some tensors, and what the plan's rules make."""
        from .. import model as onnx_model

        return self._session(onnx_model.with_values(self.calibration_model, new))

    def _session(self, proto):
        from .. import model as onnx_model

        return runtime.session(onnx_model.serialize(proto, self.path), self.threads, self.path)


def _samples(inputs) -> Samples:
    if isinstance(inputs, Mapping):
        return Samples("the inputs", {name: np.asarray(array) for name, array in inputs.items()})
    return open_samples(inputs)
