"""The four encodings of a tensor, and the streams, codebooks and indices that they consist of.

    Sparse(Index(4, False, None, None, 2, gaps), Codebook("half", 2, entries), codes)

`codec` converts tensors to these and back, `format` converts these to bytes and back; neither imports the other.
The field names are those of spec/FORMAT.md, sections 5 to 8.
"""

from dataclasses import dataclass, field

import numpy as np

from .errors import CorruptFile
from .tensor import Dtype, round_to, values

SEGMENT = 1 << 18  # symbols: long enough for its end symbol not to matter, short enough to spread over threads
END = 256  # the symbol that ends a segment
MAX_ENTRIES = 256  # of a codebook
MAX_LOW_BITS = 8  # of a fine codebook, beside its codes
MAX_WORD_BITS = 15  # DEFLATE's own limit


@dataclass(frozen=True, eq=False)
class Stream:
    """`count` symbols below 256 (spec, section 6).

    constant: `symbol`, `count` times. packed: `width` bits each in `segments[0]`. huffman: `lengths` (uint8[257], bits
    of each symbol's word, 256 ending a segment) and the bytes of each segment.
    """

    form: str
    count: int
    symbol: int = 0
    width: int = 0
    lengths: np.ndarray | None = None
    segments: tuple[bytes | memoryview, ...] = ()


@dataclass(frozen=True, eq=False)
class Scales:
    """What the codebook's entries are multiplied with, by place along an `axis` of the tensor (spec, section 8.1).

    Either `steps`, a stream of one symbol for each place, or `exact`, as many float32.
    """

    axis: int
    steps: Stream | None = None
    exact: bytes = b""


@dataclass(frozen=True, eq=False)
class Codebook:
    """`count` values of the tensor's type: native or half `entries` (bytes), or a ramp of float32 (spec, section 8).

    With `scales`, an element is the product of its entry and its scale. In the form "fine" (section 8.2), a ramp too,
    each code stands for 2^`low_bits` entries, among which the low bits of an element choose.
    """

    form: str
    count: int
    entries: bytes = b""
    first: float = 0.0
    step: float = 0.0
    scales: Scales | None = None
    low_bits: int = 0


@dataclass(frozen=True, eq=False)
class Index:
    """Which positions of a matrix are kept (spec, section 7).

    `rows` and `columns` (bool) are the bitmaps of those that the gaps count in; None: all. `kept` positions, `gaps` of
    `gap_bits` bits.
    """

    gap_bits: int
    column_major: bool
    rows: np.ndarray | None
    columns: np.ndarray | None
    kept: int
    gaps: Stream


@dataclass(frozen=True, eq=False)
class Block:
    """Elements bit for bit: the method (plain, deflated or planes) and the bytes (spec, section 5)."""

    method: str
    data: bytes | memoryview


@dataclass(frozen=True, eq=False)
class Stored:
    """The exact bytes of a tensor."""

    block: Block


@dataclass(frozen=True, eq=False)
class Shared:
    """A code for every element, and where the codebook is fine, its low bits."""

    codebook: Codebook
    codes: Stream
    low: Stream | None = None


@dataclass(frozen=True, eq=False)
class Sparse:
    """A code for every kept position, zero elsewhere; `codebook` and `codes` are None where nothing is kept.

    Where the codebook is fine, also the low bits for every kept position.
    """

    index: Index
    codebook: Codebook | None
    codes: Stream | None
    low: Stream | None = None


@dataclass(frozen=True, eq=False)
class Pruned:
    """An exact value for every kept position, zero elsewhere."""

    index: Index
    block: Block


Encoded = Stored | Shared | Sparse | Pruned
ENCODINGS = ("stored", "shared", "sparse", "pruned")  # by number (spec, section 3)
MAX_RECORD_EXPANSION = 1 << 16  # decoded bytes for each byte of a record


def encoding_name(encoded: Encoded) -> str:
    """The name of an encoding: stored, shared, sparse or pruned."""
    return type(encoded).__name__.lower()


def may_expand(nbytes: int, record_length: int) -> bool:
    """Whether the format allows a record of this length to decode to `nbytes` bytes."""
    return nbytes <= MAX_RECORD_EXPANSION * record_length


@dataclass(frozen=True, slots=True)
class RecordInfo:
    """What the directory says of a tensor's record.

    Its encoding (an index into ENCODINGS), its length in bytes, the CRC-32 of its bytes, and the CRC-32 of the bytes of
    the decoded tensor. Before it is written also `minor`, the least minor version of the format that knows it.
    """

    encoding: int
    length: int
    record_crc: int
    tensor_crc: int
    minor: int = field(default=0, compare=False)


