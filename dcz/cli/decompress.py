"""`dcz decompress`"""

from typing import TYPE_CHECKING

import click

from .common import FILE, as_json, force, max_bytes_option, print_json, progress, size, threads

if TYPE_CHECKING:
    from pathlib import Path


@click.command("decompress")
@click.argument("file", type=FILE)
@click.option("-o", "--output", type=FILE, help="The ONNX file; default: FILE with the suffix .onnx.")
@click.option(
    "--external-data",
    type=click.Choice(["auto", "never", "always"]),
    default="auto",
    show_default=True,
    help="Write weights to OUTPUT.data; auto: only past 2 GB.",
)
@max_bytes_option
@threads
@as_json
@force
def command(
    file: str,
    output: str | None,
    external_data: str,
    max_bytes: str | None,
    threads: int | None,
    as_json: bool,
    force: bool,
) -> None:
    """Decode the .dcz file FILE back into an ONNX model.

    \b
    Example:
      dcz decompress model.dcz -o model.onnx
    """
    from pathlib import Path

    from ..reading.decompress import decompress

    output = output or str(Path(file).with_suffix(".onnx"))
    paths = [Path(output), Path(f"{output}.data")]
    before = [_identity(path) for path in paths]
    with progress("decoding") as report:
        decompress(
            file,
            output,
            external_data=external_data,
            threads=threads,
            max_bytes=max_bytes,
            progress=report,
            force=force,
        )
    written = [path for path, old in zip(paths, before, strict=True) if _identity(path) != old]
    if as_json:
        print_json({"output": output, "files": {str(path): path.stat().st_size for path in written}})
    else:
        click.echo("\n".join(f"{path}: {size(path.stat().st_size)}" for path in written))


def _identity(path: "Path") -> tuple[int, int] | None:
    """What changes when a file is replaced: a stale OUTPUT.data from another time must not be listed."""
    return (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else None
