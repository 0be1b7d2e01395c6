"""`dcz inspect`"""

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from .common import as_json, is_quiet, is_verbose, plan_option, print_json
from .sections import sectioned
from .several import EITHER, found, recursive_option
from .streams import FILE_OR_STREAM

if TYPE_CHECKING:
    from ..reading.inspect import Report

SECTIONS = {
    "Which files": ("recursive",),
    "What is shown": ("show_all", "as_tree", "paper", "histogram"),
    "Why so many bytes": ("why", "plan"),
    "Energy": ("energy", "on_chip"),
}


@click.command("inspect", cls=sectioned(SECTIONS))
@click.argument("files", type=FILE_OR_STREAM, nargs=-1, required=True, metavar="FILE...")
@recursive_option
@click.option("--all", "show_all", is_flag=True, help="All tensors, not the 20 largest.")
@click.option("--tree", "as_tree", is_flag=True, help="In a tree by the prefixes of their names, as far as 1 % goes.")
@click.option("--paper", is_flag=True, help="The paper's table: P, P+Q and P+Q+H.")
@click.option("--histogram", metavar="PATTERN", help="Draw the shared values of the tensors whose names match.")
@click.option("--why", is_flag=True, help="What limits each large tensor, and the command that would shrink it.")
@plan_option
@click.option("--energy", is_flag=True, help="The energy of fetching all weights once, before and after.")
@click.option("--on-chip", metavar="SIZE", help="With --energy: the memory on the chip, such as 8MB.")
@as_json
def command(
    files: tuple[str, ...],
    recursive: bool,
    show_all: bool,
    as_tree: bool,
    paper: bool,
    histogram: str | None,
    why: bool,
    plan: str | None,
    energy: bool,
    on_chip: str | None,
    as_json: bool,
) -> None:
    """Show where the bytes of FILE (.dcz or .onnx; or a folder of them) go.

    The largest tensors come first: how many values each has, how many of them are kept (not zero), the bits that each
    value takes in the file, and the bytes. --why names what limits each (of a plan, give that with --plan). Nothing
    is decoded, but by --why what stays exact. Of records above 64 KB the head alone is read, and no checksum: `dcz
    verify` tells whether a file is intact, and so whether figures are right.

    A FILE may be `-`, standard input, which is spooled to a temporary file.

    \b
    Example:
      dcz inspect model.dcz
      dcz inspect model.dcz --tree
      dcz inspect model.dcz --why
      dcz inspect model.dcz --energy --on-chip 8MB
      dcz inspect model.dcz --histogram 'fc*'
    """
    from ..errors import InvalidArgument
    from . import streams

    if plan is not None and not why:
        raise InvalidArgument("--plan says which rules --why names: give --why too")
    if on_chip is not None and not energy:
        raise InvalidArgument("--on-chip is the room that --energy looks at: give --energy too")
    if files.count(streams.STREAM) > 1:
        raise InvalidArgument(f"{streams.INPUT} can be read once: give one -")
    with contextlib.ExitStack() as stack:
        names = tuple(found(files, EITHER, recursive)) if histogram is None else files
        paths = tuple(stack.enter_context(streams.reading(name)) for name in names)
        if histogram is not None:
            _histogram(paths, histogram, as_json)
            return
        _inspect(paths, names, plan, (show_all, as_tree, paper), why, energy, on_chip, as_json)


def _inspect(
    paths: tuple[str, ...],
    names: tuple[str, ...],
    plan: str | None,
    shown: tuple[bool, bool, bool],
    why: bool,
    energy: bool,
    on_chip: str | None,
    as_json: bool,
) -> None:
    """Print reports on the files at some paths, which the user calls by `names`."""
    from ..reading.inspect import inspect
    from . import streams

    reports = [inspect(path) for path in paths]
    show_all, as_tree, paper = shown
    told: list[dict[str, Any]] = []
    for number, report in enumerate(reports):
        extra = _extra(report, plan if why else None, why, on_chip, energy)
        if names[number] == streams.STREAM:
            report = replace(report, path=streams.INPUT)
        if as_json:
            told.append(report.to_dict() | {key: _plain(value) for key, value in extra.items()})
            continue
        if number and not is_quiet():
            click.echo()
        _show(report, extra, show_all or is_verbose(), as_tree, paper)
    if as_json:
        print_json(told[0] if len(told) == 1 else {"files": told})


def _extra(report: "Report", plan: str | None, why: bool, on_chip: str | None, energy: bool) -> dict[str, Any]:
    """What --why and --energy ask for, by the key in --json."""
    from ..reading.energy import energy as energy_of
    from ..reading.why import limits

    extra: dict[str, Any] = {"why": limits(report.path, plan)} if why else {}
    return extra | ({"energy": energy_of(report, on_chip)} if energy else {})


def _plain(value: Any) -> Any:
    """Plain values, for JSON."""
    return [each.to_dict() for each in value] if isinstance(value, list) else value.to_dict()


def _show(report: "Report", extra: dict[str, Any], show_all: bool, as_tree: bool, paper: bool) -> None:
    """Print one file."""
    from . import show_inspect

    if is_quiet():
        show_inspect.summary_line(report)
        return
    if not extra or as_tree or paper:
        show_inspect.inspected(report, show_all, as_tree, paper)
    if "why" in extra:
        show_inspect.explained(extra["why"], report, show_all)
    if "energy" in extra:
        show_inspect.energies(extra["energy"])


def _histogram(files: tuple[str, ...], pattern: str, as_json: bool) -> None:
    """Draw, or print, the shared values of the tensors of one file."""
    from ..errors import InvalidArgument
    from ..format.container import is_dcz
    from ..reading.shared_values import shared_values
    from . import show_inspect

    if len(files) > 1:
        raise InvalidArgument("--histogram draws tensors of one file: give one")
    if not is_dcz(files[0]):
        raise InvalidArgument("--histogram shows shared values, which only .dcz files have")
    shares = shared_values(files[0], pattern)
    print_json(shares) if as_json else show_inspect.histograms(shares)
