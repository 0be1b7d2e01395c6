"""Which tensors of two models belong together.

By name; and of those that are left, by their bytes: of one type and shape and with one CRC-32, which the directory of
a `.dcz` says without decoding. Tensors that are alike (biases of zeros) pair up in the order of the models.
"""

from collections import defaultdict, deque
from collections.abc import Iterator

from .opened import Opened, Row

Pair = tuple[Row | None, Row | None]  # of the old and the new model; None where it has no such tensor


def pair(old: Opened, new: Opened) -> list[Pair]:
    """Pairs of tensors: of the same name, renamed, removed (no new one) and added (no old one)."""
    olds = {row.name: row for row in old.rows}
    named = [(olds.get(row.name), row) for row in new.rows]
    pairs: list[Pair] = [(before, row) for before, row in named if before is not None]
    added = [row for before, row in named if before is None]
    names = {row.name for row in new.rows}
    removed = [row for row in old.rows if row.name not in names]
    renamed = list(_renamed(old, removed, new, added))
    gone, come = {before.name for before, _ in renamed}, {row.name for _, row in renamed}
    pairs += renamed
    pairs += [(row, None) for row in removed if row.name not in gone]
    return pairs + [(None, row) for row in added if row.name not in come]


def _renamed(old: Opened, removed: list[Row], new: Opened, added: list[Row]) -> Iterator[tuple[Row, Row]]:
    kinds = {_kind(row) for row in removed if row.memory_bytes} & {_kind(row) for row in added}
    waiting: dict[tuple[object, int], deque[Row]] = defaultdict(deque)
    for row in removed:
        if _kind(row) in kinds and old.has(row):
            waiting[_kind(row), old.crc(row)].append(row)
    for row in added:
        if _kind(row) in kinds and (found := waiting.get((_kind(row), new.crc(row)))):
            yield found.popleft(), row


def _kind(row: Row) -> object:
    return row.dtype.code, row.shape
