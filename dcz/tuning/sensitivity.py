"""How much each tensor matters: it is compressed alone, and the network's answers are compared.

    sensitivity("net.onnx", "inputs.npz")     fc1.weight: 2 bits 0.31 nats, 4 bits 0.004; half pruned 0.02, ...

How far answers move is the Kullback-Leibler divergence of the classes' probabilities, in nats a sample; for outputs
that are no classes, the squared error over their variance. Weight error alone predicts it badly.
"""

import dataclasses
import glob
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import calibrate
from ..calibrate import allocate
from ..codec.stages import prune
from ..compression.options import AnyPlan
from ..display import html
from ..display.progress import Progress, shown
from ..errors import InvalidArgument
from ..evaluation import runtime
from ..evaluation.batches import SampleBatches
from ..evaluation.given import BatchAxis, Data
from ..evaluation.runtime import Ops
from ..files import check_output, replacing
from ..parallel import thread_count
from ..plan import Plan, Settings, quoted
from ..text import counted
from .session import TuningSession

if TYPE_CHECKING:
    from onnx import ModelProto

DEFAULT_BITS, DEFAULT_SPARSITIES = (2, 3, 4, 6), (0.5, 0.7, 0.9)
DEFAULT_SAMPLES = 64
DEFAULT_RATE = 4.0  # bits a weight of the suggested plan
MIN_STEP, MAX_STEP = 1e-6, 1e3  # that Settings take


@dataclass(frozen=True)
class TensorSensitivity:
    """One tensor: how far the answers move (nats) at each number of bits and each sparsity when it alone is compressed.

    `bits_suggested` and `step` (in standard deviations) are its part of a plan in which a bit buys as much everywhere.
    """

    name: str
    shape: tuple[int, ...]
    elements: int
    by_bits: dict[int, float]
    by_sparsity: dict[float, float]
    bits_suggested: float
    step: float


@dataclass(frozen=True, repr=False)
class Sensitivity:
    """All tensors that the plan's default applies to, in the model's order; `rate`: bits a weight of the suggestion.

    `plan` is the caller's: its rules and exclusions go before the suggestion in `to_toml`. `note`: which samples were
    left out, and why.
    """

    path: str
    samples: int
    rate: float
    rows: tuple[TensorSensitivity, ...]
    plan: Plan = dataclasses.field(default_factory=Plan)
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        rows = [dataclasses.asdict(row) for row in self.rows]
        return {"path": self.path, "samples": self.samples, "rate": self.rate, "rows": rows, "note": self.note}

    def to_toml(self) -> str:
        """A plan.toml with a rule for each tensor, to edit and to pass to compress."""
        lines = [f"# {self.rate:g} bits a weight, spent where they change the answers least; steps are in deviations."]
        if self.plan.exclude:
            lines.append(f"exclude = [{', '.join(map(quoted, self.plan.exclude))}]")
        if self.plan.min_weights != Plan.min_weights:
            lines.append(f"min_weights = {self.plan.min_weights}")
        if not self.plan.fold:
            lines.append("fold = false")
        for rule in self.plan.rules:
            lines += [
                "",
                "[[rule]]",
                f"match = [{', '.join(map(quoted, rule.match))}]",
                *_setting_lines(rule.settings),
            ]
        for row in self.rows:
            lines += ["", f"# {counted(row.elements, 'weight')}, about {row.bits_suggested:.1f} bits each", "[[rule]]"]
            lines += [f"match = {quoted(glob.escape(row.name))}", f"step = {row.step:.5g}"]
        return "\n".join(lines) + "\n"

    def write(self, path: str | os.PathLike[str], force: bool = False) -> None:
        """Write `to_toml` to a file; raises FileAccess, without `force` also where there is one."""
        check_output(path, force)
        with replacing(path) as file:
            file.write(self.to_toml().encode())

    def columns(self) -> list[str]:
        """What was tried, and the suggestion, as the head of a table with `cells`."""
        first = self.rows[0]
        tried = [*(f"{n} bits" for n in first.by_bits), *(f"{share:.0%} zero" for share in first.by_sparsity)]
        return ["tensor", "weights", *tried, f"bits of {self.rate:g}"]

    def cells(self) -> list[list[str]]:
        """A row a tensor, those that move the answers most first: nats by what was tried, bits suggested."""
        return [
            [
                row.name,
                f"{row.elements:,}",
                *(f"{value:.2g}" for value in (*row.by_bits.values(), *row.by_sparsity.values())),
                f"{row.bits_suggested:.1f}",
            ]
            for row in sorted(self.rows, key=_largest_change, reverse=True)
        ]

    def __repr__(self) -> str:
        measured = f"{counted(len(self.rows), 'tensor')}, each alone, on {counted(self.samples, 'sample')}"
        return f"<{self.path}: {measured}; most moved by {self.cells()[0][0]}>"

    def _repr_html_(self) -> str:
        title = f"{self.path}: nats that the answers move, each tensor alone ({counted(self.samples, 'sample')})"
        return html.page(title, [], self.columns(), self.cells())


