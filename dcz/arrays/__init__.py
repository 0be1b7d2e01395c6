"""Arrays computed block by block: large tensors are read, compared and looked up without a copy of their length.

    kept = LazyValues(patterns, dtype, mask)     kept[65536:131072]   the next 65,536 of the kept weights, as floats

blocks   slices of flat arrays, and functions over them by several threads
kept     the positions at which a mask is true
lazy     sequences that compute the array of a slice; functions that read by slices take them or arrays
"""

from .blocks import (
    BLOCK,
    NARROW_BLOCK,
    PARTS,
    WIDE_BLOCK,
    blocks,
    blocks_of,
    gather,
    over_blocks,
    over_parts,
    places,
    scattered_sample,
    wide_blocks,
)
from .kept import KeptPositions, true_places
from .lazy import Bytes, LazyBytes, LazyValues, Weights, extremes, mask_where, sample, select

__all__ = [
    "BLOCK",
    "NARROW_BLOCK",
    "PARTS",
    "WIDE_BLOCK",
    "Bytes",
    "KeptPositions",
    "LazyBytes",
    "LazyValues",
    "Weights",
    "blocks",
    "blocks_of",
    "extremes",
    "gather",
    "mask_where",
    "over_blocks",
    "over_parts",
    "places",
    "sample",
    "scattered_sample",
    "select",
    "true_places",
    "wide_blocks",
]
