"""`dcz decompress`"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ..display.work import Work, say, shown
from .common import (
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
    warn,
)
from .sample_options import ops_option
from .sections import sectioned
from .several import PACKED, is_many, output_dir_option, recursive_option, tell_of_failure, tell_of_subfolders
from .streams import FILE_OR_STREAM

SECTIONS = {
    "Result": ("output", "form", "strict", "output_dir", "recursive", "force"),
    "External data": ("external_data", "data_name", "part_size"),
    "Run": ("ops", "max_bytes", "threads"),
}


@click.command("decompress", cls=sectioned(SECTIONS))
@click.argument("files", type=FILE_OR_STREAM, nargs=-1, required=True, metavar="FILE...")
@click.option(
    "-o", "--output", type=FILE_OR_STREAM, help="The ONNX file of one FILE; default: FILE with the suffix .onnx."
)
@click.option(
    "--as",
    "form",
    type=click.Choice(["dense", "qdq", "gather"]),
    default="dense",
    show_default=True,
    help="dense: the model as it was. qdq, gather: a small ONNX file that computes its weights from codes; see above.",
)
@click.option("--strict", is_flag=True, help="With --as qdq: fail where a tensor is none of DequantizeLinear's.")
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
@ops_option
@max_bytes_option
@threads
@as_json
@force
def command(
    files: tuple[str, ...],
    output: str | None,
    output_dir: str | None,
    recursive: bool,
    form: str,
    strict: bool,
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

    With --as gather or qdq the model stays small: its weights are codes, from which any ONNX runtime computes them when
    it loads the model, or runs it. gather: looked up in the codebook, to the bit, whatever that is. qdq:
    DequantizeLinear, as quantizers write it, where the codebook is a ramp (others go by gather, unless --strict is
    given). What stays dense is named, and so is how far the answers are from the dense model's, on drawn inputs.

    FILE and OUTPUT may be `-`, standard input and output: the one is spooled to a temporary file, the other written
    when all of it is there, and never to a terminal without -f. `-` alone writes to standard output.

    \b
    Example:
      dcz decompress model.dcz -o model.onnx
      dcz decompress model.dcz --as gather -o small.onnx
      dcz decompress packed/ -r --output-dir models
      curl -s https://example.com/m.dcz | dcz decompress - > m.onnx
      dcz decompress model.dcz --data-name model.onnx_data --part-size 2GB
    """
    from functools import partial

    from ..errors import InvalidArgument
    from . import streams

    is_stream = is_many(files, output_dir) is False and (output or files[0]) == streams.STREAM
    if is_stream:
        streams.check_no_json(streams.STREAM, as_json)
        if external_data == "always" or (data_name, part_size) != (None, None):
            raise InvalidArgument("external data lies in files beside the model: name that with -o")
    decode = partial(
        _decode, form=form, strict=strict, external_data="never" if is_stream else external_data, data_name=data_name,
        part_size=part_size, threads=threads, max_bytes=max_bytes, force=force,
    )  # fmt: skip
    if is_many(files, output_dir):
        if streams.STREAM in (*files, output):
            raise InvalidArgument("- is for one file: give no other, and no --output-dir")
        _decode_several(files, output, output_dir, recursive, data_name, as_json, decode)
        return
    (file,) = files
    output = output or (streams.STREAM if is_stream else beside(file, ".onnx"))
    with streams.reading(file, "input.dcz") as source, streams.writing(output, force, "output.onnx") as target:
        notes: list[str] = []
        with progress("decoding") as report:
            written = decode(Path(source), Path(target), report, warn=notes.append)
        if form != "dense" and not is_quiet():
            notes.append(_answers_note(source, target, threads, max_bytes))
        for note in notes:
            warn(note) if as_json else say(printable(note))
        sizes = {output if path == Path(target) else str(path): path.stat().st_size for path in written}
        if as_json:
            print_json({"output": output, "files": sizes, "notes": notes})
        elif not is_quiet() and not is_stream:
            click.echo("\n".join(f"{printable(path)}: {size(nbytes)}" for path, nbytes in sizes.items()))


def _answers_note(file: str, small: str, threads: int | None, max_bytes: str | None) -> str:
    """How far the answers of a small model are from those of the dense one, in a sentence."""
    from ..errors import DczError
    from ..evaluation.compare import compare_decoded

    try:
        compared = compare_decoded(file, small, threads, max_bytes)
    except DczError as error:  # a model that takes no drawn inputs, or more than this machine has
        return f"answers were not compared: {error}"
    if all(each.decibels == float("inf") for each in compared.outputs):
        return "answers on drawn inputs: equal to the dense model's, to the bit"
    parts = [f"{each.output!r}: {each.describe()}, {each.decibels:.1f} dB" for each in compared.outputs if
             each.decibels != float("inf")]  # fmt: skip
    return f"answers on drawn inputs differ from the dense model's, as onnxruntime runs it; {'; '.join(parts)}"


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
    decode: Callable[..., list[Path]],
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
    tell_of_subfolders(files, PACKED, recursive)
    with shown(Work("decoding"), is_quiet()) as work:
        work.set_parts([os.path.getsize(file) if file.is_file() else 0 for file in targets])
        finished: list[several.Outcome] = []

        def make(file: Path, target: Path) -> tuple[int, int]:
            work.begin_part(len(finished), 1)
            written = decode(file, target, work.report, warn=lambda note: warn(f"{file}: {note}"))
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
