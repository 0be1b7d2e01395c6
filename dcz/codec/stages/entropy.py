"""Word lengths of an ideal entropy code, from the counts of its symbols: -log2 of a symbol's relative frequency.

    counts 3 1   ->   ideal_lengths 0.415 2.0   entropy_bits 3.245

Huffman codes come near to that; huffman.coded_bits measures them. Decisions that weigh error against bits use this.
"""

import math

import numpy as np

FRACTIONS = 1024  # lengths are rounded to this part of a bit where bytes depend on them


def ideal_lengths(counts: np.ndarray, total: float) -> np.ndarray:
    """Bits (float64) of the word of each symbol that occurs `counts` times in `total`; a count of 0 is taken as 0.5."""
    lengths: np.ndarray = -np.log2(np.maximum(counts, 0.5) / total)
    return lengths


def stable_lengths(counts: np.ndarray, total: float) -> np.ndarray:
    """`ideal_lengths`, rounded: a processor whose log2 differs in the last bit makes the same decisions."""
    lengths: np.ndarray = np.rint(ideal_lengths(counts, total) * FRACTIONS) / FRACTIONS
    return lengths


def stable_bits(counts: np.ndarray, total: float) -> float:
    """Bits of all symbols together, by `stable_lengths`, summed exactly; `counts` are positive."""
    return math.fsum(counts * stable_lengths(counts, total))


def entropy_bits(counts: np.ndarray) -> float:
    """The entropy of all symbols together, in bits (Shannon, "A mathematical theory of communication", 1948).

    Not rounded: for estimates that no byte depends on.
    """
    counts = counts[counts > 0]
    return float((counts * np.log2(counts.sum() / counts)).sum())
