"""`dcz check`"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..text import counted
from .common import FILE, SHARE, printable, progress, quiet_option, threads
from .sections import sectioned
from .several import EITHER, PACKED, found, recursive_option

if TYPE_CHECKING:
    from ..budget.config import Budgeted
    from ..budget.judge import Verdict

SIZES = {
    "max_size": "Most bytes of the file: 7MB, 1.5MiB, 700000.",
    "max_tensor_size": "Most bytes of any tensor in the file.",
    "max_memory": "Most bytes of the model once it is decoded.",
}


class Growth(click.ParamType):
    """A percentage with its %, or a size."""

    name = "growth"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text, once it can be read."""
        from ..budget import limits
        from ..errors import InvalidArgument

        try:
            limits.parse("max-growth", value)
        except InvalidArgument as error:
            self.fail(str(error), param, ctx)
        return value


SECTIONS = {
    "Which files": ("recursive",),
    "Limits on size": ("max_size", "min_ratio", "max_tensor_size", "max_memory", "max_exact"),
    "Limit on growth": ("max_growth", "baseline", "update_baseline"),
    "Limits on answers": ("min_agreement", "against", "min_top1", "labels", "data"),
    "Limits of a project": ("config",),
    "Run": ("threads",),
}


@click.command("check", cls=sectioned(SECTIONS))
@click.argument("files", type=FILE, nargs=-1, metavar="[FILE]...")
@recursive_option
@click.option("--max-size", metavar="SIZE", help=SIZES["max_size"])
@click.option("--min-ratio", type=float, metavar="R", help="How many times smaller than its source.")
@click.option("--max-tensor-size", metavar="SIZE", help=SIZES["max_tensor_size"])
@click.option("--max-memory", metavar="SIZE", help=SIZES["max_memory"])
@click.option(
    "--max-exact",
    type=SHARE,
    metavar="P%",
    help="Most of the tensors' bytes that may be left neither pruned nor shared.",
)
@click.option("--max-growth", type=Growth(), metavar="P%|SIZE", help="Most growth since --baseline: 2%, 10KB.")
@click.option("--baseline", type=FILE, metavar="FILE", help="A JSON of --update-baseline, or an older model.")
@click.option("--update-baseline", is_flag=True, help="Write what the files have now into the baseline.")
@click.option("--min-agreement", type=SHARE, metavar="P%", help="Fewest answers that are --against's on --data.")
@click.option("--against", type=FILE, metavar="MODEL", help="The model to compare answers with.")
@click.option("--min-top1", type=SHARE, metavar="P%", help="Fewest right top classes, by --labels, on --data.")
@click.option("--labels", metavar="Y", help="The true classes: an array of X.NPZ, or an .npy or .npz file.")
@click.option("--data", type=FILE, metavar="X.NPZ", help="Samples, an array for each input by name; or one .npy.")
@click.option(
    "--config", type=FILE, metavar="FILE", help="Budgets; default: dcz.toml or pyproject.toml, here or above."
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    metavar="FORMAT[=FILE]",
    help="text, json, markdown, junit, github, sarif or metrics, into FILE where one is named; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@threads
@quiet_option
def command(
    files: tuple[str, ...],
    recursive: bool,
    config: str | None,
    formats: tuple[str, ...],
    as_json: bool,
    update_baseline: bool,
    threads: int | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Hold FILEs (.dcz or .onnx, wildcards too) against budgets: exit code 0 where all hold, 1 where one is missed.

    Limits are those of the options, or those that dcz.toml or [tool.dcz] in pyproject.toml has for the files; without
    FILEs, for all of its files. A folder stands for its .dcz files, or where it has none its models. Under a miss stand
    the tensors that cause it, what limits each, and the command that would mend it. In a GitHub workflow misses are
    annotated too, and a table goes into the job's summary.

    Limits on size and growth decode nothing, and read no checksum of records above 64 KB: `dcz verify` tells whether a
    file is intact.

    \b
    Example:
      dcz check model.dcz --max-size 7MB --min-ratio 30
      dcz check models/ -r --max-size 7MB
      dcz check 'models/*.dcz' --max-growth 2% --baseline dcz-baseline.json
      dcz check --format text --format junit=report.xml
    """
    from ..budget.judge import common_exit_code, judge_all
    from . import check_output

    outputs = check_output.parse((*formats, *(["json"] if as_json else [])))
    files = tuple(each for file in files for each in _models(file, recursive))
    entries = _entries(files, config, options, update_baseline)
    with progress("evaluating", quiet or not sys.stderr.isatty()) as report:
        verdicts = judge_all(entries, threads, report)
    if update_baseline:
        verdicts = _update(entries, verdicts, whole=not files)
    check_output.publish(verdicts, outputs, quiet, single=len(files) == 1 and len(verdicts) == 1)
    raise click.exceptions.Exit(common_exit_code(verdicts))


def _models(path: str, recursive: bool) -> list[str]:
    """The files that an argument stands for: of a folder its .dcz files, or where it has none its models."""
    files = list(found([path], EITHER, recursive))
    return [file for file in files if Path(file).suffix.lower() in PACKED] or files


def _entries(
    files: tuple[str, ...], config: str | None, options: dict[str, Any], update_baseline: bool
) -> list["Budgeted"]:
    """What is asked of which files: by the options, or by the budgets of the project. Raises InvalidArgument."""
    from ..budget import limits
    from ..budget.config import Budgeted, check_complete
    from ..errors import InvalidArgument

    names = {name: f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None}
    values = {name.replace("_", "-"): value for name, value in options.items() if value is not None}
    asked = tuple(limits.parse(name, values[name]) for name in limits.KINDS if name in values)
    if not asked and not (update_baseline and files and "baseline" in values):
        return _of_project(files, config, names, options["baseline"])
    if not files:
        raise InvalidArgument(f"{min(names.values())}: name the files that it is for")
    if config is not None:
        raise InvalidArgument(f"--config has limits of its own: leave out {min(names.values())}")
    places = {name: options[name] for name in ("baseline", "against", "data", "labels")}
    entries = [Budgeted(file, asked, **places) for file in files]
    check_complete(entries[0])
    if options["baseline"] and not update_baseline and "max-growth" not in values:
        raise InvalidArgument("--baseline is for --max-growth or --update-baseline, and neither is given")
    return entries


def _of_project(
    files: tuple[str, ...], path: str | None, names: dict[str, str], baseline: str | None
) -> list["Budgeted"]:
    """The budgets of dcz.toml or pyproject.toml, of all their files or of those named; a file that no budget names is
    asked for nothing."""
    from dataclasses import replace

    from ..budget import config
    from ..errors import InvalidArgument

    path = path or config.find()
    if path is None:
        raise InvalidArgument(
            "no budget given: use --max-size, --min-ratio or another limit, or a dcz.toml (docs/budgets.md says how)"
        )
    if lost := sorted(option for name, option in names.items() if name != "baseline"):
        raise InvalidArgument(f"{lost[0]} goes with a limit, and those of {path} have their own")
    entries: list[Budgeted] = list(config.load(path).entries)
    if not entries:
        raise InvalidArgument(f"{path}: has no budget: write one under [[check]]")
    if baseline is not None:
        entries = [replace(entry, baseline=baseline) for entry in entries]
    if not files:
        return entries
    expanded = [each for file in files for each in config.expand(file)]
    return [each for file in expanded for each in config.matching(entries, file) or [config.Budgeted(file)]]


def _update(entries: list["Budgeted"], verdicts: list["Verdict"], whole: bool) -> list["Verdict"]:
    """Write the baselines of entries anew, and return the verdicts without what they say of growth.

    `whole`: a baseline is to hold these files and no others, unless some could not be judged.
    """
    from dataclasses import replace

    from ..budget import baseline
    from ..errors import InvalidArgument

    weights = {verdict.path: verdict.weight for verdict in verdicts if verdict.weight is not None}
    places = list(dict.fromkeys(entry.baseline for entry in entries if entry.baseline is not None))
    if not places:
        raise InvalidArgument(f'--update-baseline: name one with --baseline, or baseline = "{baseline.DEFAULT_NAME}"')
    whole = whole and all(verdict.error is None for verdict in verdicts)
    for place in places:
        old = baseline.read(place) or baseline.Baseline(place)
        if old.model:
            raise InvalidArgument(f"{place}: is a model; name a JSON to write the baseline to")
        named = {file for entry in entries if entry.baseline == place for file in _existing(entry)}
        new = {file: weight for file, weight in weights.items() if file in named}
        baseline.write(old.with_files(new, only_these=whole))
        click.echo(f"{printable(place)}: {counted(len(new), 'file')} written", err=True)
    return [
        replace(verdict, budgets=tuple(b for b in verdict.budgets if b.name != "max-growth")) for verdict in verdicts
    ]


def _existing(entry: "Budgeted") -> list[str]:
    from ..errors import FileAccess

    try:
        return entry.files()
    except FileAccess:
        return []
