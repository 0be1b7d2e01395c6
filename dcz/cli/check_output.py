"""Where the verdicts of `dcz check` go: stdout, files, and what a GitHub workflow shows."""

import difflib
import importlib
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import click

from ..display.encoding import pipe_width
from .common import finite, printable

if TYPE_CHECKING:
    from ..budget.judge import Verdict

FORMATS = ("text", "json", "markdown", "junit", "github", "sarif", "metrics")
MIN_WIDTH, MAX_WIDTH = 60, 100  # columns of the text; narrower windows wrap it
MAX_SUMMARY = 1 << 20  # bytes: more than that in one step, GitHub refuses
Output = tuple[str, str | None]  # a format, and the file that it goes to, None for stdout


def parse(formats: Iterable[str]) -> list[Output]:
    """What --format asks for, FORMAT or FORMAT=FILE each; text on stdout where nothing else goes there.

    Raises InvalidArgument, and FileAccess for a file that cannot be written, before any work.
    """
    from ..errors import InvalidArgument
    from ..files import check_output

    outputs: list[Output] = []
    for text in formats:
        name, _, file = text.partition("=")
        if name not in FORMATS:
            near = difflib.get_close_matches(name, FORMATS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(FORMATS)}"
            raise InvalidArgument(f"--format knows no {name!r}; {hint}")
        if file:
            check_output(file)
        outputs.append((name, file or None))
    plain = {name for name, file in outputs if file is None}
    if len(plain) > 1:
        raise InvalidArgument(f"{' and '.join(sorted(plain))} cannot both go to stdout: give one a file, FORMAT=FILE")
    return list(dict.fromkeys(outputs if plain else [("text", None), *outputs]))


def publish(verdicts: Sequence["Verdict"], outputs: Sequence[Output], quiet: bool, single: bool) -> None:
    """Print and write the verdicts in each format; errors also on stderr, and in a GitHub workflow annotations and the
    job's summary.

    What cannot be written stops nothing else; raises FileAccess for the first such file in the end. `single`: JSON is
    that of the one file.
    """
    from ..errors import INTERNAL, DczError, exit_code, message

    for verdict in verdicts:
        if verdict.error is not None:
            if exit_code(verdict.error) == INTERNAL and os.environ.get("DCZ_TRACEBACK"):
                traceback.print_exception(verdict.error)
            text = message(verdict.error)
            named = text if verdict.path in text else f"{verdict.path}: {text}"
            click.echo(f"dcz: error: {printable(named)}", err=True)
    failures: list[DczError] = []
    steps: list[Callable[[], None]] = [
        lambda name=name, file=file: _put(_rendered(name, verdicts, quiet, single), file)  # type: ignore[misc]
        for name, file in outputs
    ]
    if os.environ.get("GITHUB_ACTIONS") == "true":
        steps.append(lambda: _annotate(verdicts, outputs))
        steps.append(lambda: _summarize(verdicts))
    for step in steps:
        try:
            step()
        except DczError as error:
            failures.append(error)
    if failures:
        raise failures[0]


def _rendered(name: str, verdicts: Sequence["Verdict"], quiet: bool, single: bool) -> str:
    if name == "text":
        from ..budget.formats import plain

        return plain.render(verdicts, width(), quiet)
    if name == "json":
        files = [verdict.to_dict() for verdict in verdicts]
        value = files[0] if single else {"holds": all(verdict.holds for verdict in verdicts), "files": files}
        return json.dumps(finite(value), indent=2, allow_nan=False)
    module = importlib.import_module(
        f"..budget.formats.{name}", __package__
    )  # the others are left alone: they take time
    text: str = module.render(verdicts)
    return text


def width() -> int:
    """Columns of text: those of the window; in a pipe MAX_WIDTH, or what COLUMNS asks for."""
    if not sys.stdout.isatty():
        return max(MIN_WIDTH, pipe_width())
    return max(MIN_WIDTH, shutil.get_terminal_size((MAX_WIDTH, 24)).columns)


def _put(text: str, file: str | None) -> None:
    from ..files import replacing

    text = text.rstrip("\n")
    if file is not None:
        with replacing(file) as target:
            target.write(f"{text}\n".encode())
    elif text:
        click.echo(text)


def _annotate(verdicts: Sequence["Verdict"], outputs: Sequence[Output]) -> None:
    """Annotations on stderr, which the runner reads as well as stdout, unless they are on stdout already."""
    from ..budget.formats import github

    lines = github.render(verdicts)
    if lines and ("github", None) not in outputs:
        click.echo(lines, err=True)


def _summarize(verdicts: Sequence["Verdict"]) -> None:
    """The table at the end of the job's summary, where there is one."""
    from ..budget.formats import markdown, words
    from ..errors import FileAccess

    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    text = markdown.render(verdicts).encode()
    if len(text) > MAX_SUMMARY // 2:
        text = f"### dcz check\n\n{words.summary(verdicts)}; the log has the rest\n".encode()
    try:
        with open(path, "ab") as file:
            file.write(text + b"\n")
    except (OSError, ValueError) as error:
        raise FileAccess(f"{path}: the job's summary cannot be written: {error}") from error
