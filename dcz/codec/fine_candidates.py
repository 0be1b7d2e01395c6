"""A tensor on a fine grid -> its encodings by codes and low bits (spec, section 8.2).

Coded(mask, codes up to 2^16, entries, fine=codebook)   ->   [Shared(codebook, codes, low), Sparse(...)]
"""

import functools

import numpy as np

from .. import arrays
from ..encoded import Codebook, Shared, Sparse
from ..tensor import Tensor, matrix_shape
from . import candidates
from .candidates import Candidate
from .codebooks import with_scales
from .coded import Coded
from .stages import huffman, index, recode

MAX_KEPT = 0.75  # of a tensor's weights: from where an index of them is not worth trying
CODEBOOK_BITS = 72  # of a fine codebook


def bits(coded: Coded) -> int:
    """Bits of the codes and low bits of the kept weights, and of their codebook."""
    return CODEBOOK_BITS + sum(huffman.stream_bits(counts) for counts in _symbol_counts(coded, _counts(coded)))


def encodings(tensor: Tensor, coded: Coded, index_bits: int | None) -> list[Candidate]:
    """The encodings of a tensor of the dtype and shape of `tensor` by codes and low bits."""
    assert coded.fine is not None, "codes of a fine grid"
    codebook = with_scales(coded.fine, coded.row_scales)
    size, itemsize = len(coded.mask), tensor.dtype.bits // 8
    zero = round(-codebook.first / codebook.step)
    counts = _counts(coded)
    counts[zero] += size - len(coded.codes)
    streams = []
    for table, symbol_counts in zip(_tables(coded), _symbol_counts(coded, counts), strict=True):
        symbols = arrays.LazyBytes(size, 1, functools.partial(coded.look_up, table, other=int(table[zero])))
        streams.append(huffman.encode(symbols, symbol_counts))
    decoded = arrays.LazyBytes(size, itemsize, functools.partial(coded.elements, dtype=tensor.dtype))
    found = [Candidate(Shared(codebook, *streams), decoded)]
    if len(coded.codes) < MAX_KEPT * size:
        found.append(Candidate(_sparse(tensor, coded, codebook, index_bits), decoded))
    return found


def _tables(coded: Coded) -> list[np.ndarray]:
    """The code, and the low bits, of each entry (uint8)."""
    assert coded.fine is not None, "codes of a fine grid"
    numbers, low_bits = np.arange(len(coded.entries)), coded.fine.low_bits
    return [(numbers >> low_bits).astype(np.uint8), (numbers % (1 << low_bits)).astype(np.uint8)]


def _counts(coded: Coded) -> np.ndarray:
    """How often each entry occurs among the kept weights (int64)."""
    counts = np.zeros(len(coded.entries), np.int64)
    found = recode.count_codes(coded.codes)
    counts[: len(found)] = found
    return counts


def _symbol_counts(coded: Coded, counts: np.ndarray) -> list[np.ndarray]:
    """How often each symbol (int64[256]) occurs in the streams of codes and low bits, for `counts` of the entries."""
    return [np.bincount(table, counts, 256).astype(np.int64) for table in _tables(coded)]  # below 2^53: exact


def _sparse(tensor: Tensor, coded: Coded, codebook: Codebook, index_bits: int | None) -> Sparse:
    """An index of the kept positions, and a code and low bits for each."""
    mask = coded.mask.reshape(matrix_shape(tensor.shape))
    positions = candidates.index_of(mask, index_bits)
    numbers = coded.codes
    if positions.column_major:
        dense = np.empty(mask.shape, np.uint16)
        dense[mask] = numbers
        numbers = index.in_reading_order(dense, mask, True)
    codes, low = (huffman.encode(recode.remap(table, numbers)) for table in _tables(coded))
    return Sparse(positions, codebook, codes, low)
