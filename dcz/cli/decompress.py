"""`dcz decompress`"""

import os
import re
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from pathlib import Path


SECTIONS = {
    "Result": ("output", "force"),
    "External data": ("external_data", "data_name", "part_size"),
    "Run": ("max_bytes", "threads"),
}


@click.command("decompress", cls=sectioned(SECTIONS))
@click.argument("file", type=FILE)
@click.option("-o", "--output", type=FILE, help="The ONNX file; default: FILE with the suffix .onnx.")
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
    file: str,
    output: str | None,
    external_data: str,
    data_name: str | None,
    part_size: str | None,
    max_bytes: str | None,
    threads: int | None,
    as_json: bool,
    force: bool,
) -> None:
    """Decode the .dcz file FILE back into an ONNX model.

    \b
    Example:
      dcz decompress model.dcz -o model.onnx
      dcz decompress model.dcz --data-name model.onnx_data --part-size 2GB
    """
    from pathlib import Path

    from ..reading.decompress import decompress

    output = output or beside(file, ".onnx")
    before = _identities(Path(output), data_name)
    with progress("decoding") as report:
        decompress(
            file,
            output,
            external_data=external_data,
            data_name=data_name,
            part_size=part_size,
            threads=threads,
            max_bytes=max_bytes,
            progress=report,
            force=force,
        )
    written = [path for path, new in _identities(Path(output), data_name).items() if before.get(path) != new]
    if as_json:
        print_json({"output": output, "files": {str(path): path.stat().st_size for path in written}})
    elif not is_quiet():
        click.echo("\n".join(f"{printable(str(path))}: {size(path.stat().st_size)}" for path in written))


def _identities(output: "Path", data_name: str | None) -> dict["Path", tuple[int, int]]:
    """The files that decoding may write, and what changes when one is replaced: a stale one must not be listed."""
    name = rf"{re.escape(output.name)}\..{{12}}\.data" if data_name is None else re.escape(data_name)
    names = os.listdir(output.parent) if os.access(output.parent, os.R_OK) and output.parent.is_dir() else []
    found = [output, *(output.with_name(each) for each in sorted(names) if re.fullmatch(rf"{name}(_\d+)?", each))]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found if path.is_file()}
