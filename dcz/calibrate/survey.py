"""One walk through the original network that serves all trials: what a bit buys in each tensor, and the layers' inputs.

    with survey(model, batches, names) as found:
        steps = allocate.steps_for_bits(found.curves, 3 * weights)
        found.round(steps)                                  {name: new values}: quick, on the original's inputs

Rounding by what was kept takes no more runs of the network. The statistics lie in a temporary file meanwhile.
"""

import contextlib
import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from ..codec.stages import prune
from ..codec.stages.scale import RowScales
from ..evaluation import runtime
from ..model import Model, ModelTensor, WorkingCopy, read_program
from . import allocate
from .gathering import gather_statistics
from .hessian import InputStatistics
from .layers import Layer, find_layers
from .levels import finest_step, min_step
from .padding import Padding
from .rate_distortion import trial_batches
from .rounding import Grids, Options, round_data_free, round_layer
from .rows import along_axis
from .schedule import ActivationCache, layer_groups
from .segments import SegmentedTrials
from .spool import Spool, StoredArray, StoredValues, wide_tensors

TRIAL_BITS = 3.5  # a weight, at which each tensor is tried alone
FIRST_STEP = 0.25  # of a tensor's deviation: about what that many bits take
QUICK = Options(sweeps=0, fit=False, asymmetry=0.0)

Report = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Survey:
    """What was seen: the rate-distortion `curves` of the tensors, by name, in the units of `fine` (see
    quantize_layers).

    `layers`: those whose statistics were kept, by the name of their weights.
    """

    model: Model
    curves: dict[str, allocate.Curve]
    layers: Mapping[str, Layer]
    fine: Mapping[str, RowScales | None]
    statistics: "KeptStatistics"

    def __enter__(self) -> "Survey":
        return self

    def __exit__(self, *_: object) -> None:
        self.statistics.close()

    def round(
        self,
        steps: Mapping[str, float],
        options: Options = QUICK,
        progress: Report = lambda name, done, total: None,
    ) -> StoredValues:
        """New values for the tensors that `steps` names and the biases of their layers, by the original's inputs."""
        new, wide = StoredValues(), wide_tensors(self.model)
        for number, (name, step) in enumerate(steps.items(), 1):
            new.add(self.round_one(name, step, options, new), wide)
            progress(name, number, len(steps))
        return new

    def round_one(
        self,
        name: str,
        step: float,
        options: Options = QUICK,
        known: Mapping[str, np.ndarray] = MappingProxyType({}),
    ) -> dict[str, np.ndarray]:
        """The same of one tensor, and of its layer's bias, of which there may be new values `known` already."""
        layer = self.layers.get(name)
        if layer is None:
            return {name: round_data_free(self.tensors[name].values(), step, self.fine.get(name))}
        bias = None
        if layer.bias is not None:
            bias = known[layer.bias] if layer.bias in known else self.tensors[layer.bias].values()
        grids = Grids(name in self.fine, self.fine.get(name))
        options = replace(options, asymmetry=0.0)
        return round_layer(layer, self.tensors[name].values(), bias, self.statistics[name], step, options, grids)

    @functools.cached_property
    def tensors(self) -> dict[str, ModelTensor]:
        """The model's tensors, by name."""
        return {tensor.name: tensor for tensor in self.model.tensors}


class KeptStatistics:
    """The InputStatistics of layers, by tensor, in a temporary file: those of many layers may be larger than the
    model."""

    def __init__(self) -> None:
        self._spool = Spool()
        self._stored: dict[str, tuple[tuple[int, int, int], dict[str, StoredArray]]] = {}
        self._bytes = 0

    def close(self) -> None:
        """Delete the file."""
        self._spool.close()

    def add(self, statistics: Mapping[str, InputStatistics]) -> None:
        """Keep symmetric statistics; what several layers share is written once."""
        written: dict[int, str] = {}
        for name, each in statistics.items():
            if (before := written.get(id(each))) is not None:
                self._stored[name] = self._stored[before]
                continue
            written[id(each)] = name
            arrays = {"total": each.total, "products": each.products}
            self._bytes += sum(array.nbytes for array in arrays.values())
            self._stored[name] = ((each.features, each.parts, each.count), self._spool.write(arrays, self._bytes))

    def __getitem__(self, name: str) -> InputStatistics:
        (features, parts, count), stored = self._stored[name]
        arrays = self._spool.read(stored)
        return InputStatistics(features, parts, count, arrays["total"], arrays["products"], None, None)


