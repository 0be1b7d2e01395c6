"""Options of the commands that take samples, and of those that run a model."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from .. import shell
from ..errors import InvalidArgument
from . import hooks
from .common import FILE, option_with_aliases

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
GIVEN = "dcz.samples"  # in the context's meta
DATA = "X.NPZ|DIR"
WHAT = "an array for each input by name; or a folder of .npz and .npy files, a sample or a batch each"


def _batch_axis(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, int | None] | None:
    """The axes by input name; None where none was given."""
    axes: dict[str, int | None] = {}
    for value in values:
        name, _, axis = value.rpartition("=")
        if not name or not (axis == "none" or axis.removeprefix("-").isdecimal()):
            raise InvalidArgument(f"--batch-axis is NAME=AXIS, such as h0=1, or NAME=none, not {value!r}")
        axes[name] = None if axis == "none" else int(axis[:9])
    _keep(ctx, "--batch-axis", values)
    return axes or None


def _use_ops(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> None:
    """Have onnxruntime load the libraries as long as the command runs."""
    if values and not ctx.resilient_parsing:
        from ..evaluation import runtime

        ctx.with_resource(runtime.custom_ops(values))
        _keep(ctx, "--ops", values)


def _keep(ctx: click.Context, option: str, values: tuple[str, ...]) -> None:
    """Note what was given, for `given`."""
    ctx.meta[GIVEN] = [*ctx.meta.get(GIVEN, []), *((option, value) for value in values)]


def given() -> str:
    """The options of this kind that the command was given, for a command on the same samples that is to be pasted."""
    ctx = click.get_current_context(silent=True)
    pairs = [] if ctx is None else ctx.meta.get(GIVEN, [])
    return "".join(f" {shell.option(option, value)}" for option, value in pairs)


batch_axis_option = click.option(
    "--batch-axis",
    multiple=True,
    metavar="NAME=AXIS",
    callback=_batch_axis,
    help="The axis of samples in an input, such as h0=1 (its second), or none: the same for all; default: as the "
    "model's shapes tell. May be repeated.",
)
ops_option = click.option(
    "--ops",
    type=FILE,
    multiple=True,
    metavar="LIB.SO",
    expose_value=False,
    callback=_use_ops,
    help="A library of custom operators for onnxruntime: its code is run. May be repeated.",
)


def _measure(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
    """The name, or the function that the option names."""
    from ..evaluation.chosen_measures import chosen

    if value is None or ctx.resilient_parsing:
        return None
    if ":" in value:
        found = hooks.load(value, "--measure")
        if not callable(found):
            raise InvalidArgument(f"--measure: {value} is of type {type(found).__name__}, and no function")
        return found
    chosen(value)
    return value


measure_option = click.option(
    "--measure",
    metavar="NAME|MODULE:FUNCTION",
    callback=_measure,
    help="What answers are compared by, in place of what fits the output: cosine, nearest-neighbour, r2, text, "
    "top-token, relative-error, ..., or a function of your own of the outputs of both models.",
)


def check_batch_axis(batch_axis: dict[str, int | None] | None, data: str | None) -> None:
    """Raise InvalidArgument for axes of samples that are not given."""
    if batch_axis is not None and data is None:
        raise InvalidArgument("--batch-axis says how samples lie: give these too")


def data_option(required: bool, text: str, *aliases: str) -> Callable[[Decorated], Decorated]:
    """The option --data of samples, which `text` says more of."""
    return option_with_aliases(
        "--data", aliases=aliases, type=FILE, required=required, metavar=DATA, help=f"{text}: {WHAT}."
    )
