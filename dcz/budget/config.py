"""Budgets of a project: dcz.toml, or [tool.dcz] in pyproject.toml.

    baseline = "dcz-baseline.json"

    [[check]]
    path = "models/*.dcz"
    max-size = "7MB"
    max-growth = { warn = "1%", fail = "2%" }

Paths, wildcards among them, are those from the file's folder on.
"""

import difflib
import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import FileAccess, InvalidArgument
from ..plan import bounded_toml
from ..plan.rules import check_pattern
from . import config_lines, limits
from .limits import FAIL, LEVELS, WARN, Limit

if TYPE_CHECKING:
    from ..evaluation.given import Data, Labels

NAMES = ("dcz.toml", "pyproject.toml")
MAX_BUDGETS = 10_000  # of a file
MOST_DEEP = 3
_MOST_PARTS = 12  # of a dotted key: other tools' tables of a pyproject.toml have seven
_FILES = ("baseline", "against", "data")  # keys whose values are paths
_TOP = ("baseline", "check")
_KEYS = ("path", "level", *_FILES, "labels", *limits.KINDS)


@dataclass(frozen=True)
class Budgeted:
    """What is asked of the files that `path`, which may hold wildcards, names.

    `baseline` and `against` are paths; `data` and `labels` are what `evaluate` takes: in a file these are paths, or the
    name of an array. `config` and `line` say where it is written.
    """

    path: str
    limits: tuple[Limit, ...] = ()
    baseline: str | None = None
    against: str | None = None
    data: "Data | None" = None
    labels: "Labels | None" = None
    config: str | None = None
    line: int = 1

    def files(self) -> list[str]:
        """The files that there are, in the order of their names; those without wildcards whether they are there or
        not. Raises FileAccess where a pattern matches none."""
        return expand(self.path)


@dataclass(frozen=True)
class Config:
    """The budgets of a file, and the baseline for those that name none."""

    path: str
    entries: tuple[Budgeted, ...]
    baseline: str | None = None


def expand(pattern: str) -> list[str]:
    """The files that a path with wildcards (*, ?, [..], and ** for any folders) names; a path that exists is itself.

    Raises FileAccess where a pattern matches none, InvalidArgument for one that takes long to match.
    """
    if os.path.lexists(pattern) or not glob.has_magic(pattern):
        return [pattern]
    check_pattern("path", pattern)
    if pattern.count("**") > MOST_DEEP:  # glob looks at every way to divide a path among them
        raise InvalidArgument(f"path: a pattern has ** at most {MOST_DEEP} times, not {pattern.count('**')}")
    found = sorted(path for path in glob.glob(pattern, recursive=True) if not os.path.isdir(path))
    if not found:
        _check_readable(pattern)
        raise FileAccess(f"{pattern}: matches no file")
    return found


def _check_readable(pattern: str) -> None:
    """Raise FileAccess where a folder in which a pattern looks cannot be read: glob takes it for an empty one."""
    for folder in glob.glob(os.path.dirname(pattern) or ".", recursive=True):
        try:
            os.scandir(folder).close()
        except NotADirectoryError:
            continue
        except OSError as error:
            raise FileAccess(f"{folder}: this folder cannot be read: {error.strerror}") from error


def find(folder: str | os.PathLike[str] = ".") -> str | None:
    """The path of the nearest dcz.toml, or pyproject.toml with [tool.dcz], from `folder` up to the repository's top.

    None where there is none. Raises as `load` does for a pyproject.toml that cannot be read.
    """
    start = Path(os.path.abspath(folder))
    for place in (start, *start.parents):
        for name in NAMES:
            candidate = place / name
            if candidate.is_file() and (name == NAMES[0] or _tool_table(_read(candidate)[0]) is not None):
                return os.path.relpath(candidate)
        if (place / ".git").exists():
            return None
    return None


def load(path: str | os.PathLike[str]) -> Config:
    """The budgets in a file; raises InvalidArgument, or FileAccess where it cannot be read."""
    place = os.fspath(path)
    table, text = _read(Path(place))
    if Path(place).name == NAMES[1] or _tool_table(table) is not None:
        found = _tool_table(table)
        if found is None:
            raise InvalidArgument(f"{place}: has no table [tool.dcz]")
        table = found
    try:
        return _parse(table, place, text)
    except InvalidArgument as error:
        raise InvalidArgument(f"{place}: {error}") from error


