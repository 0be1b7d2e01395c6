"""The limits that a budget may have, and how they are written.

    parse("max-size", "7MB")       ->   Limit("max-size", 7_000_000)
    parse("max-growth", "2%")      ->   Limit("max-growth", 0.02, unit="share")

Everything here raises InvalidArgument, with the limit's name.
"""

import sys
from dataclasses import dataclass
from typing import Any

from ..arguments import as_percent, is_number, parse_share, parse_size
from ..errors import InvalidArgument
from ..text import counted

FAIL, WARN = "fail", "warn"
LEVELS = (FAIL, WARN)
BYTES, SHARE, RATIO = "bytes", "share", "ratio"
# What each limit is called, what its figure is counted in, and what it says.
KINDS = {
    "max-size": (BYTES, "bytes of the file, external data included"),
    "max-tensor-size": (BYTES, "bytes of the largest tensor, as it lies in the file"),
    "max-memory": (BYTES, "bytes of the model once it is decoded"),
    "max-growth": (BYTES, "bytes more than the baseline's, or a share of these"),
    "max-exact": (SHARE, "share of the tensors' bytes that pruning and sharing have not touched"),
    "min-ratio": (RATIO, "how many times smaller than its source a .dcz file is"),
    "min-agreement": (SHARE, "share of the answers that are those of another model"),
    "min-top1": (SHARE, "share of the samples whose top class is their label"),
}
ANSWERS = ("min-agreement", "min-top1")  # limits that need samples


@dataclass(frozen=True)
class Limit:
    """One limit: `value` in its `unit`: bytes, a share from 0 to 1, or a ratio. `level`: what a miss is, fail or
    warn."""

    name: str
    value: float
    unit: str
    level: str = FAIL

    @property
    def is_maximum(self) -> bool:
        """Whether figures above it miss it, rather than those below."""
        return self.name.startswith("max-")

    def holds(self, figure: float) -> bool:
        """Whether a figure is within it; NaN never is."""
        return figure <= self.value if self.is_maximum else figure >= self.value

    def write(self, figure: float) -> str:
        """A figure in its unit, for people: 7,000,000 bytes, 98.5 %, 5.04."""
        return write(figure, self.unit)


def parse(name: str, value: Any, level: str = FAIL) -> Limit:
    """The limit `name` of a value as people write it: a number, or text such as 7MB, 1.5MiB, 98%."""
    if name not in KINDS:
        raise InvalidArgument(f"unknown limit {name!r}; known are {', '.join(KINDS)}")
    unit = KINDS[name][0]
    if name == "max-growth":
        return _growth(value, level)
    if unit == BYTES:
        return Limit(name, parse_size(value), unit, level)
    if unit == RATIO:
        if not is_number(value, 0, sys.float_info.max):
            raise InvalidArgument(f"{name} is a number, 0 or more, not {value}")
        return Limit(name, float(value), unit, level)
    return Limit(name, _share(name, value), unit, level)


def _growth(value: Any, level: str) -> Limit:
    """A share of the baseline for text with %, else bytes."""
    if isinstance(value, str) and "%" in value:
        share = parse_share(value)
        if not is_number(share, 0, 1e9):
            raise InvalidArgument(f"max-growth is a percentage, 0% or more, or a size, not {value}")
        return Limit("max-growth", share, SHARE, level)
    if isinstance(value, str) and value.strip().strip("0").isdecimal():
        raise InvalidArgument(f"max-growth is a percentage such as 2%, or a size such as 10KB: {value} of which?")
    if isinstance(value, float) and not value.is_integer():
        raise InvalidArgument(f"max-growth is a percentage such as 2%, or whole bytes such as 10KB, not {value!r}")
    return Limit("max-growth", parse_size(value), BYTES, level)


def _share(name: str, value: Any) -> float:
    share = parse_share(value) if isinstance(value, str) else value
    if not is_number(share, 0, 1):
        text = as_percent(share) if is_number(share) else repr(value)
        raise InvalidArgument(f"{name} is a percentage from 0% to 100%, or a share from 0 to 1, not {text}")
    return float(share)


def write(figure: float, unit: str) -> str:
    """A figure in its unit, for people."""
    if unit == BYTES:
        return counted(round(figure), "byte")
    return f"{100 * figure:.4g}%" if unit == SHARE else f"{figure:.4g}"
