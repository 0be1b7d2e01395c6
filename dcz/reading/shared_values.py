"""The shared values of tensors, and how often each stands for a weight, without decoding anything.

shared_values("net.dcz", "fc1.*")["fc1.weight"][0]   ->   (-0.113, 0.004)
"""

import os
from fnmatch import fnmatchcase

import numpy as np

from ..encoded import Codebook, Shared, Sparse, Stream, codebook_patterns, entry_values
from ..errors import InvalidArgument
from ..format.container import Archive
from ..plan.rules import check_pattern
from ..tensor import Dtype, values


def shared_values(path: str | os.PathLike[str], pattern: str) -> dict[str, list[tuple[float, float]]]:
    """For each tensor whose name matches: its shared values, and the fraction of the codes that each gets.

    Of a fine codebook, the mean of the entries of each code. Fractions are those that the lengths of the Huffman words
    imply, 2^-length: estimates that need no decoding. Tensors without a codebook are left out; where there are scales,
    values are those before they are scaled. Raises InvalidArgument where no name matches, or the pattern is too long.
    """
    check_pattern("histogram", pattern)
    found = {}
    with Archive(path) as archive:
        entries = [entry for entry in archive.directory.entries if fnmatchcase(entry.name, pattern)]
        if not entries:
            raise InvalidArgument(f"the pattern {pattern!r} matches no tensor of {path}")
        for entry in entries:
            encoded = archive.encoded(entry)
            if isinstance(encoded, (Shared, Sparse)) and encoded.codes is not None and encoded.codebook is not None:
                numbers = _entries(encoded.codebook, entry.dtype)
                numbers = numbers.reshape(encoded.codebook.count, -1).mean(axis=1)
                found[entry.name] = list(
                    zip(numbers.tolist(), _code_fractions(encoded.codes, len(numbers)).tolist(), strict=True)
                )
    return found


def _entries(codebook: Codebook, dtype: Dtype) -> np.ndarray:
    """The shared values (float64): as they are decoded, or where there are scales, before they are scaled."""
    if codebook.scales is not None:
        return entry_values(codebook, dtype)
    return values(codebook_patterns(codebook, dtype), dtype).astype(float)


def _code_fractions(codes: Stream, entries: int) -> np.ndarray:
    """The fraction (float64) of the codes that each entry gets, as far as the lengths of the Huffman words tell."""
    fractions: np.ndarray = np.full(entries, 1.0 / entries)
    if codes.form == "constant":
        fractions = np.where(np.arange(entries) == codes.symbol, 1.0, 0.0)
    elif codes.lengths is not None:
        lengths = codes.lengths[:entries].astype(float)
        fractions = np.where(lengths > 0, 2.0**-lengths, 0.0)
        fractions = fractions / fractions.sum()
    return fractions
