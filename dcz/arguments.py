"""Checks of what callers give: sizes and shares as numbers or text, whole numbers, numbers, flags, texts.

parse_size("7MB")   ->   7_000_000
parse_share("98%")  ->   0.98

Everything here raises InvalidArgument, with the value in its message.
"""

import math
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from numbers import Integral, Real
from typing import cast

from .errors import InvalidArgument

UNITS = {
    "": 1,
    "B": 1,
    "K": 10**3,
    "KB": 10**3,
    "M": 10**6,
    "MB": 10**6,
    "G": 10**9,
    "GB": 10**9,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
}
MAX_SIZE = 2**63 - 1  # bytes; no file system holds more
MAX_METADATA = 1 << 12  # names, which any file may have (spec, section 3)


def expect(condition: bool, message: str) -> None:
    """Raise InvalidArgument with `message` unless `condition` holds."""
    if not condition:
        raise InvalidArgument(message)


def is_number(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    """Whether `value` is a real number from `low` to `high`; bool and NaN are none."""
    return isinstance(value, Real) and not isinstance(value, bool) and low <= cast(float, value) <= high


def is_whole(value: object, low: int, high: float = math.inf) -> bool:
    """Whether `value` is a whole number (of Python or numpy) from `low` to `high`; bool is none."""
    return isinstance(value, Integral) and is_number(value, low, high)


def is_texts(value: object) -> bool:
    """Whether `value` is a tuple of str."""
    return isinstance(value, tuple) and all(isinstance(item, str) for item in value)


def parse_size(size: float | str) -> int:
    """Bytes of "7MB" (10^6), "7MiB" (2^20), "7000000" or a number: rounded down, and of a number MAX_SIZE at most."""
    if isinstance(size, Real) and not isinstance(size, bool):
        expect(size >= 0, f"a size is 0 or more bytes, not {size!r}")  # NaN is not
        return int(min(size, MAX_SIZE))
    match = re.fullmatch(r"\s*(-?\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", size) if isinstance(size, str) else None
    number = float(match[1]) * UNITS.get(match[2].upper(), math.nan) if match else math.nan
    if not number <= MAX_SIZE:  # nor is NaN
        raise InvalidArgument(
            f"{size!r} is no size: write a number with B, kB, MB, GB (powers of 1000), KiB, MiB or GiB (of 1024)"
        )
    expect(number >= 0, f"a size is 0 or more bytes, not {size!r}")
    return int(number)


def parse_limit(size: float | str | None) -> float | None:
    """Bytes that something may take, as in `parse_size`, but a number keeps its fraction; None for no limit."""
    if size is None or isinstance(size, str):
        return None if size is None else parse_size(size)
    return size if parse_size(size) < MAX_SIZE else MAX_SIZE


def parse_share(text: str, bare_is_percent: bool = False) -> float:
    """The share that "98%" or "0.98" stands for; with `bare_is_percent` a number without % is percent, too.

    Of any range, and NaN for "nan": what a share may be is for the caller to check.
    """
    number = text.strip()
    is_percent = number.endswith("%") or bare_is_percent
    try:
        value = Decimal(number.removesuffix("%").rstrip())
        return float(value / 100 if is_percent else value)  # the float nearest to what is written, as 0.98 is
    except (InvalidOperation, ValueError) as error:
        raise InvalidArgument(f"{text!r} is no percentage, such as 98%") from error


def as_percent(share: float) -> str:
    """A share for people: 0.985 as 98.5%."""
    return f"{100 * share:z.6g}%"


def check_ratio(ratio: float | None) -> None:
    """Raise InvalidArgument unless `ratio` says how many times smaller a file is to be, or is None."""
    if ratio is not None and not (is_number(ratio, 0) and 0 < ratio < math.inf):
        raise InvalidArgument(f"a ratio is how many times smaller the file is to be, above 0, not {ratio!r}")


def size_at_ratio(nbytes: int, ratio: float) -> int:
    """The bytes of a file `ratio` times smaller than `nbytes`: 1 at least, which no file meets."""
    return max(1, int(min(nbytes / ratio, MAX_SIZE)))


def check_flag(value: bool | None, name: str) -> None:
    """Raise InvalidArgument unless the argument `name` is true, false (or 1, 0) or None."""
    expect(
        value is None or is_whole(value, 0, 1) or isinstance(value, bool),
        f"{name} is true, false or None, not {value!r}",
    )


def check_metadata(metadata: Mapping[str, str] | None) -> None:
    """Raise InvalidArgument unless `metadata` maps text to text, as UTF-8 holds it, or is None."""
    if metadata is None:
        return
    expect(isinstance(metadata, Mapping), f"metadata maps names to texts; it is no {type(metadata).__name__}")
    expect(len(metadata) <= MAX_METADATA, f"metadata has at most {MAX_METADATA} names, not {len(metadata)}")
    for key, value in metadata.items():
        for text in (key, value):
            expect(isinstance(text, str), f"metadata maps names to texts, not {key!r} to {value!r}")
            expect(text.isascii() or _is_unicode(text), f"metadata {key!r}: holds what UTF-8 cannot")


def _is_unicode(text: str) -> bool:
    """Whether `text` has no lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
