"""`dcz verify`"""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import DczError
from ..text import counted
from .common import (
    FILE,
    as_json,
    check_minimum,
    is_quiet,
    is_verbose,
    max_bytes_option,
    min_agreement,
    print_json,
    printable,
    progress,
    threads,
    warn,
)
from .sample_options import batch_axis_option, check_batch_axis, data_option, measure_option, ops_option
from .sections import sectioned
from .several import PACKED, found, is_many, recursive_option, tell_of_error

if TYPE_CHECKING:
    from ..evaluation.chosen_measures import AnyMeasure
    from ..evaluation.verify import Verification

SECTIONS = {
    "Which files": ("recursive",),
    "How deep": ("deep", "sha256"),
    "Comparison": ("against", "data", "batch_axis", "measure", "min_agreement", "output"),
    "Run": ("ops", "max_bytes", "threads"),
}


@click.command("verify", cls=sectioned(SECTIONS))
@click.argument("files", type=FILE, nargs=-1, required=True, metavar="FILE...")
@recursive_option
@click.option("--deep", is_flag=True, help="Decode with a second Huffman engine too, and have onnx.checker look.")
@click.option("--against", type=FILE, metavar="MODEL.ONNX", help="Compare tensors and outputs with this model.")
@data_option(False, "Samples to compare on, by default drawn ones, which say little", "--inputs")
@batch_axis_option
@measure_option
@min_agreement
@click.option(
    "--output", metavar="NAME", help="The output that --min-agreement looks at; default: those of answers, or all."
)
@click.option("--sha256", metavar="HASH", help="Fail unless FILE has this SHA-256, before anything of it is read.")
@ops_option
@max_bytes_option
@threads
@as_json
@click.pass_context
def command(
    ctx: click.Context,
    files: tuple[str, ...],
    recursive: bool,
    deep: bool,
    against: str | None,
    data: str | None,
    batch_axis: dict[str, int | None] | None,
    measure: "AnyMeasure | None",
    min_agreement: float | None,
    output: str | None,
    sha256: str | None,
    max_bytes: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Check every checksum of the .dcz file FILE, or of each of several, and decode all of it.

    A folder stands for the .dcz files in it. With several, MODEL.ONNX may be a folder too, with a model of each file's
    name in the same place; of each file its worst tensor is shown (all with -v), and the exit code is that of the
    failures, or 8 where these differ.

    \b
    Example:
      dcz verify model.dcz
      dcz verify packed/ -r --against models/
      dcz verify model.dcz --deep --against model.onnx --data samples.npz
      dcz verify model.dcz --against model.onnx --data samples.npz \\
        --min-agreement 98%
    """
    from ..errors import InvalidArgument
    from ..files.several import common_code

    if measure is not None and data is None:
        raise InvalidArgument("--measure compares answers to inputs of the model: give --data and --against")
    if against is None and (data is not None or min_agreement is not None):
        raise InvalidArgument("--data and --min-agreement compare with a model: give --against MODEL.onnx too")
    check_batch_axis(batch_axis, data)
    check_minimum("--min-agreement", min_agreement)
    if sha256 is not None and not re.fullmatch(r"\s*[0-9a-fA-F]{64}\s*", sha256):
        raise InvalidArgument(f"--sha256 is 64 hexadecimal digits, as `sha256sum FILE` prints them, not {sha256!r}")
    if sha256 is not None and is_many(files):
        raise InvalidArgument("--sha256 is that of one file: give one")
    options: dict[str, Any] = {
        "deep": deep,
        "inputs": data,
        "batch_axis": batch_axis,
        "threads": threads,
        "measure": measure,
    }
    options["max_bytes"] = max_bytes
    brief = is_many(files)
    results: list[dict[str, Any]] = []
    codes = []
    for number, (file, place) in enumerate(found(files, PACKED, recursive).items()):
        original = _original(against, file, place)
        if number and not as_json and not is_quiet():
            click.echo()
        try:
            codes.append(
                _verify(file, results, as_json, sha256, min_agreement, output, brief, against=original, **options)
            )
        except DczError as error:
            if not is_many(files):
                raise
            codes.append(tell_of_error(error, file))
            results.append({"path": file, "error": str(error)})
    if is_many(files) and not as_json:
        click.echo(f"{codes.count(0)} of {counted(len(codes), 'file')} verified")
    if as_json and results:
        print_json({"files": results} if is_many(files) else results[0])
    ctx.exit(common_code(codes))


def _original(against: str | None, file: str, place: Path) -> str | None:
    """The model to compare a file with: in a folder, the one of the file's name, in its place."""
    if against is None or not os.path.isdir(against):
        return against
    return str(Path(against, place if place.parts else Path(file).name).with_suffix(".onnx"))


def _verify(
    file: str,
    results: list[dict[str, Any]],
    as_json: bool,
    sha256: str | None,
    min_agreement: float | None,
    output: str | None,
    brief: bool,
    **options: Any,
) -> int:
    """Verify one file, tell of it (in `brief`), or add it to the results, and return the exit code."""
    from ..evaluation.verify import verify
    from . import show

    if sha256 is not None:
        from ..files import sha256 as digest

        seen = digest(file)
        if seen != sha256.strip().lower():
            click.echo(f"dcz: {printable(file)}: has the SHA-256 {seen}, not the one given", err=True)
            return 1
    with progress("comparing") as report:
        result = verify(file, progress=report, **options)
    if as_json:
        results.append(result.to_dict())
    else:
        show.verified(result, is_quiet(), is_verbose(), brief)
    if result.note:
        warn(result.note)
    return 0 if min_agreement is None or _agrees(result, min_agreement, output) else 1


def _agrees(result: "Verification", minimum: float, output: str | None) -> bool:
    """Whether the answers agree as often as they must; tells where they do not. Raises InvalidArgument."""
    from ..arguments import as_percent
    from ..errors import InvalidArgument
    from ..evaluation.output_difference import judged

    compared = judged([row for row in result.outputs if output in (None, row.output)])
    if not compared:
        raise InvalidArgument("--min-agreement: the model has no output of that name with answers to compare")
    scores = [(row.score, row) for row in compared if row.score is not None]
    if len(scores) < len(compared):
        row = next(row for row in compared if row.score is None)
        inputs = "drawn inputs: give samples with --data" if result.drawn else "these samples: give others"
        raise InvalidArgument(f"--min-agreement: output {row.output!r}: {row.without_score} on {inputs}")
    if result.drawn:
        warn("--min-agreement judges by drawn inputs, which are no real samples: give these with --data")
    score, worst = min(scores, key=lambda pair: pair[0])
    if score >= minimum:
        return True
    shares = f"{as_percent(score)} is below {as_percent(minimum)}"
    inputs = "drawn" if result.drawn else "given"
    where = f"{worst.measure} of output {worst.output!r}, {worst.samples} on {inputs} inputs"
    click.echo(f"dcz: failed: agreement {shares}: {printable(where)}", err=True)
    return False
