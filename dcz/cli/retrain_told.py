"""What `dcz retrain` tells: where a run is, what it came to, and what one that was stopped leaves behind."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from ..display.work import Work, say, shown
from .common import is_quiet, is_verbose, printable, size

if TYPE_CHECKING:
    from ..train import Progress, Recipe, Retrained

PRUNING_EPOCHS = 30  # by default


def text(result: "Retrained") -> str:
    """What a run came to, in a line."""
    if result.is_plain:  # what training came to is none of this file's
        parts = ["made by compress, without training"]
    else:
        parts = [f"{result.sparsity:.2%} of the pruned tensors' weights are zero"] if result.sparsity else []
    scores = [result.before, None if result.is_plain else result.pruned, result.decoded]
    stages = [(name, score) for name, score in zip(("before", "pruned", "in the file"), scores, strict=True) if score]
    if not stages:
        return "; ".join([*parts, "nothing was measured: there were no validation samples"])
    parts.append("validation loss " + ", ".join(f"{score[0]:.4f} {name}" for name, score in stages))
    if result.interval is not None:
        errors = ", ".join(f"{score[1]:.2%} {name}" for name, score in stages if score[1] is not None)
        low, high = result.interval
        parts.append(f"error {errors} (95% interval {low:.2%} to {high:.2%}, of {result.answers:,} answers)")
    return "; ".join(parts)


@contextlib.contextmanager
def kept(checkpoint: str | None) -> Iterator[None]:
    """Print what a run that does not end leaves behind."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):  # the latter is how `main` takes SIGTERM
        if checkpoint and os.path.exists(checkpoint):
            click.echo(
                f"dcz: {printable(checkpoint)} holds what is done; the same command goes on from there", err=True
            )
        raise


@contextlib.contextmanager
def progress(recipe: "Recipe") -> Iterator[Callable[["Progress"], None]]:
    """A callback that shows where a run is: one line for all its phases, and with -v a line an epoch."""
    pruning = PRUNING_EPOCHS if recipe.epochs is None else recipe.epochs  # until it is known
    epochs = {"rate": 1, "prune": pruning, "share": recipe.share_epochs}
    with shown(Work("retraining"), is_quiet()) as work:

        def report(state: "Progress") -> None:
            phases = list(epochs)
            epochs[state.phase] = 1 if state.phase == "rate" else state.epochs
            before = sum(epochs[phase] for phase in phases[: phases.index(state.phase)])
            within = state.batch / state.batches if state.batches and not state.is_end else 0
            share = min(1.0, (state.epoch + within) / state.epochs if state.epochs else 1.0)
            work.status = f"{state.phase} {state.epoch} of {state.epochs}, {_state(state)}"
            work.report("", int(1000 * (before + share * epochs[state.phase])), 1000 * sum(epochs.values()))
            if state.is_end and is_verbose():
                say(f"{state.phase} {state.epoch:3d}/{state.epochs}  {_state(state)}")

        yield report


def _state(state: "Progress") -> str:
    parts = [f"loss {state.loss:.4f}"]
    if state.validation is not None:
        parts.append(f"validation {state.validation:.4f}")
    if state.error is not None:
        parts.append(f"error {state.error:.2%}")
    parts.append(f"zero {state.sparsity:.2%}")
    if state.bytes is not None:
        parts.append(f"about {size(state.bytes)}")
    return "  ".join(parts)
