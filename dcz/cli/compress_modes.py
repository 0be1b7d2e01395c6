"""How `dcz compress` makes files of models: by the plan, for a size, calibrated, or several; and what it reports."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from .common import print_json, printable, progress, warn

if TYPE_CHECKING:
    from ..compression.many import Outcome
    from ..compression.target_size import SizeTrial
    from ..tuning.distill import Distilled
    from ..tuning.trials import CalibratedTrial

ModelPath = str | os.PathLike[str]


def compress_by_plan(model: ModelPath, output: ModelPath, quiet: bool, **options: Any) -> None:
    """Compress one model by the plan alone."""
    from ..compression.compress import compress

    with progress("compressing", quiet) as report:
        compress(model, output, progress=report, warn=warn, **options)


def compress_to_budget(model: ModelPath, output: ModelPath, quiet: bool, **options: Any) -> None:
    """Compress one model to a size or a ratio."""
    from ..compression.target_size import compress_to_size

    compress_to_size(model, output, trial=_size_trial_reporter(quiet), warn=warn, **options)


def compress_calibrated(model: ModelPath, output: ModelPath, samples: str, quiet: bool, **options: Any) -> None:
    """Compress one model as its samples advise."""
    from ..tuning.tune import tune

    with progress("calibrating", quiet, samples=True) as report:
        tuned = tune(model, output, samples, progress=report, trial=_trial_reporter(quiet), warn=warn, **options)
    if quiet:
        return
    held_out = f"; {tuned.held_out} were held out" if tuned.held_out else ""
    held_out += "" if tuned.accuracy is None else f", top-1 accuracy of the original on these {tuned.accuracy:.2%}"
    click.echo(f"calibrated on {tuned.calibrated_on} samples{held_out}", err=True)
    if tuned.biases or tuned.means:
        means = f" and {tuned.means} BatchNormalization means" if tuned.means else ""
        click.echo(f"{tuned.biases} biases{means} moved to take mean errors", err=True)
    if options["distill"]:
        _report_distillation(tuned.distilled)


def compress_several(
    models: tuple[str, ...],
    output: str | None,
    output_dir: str | None,
    compress_one: Callable[[ModelPath, ModelPath], None],
    as_json: bool,
    quiet: bool,
) -> None:
    """Compress several models, print a table of their outcomes, and exit with the code of the failures."""
    from ..compression.many import common_exit_code, compress_all
    from ..errors import InvalidArgument
    from . import show

    if output is not None:
        raise InvalidArgument("--output names one file: give several models, or a folder, with --output-dir alone")

    def compress(model: ModelPath, output: ModelPath) -> None:
        if not quiet:
            click.echo(f"{printable(str(model))}:", err=True)
        compress_one(model, output)

    outcomes = compress_all(models, output_dir, compress, done=_report_outcome)
    code = common_exit_code(outcomes)
    if as_json:
        print_json({"models": [outcome.to_dict() for outcome in outcomes], "exit_code": code})
    else:
        show.outcomes(outcomes, quiet)
    raise click.exceptions.Exit(code)


def _report_outcome(outcome: "Outcome") -> None:
    """Print on stderr at once what went wrong with a model."""
    import traceback

    from ..errors import INTERNAL, message

    if outcome.error is None:
        return
    if outcome.exit_code == INTERNAL and os.environ.get("DCZ_TRACEBACK"):
        traceback.print_exception(outcome.error)
    text, model = message(outcome.error), str(outcome.model)
    click.echo(f"dcz: error: {printable(text if model in text else f'{model}: {text}')}", err=True)


def _size_trial_reporter(quiet: bool) -> Callable[["SizeTrial"], None]:
    """A callback that prints on stderr the size of each trial of a search for a size."""
    if quiet:
        return lambda trial: None
    return lambda trial: click.echo(f"quality {trial.quality:.2f} dB: {trial.nbytes:,} bytes", err=True)


def _trial_reporter(quiet: bool) -> Callable[["CalibratedTrial"], None]:
    """The same for a search by calibration."""
    if quiet:
        return lambda trial: None

    def report(trial: "CalibratedTrial") -> None:
        parts = [f"{trial.bits:.2f} bits a weight: {trial.nbytes:,} bytes"]
        if trial.agreement is not None:
            parts.append(f"agreement {trial.agreement:.2%} on held-out samples, by {trial.measure}")
        if trial.accuracy is not None and trial.drop is not None:
            parts.append(f"top-1 accuracy {trial.accuracy:.2%} on held-out samples, {100 * trial.drop:.2f} points lost")
        click.echo(", ".join(parts), err=True)

    return report


def _report_distillation(distilled: "Distilled | None") -> None:
    """Print on stderr what distilling changed."""
    if distilled is None:
        click.echo("nothing to distill: all tensors stay exact", err=True)
        return
    verdict = f"not taken, {distilled.refused}" if distilled.refused else "taken"
    click.echo(
        f"distilled: {verdict}; divergence {distilled.before:.4g} -> {distilled.after:.4g}, same answers "
        f"{distilled.same_before:.2%} -> {distilled.same_after:.2%}, on {distilled.held_out} held-out samples",
        err=True,
    )
