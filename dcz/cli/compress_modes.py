"""How `dcz compress` makes files: by the plan, for a size, calibrated; of one model or several; and what it tells."""

import itertools
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from ..display.work import Work, say, shown
from ..text import counted, size
from .common import is_quiet, is_verbose, print_json, warn
from .several import MODELS, tell_of_failure, tell_of_subfolders

if TYPE_CHECKING:
    from ..compression.size_search import SizeTrial
    from ..evaluation.weight_errors import WeightError
    from ..files.several import Outcome
    from ..tuning.distill import Distilled
    from ..tuning.trials import CalibratedTrial
    from ..tuning.tune import Tuned

ModelPath = str | os.PathLike[str]
# How often a model is gone through, as far as is known before: trials, and the writing of the file.
SIZE_PASSES, SAMPLE_SIZE_PASSES, DROP_PASSES = 6.0, 3.0, 9.0


@dataclass
class Made:
    """What is known of a file beside its bytes: what calibration measured, what stays exact and why, the `weights`."""

    tuned: "Tuned | None" = None
    samples: str | None = None
    exact: str = ""
    of: ModelPath | None = None  # the model, where there are several
    weights: "WeightError | None" = None

    def warn(self, message: str) -> None:
        """Tell a warning at once; but what stays exact has its place in the summary."""
        from ..compression.jobs import ExactNote

        if isinstance(message, ExactNote):
            self.exact = message
        else:
            warn(message if self.of is None else f"{self.of}: {message}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; decibels are null where nothing differs."""
        kept = None if self.tuned is None else self.tuned.kept
        return {
            "weights_sqnr": None if self.weights is None else self.weights.decibels,
            "worst_sqnr": None if self.weights is None else self.weights.worst,
            "agreement": None if kept is None else kept.agreement,
            "accuracy": None if kept is None else kept.accuracy,
            "measure": None if kept is None else kept.measure,
            "expected_drop": None if kept is None else kept.expected_drop,
            "drop_interval": None if kept is None or kept.drop_low is None else [kept.drop_low, kept.drop_high],
            "held_out": None if self.tuned is None else self.tuned.held_out,
            "cross_fitted": None if kept is None else kept.cross_fitted,
        }


class Mode(Protocol):
    """A way to make a file of a model."""

    @property
    def verb(self) -> str:
        """What is done, for the line of progress."""

    @property
    def passes(self) -> float:
        """How often the model is gone through, about."""

    def make(self, model: ModelPath, output: ModelPath, work: Work, made: Made) -> None:
        """Make it, and note in `made` what was measured."""


@dataclass(frozen=True)
class ByPlan:
    """By the plan alone."""

    options: dict[str, Any]
    verb: str = "compressing"
    passes: float = 1.0

    def make(self, model: ModelPath, output: ModelPath, work: Work, made: Made) -> None:
        """See Mode."""
        from ..compression.compress import compress

        compress(model, output, progress=work.report, warn=made.warn, **self.options)


@dataclass(frozen=True)
class ToBudget:
    """To a size or a ratio."""

    options: dict[str, Any]
    verb: str = "compressing"
    passes: float = SIZE_PASSES

    def make(self, model: ModelPath, output: ModelPath, work: Work, made: Made) -> None:
        """See Mode."""
        from ..compression.target_size import compress_to_size

        numbers = itertools.count(1)

        def report(trial: "SizeTrial") -> None:
            work.end_pass(f"trial {next(numbers)}, {trial.quality:.1f} dB at {size(trial.nbytes)}")
            _tell(f"quality {trial.quality:.2f} dB: {trial.nbytes:,} bytes")

        compress_to_size(model, output, progress=work.report, trial=report, warn=made.warn, **self.options)


@dataclass(frozen=True)
class Calibrated:
    """As its samples advise."""

    samples: str
    options: dict[str, Any]
    strict: bool = False
    verb: str = "calibrating"

    @property
    def is_by_size(self) -> bool:
        """Whether a size is the goal, which one trial meets as a rule."""
        return self.options["max_bytes"] is not None or self.options["ratio"] is not None

    @property
    def passes(self) -> float:
        """A walk through the network that serves all trials, the trials, and what comes after them."""
        return SAMPLE_SIZE_PASSES if self.is_by_size else DROP_PASSES

    def make(self, model: ModelPath, output: ModelPath, work: Work, made: Made) -> None:
        """See Mode."""
        from ..tuning.tune import tune

        numbers = itertools.count(1)

        def report(trial: "CalibratedTrial") -> None:
            share = trial.agreement if trial.accuracy is None else trial.accuracy
            figure = f"{trial.bits:.2f} bits" if share is None else f"{100 * share:.1f} %"
            if trial.expected_drop is not None:  # which the search goes by
                figure = f"{100 * (1 - trial.expected_drop):.1f} % expected"
            status = f"trial {next(numbers)}, {figure} at {size(trial.nbytes)}"
            work.end_pass(status, to_come=1 if self.is_by_size else 2)
            _tell(_trial(trial))

        made.samples = self.samples
        made.tuned = tune(
            model, output, self.samples, progress=work.report, trial=report, warn=made.warn, **self.options
        )


def _is_in_doubt(mode: Mode, made: Made) -> bool:
    """Whether a drop that was to be shown is not."""
    if not isinstance(mode, Calibrated) or not mode.strict or made.tuned is None:
        return False
    from ..tuning.goal import DEFAULT_MAX_DROP

    max_drop = mode.options["max_drop"]
    return not made.tuned.kept.shows(DEFAULT_MAX_DROP if max_drop is None else max_drop)


def _tell(line: str) -> None:
    """Print on stderr what a trial gave, with -v."""
    if is_verbose():
        say(line)


def _trial(trial: "CalibratedTrial") -> str:
    parts = [f"{trial.bits:.2f} bits a weight: {trial.nbytes:,} bytes"]
    if trial.agreement is not None:
        by = "by cross-fitting" if trial.cross_fitted else "on held-out samples"
        parts.append(f"agreement {trial.agreement:.2%} {by}, by {trial.measure}")
    if trial.expected_drop is not None and trial.drop_high is not None:
        parts.append(f"{trial.expected_drop:z.2%} expected to change, {trial.drop_low:z.2%} to {trial.drop_high:z.2%}")
    if trial.accuracy is not None and trial.drop is not None:
        by = "by cross-fitting" if trial.cross_fitted else "on held-out samples"
        parts.append(f"top-1 accuracy {trial.accuracy:.2%} {by}, {100 * trial.drop:z.2f} points lost")
    return ", ".join(parts)


def compress_one(model: str, output: str, mode: Mode, as_json: bool, name: str | None = None) -> None:
    """Compress one model, and print what became of it: in one line, which calls the file `name`, if that is given."""
    from ..reading.inspect import inspect
    from . import show_compress

    made = Made()
    with shown(Work(mode.verb, mode.passes), is_quiet()) as work:
        mode.make(model, output, work, made)
        if not is_quiet():
            made.weights = _weights(output, model)
    if made.exact and (is_quiet() or as_json):
        warn(made.exact)
    _tell_of_calibration(made, mode)
    result = inspect(output)
    if as_json:
        print_json(result.to_dict() | {"measured": made.to_dict()})
    elif is_quiet() or name is not None:
        show_compress.one_line(replace(result, path=name or result.path))
    else:
        show_compress.summary(result, model, made, is_verbose())
    if _is_in_doubt(mode, made):
        raise click.exceptions.Exit(1)


def _weights(output: str, model: str) -> "WeightError | None":
    """How near the weights are to the model's; None where the model can be read only once."""
    from ..evaluation.weight_errors import weight_error

    return weight_error(output, model) if os.path.isfile(model) else None


def _tell_of_calibration(made: Made, mode: Mode) -> None:
    """Print on stderr on what a file was calibrated, and what that moved."""
    tuned = made.tuned
    if tuned is None or is_quiet():
        return
    on = f"calibrated on {counted(tuned.calibrated_on, 'sample')}"
    if tuned.data_free is not None:
        on = f"judged by {counted(tuned.held_out, 'sample')}"
    elif tuned.kept.cross_fitted:
        on += "; judged by each of them, by calibrations on three quarters that leave it out"
    elif tuned.held_out:
        on += f"; {counted(tuned.held_out, 'was', 'were')} held out"
    say(on + ("" if tuned.accuracy is None else f", top-1 accuracy of the original on these {tuned.accuracy:.2%}"))
    if is_verbose() and (tuned.biases or tuned.means):
        means = f" and {counted(tuned.means, 'BatchNormalization mean')}" if tuned.means else ""
        say(f"{counted(tuned.biases, 'bias', 'biases')}{means} moved to take mean errors")
    if isinstance(mode, Calibrated) and mode.options["distill"]:
        _tell_of_distillation(tuned.distilled)


def _tell_of_distillation(distilled: "Distilled | None") -> None:
    """Print on stderr what distilling changed."""
    if distilled is None:
        say("nothing to distill: all tensors stay exact")
        return
    verdict = f"not taken, {distilled.refused}" if distilled.refused else "taken"
    say(
        f"distilled: {verdict}; divergence {distilled.before:.4g} -> {distilled.after:.4g}, same answers "
        f"{distilled.same_before:.2%} -> {distilled.same_after:.2%}, on {distilled.held_out} held-out samples"
    )


def compress_several(
    models: tuple[str, ...], output: str | None, output_dir: str | None, recursive: bool, mode: Mode, as_json: bool
) -> None:
    """Compress several models, print a table of their outcomes, and exit with the code of the failures."""
    from ..compression.many import compress_all, outputs
    from ..errors import InvalidArgument
    from ..files.several import common_exit_code
    from . import show_compress

    if output is not None:
        raise InvalidArgument("--output names one file: give several models, or a folder, with --output-dir alone")
    targets = list(outputs(models, output_dir, recursive))
    tell_of_subfolders(models, MODELS, recursive)
    finished: list[Outcome] = []
    doubts: list[Path] = []

    def compress(model: Path, output: Path) -> None:
        made = Made(of=model)
        work.begin_part(len(finished), mode.passes)
        mode.make(model, output, work, made)
        if made.exact:
            warn(f"{model}: {made.exact}")
        _tell_of_calibration(made, mode)
        doubts.extend([model] if _is_in_doubt(mode, made) else [])

    def done(outcome: "Outcome") -> None:
        finished.append(outcome)
        tell_of_failure(outcome)

    with shown(Work(mode.verb, mode.passes), is_quiet()) as work:
        work.set_parts([os.path.getsize(model) if model.is_file() else 0 for model in targets])
        outcomes = compress_all(models, output_dir, compress, recursive=recursive, done=done)
    code = common_exit_code(outcomes) or int(bool(doubts))
    if as_json:
        print_json({"models": [outcome.to_dict() for outcome in outcomes], "exit_code": code})
    else:
        show_compress.outcomes(outcomes, is_quiet())
    raise click.exceptions.Exit(code)
