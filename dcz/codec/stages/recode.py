"""Other codes in the place of codes, and how often each occurs, block by block.

remap(table, codes)          table[codes]
count_codes(codes)           np.bincount(codes)
"""

import numpy as np

from ... import arrays


def remap(table: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """table[codes] for codes (uint8, flat), block by block: numpy would widen all of them to 64 bits at once.

    Returns `codes` themselves, no copy, where the table maps every code to itself.
    """
    if table.dtype == np.uint8 and np.array_equal(table, np.arange(len(table))):
        return codes
    mapped = np.empty(len(codes), table.dtype)

    def fill(block: slice) -> None:
        np.take(table, codes[block], mode="clip", out=mapped[block])  # "raise" would buffer

    arrays.over_blocks(fill, len(codes))
    return mapped


def recount(counts: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How often each code occurs `after` some have changed (uint8, flat, as `before`; int64[256]), from the `counts`
    before that."""
    changed = np.zeros(256, np.int64)
    changed[: len(counts)] = counts
    if after is before:
        return changed

    def changes_in(block: slice) -> np.ndarray:
        places = arrays.true_places(before[block] != after[block])
        gone, come = (np.bincount(codes[block][places], minlength=256) for codes in (before, after))
        difference: np.ndarray = come - gone
        return difference

    for change in arrays.over_blocks(changes_in, len(after), arrays.WIDE_BLOCK):
        changed += change
    return changed


def count_codes(codes: np.ndarray) -> np.ndarray:
    """How often each code (uint8 or uint16, flat) occurs, up to the largest that does (int64)."""
    if codes.dtype != np.uint8:
        return _count_wide(codes)
    pairs = codes[: len(codes) // 2 * 2].view(np.uint16) if len(codes) > arrays.BLOCK else np.empty(0, np.uint16)

    def joint_counts(part: slice) -> np.ndarray:
        """How often each pair of codes occurs: half as many look-ups."""
        counts = np.zeros(1 << 16, np.int64)
        for block in arrays.blocks_of(part, 2 * arrays.BLOCK):
            counts += np.bincount(pairs[block], minlength=len(counts))
        return counts.reshape(256, 256)

    counts = np.bincount(codes[2 * len(pairs) :], minlength=256)
    for joint in arrays.over_parts(joint_counts, len(pairs)):
        counts += joint.sum(axis=0) + joint.sum(axis=1)
    return np.trim_zeros(counts, "b")


def _count_wide(codes: np.ndarray) -> np.ndarray:
    """`count_codes` of codes of 16 bits, block by block: numpy would widen all of them to 64 bits at once."""

    def counts_of(part: slice) -> np.ndarray:
        counts = np.zeros(1 << 16, np.int64)
        for block in arrays.blocks_of(part, 2 * arrays.BLOCK):
            some = np.bincount(codes[block])
            counts[: len(some)] += some
        return counts

    counts = np.zeros(1 << 16, np.int64)
    for some in arrays.over_parts(counts_of, len(codes)):
        counts += some
    return np.trim_zeros(counts, "b")
