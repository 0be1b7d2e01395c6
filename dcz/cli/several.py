"""What commands share that take several files, or folders of them."""

import os
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..display.work import say
from .common import is_verbose, printable, warn

if TYPE_CHECKING:
    from ..files.folders import AnyPath
    from ..files.several import Outcome

PACKED, MODELS = (".dcz",), (".onnx",)
EITHER = (*PACKED, *MODELS)
recursive_option = click.option("-r", "--recursive", is_flag=True, help="Of a folder: its subfolders, too.")
output_dir_option = click.option(
    "--output-dir", metavar="OUT", help="The folder of what is made of several; made where it is missing."
)


def is_many(paths: Sequence[str], output_dir: str | None = None) -> bool:
    """Whether a command deals with several files, or with one as if there were more."""
    return len(paths) != 1 or output_dir is not None or os.path.isdir(paths[0])


def found(paths: Sequence[str], suffixes: Sequence[str], recursive: bool) -> dict[str, Path]:
    """The files that paths name, folders standing for theirs: see files.folders.files. Paths stay as they are given."""
    from ..files import folders

    files: dict[str, Path] = {}
    for path in paths:
        if os.path.isdir(path):
            files |= {str(file): place for file, place in folders.files([path], suffixes, recursive).items()}
        else:
            files[path] = Path()
    tell_of_subfolders(paths, suffixes, recursive)
    return files


def tell_of_subfolders(paths: "Iterable[AnyPath]", suffixes: Sequence[str], recursive: bool) -> None:
    """Say on stderr which folders have files of these kinds further down, that are left out."""
    from ..files import folders

    for path in paths if not recursive else ():
        if os.path.isdir(path) and folders.has_below(path, suffixes):
            warn(f"{path}: its subfolders hold {' or '.join(suffixes)} files, too, which -r includes")


def tell_of_failure(outcome: "Outcome") -> None:
    """Print on stderr at once what went wrong with a file."""
    if outcome.error is not None:
        tell_of_error(outcome.error, str(outcome.model))


def tell_of_error(error: Exception, file: str) -> int:
    """Print on stderr what went wrong with a file of several; returns the exit code for it."""
    from ..errors import INTERNAL, exit_code, message

    code = exit_code(error)
    if code == INTERNAL and (is_verbose() or os.environ.get("DCZ_TRACEBACK")):
        traceback.print_exception(error)
    text = message(error)
    say(f"dcz: error: {printable(text if file in text else f'{file}: {text}')}")
    return code
