"""How the values, codes and gaps of a tensor are distributed, counted on the decoded streams.

distribution("net.dcz", "fc1.weight").code_counts   ->   how many weights have each shared value
"""

import math
from dataclasses import dataclass

import numpy as np

from ..codec.stages import huffman
from ..encoded import Pruned, Shared, Sparse, Stored, Stream, entry_values
from ..format.container import Archive
from ..format.directory import Entry
from ..tensor import values
from .decompress import decode_tensor

BINS = 64  # of a histogram of values
BLOCK = 1 << 20  # values that are looked at together


@dataclass(frozen=True)
class Histogram:
    """`counts` of values in equal bins from `low` to `high`; `outside`: how many are not finite."""

    low: float
    high: float
    counts: tuple[int, ...]
    outside: int = 0


@dataclass(frozen=True)
class Distribution:
    """One tensor. `entries`: its shared values, those of a fine codebook by its codes, before scales; `code_counts`:
    how many weights have each; `gap_counts`: how often each gap symbol of `gap_bits` bits is there, the last one
    skipping without keeping. Entropies in bits a symbol. `decoded`: the values as they are decoded."""

    name: str
    decoded: Histogram
    entries: tuple[float, ...] = ()
    code_counts: tuple[int, ...] = ()
    gap_counts: tuple[int, ...] = ()
    gap_bits: int = 0
    has_scales: bool = False
    code_entropy: float | None = None
    gap_entropy: float | None = None


def distribution(archive: Archive, entry: Entry) -> Distribution:
    """The distribution of a tensor of real numbers. Raises CorruptFile."""
    encoded = archive.encoded(entry)
    numbers = values(decode_tensor(archive, entry).view(entry.dtype.pattern), entry.dtype)
    if isinstance(encoded, Stored):
        return Distribution(entry.name, histogram(numbers))
    entries: tuple[float, ...] = ()
    codes: tuple[int, ...] = ()
    gaps: tuple[int, ...] = ()
    gap_bits, scaled = 0, False
    if isinstance(encoded, (Sparse, Pruned)):
        gap_bits = encoded.index.gap_bits
        gaps = _counts(encoded.index.gaps, 1 << gap_bits)
    if isinstance(encoded, (Shared, Sparse)) and encoded.codes is not None and encoded.codebook is not None:
        codebook = encoded.codebook
        shared = entry_values(codebook, entry.dtype).reshape(codebook.count, -1).mean(axis=1)
        entries, codes = tuple(shared.tolist()), _counts(encoded.codes, codebook.count)
        scaled = codebook.scales is not None
    return Distribution(
        entry.name, histogram(numbers), entries, codes, gaps, gap_bits, scaled, entropy(codes), entropy(gaps)
    )


def _counts(stream: Stream, symbols: int) -> tuple[int, ...]:
    """How often each symbol is in a stream."""
    return tuple(np.bincount(huffman.decode(stream), minlength=symbols)[:symbols].tolist())


def histogram(numbers: np.ndarray) -> Histogram:
    """The histogram of numbers, from the least to the greatest finite one; block by block, however many there are."""
    flat = numbers.reshape(-1)
    blocks = [slice(start, start + BLOCK) for start in range(0, flat.size, BLOCK)]
    low, high, finite = math.inf, -math.inf, 0
    for block in blocks:
        known = flat[block][np.isfinite(flat[block])]
        finite += known.size
        if known.size:
            low, high = min(low, float(known.min())), max(high, float(known.max()))
    if not finite:
        return Histogram(0.0, 1.0, (0,) * BINS, flat.size)
    if not high > low:
        low, high = low - abs(low) * 0.5 - 1e-6, high + abs(high) * 0.5 + 1e-6
    counts: np.ndarray = np.zeros(BINS, np.int64)
    for block in blocks:
        known = flat[block][np.isfinite(flat[block])].astype(np.float64)
        counts += np.histogram(known, BINS, (low, high))[0]
    return Histogram(low, high, tuple(counts.tolist()), flat.size - finite)


def entropy(counts: tuple[int, ...]) -> float | None:
    """Bits a symbol, at least, for symbols that are so frequent; None for none."""
    total = sum(counts)
    if not total:
        return None
    shares = np.array([count for count in counts if count], np.float64) / total
    return float(abs(-(shares * np.log2(shares)).sum()))
