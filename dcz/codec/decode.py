"""The parts of one record -> the tensor's bytes: what `encode` did, undone.

decode(archive.encoded(entry), entry.dtype, entry.shape)     uint8[nbytes]
"""

import math
from functools import partial

import numpy as np

from ..encoded import Encoded, Index, Pruned, Shared, Stored, Stream, codebook_patterns
from ..errors import CorruptFile
from ..tensor import Dtype, matrix_shape
from .stages import block, huffman, index

CHUNK = 1 << 15  # elements decoded at a time: they stay in cache
PART = 1 << 20  # pairs of codes that one thread decodes at a time


def decode(
    encoded: Encoded, dtype: Dtype, shape: tuple[int, ...], run_parts: huffman.RunParts = map, engine=huffman.decode
) -> np.ndarray:
    """The tensor's bytes (uint8, flat). `engine` decodes streams: `huffman.decode`, or `decode_slowly` to check it.

    Raises CorruptFile where the parts do not fit together.
    """
    nbytes, itemsize = dtype.nbytes(shape), max(1, dtype.bits // 8)
    if isinstance(encoded, Stored):
        return block.decode(encoded.block, nbytes, itemsize)
    run = partial(_symbols, engine=partial(engine, run_parts=run_parts) if engine is huffman.decode else engine)
    if isinstance(encoded, Shared):
        entries = codebook_patterns(encoded.codebook, dtype)  # refused, if need be, before codes take memory
        return _decode_shared(entries, run(encoded.codes, encoded.codebook.count), run_parts)
    result = np.zeros(math.prod(shape), dtype.pattern)
    kept = encoded.index.kept
    if isinstance(encoded, Pruned):
        exact = block.decode(encoded.block, kept * itemsize, itemsize).view(dtype.pattern)
        _scatter(result, encoded.index, shape, exact, run)
    elif kept:
        entries = codebook_patterns(encoded.codebook, dtype)
        _scatter(result, encoded.index, shape, entries, run, run(encoded.codes, encoded.codebook.count))
    return result.view(np.uint8)


def _symbols(stream: Stream, alphabet: int, engine) -> np.ndarray:
    symbols = engine(stream)
    # Huffman tables and constants were checked when they were read; packed symbols can only be checked now.
    if stream.form == "packed" and int(symbols.max()) >= alphabet:
        raise CorruptFile("symbol-range", f"symbol {int(symbols.max())} where only symbols below {alphabet} exist")
    return symbols


def _decode_shared(entries: np.ndarray, codes: np.ndarray, run_parts: huffman.RunParts = map) -> np.ndarray:
    """Entries of `codes`, two codes at a time through a table of all pairs."""
    itemsize = entries.dtype.itemsize
    result = np.empty(len(codes), entries.dtype)
    table = np.zeros(256, entries.dtype)
    table[: len(entries)] = entries
    paired = 0
    if itemsize <= 4 and len(codes) > CHUNK:
        paired = len(codes) // 2 * 2
        pairs = np.empty((256, 256, 2), entries.dtype)
        pairs[:, :, 0], pairs[:, :, 1] = table[None, :], table[:, None]
        wide = np.dtype(f"<u{2 * itemsize}")
        pair_table, target, source = pairs.view(wide).ravel(), result[:paired].view(wide), codes[:paired].view("<u2")

        def fill(first: int) -> None:
            for start in range(first, min(first + PART, len(source)), CHUNK):
                stop = min(start + CHUNK, len(source))
                np.take(pair_table, source[start:stop], out=target[start:stop], mode="clip")  # "raise" would buffer

        for _ in run_parts(fill, range(0, len(source), PART)):
            pass
    result[paired:] = table[codes[paired:]]
    return result.view(np.uint8)


def _scatter(
    result: np.ndarray, places: Index, shape: tuple[int, ...], source: np.ndarray, run, codes: np.ndarray | None = None
) -> None:
    """Put source[i], or source[codes[i]], at the i-th kept place of `result`."""
    unfold = index.Unfold(matrix_shape(shape), places.column_major, places.rows, places.columns)
    done = 0
    for where in index.decode(run(places.gaps, 1 << places.gap_bits), places.gap_bits, places.kept, unfold.places):
        where = unfold(where)
        taken = slice(done, done + len(where))
        result[where] = source[taken] if codes is None else source[codes[taken]]
        done += len(where)