def _largest_change(row: TensorSensitivity) -> float:
    """The most nats that the answers move, by any of the bits and sparsities tried."""
    return max((*row.by_bits.values(), *row.by_sparsity.values()), default=0.0)


def _setting_lines(settings: Settings) -> list[str]:
    """The lines of a rule that say the same as `settings`."""
    fields = {field.name: (getattr(settings, field.name), field.default) for field in dataclasses.fields(settings)}
    changed = {name: value for name, (value, default) in fields.items() if value != default}
    if settings.shares_nothing and not settings.lossless:
        changed["share"] = False  # else the default's quality would share
    return [f"{name} = {json.dumps(value)}" for name, value in changed.items()]


def sensitivity(
    model: "str | os.PathLike[str] | ModelProto",
    inputs: Data,
    *,
    batch_axis: BatchAxis | None = None,
    ops: Ops = (),
    bits: Sequence[int] = DEFAULT_BITS,
    sparsities: Sequence[float] = DEFAULT_SPARSITIES,
    samples: int = DEFAULT_SAMPLES,
    rate: float = DEFAULT_RATE,
    plan: AnyPlan = None,
    threads: int | None = None,
    output: str | os.PathLike[str] | None = None,
    force: bool = False,
    progress: Progress = None,
) -> Sensitivity:
    """Measure `model` (a path or a ModelProto) on `samples` of its `inputs`, evenly spaced.

    For the inputs, `batch_axis` and `ops` see dcz.evaluate.

    `progress` gets a tensor's name, how many trials of one tensor are done, and how many there are; True shows a bar.
    The plan of the result is written to `output`, if one is named; `force` replaces a file that is there.

    Raises DczError: InvalidArgument for bits, sparsities or a rate that no settings take, and inputs that do not fit.
    """
    if output is not None:
        paths = [os.fspath(source) for source in (model, inputs) if isinstance(source, (str, os.PathLike))]
        check_output(output, force, inputs=[path for path in paths if os.path.exists(path)])
    if samples < 1 or not 0.1 <= rate <= 8:
        raise InvalidArgument("sensitivity wants one sample at least, and a rate from 0.1 to 8 bits a weight")
    settings = [Settings(bits=n) for n in bits] + [Settings(sparsity=share, share=False) for share in sparsities]
    with runtime.custom_ops(ops):
        session = TuningSession(model, inputs, plan, thread_count(threads), batch_axis)
        batches = session.batches(samples)
        with shown(progress, "measuring") as report:
            moved = _measure_each(session, batches, settings, report)
        curves = session.curves(batches)
    steps = allocate.steps_for_bits(curves, rate * session.weight_count)
    rows = tuple(
        _row(session, name, bits, sparsities, [moved_by[name] for moved_by in moved], curves[name], steps[name])
        for name in session.weight_names
    )
    count = min(samples, session.sample_count)
    result = Sensitivity(session.path, count, rate, rows, session.plan, "; ".join(session.notes))
    if output is not None:
        result.write(output, force)
    return result


measure = sensitivity  # its older name


def _measure_each(
    session: TuningSession,
    batches: SampleBatches,
    settings: Sequence[Settings],
    progress: Callable[[str, int, int], None],
) -> list[dict[str, float]]:
    """For each of the settings, how far the answers move (nats) when they are applied to each tensor alone."""
    moved = []
    for number, setting in enumerate(settings):
        trials = {name: {name: session.compressed_values(name, setting)} for name in session.weight_names}

        def on_tensor(name: str, done: int, total: int, before: int = number) -> None:
            progress(name, before * total + done, len(settings) * total)

        with session.numerics_guard():
            moved.append(
                calibrate.measure_divergences(session.calibration_model, batches, trials, session.threads, on_tensor)
            )
    return moved


def _row(
    session: TuningSession,
    name: str,
    bits: Sequence[int],
    sparsities: Sequence[float],
    moved: Sequence[float],
    curve: allocate.Curve,
    step: float,
) -> TensorSensitivity:
    """The row of a tensor; `moved` (nats) is first by bits, then by sparsities."""
    tensor = session.tensors[name]
    nearest = int(np.argmin(np.abs(curve.steps - step)))
    numbers = session.values(name).ravel()
    deviation = prune.standard_deviation(numbers[numbers != 0]) or 1.0  # as codec has it: zeros have no error
    by_bits = dict(zip(bits, moved[: len(bits)], strict=True))
    by_sparsity = dict(zip(sparsities, moved[len(bits) :], strict=True))
    bits_suggested = float(curve.bits[nearest]) / curve.elements
    step = min(MAX_STEP, max(MIN_STEP, step / deviation))
    return TensorSensitivity(name, tensor.shape, curve.elements, by_bits, by_sparsity, bits_suggested, step)