def survey(
    model: Model,
    batches: Iterable[runtime.Inputs],
    names: Iterable[str],
    fine: Mapping[str, RowScales | None] = MappingProxyType({}),
    threads: int = 0,
    progress: Report = lambda name, done, total: None,
    trials: Iterable[runtime.Inputs] | None = None,
    padding: Padding | None = None,
) -> Survey:
    """Walk through the network once: statistics of each layer's inputs, and the rate-distortion curve of each named
    tensor, by how far the answers to the batches `trials` (some of the others, where none are given) move when it alone
    is rounded.

    For `fine` and `padding` see quantize_layers. The result is to be closed, as a context manager.
    """
    tensors = {tensor.name: tensor for tensor in model.tensors}
    program = read_program(model, model.path or "the model", opaque=True)
    names = list(names)
    layers = {layer.tensor: layer for layer in find_layers(program) if layer.tensor in set(names)}
    curves = {name: _first_curve(tensors[name].values(), fine.get(name), name in fine) for name in names}
    steps = allocate.steps_for_bits(curves, TRIAL_BITS * sum(curve.elements for curve in curves.values()))
    plain, changed, moved = WorkingCopy(model), WorkingCopy(model), dict[str, float]()
    kept = KeptStatistics()
    found = Survey(model, curves, layers, fine, kept)
    try:
        with contextlib.ExitStack() as stack:
            cache = stack.enter_context(ActivationCache(batches, threads=threads))
            masks = [] if padding is None else padding.masks(cache)
            tried, numbers = cache, None
            if trials is None:
                numbers = trial_batches(cache, plain, program.outputs, len(curves))
            else:
                tried = stack.enter_context(ActivationCache(trials, threads=threads))
            groups = layer_groups(program, layers.values())
            others = [name for name in curves if name not in layers]
            alone = SegmentedTrials(tried, plain, program, groups, len(others), numbers, padding, threads)

            def measure(name: str) -> None:
                moved[name] = alone.divergence(changed, found.round_one(name, steps[name]))
                progress(name, len(moved), len(curves))

            for name in others:
                measure(name)
            for group in groups:
                for each in {id(cache): cache, id(tried): tried}.values():
                    each.advance(plain, group.values)
                alone.reach(group)
                inputs = tuple(dict.fromkeys(value for layer in group.layers for value, _ in layer.uses))
                computed = cache.compute(plain, inputs)
                kept.add(gather_statistics(group.layers, computed, None, cache.samples, padding, masks))
                del computed
                runtime.give_back_memory()
                for layer in group.layers:
                    measure(layer.tensor)
    except BaseException:
        kept.close()
        raise
    floor = max(moved.values(), default=0.0) * 1e-6  # what changes nothing here may do so on other inputs
    for name, curve in curves.items():
        curves[name] = curve.measured(steps[name], max(moved[name], floor))
    return found


def measure_curves(
    model: Model,
    batches: Iterable[runtime.Inputs],
    names: Iterable[str],
    fine: Mapping[str, RowScales | None] = MappingProxyType({}),
    threads: int = 0,
) -> dict[str, allocate.Curve]:
    """The curves of a survey alone."""
    with survey(model, batches, names, fine, threads) as found:
        return found.curves


def _first_curve(weights: np.ndarray, row_scales: RowScales | None, may_be_fine: bool) -> allocate.Curve:
    """As if a relative error of the weights did the same harm in every tensor."""
    flat = (weights if row_scales is None else weights / along_axis(row_scales).astype(weights.dtype)).ravel()
    del weights  # tables may be most of a model
    finest = (finest_step if may_be_fine else min_step)(flat)
    deviation = float(np.sqrt(prune.typical_square(flat)))
    return allocate.estimate_curve(flat, deviation * FIRST_STEP, FIRST_STEP**2, finest)
