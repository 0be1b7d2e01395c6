"""Names and numbers as people read them: nothing that a terminal would obey, and no wider than there is room.

shorten("encoder.layer.11.attention.query.weight", 24)   ->   "encoder.la...uery.weight"
"""

import functools
import itertools
import re
import unicodedata
from collections import deque
from collections.abc import Iterator, Sequence

ELLIPSIS = "..."  # ASCII: as wide in every encoding
_WORDS = re.compile(r"[^\W\d_]+|\d+|[\W_]")  # of a name: letters, a number, or a mark


def printable(text: str) -> str:
    """Text from a file without what a terminal would obey: control characters are escaped."""
    return text if text.isprintable() else "".join(map(_escaped, text))


@functools.lru_cache(maxsize=1 << 10)
def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def size(nbytes: float) -> str:
    """Bytes for people: 675,763 B as 675.8 kB."""
    for unit in ("B", "kB", "MB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} B" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.2f} GB"


def counted(count: int, one: str, many: str = "") -> str:
    """A number and what it counts, as "1 bias" and "2,000 biases"; `many` is `one` with an s where it is left out."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def times(before: int, after: int) -> str:
    """How a file changed in size, in words: 5.05 times smaller, or 1.20 times larger."""
    if not before or not after:
        return "not comparable"
    return f"{before / after:.2f} times smaller" if before >= after else f"{after / before:.2f} times larger"


def change(old: int, new: int) -> str:
    """How a size changed, with its sign, as +27.9%: "=" where it did not, "new" where there was nothing, "~0%" for less
    than the last place, which has no sign: +0.0% says that nothing changed, and -0.0% nothing at all."""
    if old == new:
        return "="
    if not old:
        return "new"
    text = f"{100 * (new - old) / old:+.1f}%"
    return "~0%" if text[1:] == "0.0%" else text


def cells(text: str) -> int:
    """Columns of a terminal that printable text takes: characters of East Asia are two wide, accents none."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) > 0 for c in text)