def _read(path: Path) -> tuple[dict[str, Any], str]:
    kind = "a file of budgets"
    try:
        text = bounded_toml.content(path, kind).decode("utf-8-sig").replace("\r\n", "\n")
        return bounded_toml.tables(text, kind, _MOST_PARTS, MAX_BUDGETS + 100), text
    except OSError as error:
        raise FileAccess(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, a NUL in the name
        raise InvalidArgument(f"{path}: not valid TOML: {error}") from error
    except InvalidArgument as error:
        raise InvalidArgument(f"{path}: {error}") from error


def _tool_table(table: Mapping[str, Any]) -> dict[str, Any] | None:
    tool = table.get("tool")
    found = tool.get("dcz") if isinstance(tool, dict) else None
    return found if isinstance(found, dict) else None


def _parse(table: Mapping[str, Any], place: str, text: str) -> Config:
    _check_keys(table, _TOP, "")
    entries = table.get("check", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InvalidArgument("write each budget under [[check]]")
    if len(entries) > MAX_BUDGETS:
        raise InvalidArgument(f"a file of budgets has at most {MAX_BUDGETS:,} of them, not {len(entries):,}")
    folder = os.path.dirname(place)
    baseline = _path(table, "baseline", folder)
    found = tuple(_entry(entry, folder, baseline, number) for number, entry in enumerate(entries, 1))
    lines = config_lines.find([entry["path"] for entry in entries], text)
    placed = tuple(replace(entry, config=place, line=line) for entry, line in zip(found, lines, strict=True))
    return Config(place, placed, baseline)


def _check_keys(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in table:
        if key.replace("_", "-") not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise InvalidArgument(f"{where}unknown key {key!r}; {hint}")


def _path(table: Mapping[str, Any], key: str, folder: str) -> str | None:
    value = table.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise InvalidArgument(f"{key} is the path of a file, not {value!r}")
    if value is None:
        return None
    # a folder's own brackets are none of the pattern's
    return os.path.join(glob.escape(folder) if key == "path" and glob.has_magic(value) else folder, value)


def _entry(table: Mapping[str, Any], folder: str, baseline: str | None, number: int) -> Budgeted:
    where = f"check {number}: "
    _check_keys(table, _KEYS, where)
    table = {key.replace("_", "-"): value for key, value in table.items()}
    try:
        path, labels = _path(table, "path", folder), table.get("labels")
        if path is None:
            raise InvalidArgument('it needs path = "models/*.dcz"')
        level = table.get("level", FAIL)
        if level not in LEVELS:
            raise InvalidArgument(f"level is {' or '.join(LEVELS)}, not {level!r}")
        if labels is not None and not isinstance(labels, str):
            raise InvalidArgument(f"labels is the name of an array, or a path, not {labels!r}")
        asked = [limit for name in limits.KINDS if name in table for limit in _limits(name, table[name], level)]
        if not asked:
            raise InvalidArgument(f"it has no limit; known are {', '.join(limits.KINDS)}")
        old, against, data = (_path(table, key, folder) for key in _FILES)
        if labels is not None and labels.endswith((".npy", ".npz")):
            labels = os.path.join(folder, labels)
        entry = Budgeted(path, tuple(asked), old or baseline, against, data, labels)
        check_complete(entry)
    except InvalidArgument as error:
        raise InvalidArgument(f"{where}{error}") from error
    return entry


def _limits(name: str, value: Any, level: str) -> Iterator[Limit]:
    """The limits of one key: a value, or a table of one for each level."""
    if not isinstance(value, dict):
        yield limits.parse(name, value, level)
        return
    _check_keys(value, LEVELS, f"{name}: ")
    if not value:
        raise InvalidArgument(f'{name} has no value: write {name} = {{ warn = "...", fail = "..." }}')
    for each in (WARN, FAIL):
        if each in value:
            yield limits.parse(name, value[each], each)


def check_complete(entry: Budgeted) -> None:
    """Raise InvalidArgument where a limit lacks what it is measured with, or something is given that no limit uses."""
    names = {limit.name for limit in entry.limits}
    needs = {
        "max-growth": ("baseline",),
        "min-agreement": ("against", "data"),
        "min-top1": ("data", "labels"),
    }
    for name, keys in needs.items():
        for key in keys:
            if name in names and getattr(entry, key) is None:
                raise InvalidArgument(f"{name} needs {key} too")
    for key in ("against", "data", "labels"):
        if getattr(entry, key) is not None and not any(key in needs.get(name, ()) for name in names):
            users = [name for name, keys in needs.items() if key in keys]
            raise InvalidArgument(f"{key} is for {' and '.join(users)}, and no such limit is given")


def matching(entries: Iterable[Budgeted], file: str) -> list[Budgeted]:
    """The entries whose path or pattern names a file, as entries of that file alone."""
    found = []
    for entry in entries:
        try:
            names = entry.files()
        except FileAccess:
            continue
        if os.path.realpath(file) in map(os.path.realpath, names):
            found.append(replace(entry, path=file))
    return found
