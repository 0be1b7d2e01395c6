"""`dcz decompress`"""

import click

from .common import FILE, as_json, force, max_bytes_option, print_json, progress, size, threads


@click.command("decompress")
@click.argument("file", type=FILE)
@click.option("-o", "--output", type=FILE, help="The ONNX file; default: FILE with the suffix .onnx.")
@click.option(
    "--external-data",
    type=click.Choice(["auto", "never", "always"]),
    default="auto",
    show_default=True,
    help="Write weights to a file beside it, OUTPUT.*.data; auto: only past 2 GB.",
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
    from ..reading.outside import written_files

    output = output or str(Path(file).with_suffix(".onnx"))
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
    written = written_files(output)
    if as_json:
        print_json({"output": output, "files": {str(path): path.stat().st_size for path in written}})
    else:
        click.echo("\n".join(f"{path}: {size(path.stat().st_size)}" for path in written))
