"""What the paper's own storage of a layer costs (Deep Compression, sections 2, 4 and 5).

    kept  0 0 1 0 0 0 0 0 1   2-bit gaps   ->   entries  (2, w) (3, filler) (1, w)

The kept weights in row-major order, each with the number of zeros before it in b bits. A gap of 2^b zeros or more needs
fillers: an entry that passes 2^b - 1 zeros and stores one more, with a code of its own. Both streams are Huffman-coded.
"""

from dataclasses import dataclass

import numpy as np

from dcz.codec.stages import huffman

LONGEST = 15  # bits of a word: longer ones would change no figure that is shown


@dataclass(frozen=True)
class Cost:
    """A layer, or several: counts of weights, of those kept, of stored entries, and the bits that they take.

    `fixed_...` are those of codes and gaps before Huffman coding, `coded_...` after it; `codebook` those of its float32
    values, which the paper's rates must count too: those of its small layers cannot be had without.
    """

    weights: int
    kept: int
    entries: int
    fixed_weights: int
    fixed_index: int
    coded_weights: int
    coded_index: int
    codebook: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def shared_rate(self) -> float:
        """The share of four bytes a weight that is left after pruning and sharing (P+Q)."""
        return (self.fixed_weights + self.fixed_index + self.codebook) / (32 * self.weights)

    @property
    def rate(self) -> float:
        """The same after Huffman coding (P+Q+H)."""
        return (self.coded_weights + self.coded_index + self.codebook) / (32 * self.weights)


def count_gaps(mask: np.ndarray, gap_bits: int) -> tuple[np.ndarray, int]:
    """How often each gap of a `mask` (bool, any shape) occurs (int64[2^gap_bits]), fillers too; and their number."""
    span = 1 << gap_bits
    gaps = np.diff(np.flatnonzero(mask), prepend=-1) - 1
    fillers = int((gaps // span).sum())
    counts = np.bincount(gaps % span, minlength=span)
    counts[span - 1] += fillers
    return counts, fillers


def cost(mask: np.ndarray, codes: np.ndarray, bits: int, gap_bits: int) -> Cost:
    """The cost of a layer: `mask` (bool) of kept weights, and the code (uint8) of each."""
    gaps, fillers = count_gaps(mask, gap_bits)
    entries = len(codes) + fillers
    counts = np.append(np.bincount(codes, minlength=1 << bits), fillers)
    return Cost(
        mask.size, len(codes), entries, bits * entries, gap_bits * entries,
        huffman_bits(counts), huffman_bits(gaps), 32 << bits,
    )  # fmt: skip


def huffman_bits(counts: np.ndarray) -> int:
    """Bits of a Huffman-coded stream of these symbol `counts` (int64), without its table."""
    if np.count_nonzero(counts) < 2:
        return int(counts.sum())
    return int((counts * huffman.code_lengths(counts, LONGEST)).sum())


def entropy_bits(counts: np.ndarray) -> float:
    """The entropy of a stream of these symbol `counts`, in bits: what no code of single symbols beats."""
    counts = counts[counts > 0]
    return float((counts * np.log2(counts.sum() / counts)).sum())