def shorten(text: str, width: int) -> str:
    """`text` in at most `width` columns: what is too long loses its middle, as both ends tell names apart."""
    if cells(text) <= width:
        return text
    most = 4 * max(width, 0) + 8  # characters of an end that may be left, accents among them: names have any length
    left, right = deque(text[: len(text) // 2][:most]), deque(text[len(text) // 2 :][-most:])
    over = cells("".join([*left, ELLIPSIS, *right])) - width
    while (left or right) and over > 0:
        over -= cells(left.pop() if len(left) > len(right) else right.popleft())
    return "".join([*left, ELLIPSIS, *right])[: max(width, 0)]


def shorten_apart(texts: Sequence[str], width: int) -> list[str]:
    """Each text in at most `width` columns, as `shorten` makes it, but for those that would look alike, as they differ
    in the middle that is left out.

    These lose what does not tell them apart, in the way that leaves the fewest alike: of each that look the same, what
    they share at both ends, "...onv2d_24/Conv2D/Rea..."; the words that all share, "...3...query.weight"; or the ends
    that all share.
    """
    short = [shorten(text, width) for text in texts]
    groups: dict[str, set[str]] = {}
    for text, shown in zip(texts, short, strict=True):
        groups.setdefault(shown, set()).add(text)
    alike = [sorted(group) for group in groups.values() if len(group) > 1]
    if not alike:
        return short
    every = sorted(itertools.chain.from_iterable(alike))
    ways = (
        dict(itertools.chain.from_iterable(_without_ends(group, width) for group in alike)),
        dict(_without_words(every, width)),
        dict(_without_ends(every, width)),
    )
    found = [[way.get(text, shown) for text, shown in zip(texts, short, strict=True)] for way in ways]
    return max([*found, short], key=lambda each: len(set(each)))  # the first of equals


def _without_ends(texts: Sequence[str], width: int) -> Iterator[tuple[str, str]]:
    """Each of sorted texts, and it without the ends that all share, but for as much of them as there is room for."""
    begin = _equal_start(texts[0], texts[-1])  # of sorted texts, what the first and the last share, all share
    backward = sorted(text[begin:][::-1] for text in texts)
    end = _equal_start(backward[0], backward[-1])
    room = width - 2 * len(ELLIPSIS)
    spare = max(0, room - max(cells(text[begin : len(text) - end]) for text in texts))  # columns
    before, behind = texts[0][:begin], texts[0][len(texts[0]) - end :]
    third = cells(behind[: _fitting(behind, spare // 3)])  # of the room for what stays of the ends, before the left one
    left = _fitting(before[::-1], spare - third)
    right = _fitting(behind, spare - cells(before[begin - left :]))
    for text in texts:
        start, stop = begin - left, len(text) - end + right
        left_out = ELLIPSIS if start else "", ELLIPSIS if stop < len(text) else ""
        yield text, shorten(left_out[0] + shorten(text[start:stop], max(room, 1)) + left_out[1], width)


def _fitting(text: str, width: int) -> int:
    """How many characters of a text's start fit into `width` columns."""
    widths = itertools.accumulate(map(cells, text[: 4 * width + 8]))
    return sum(1 for _ in itertools.takewhile(lambda each: each <= width, widths))


def _equal_start(a: str, b: str) -> int:
    """How many characters two texts both begin with."""
    return next((number for number, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _without_words(texts: Sequence[str], width: int) -> Iterator[tuple[str, str]]:
    """Each text, and it without the words that all texts of as many words have at the same place; as far as there is no
    room for them, the longest first."""
    by_count: dict[int, list[list[str]]] = {}
    for text in texts:
        words = _WORDS.findall(text)
        by_count.setdefault(len(words), []).append(words)
    for rows in by_count.values():
        is_shared = [len(set(column)) == 1 for column in zip(*rows, strict=True)]
        over = max(cells("".join(words)) for words in rows) - width
        is_left_out = [False] * len(is_shared)
        for run in sorted(_runs(is_shared), key=lambda run: -cells("".join(rows[0][run]))):
            saved = cells("".join(rows[0][run])) - len(ELLIPSIS)
            if over > 0 and saved > 0:
                is_left_out[run] = [True] * (run.stop - run.start)
                over -= saved
        for words in rows:
            kept = words.copy()
            for run in _runs(is_left_out):
                kept[run] = [ELLIPSIS] + [""] * (run.stop - run.start - 1)
            yield "".join(words), shorten("".join(kept), width)


def _runs(flags: Sequence[bool]) -> list[slice]:
    """The longest stretches that are True."""
    edges = [False, *flags, False]
    starts = [number for number in range(len(flags)) if flags[number] and not edges[number]]
    stops = [number + 1 for number in range(len(flags)) if flags[number] and not edges[number + 2]]
    return [slice(start, stop) for start, stop in zip(starts, stops, strict=True)]


def wrapped(text: str, width: int, indent: int = 0) -> Iterator[str]:
    """`text` in lines of at most `width` columns, those after the first two further in; words that are wider lose their
    middle."""
    line = " " * indent
    start = len(line)
    for word in text.split(" "):
        room = width - indent - 2
        word = shorten(word, room)
        if cells(line) > start and cells(line) + cells(word) + 1 > width:
            yield line
            line = " " * (indent + 2)
            start = len(line)
        line += f" {word}" if cells(line) > start else word
    yield line


def markdown_code(text: str) -> str:
    """Text from a file as code in Markdown, in a table too: shown as it is, whatever Markdown or HTML it holds."""
    plain = printable(text)
    if plain.strip() == plain != "" and not set("`|\\") & set(plain):
        return f"`{plain}`"
    return f"<code>{''.join(c if c.isalnum() or c in ' .' else f'&#{ord(c)};' for c in plain)}</code>"
