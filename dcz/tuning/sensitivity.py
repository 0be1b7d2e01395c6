"""Which tensor hurts: each is compressed alone, and the network's answers are watched.

    measure("net.onnx", "inputs.npz")     fc1.weight: 2 bits 0.31 nats, 4 bits 0.004; half pruned 0.02, ...

How far answers move is the Kullback-Leibler divergence of the classes' probabilities, in nats a sample; for outputs
that are no classes, the squared error by their variance. Weight error alone predicts it badly.
"""

import dataclasses
import glob
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .. import calibrate
from ..calibrate import allocate
from ..codec.stages import prune
from ..errors import BadPlan
from ..files import check_output, replacing
from ..parallel import thread_count
from ..plan import Plan, Settings
from .session import TuningSession

BITS, SPARSITIES = (2, 3, 4, 6), (0.5, 0.7, 0.9)
SAMPLES = 64
FINEST, WIDEST = 1e-6, 1e3  # steps that Settings take
RATE = 4.0  # bits a weight of the plan, where none is named


@dataclass(frozen=True)
class TensorSensitivity:
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
    """All tensors that the plan's default goes for, in the model's order; `rate`: bits a weight of the suggestion.

    `plan` is the one that was given: its rules and exclusions go before the suggestion in `to_toml`.
    """

    path: str
    samples: int
    rate: float
    rows: tuple[TensorSensitivity, ...]
    plan: Plan = Plan()

    def to_dict(self) -> dict:
        """Plain values, for JSON."""
        rows = [dataclasses.asdict(row) for row in self.rows]
        return {"path": self.path, "samples": self.samples, "rate": self.rate, "rows": rows}

    def to_toml(self) -> str:
        """A plan.toml with a rule for each tensor, to edit and to pass to compress."""
        lines = [f"# {self.rate:g} bits a weight, spent where they change the answers least; steps are in deviations."]
        if self.plan.exclude:
            lines.append(f"exclude = [{', '.join(map(_quoted, self.plan.exclude))}]")
        if self.plan.min_weights != Plan.min_weights:
            lines.append(f"min_weights = {self.plan.min_weights}")
        if not self.plan.fold:
            lines.append("fold = false")
        for rule in self.plan.rules:
            lines += ["", "[[rule]]", f"match = [{', '.join(map(_quoted, rule.match))}]", *_settings(rule.settings)]
        for row in self.rows:
            lines += ["", f"# {row.elements:,} weights, about {row.bits_suggested:.1f} bits each", "[[rule]]"]
            lines += [f"match = {_quoted(glob.escape(row.name))}", f"step = {row.step:.5g}"]
        return "\n".join(lines) + "\n"

    def write(self, path: str | os.PathLike, force: bool = True) -> None:
        """Write `to_toml` to a file; raises FileAccess, without `force` also where there is one."""
        check_output(path, force)
        with replacing(path) as file:
            file.write(self.to_toml().encode())


def _quoted(text: str) -> str:
    """A TOML string: JSON's, but for surrogates, which TOML has not, and the control character that JSON lets pass."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _settings(settings: Settings) -> list[str]:
    """The lines of a rule that say the same as `settings`."""
    fields = {each.name: (getattr(settings, each.name), each.default) for each in dataclasses.fields(settings)}
    changed = {name: value for name, (value, default) in fields.items() if value != default}
    if settings.shares_nothing and not settings.lossless:
        changed["share"] = False  # else the default's quality would share
    return [f"{name} = {json.dumps(value)}" for name, value in changed.items()]


def measure(
    model,
    inputs: str | os.PathLike | Mapping[str, np.ndarray],
    *,
    bits: Sequence[int] = BITS,
    sparsities: Sequence[float] = SPARSITIES,
    samples: int = SAMPLES,
    rate: float = RATE,
    plan: Plan | Settings | str | os.PathLike | None = None,
    threads: int | None = None,
    output: str | os.PathLike | None = None,
    force: bool = True,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> Sensitivity:
    """Measure `model` (a path or a ModelProto) on `samples` of its `inputs` (see dcz.tune), from all over these.

    `progress` is told a tensor's name, how many trials of one tensor are done, and how many there are. The
    plan of the result is written to `output`, if one is named; `force` replaces a file that is there.

    Raises DczError: BadPlan for bits, sparsities or a rate that no settings take, and inputs that do not fit.
    """
    if output is not None:
        named = [given for given in (model, inputs) if isinstance(given, (str, os.PathLike))]
        check_output(output, force, inputs=[path for path in named if os.path.exists(path)])
    if samples < 1 or not 0.1 <= rate <= 8:
        raise BadPlan("sensitivity wants one sample at least, and a rate from 0.1 to 8 bits a weight")
    ways = [Settings(bits=each) for each in bits] + [Settings(sparsity=each, share=False) for each in sparsities]
    network = TuningSession(model, inputs, plan, thread_count(threads))
    batches = network.batches(samples)
    found = []
    for number, settings in enumerate(ways):
        trials = {name: {name: network.compressed(name, settings)} for name in network.names}

        def tell(name: str, done: int, total: int, number=number) -> None:
            progress(name, number * total + done, len(ways) * total)

        with network.numerics_guard():
            found.append(
                calibrate.measure_divergences(network.calibration_model, batches, trials, network.threads, tell)
            )
    curves = network.curves(batches)
    steps = allocate.steps_for_bits(curves, rate * network.weights)
    rows = tuple(_row(network, name, bits, sparsities, found, curves[name], steps[name]) for name in network.names)
    result = Sensitivity(network.path, min(samples, network.count), rate, rows, network.plan)
    if output is not None:
        result.write(output, force)
    return result


def _row(network, name: str, bits, sparsities, found: list, curve: allocate.Curve, step: float) -> TensorSensitivity:
    moved = [each[name] for each in found]
    tensor = network.tensors[name]
    near = int(np.argmin(np.abs(curve.steps - step)))
    numbers = network.values(name).ravel()
    deviation = prune.standard_deviation(numbers[numbers != 0]) or 1.0  # as codec has it: zeros have no error
    by_bits, by_sparsity = dict(zip(bits, moved)), dict(zip(sparsities, moved[len(bits) :]))
    used = float(curve.bits[near]) / curve.elements
    return TensorSensitivity(
        name, tensor.shape, curve.elements, by_bits, by_sparsity, used, min(WIDEST, max(FINEST, step / deviation))
    )