def minor_version(encoded: Encoded) -> int:
    """The least minor version of the format that knows what an encoding uses: 1 for scales and low bits, else 0."""
    codebook = encoded.codebook if isinstance(encoded, (Shared, Sparse)) else None
    return 0 if codebook is None or (codebook.scales is None and codebook.form != "fine") else 1


@dataclass(frozen=True, eq=False)
class Record:
    """A tensor's record, serialised, in pieces one after another, which may be views; its entry in the directory; and a
    warning for the user, or ""."""

    pieces: tuple[bytes | memoryview, ...]
    info: RecordInfo
    warning: str = ""

    @property
    def data(self) -> bytes:
        """The bytes in one: a copy, where there are several pieces or a view."""
        return b"".join(self.pieces)


def table_nibbles(lengths: np.ndarray) -> list[int]:
    """The code table's nibbles: the end symbol's length, then the others with runs shortened (spec, section 6.2)."""
    last = int(np.flatnonzero(lengths[:END])[-1])
    plain = lengths[: last + 1].tolist()
    nibbles = [int(lengths[END])]
    symbol = 0
    while symbol < len(plain):
        length = plain[symbol]
        run = 1
        while symbol + run < len(plain) and run < 17 and plain[symbol + run] == length:
            run += 1
        nibbles += [length] if run == 1 else [length, length, run - 2]
        symbol += run
    return nibbles


def check_lengths(lengths: np.ndarray) -> None:
    """Raise CorruptFile unless `lengths` (uint8[257]) describe a complete prefix code with an end symbol.

    Complete: the Kraft sum, of 2^-length over all words, is 1.
    """
    if lengths[END] == 0:
        raise CorruptFile("no-end-symbol", "the Huffman table gives symbol 256 no word")
    used = lengths[lengths > 0].astype(np.int64)
    total = int((1 << (MAX_WORD_BITS - used)).sum())
    if total != 1 << MAX_WORD_BITS:
        reason = "code-over-full" if total > 1 << MAX_WORD_BITS else "code-under-full"
        raise CorruptFile(reason, f"the Huffman words fill {total / 2**MAX_WORD_BITS:.6g} of the code space, not 1")


def entry_values(codebook: Codebook, dtype: Dtype) -> np.ndarray:
    """The codebook's entries as float64, not rounded to `dtype` yet (spec, section 8); native ones as they are."""
    with np.errstate(invalid="ignore"):  # signalling NaNs
        if codebook.form == "native":
            return values(np.frombuffer(codebook.entries, dtype.pattern), dtype).astype(np.float64)
        if codebook.form == "half":
            return np.frombuffer(codebook.entries, "<f2").astype(np.float64)
        return codebook.first + np.arange(codebook.count << codebook.low_bits, dtype=np.float64) * codebook.step


def step_scales(steps: np.ndarray) -> np.ndarray:
    """The scales (float64) of step symbols (uint8): (8 + e mod 8) * 2^floor(e / 8) (spec, section 8.1)."""
    wide = steps.astype(np.int64)
    return np.ldexp((8 + wide % 8).astype(np.float64), wide // 8)


def exact_scales(data: bytes) -> np.ndarray:
    """Scales (float32) from their bytes.

    Raises CorruptFile `scale-value` unless they are finite and above 0.
    """
    scales = np.frombuffer(data, "<f4")
    if not (np.isfinite(scales) & (scales > 0)).all():
        raise CorruptFile("scale-value", "a scale is not finite, or not above 0")
    return scales


def check_scaled(entries: np.ndarray, largest_scale: float, dtype: Dtype) -> None:
    """Raise CorruptFile `codebook-value` unless every entry times the largest scale is finite in `dtype`."""
    with np.errstate(over="ignore", invalid="ignore"):
        largest = values(round_to(entries * largest_scale, dtype), dtype)
    if not (np.isfinite(entries).all() and np.isfinite(largest).all()):
        raise CorruptFile("codebook-value", f"a codebook entry times a scale is not a finite {dtype.name}")


def codebook_patterns(codebook: Codebook, dtype: Dtype) -> np.ndarray:
    """The entries of a codebook without scales as bit patterns of `dtype`.

    Raises CorruptFile `codebook-value` for a half or ramp entry that is not finite (spec, section 8).
    """
    if codebook.form == "native":
        return np.frombuffer(codebook.entries, dtype.pattern)
    numbers = entry_values(codebook, dtype)
    rounded = round_to(numbers, dtype)
    if not (np.isfinite(numbers).all() and np.isfinite(values(rounded, dtype)).all()):
        raise CorruptFile("codebook-value", f"a {codebook.form} codebook entry is not a finite {dtype.name}")
    return rounded
