"""What files weighed before: a JSON that is committed, in which one tensor is one line.

    old = baseline.read("dcz-baseline.json")
    old.of("models/net.dcz").bytes               what the file had then
    baseline.write("dcz-baseline.json", old.with_files({"models/net.dcz": weigh(...)}))

Files are named from the baseline's folder on, with slashes, on every system. Keys are sorted, so that a difference of
two baselines shows what changed and nothing else. A model (`.dcz`, `.onnx`) is a baseline too: of one file.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..arguments import is_whole
from ..errors import FileAccess, InvalidArgument
from ..files import replacing
from ..reading.inspect import Report, inspect
from ..reading.memory import decoded

VERSION = 1
DEFAULT_NAME = "dcz-baseline.json"
MAX_BYTES = 1 << 25  # of a baseline: 400,000 tensors; plain values may take twenty times as much in memory


@dataclass(frozen=True)
class TensorWeight:
    """Bytes of a tensor in the file and once decoded, and how it was encoded."""

    bytes: int
    memory: int
    encoding: str


@dataclass(frozen=True)
class Weight:
    """Bytes of a file and of the model that it gives back, and those of its tensors by name."""

    bytes: int
    memory: int
    tensors: Mapping[str, TensorWeight]


@dataclass(frozen=True)
class Baseline:
    """The weights of files by name; `path` is where they were read, or are to be written. `model`: whether that is a
    model itself, which stands for any one file."""

    path: str
    files: Mapping[str, Weight] = field(default_factory=dict)
    model: bool = False

    def of(self, file: str | os.PathLike[str]) -> Weight | None:
        """What a file weighed, None where it is not there."""
        if self.model:
            return next(iter(self.files.values()))
        return self.files.get(key(self.path, file))

    def with_files(self, weights: Mapping[str, Weight], only_these: bool = False) -> "Baseline":
        """The baseline with new weights of files, by their paths; `only_these`: and of no others."""
        kept = {} if only_these else dict(self.files)
        return Baseline(self.path, kept | {key(self.path, file): weight for file, weight in weights.items()})


def key(baseline: str, file: str | os.PathLike[str]) -> str:
    """The name of a file in a baseline: from its folder on, with slashes."""
    folder = os.path.dirname(os.path.abspath(baseline))
    try:
        return Path(os.path.relpath(os.path.abspath(file), folder)).as_posix()
    except ValueError:  # another drive
        return Path(os.path.abspath(file)).as_posix()


def weigh(path: str | os.PathLike[str], report: Report | None = None, memory: int | None = None) -> Weight:
    """What a file weighs now; `report` and `memory` where these are known. Raises DczError."""
    report = report or inspect(path)
    if memory is None:
        memory = report.file_bytes if report.kind == "onnx" else decoded(path).nbytes
    tensors = {row.name: TensorWeight(row.huffman, row.original, row.encoding) for row in report.rows}
    return Weight(report.file_bytes, memory, tensors)


def read(path: str | os.PathLike[str]) -> Baseline | None:
    """A baseline: the JSON that `write` wrote, or a model. None where there is no such file.

    Raises FileAccess, and InvalidArgument for what is neither.
    """
    place = os.fspath(path)
    try:
        with open(place, "rb") as file:
            start = file.read(64)
            if not start.lstrip().startswith((b"{", b"\xef\xbb\xbf")) and not place.endswith(".json"):
                return Baseline(place, {place: weigh(place)}, model=True)
            text = start + file.read(MAX_BYTES)
        if len(text) > MAX_BYTES:
            raise InvalidArgument(f"{place}: is no baseline: it has more than {MAX_BYTES} bytes")
        return Baseline(place, _parse(json.loads(text.decode("utf-8-sig"))))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) or "null" in str(error):
            raise FileAccess(f"{place}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
        what = "it has a number of too many digits" if "set_int_max_str_digits" in str(error) else error
        raise InvalidArgument(f"{place}: is no baseline: {what}; make it with `dcz check --update-baseline`") from error
    except RecursionError as error:
        raise InvalidArgument(f"{place}: is no baseline: nested too deep") from error


def _parse(value: Any) -> dict[str, Weight]:
    """The files of a baseline from plain values; raises ValueError."""
    if not isinstance(value, dict) or not isinstance(value.get("files"), dict):
        raise ValueError("it has no files")
    if not is_whole(value.get("version"), VERSION, VERSION):
        raise ValueError(f"its version is {value.get('version')!r}, not {VERSION}: update dcz")
    return {name: _weight(name, entry) for name, entry in value["files"].items()}


def _weight(name: str, entry: Any) -> Weight:
    tensors = entry.get("tensors", {}) if isinstance(entry, dict) else None
    if not isinstance(tensors, dict):
        raise ValueError(f"what it says of {name!r} is no table")
    found = {}
    for tensor, sizes in tensors.items():
        if not isinstance(sizes, dict):
            raise ValueError(f"what it says of tensor {tensor!r} of {name!r} is no table")
        found[tensor] = TensorWeight(_bytes(sizes, "bytes"), _bytes(sizes, "memory"), str(sizes.get("encoding", "")))
    return Weight(_bytes(entry, "bytes"), _bytes(entry, "memory"), found)


def _bytes(entry: Mapping[str, Any], name: str) -> int:
    if not is_whole(entry.get(name), 0, 2**63):
        raise ValueError(f"{name} is {entry.get(name)!r}, no number of bytes")
    return int(entry[name])


def write(baseline: Baseline) -> None:
    """Write a baseline to its path, whole or not at all, the same bytes for the same weights. Raises FileAccess."""
    with replacing(baseline.path) as file:
        file.write(dump(baseline).encode())


def dump(baseline: Baseline) -> str:
    """A baseline as JSON: files and tensors sorted by name, a line for each tensor."""
    lines = ["{", f' "version": {VERSION},', ' "files": {']
    for number, (name, weight) in enumerate(sorted(baseline.files.items())):
        lines += [f"  {json.dumps(name)}: {{", f'   "bytes": {weight.bytes},', f'   "memory": {weight.memory},']
        rows = [
            f"    {json.dumps(tensor)}: " + json.dumps({"bytes": w.bytes, "memory": w.memory, "encoding": w.encoding})
            for tensor, w in sorted(weight.tensors.items())
        ]
        lines += ['   "tensors": {', ",\n".join(rows), "   }"] if rows else ['   "tensors": {}']
        lines.append("  }" + ("," if number < len(baseline.files) - 1 else ""))
    return "\n".join([*lines, " }", "}", ""])
