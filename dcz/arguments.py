"""What callers give, checked: sizes as numbers or text.

parse_size("7MB")   ->   7_000_000
"""

import re

from .errors import BadPlan

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


def parse_size(text: int | str) -> int:
    """Bytes of "7MB" (10^6), "7MiB" (2^20), "7000000"; raises BadPlan."""
    if isinstance(text, (int, float)):
        text = str(int(text)) if 0 <= text < 2**63 else str(text)
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if not match or match[2].upper() not in UNITS:
        raise BadPlan(
            f"{text!r} is no size: write a number with B, kB, MB, GB (powers of 1000), KiB, MiB or GiB (of 1024)"
        )
    return int(float(match[1]) * UNITS[match[2].upper()])
