"""Which tensor hurts: each is compressed alone, and the network's answers are watched.

    measure("net.onnx", "inputs.npz")     fc1.weight: 2 bits 0.31 nats, 4 bits 0.004; half pruned 0.02, ...

How far answers move is the Kullback-Leibler divergence of the classes' probabilities, in nats a sample; for outputs
that are no classes, the squared error by their variance. Weight error alone predicts it badly.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from . import allocate, calibrate, codec
from .calibration import Calibration
from .errors import BadPlan
from .files import replacing
from .parallel import thread_count
from .plan import Plan, Settings
from .stages import prune
from .tensor import Tensor, values

BITS, SPARSITIES = (2, 3, 4, 6), (0.5, 0.7, 0.9)
SAMPLES = 64
RATE = 4.0  # bits a weight of the plan, where none is named


@dataclass(frozen=True)
class Row:
    """One tensor: how far the answers move (nats) at each number of bits and each sparsity, it alone being compressed;
    `bits_suggested` and `step` (in standard deviations) are what it gets of an even spending on all tensors."""

    name: str
    shape: tuple[int, ...]
    elements: int
    by_bits: dict[int, float]
    by_sparsity: dict[float, float]
    bits_suggested: float
    step: float


@dataclass(frozen=True)
class Sensitivity:
    """All tensors that the plan's default goes for, in the model's order; `rate`: bits a weight of the suggestion."""

    path: str
    samples: int
    rate: float
    rows: tuple[Row, ...]

    def to_dict(self) -> dict:
        """Plain values, for JSON."""
        return asdict(self)

    def to_toml(self) -> str:
        """A plan.toml with a rule for each tensor, to edit and to pass to compress."""
        lines = [f"# {self.rate:g} bits a weight, spent where they change the answers least; steps are in deviations."]
        for row in self.rows:
            lines += ["", f"# {row.elements:,} weights, about {row.bits_suggested:.1f} bits each", "[[rule]]"]
            lines += [f"match = {json.dumps(row.name)}", f"step = {row.step:.5g}"]
        return "\n".join(lines) + "\n"

    def write(self, path: str | os.PathLike) -> None:
        """Write `to_toml` to a file; raises FileAccess."""
        with replacing(path) as file:
            file.write(self.to_toml().encode())


def measure(
    model,
    inputs: str | os.PathLike | Mapping[str, np.ndarray],
    *,
    bits: Sequence[int] = BITS,
    sparsities: Sequence[float] = SPARSITIES,
    samples: int = SAMPLES,
    rate: float = RATE,
    plan: Plan | str | os.PathLike | None = None,
    threads: int | None = None,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Sensitivity:
    """Measure `model` (a path or a ModelProto) on the first `samples` of its `inputs` (see tuning.tune).

    Raises DczError: BadPlan for bits, sparsities or a rate that no settings take, and inputs that do not fit.
    """
    if samples < 1 or not 0.1 <= rate <= 8:
        raise BadPlan("sensitivity wants one sample at least, and a rate from 0.1 to 8 bits a weight")
    ways = [Settings(bits=each) for each in bits] + [Settings(sparsity=each, share=False) for each in sparsities]
    network = Calibration(model, inputs, plan, thread_count(threads))
    batches = network.batches(samples)
    found = []
    for number, settings in enumerate(ways):
        trials = {name: {name: _compressed(network, name, settings)} for name in network.names}

        def tell(name: str, done: int, total: int, number=number) -> None:
            progress(name, number * total + done, len(ways) * total)

        found.append(calibrate.divergences(network.source, batches, trials, network.threads, tell))
    curves = network.curves(batches)
    steps = allocate.by_bits(curves, rate * network.weights)
    rows = tuple(_row(network, name, bits, sparsities, found, curves[name], steps[name]) for name in network.names)
    return Sensitivity(network.network.path, min(samples, network.count), rate, rows)


def _row(network, name: str, bits, sparsities, found: list, curve: allocate.Curve, step: float) -> Row:
    moved = [each[name] for each in found]
    site = network.sites[name]
    near = int(np.argmin(np.abs(curve.steps - step)))
    deviation = prune.standard_deviation(network.values(name).ravel()) or 1.0
    by_bits, by_sparsity = dict(zip(bits, moved)), dict(zip(sparsities, moved[len(bits) :]))
    used = float(curve.bits[near]) / curve.elements
    return Row(name, site.shape, curve.elements, by_bits, by_sparsity, used, step / deviation)


def _compressed(network, name: str, settings: Settings) -> np.ndarray:
    """A tensor's values as compress would give them back."""
    site = network.sites[name]
    data = codec.encode(Tensor(name, site.dtype, site.shape, site.read()), settings)[0].data
    return values(data.view(site.dtype.pattern), site.dtype).reshape(site.shape)
