"""On which lines of a file the strings stand that were parsed out of it: TOML's parser does not say.

find(["a.dcz", "b.dcz"], '[[check]]\\npath = "a.dcz"\\n[[check]]\\npath = "b.dcz"')   ->   [2, 4]
"""

import bisect
import re
from collections.abc import Iterable

_STRING = re.compile(r"""'([^'\n]*+)'|"([^"\n]*+)\"""")


def find(paths: Iterable[str], text: str) -> list[int]:
    """The line, from 1 on, on which each path is written; that after the last one where it is not found."""
    places: dict[str, list[int]] = {}
    lines = text.split("\n")
    for number, line in enumerate(lines):
        for single, double in _STRING.findall(line):
            places.setdefault(single or double, []).append(number)
    found, start = [], 0
    for path in paths:
        numbers = places.get(path, [])
        after = bisect.bisect_left(numbers, start)
        at = numbers[after] if after < len(numbers) else None
        found.append((start if at is None else at) + 1)
        start = start if at is None else at + 1
    return [min(line, len(lines)) for line in found]
