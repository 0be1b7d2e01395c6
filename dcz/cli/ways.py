"""The ways in which `dcz compress` makes files of models, and what it says on stderr meanwhile."""

import click

from .common import print_json, printable, progress, warn


def by_plan(model, output, quiet: bool, **options) -> None:
    """One model by the plan alone."""
    from ..compression.compress import compress

    with progress("compressing", quiet) as tell:
        compress(model, output, progress=tell, warn=warn, **options)


def for_size(model, output, quiet: bool, **options) -> None:
    """One model for a size."""
    from ..compression.target_size import compress_to_size

    compress_to_size(model, output, trial=_tell_trial(quiet), warn=warn, **options)


def by_samples(model, output, samples, quiet: bool, **options) -> None:
    """One model as its samples advise."""
    from ..tuning.tune import tune

    with progress("calibrating", quiet, samples=True) as tell:
        tuned = tune(model, output, samples, progress=tell, trial=_tell_tuning(quiet), warn=warn, **options)
    if quiet:
        return
    held = f"; {tuned.held_out} were held out" if tuned.held_out else ""
    held += "" if tuned.accuracy is None else f", top-1 accuracy of the original on these {tuned.accuracy:.2%}"
    click.echo(f"calibrated on {tuned.calibrated_on} samples{held}", err=True)
    if tuned.biases or tuned.means:
        means = f" and {tuned.means} BatchNormalization means" if tuned.means else ""
        click.echo(f"{tuned.biases} biases{means} moved to take mean errors", err=True)
    if options["distill"]:
        _tell_distilled(tuned.distilled)


def fleet(models, output, output_dir, work, as_json: bool, quiet: bool) -> None:
    """Several models, and a table of what became of them; exits with the code of the failures."""
    from ..compression.many import common_exit_code, compress_all
    from ..errors import BadPlan
    from . import show

    if output is not None:
        raise BadPlan("--output names one file: give several models, or a folder, with --output-dir alone")

    def compress(model, output) -> None:
        if not quiet:
            click.echo(f"{printable(str(model))}:", err=True)
        work(model, output)

    outcomes = compress_all(models, output_dir, compress, done=_tell_outcome)
    code = common_exit_code(outcomes)
    if as_json:
        print_json({"models": [outcome.to_dict() for outcome in outcomes], "exit_code": code})
    else:
        show.fleet(outcomes, quiet)
    raise click.exceptions.Exit(code)


def _tell_outcome(outcome) -> None:
    """Say on stderr at once what went wrong with a model."""
    import os
    import traceback

    from ..errors import INTERNAL, message

    if outcome.error is None:
        return
    if outcome.exit_code == INTERNAL and os.environ.get("DCZ_TRACEBACK"):
        traceback.print_exception(outcome.error)
    text, model = message(outcome.error), str(outcome.model)
    click.echo(f"dcz: error: {printable(text if model in text else f'{model}: {text}')}", err=True)


def _tell_trial(quiet: bool):
    """Say on stderr what each trial of a search for a size came to."""
    if quiet:
        return lambda trial: None
    return lambda trial: click.echo(f"quality {trial.quality:.2f} dB: {trial.nbytes:,} bytes", err=True)


def _tell_tuning(quiet: bool):
    """The same for a search by calibration."""
    if quiet:
        return lambda trial: None

    def tell(trial) -> None:
        parts = [f"{trial.bits:.2f} bits a weight: {trial.nbytes:,} bytes"]
        if trial.agreement is not None:
            parts.append(f"agreement {trial.agreement:.2%} on held-out samples")
        if trial.accuracy is not None:
            parts.append(f"top-1 accuracy {trial.accuracy:.2%} on held-out samples, {100 * trial.drop:.2f} points lost")
        click.echo(", ".join(parts), err=True)

    return tell


def _tell_distilled(verdict) -> None:
    """Say on stderr what came of distilling."""
    if verdict is None:
        click.echo("nothing to distill: all tensors stay exact", err=True)
        return
    taken = f"not taken, {verdict.refused}" if verdict.refused else "taken"
    click.echo(
        f"distilled: {taken}; divergence {verdict.before:.4g} -> {verdict.after:.4g}, same answers "
        f"{verdict.same_before:.2%} -> {verdict.same_after:.2%}, on {verdict.held_out} held-out samples",
        err=True,
    )
