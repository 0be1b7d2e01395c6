"""Standard input and output in the place of files, as `-`.

with reading("-") as path, writing("-", force, "net.dcz") as target: ...     files in a temporary folder meanwhile

dcz reads at random places and writes files whole, which no pipe allows: what comes in is spooled to a temporary file
first, and what goes out is passed on when it is complete. A failure leaves nothing on standard output.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import click

from ..errors import CorruptFile, DczError, FileAccess, InvalidArgument
from .common import FilePath

STREAM = "-"
INPUT, OUTPUT = "standard input", "standard output"


class FileOrStream(FilePath):
    """A path to a file, or `-`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The path, or `-`."""
        return STREAM if value == STREAM else super().convert(value, param, ctx)


FILE_OR_STREAM = FileOrStream()


@contextlib.contextmanager
def reading(file: str, name: str = "input") -> Iterator[str]:
    """The path of `file`, or of a temporary file with all of standard input where it is `-`.

    Failures that name that file call it "standard input". Raises InvalidArgument where it is a terminal.
    """
    if file != STREAM:
        yield file
        return
    if sys.stdin is None or sys.stdin.isatty():
        raise InvalidArgument(f"{INPUT} is a terminal: name a file, or have another program's output come in")
    with _folder(INPUT, name) as path:
        try:
            with open(path, "wb") as spooled:
                shutil.copyfileobj(sys.stdin.buffer, spooled)
        except OSError as error:
            raise FileAccess(f"{INPUT}: cannot be spooled to {path}: {error.strerror or error}") from error
        yield path


@contextlib.contextmanager
def writing(output: str, force: bool, name: str) -> Iterator[str]:
    """The path of `output`, or of a temporary file that is copied to standard output in the end where it is `-`.

    What is printed meanwhile goes to standard error then. Raises InvalidArgument where standard output is a terminal,
    unless `force` is given.
    """
    if output != STREAM:
        yield output
        return
    if sys.stdout.isatty() and not force:
        raise InvalidArgument(f"{OUTPUT} is a terminal, and these are no letters: redirect it, or give -f")
    with _folder(OUTPUT, name) as path:
        with contextlib.redirect_stdout(sys.stderr):
            yield path
        with open(path, "rb") as done:
            shutil.copyfileobj(done, sys.stdout.buffer)
        sys.stdout.buffer.flush()


@contextlib.contextmanager
def _folder(label: str, name: str) -> Iterator[str]:
    """The path of a file called `name` in a temporary folder; failures call it `label`."""
    from ..files import temporary_folder

    with temporary_folder("dcz-stream-") as folder:
        path = os.path.join(folder, name)
        try:
            yield path
        except DczError as error:
            error.args = tuple(_renamed(each, path, label) for each in error.args)
            if isinstance(error, CorruptFile):
                error.detail = _renamed(error.detail, path, label)
            raise


def _renamed(text: Any, path: str, label: str) -> Any:
    return text.replace(path, label) if isinstance(text, str) else text


def check_no_json(output: str, as_json: bool) -> None:
    """Raise InvalidArgument where a file and JSON would both go to standard output."""
    if as_json and output == STREAM:
        raise InvalidArgument(f"--json goes to {OUTPUT}, which the file does: name that with -o")


def name_of(output: str, file: str) -> str | None:
    """What a summary calls the output of a command, where it or the input is a stream; None where both are files."""
    if STREAM not in (output, file):
        return None
    return OUTPUT if output == STREAM else output
