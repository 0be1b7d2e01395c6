"""Functions of the user's own that options name.

load("mine:batches", "--batches")              the function `batches` of the module mine, from here or installed
load("tools/mine.py:batches", "--batches")     the same of a file
"""

import functools
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import InvalidArgument, told


def load(text: str, option: str) -> Any:
    """What `text`, MODULE:NAME or FILE.py:NAME, names. What a function of it raises becomes an InvalidArgument.

    Raises InvalidArgument where it is not there, or importing it fails.
    """
    place, colon, name = text.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise InvalidArgument(f"{option} is MODULE:FUNCTION or FILE.py:FUNCTION, not {text!r}")
    with told(f"{option}: {place} cannot be imported"):
        module = _from_file(Path(place)) if place.endswith(".py") else _from_here(place)
    with told(f"{option}: {text} cannot be had"):  # a module may have functions of its own that find its names
        if not hasattr(module, name):
            raise InvalidArgument(f"{option}: {place} has no {name}")
        found = getattr(module, name)
    return found if isinstance(found, type) or not callable(found) else _told(found, text)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InvalidArgument(f"{path}: there is no such file to take a function from")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # as of every file with the suffix .py
    module = importlib.util.module_from_spec(spec)
    found = importlib.util.find_spec(path.stem)
    if found is None or found.origin in (None, str(path.absolute())):  # else it would stand in for a library
        sys.modules.setdefault(path.stem, module)  # so that workers of a loader find its classes
    spec.loader.exec_module(module)
    return module


def _from_here(name: str) -> ModuleType:
    """A module of the current folder, or an installed one."""
    sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove("")


def _told(function: Any, text: str) -> Any:
    """The function; what it raises is told as the user's own."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        with told(f"{text} fails"):
            return function(*arguments)

    if not hasattr(function, "__name__"):  # of an object that can be called, or a partial
        call.__name__ = text.rpartition(":")[2]
    return call
