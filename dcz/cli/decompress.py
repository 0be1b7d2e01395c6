"""`dcz decompress`"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .common import (
    FILE,
    as_json,
    beside,
    force,
    is_quiet,
    max_bytes_option,
    print_json,
    printable,
    progress,
    size,
    threads,
)
from .sections import sectioned
from .several import PACKED, is_many, output_dir_option, recursive_option, tell_of_failure
from .work import Work, shown

SECTIONS = {
    "Result": ("output", "output_dir", "recursive", "force"),
    "External data": ("external_data", "data_name", "part_size"),
    "Run": ("max_bytes", "threads"),
}


@click.command("decompress", cls=sectioned(SECTIONS))
@click.argument("files", type=FILE, nargs=-1, required=True, metavar="FILE...")
@click.option("-o", "--output", type=FILE, help="The ONNX file of one FILE; default: FILE with the suffix .onnx.")
@output_dir_option
@recursive_option
@click.option(
    "--external-data",
    type=click.Choice(["auto", "never", "always"]),
    default="auto",
    show_default=True,
    help="Write weights to a file beside it, OUTPUT.*.data; auto: only past 2 GB, or with --data-name or --part-size.",
)
@click.option("--data-name", metavar="NAME", help="Write weights to this file beside OUTPUT, such as model.onnx_data.")
@click.option(
    "--part-size", metavar="SIZE", help="Write weights to files of this size at most: NAME, NAME_1, NAME_2 ..."
)
@max_bytes_option
@threads
@as_json
@force
def command(
    files: tuple[str, ...],
    output: str | None,
    output_dir: str | None,
    recursive: bool,
    external_data: str,
    data_name: str | None,
    part_size: str | None,
    max_bytes: str | None,
    threads: int | None,
    as_json: bool,
    force: bool,
) -> None:
    """Decode the .dcz file FILE, or each of several, back into an ONNX model.

    A folder stands for the .dcz files in it. Several become OUT/NAME.onnx, or NAME.onnx beside each; one that fails
    does not stop the rest, and the exit code is that of the failures, or 8 where these differ.

    \b
    Example:
      dcz decompress model.dcz -o model.onnx
      dcz decompress packed/ -r --output-dir models
      dcz decompress model.dcz --data-name model.onnx_data --part-size 2GB
    """
    from functools import partial

    decode = partial(
        _decode, external_data=external_data, data_name=data_name, part_size=part_size, threads=threads,
        max_bytes=max_bytes, force=force,
    )  # fmt: skip
    if is_many(files, output_dir):
        _decode_several(files, output, output_dir, recursive, data_name, as_json, decode)
        return
    target = Path(output or beside(files[0], ".onnx"))
    with progress("decoding") as report:
        written = decode(Path(files[0]), target, report)
    if as_json:
        print_json({"output": str(target), "files": {str(path): path.stat().st_size for path in written}})
    elif not is_quiet():
        click.echo("\n".join(f"{printable(str(path))}: {size(path.stat().st_size)}" for path in written))


def _decode(
    file: Path, output: Path, report: Callable[[str, int, int], None], *, data_name: str | None, **options: Any
) -> list[Path]:
    """Decode one file, and return the files that were written."""
    from ..reading.decompress import decompress

    before = _identities(output, data_name)
    decompress(file, output, data_name=data_name, progress=report, **options)
    return [path for path, new in _identities(output, data_name).items() if before.get(path) != new]


def _decode_several(
    files: tuple[str, ...],
    output: str | None,
    output_dir: str | None,
    recursive: bool,
    data_name: str | None,
    as_json: bool,
    decode: Callable[[Path, Path, Callable[[str, int, int], None]], list[Path]],
) -> None:
    """Decode several files, print a table of their outcomes, and exit with the code of the failures."""
    from ..errors import InvalidArgument
    from ..files import folders, several
    from . import show_compress

    for option, value in (("--output", output), ("--data-name", data_name)):
        if value is not None:
            raise InvalidArgument(f"{option} names one file: give several, or a folder, with --output-dir alone")
    targets = folders.outputs(files, output_dir, PACKED, ".onnx", recursive)
    folders.make_parents(targets.values(), output_dir)
    with shown(Work("decoding"), is_quiet()) as work:
        work.set_parts([os.path.getsize(file) if file.is_file() else 0 for file in targets])
        finished: list[several.Outcome] = []

        def make(file: Path, target: Path) -> tuple[int, int]:
            work.begin_part(len(finished), 1)
            written = decode(file, target, work.report)
            return file.stat().st_size, sum(path.stat().st_size for path in written)

        def done(outcome: several.Outcome) -> None:
            finished.append(outcome)
            tell_of_failure(outcome)

        outcomes = several.each(targets, make, done)
    code = several.common_exit_code(outcomes)
    if as_json:
        print_json({"models": [outcome.to_dict() for outcome in outcomes], "exit_code": code})
    else:
        show_compress.outcomes(outcomes, is_quiet(), "decoded")
    raise click.exceptions.Exit(code)


def _identities(output: Path, data_name: str | None) -> dict[Path, tuple[int, int]]:
    """The files that decoding may write, and what changes when one is replaced: a stale one must not be listed."""
    name = rf"{re.escape(output.name)}\..{{12}}\.data" if data_name is None else re.escape(data_name)
    names = os.listdir(output.parent) if os.access(output.parent, os.R_OK) and output.parent.is_dir() else []
    found = [output, *(output.with_name(each) for each in sorted(names) if re.fullmatch(rf"{name}(_\d+)?", each))]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found if path.is_file()}
