"""The command that makes a file anew, with other options.

report = inspect("net.dcz")
command(report, source(report), "--quality 30")    ->   dcz compress -f net.onnx -o net.dcz --quality 30
"""

import os
from collections.abc import Iterable
from pathlib import Path

from .. import shell
from ..errors import FileAccess
from ..files import sha256
from .inspect import Report

UNKNOWN_SOURCE = "MODEL.onnx"  # where no file is known that a .dcz was made from


def command(report: Report, source: str, *options: str) -> str:
    """The command that makes the file of a report of `source` anew with these options, each as a shell takes it.

    An .onnx becomes the .dcz beside it.
    """
    output = report.path if report.kind == "dcz" else Path(report.path).with_suffix(".dcz")
    return " ".join(["dcz compress -f", shell.path(source), "-o", shell.path(output), *options])


def source(report: Report, models: Iterable[str | os.PathLike[str] | None] = ()) -> str:
    """The model that the file of a report is made from: an .onnx itself, of a .dcz the one beside it or one of
    `models`, if that is it to the bit, else a placeholder."""
    if report.kind == "onnx":
        return report.path
    digest = report.metadata.get("source-sha256")
    for candidate in (Path(report.path).with_suffix(".onnx"), *models):
        if candidate and digest and _digest(candidate) == digest:
            return os.fspath(candidate)
    return UNKNOWN_SOURCE


def _digest(path: str | os.PathLike[str]) -> str:
    try:
        return sha256(path)
    except FileAccess:
        return ""
