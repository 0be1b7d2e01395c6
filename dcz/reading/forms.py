"""Which tensors of a `.dcz` file a plain ONNX model computes from codes, and how.

    gather    codes, looked up in the codebook: any codebook, exactly; ramps of more than 256 levels by a Mul
    qdq       DequantizeLinear: ramps, with scales or without; what is no ramp, or of too many levels, as in `gather`

A tensor has codes where its record has, where they take fewer bytes than its data, and where the model lets nodes
compute it (model.CompactGraph.reason).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .. import arrays
from ..codec.levels import Levels, is_ramp, levels
from ..deflate import crc32
from ..encoded import Codebook, Encoded, Shared, Sparse
from ..errors import CorruptFile, InvalidArgument, UnsuitableModel
from ..format.container import Archive, Entry
from ..parallel import in_order, map_over_parts, thread_pool
from ..tensor import FLOAT32, FLOAT64, round_to, values
from ..text import counted
from .decompress import decode_tensor

if TYPE_CHECKING:
    from onnx import ModelProto

    from .. import model
    from ..model import Reference

DENSE, QDQ, GATHER = "dense", "qdq", "gather"
FORMS = (DENSE, QDQ, GATHER)
# The first versions of the operator set with: Cast to a type by number; DequantizeLinear; along an axis; of 4 and 16
# bits, and a Cast of 4.
BY_NUMBER, PER_TENSOR, PER_AXIS, OTHER_WIDTHS = 7, 10, 13, 21
MAX_RELATIVE = 2.0**-22  # of an element: what another order of rounding may change
MAX_NAMED = 5  # tensors that a sentence names


@dataclass
class Outcome:
    """What became of the tensors: names of those by each form; those that stay dense, by reason; the largest relative
    difference of those that are not the same to the bit; and the operator set before and after."""

    made: dict[str, list[str]] = field(default_factory=lambda: {QDQ: [], GATHER: []})
    dense: dict[str, list[str]] = field(default_factory=dict)
    differing: list[str] = field(default_factory=list)
    largest: float = 0.0
    opset: tuple[int, int] = (0, 0)
    against: list[str] = field(default_factory=list)
    lookups: int = 0
    inputs_gone: int = 0

    def keep(self, name: str, reason: str) -> None:
        """Note why a tensor stays dense."""
        self.dense.setdefault(reason, []).append(name)

    def sentences(self, form: str) -> list[str]:
        """What a user should know of it."""
        found = []
        before, after = self.opset
        if after > before:
            found.append(f"the operator set was raised from version {before} to {after}, which the new nodes need")
        if self.against:
            found.append(
                f"the operator set stays at version {after}, which has no nodes for some tensors: a later one "
                f"would change what these mean: {_some(self.against)}"
            )
        if self.inputs_gone:
            found.append(
                f"{counted(self.inputs_gone, 'weight')} that the model listed among its inputs, as version 3 of the IR "
                "had to, are inputs no longer"
            )
        if form == QDQ and self.made[GATHER]:
            found.append(
                f"not by DequantizeLinear, being no ramps that it takes in version {after}: {_some(self.made[GATHER])}"
            )
        if self.differing:
            found.append(
                f"equal but for rounding, by {self.largest:.1g} of an element at most: {_some(self.differing)}; "
                "all others are equal to the bit"
            )
        found += [
            f"kept as {'it is' if len(n) == 1 else 'they are'}, {why}: {_some(n)}" for why, n in self.dense.items()
        ]
        return found


def rewrite(
    archive: Archive,
    proto: "ModelProto",
    references: "Mapping[int, Sequence[Reference]]",
    form: str,
    strict: bool,
    threads: int,
    progress: Callable[[str, int, int], None],
) -> Outcome:
    """Change `proto`, the skeleton of a file: put all tensors in, by codes where that is possible.

    `strict`: raise UnsuitableModel, naming them, where tensors with codes cannot be qdq. Raises CorruptFile.
    """
    from .. import model

    entries = archive.directory.entries
    graph, outcome = model.CompactGraph(proto), Outcome()
    encodings: dict[int, tuple[bool, int]] = {}  # of records with codes: whether a ramp, and the operator set it needs
    for number, entry in enumerate(entries):
        found = _needs(archive.encoded(entry)) if entry.dtype.real else None
        if found is None:
            continue
        reasons = [(reference.name, graph.reason(reference)) for reference in references[number]]
        if all(reason for _, reason in reasons):
            for name, reason in reasons:
                outcome.keep(name, reason)
        else:
            encodings[number] = found
    outcome.opset = (model.opset_version(proto),) * 2
    wanted = [need for is_a_ramp, need in encodings.values() if is_a_ramp and form == QDQ]
    wanted = [need for need in wanted if need < OTHER_WIDTHS or strict]
    for version in sorted({BY_NUMBER, *wanted} if encodings else (), reverse=True):
        against = model.raise_opset(proto, version)
        outcome.against = outcome.against or against
        if not against:
            break
    outcome.opset = outcome.opset[0], model.opset_version(proto)
    choice = _Choice(form, outcome.opset[1], strict)
    jobs = ((number, (archive, entry, threads, choice, number in encodings), entry.nbytes) for number, entry in
            enumerate(entries))  # fmt: skip
    total, done = sum(entry.nbytes for entry in entries), 0
    with thread_pool(threads) as pool:
        for number, made in in_order(pool, _made, jobs, threads):
            entry = entries[number]
            for reference in references[number]:
                _put(graph, reference, made, outcome)
            del made
            done += entry.nbytes
            progress(entry.name, done, total)
    if strict and outcome.made[GATHER]:
        raise UnsuitableModel(
            f"{archive.path}: no ramps, which alone are written by DequantizeLinear: {_some(outcome.made[GATHER])}; "
            "leave --strict (strict=True) out, and they are written by Gather"
        )
    graph.finish(form)
    outcome.lookups, outcome.inputs_gone = graph.lookups, graph.inputs_gone
    return outcome


def _needs(encoded: Encoded) -> tuple[bool, int] | None:
    """Whether a record's codebook is a ramp, and the operator set that DequantizeLinear then needs; None without
    codes."""
    if not isinstance(encoded, (Shared, Sparse)):
        return None
    if encoded.codebook is None:
        return False, BY_NUMBER
    need = PER_TENSOR if encoded.codebook.scales is None else PER_AXIS
    return is_ramp(encoded), OTHER_WIDTHS if _is_wide(encoded.codebook) else need


def _is_wide(codebook: Codebook) -> bool:
    return codebook.count << codebook.low_bits > 1 << 8


@dataclass(frozen=True, eq=False)
class _Made:
    """A decoded record: in a `form`, or as `data`, and then why; by how much an element differs from what it should
    be."""

    form: "model.Form | None"
    data: np.ndarray
    reason: str = ""
    difference: float = 0.0


def _put(graph: "model.CompactGraph", reference: "Reference", made: _Made, outcome: Outcome) -> None:
    """Change the graph: put one tensor in."""
    from .. import model

    reason = graph.reason(reference)
    if made.form is not None and not reason:
        graph.put(reference, made.form)
        outcome.made[QDQ if isinstance(made.form, model.Linear) else GATHER].append(reference.name)
        if made.difference:
            outcome.differing.append(reference.name)
            outcome.largest = max(outcome.largest, made.difference)
        return
    model.restore_data(reference, made.data)
    if made.form is not None or made.reason:
        outcome.keep(reference.name, reason or made.reason)


@dataclass(frozen=True)
class _Choice:
    """Which forms there may be: `form`, in a model of this operator set."""

    form: str
    opset: int
    strict: bool

    def make(self, found: Levels) -> "tuple[model.Form, float] | None":
        """The form of a tensor, and by how much an element differs; None where there is none."""
        if self.form == QDQ and found.step and (linear := _linear(found, self.opset)) is not None:
            return linear
        if self.opset < BY_NUMBER:
            return None
        lookup = _lookup(found, self.opset)
        product = _product(found) if found.step and lookup.bits > 8 else None
        return lookup if product is None else product, 0.0


def _made(archive: Archive, entry: Entry, threads: int, choice: _Choice, has_codes: bool) -> _Made:
    """Decode one record. A tensor by codes is checked against its checksum, too."""
    from .. import model

    if not has_codes:
        return _Made(None, decode_tensor(archive, entry, threads))
    try:
        with map_over_parts(entry.nbytes * 8 // entry.dtype.bits, threads) as run_parts:
            found = levels(archive.encoded(entry), entry.dtype, entry.shape, run_parts)
    except CorruptFile as error:
        raise error.within(archive.describe(entry)) from error.__cause__
    data = decode_tensor(archive, entry, threads)
    made = None if found is None else choice.make(found)
    if made is None or found is None:
        return _Made(None, data, f"the operator set of version {choice.opset} has no operators for it")
    form, difference = made
    crc = 0
    for block in arrays.blocks(len(found.codes), arrays.BLOCK):
        crc = crc32(np.ascontiguousarray(found.elements(block)), crc)
    if crc != entry.info.tensor_crc:  # a bug of ours: decode_tensor has found the record to be right
        raise CorruptFile("tensor-crc", f"{archive.describe(entry)}: its codes do not give what its record does")
    if model.form_bytes(form) >= entry.nbytes:
        return _Made(None, data, "being no smaller by codes")
    return _Made(form, data, "", difference)


# -- lookups -----------------------------------------------------------------------------------------------------------


def _lookup(found: Levels, opset: int) -> "model.Lookup":
    """The codes that are used, numbered anew, and their entries; with scales, in the narrowest type that is exact."""
    from .. import model

    used = np.flatnonzero(np.bincount(found.codes, minlength=len(found.entries)))
    numbers = np.zeros(len(found.entries), np.uint8 if len(used) <= 1 << 8 else np.uint16)
    numbers[used] = np.arange(len(used))
    codes = numbers[found.codes].reshape(found.shape)
    bits = 8 * numbers.itemsize if len(used) > 16 or opset < OTHER_WIDTHS else 4
    kind = found.dtype.code
    if found.scales is None:
        assert found.patterns is not None, "entries without scales have patterns"
        return model.Lookup(kind, codes, bits, found.patterns[used], kind)
    entries = found.entries[used]
    for dtype, type_ in ((FLOAT32, np.float32), (FLOAT64, np.float64)):
        narrow = entries.astype(type_), found.scales.astype(type_)
        if dtype == FLOAT64 or _is_exact(found, found.entries.astype(type_), narrow[1]):
            return model.Lookup(kind, codes, bits, narrow[0], dtype.code, narrow[1], found.axis)
    raise AssertionError("float64 is what the format computes in")


def _is_exact(found: Levels, entries: np.ndarray, scales: np.ndarray) -> bool:
    """Whether entries and scales (float32) give the elements to the bit, multiplied in float32."""
    if found.dtype == FLOAT64:
        return False
    for block in arrays.blocks(len(found.codes), arrays.BLOCK):
        product = entries[found.codes[block]] * scales[arrays.places(found.shape, found.axis, block)]
        if not np.array_equal(round_to(product.astype(np.float64), found.dtype), found.elements(block)):
            return False
    return True


# -- DequantizeLinear --------------------------------------------------------------------------------------------------


def _linear(found: Levels, opset: int) -> "tuple[model.Linear, float] | None":
    """A ramp by DequantizeLinear, and by how much an element differs at most; None where it cannot be."""
    from .. import model

    if opset < (PER_TENSOR if found.scales is None else PER_AXIS):
        return None
    used = np.flatnonzero(np.bincount(found.codes, minlength=len(found.entries)))
    width = _width(int(used[0]) - found.zero, int(used[-1]) - found.zero, opset)
    if width is None:
        return None
    bits, type_, low = width
    codes: np.ndarray = (found.codes.astype(np.int32) - (found.zero + low)).astype(type_).reshape(found.shape)
    scale = _scale(found)
    if scale is None:
        return None
    form = model.Linear(found.dtype.code, codes, bits, scale, -low, found.axis)
    difference = _difference(found, codes.ravel(), -low, scale)
    return None if difference is None else (form, difference)


def _product(found: Levels) -> "model.Product | None":
    """A ramp of many levels by a Cast and a Mul; None where that is not exact."""
    from .. import model

    used = np.flatnonzero(np.bincount(found.codes, minlength=len(found.entries)))
    low, high = int(used[0]) - found.zero, int(used[-1]) - found.zero
    scale = _scale(found)
    if scale is None or low < -(1 << 15) or high >= 1 << 15:
        return None
    codes = (found.codes.astype(np.int32) - found.zero).astype(np.int16)
    if _difference(found, codes, 0, scale) != 0:
        return None
    return model.Product(found.dtype.code, codes.reshape(found.shape), scale, found.axis)


def _scale(found: Levels) -> np.ndarray | None:
    """What the whole numbers of a ramp are multiplied with (float32: one, or one a place); None where that does not
    hold it."""
    scale = np.asarray(found.step * (1.0 if found.scales is None else found.scales)).astype(np.float32)
    return scale if (np.isfinite(scale) & (scale > 0)).all() else None


def _width(low: int, high: int, opset: int) -> "tuple[int, type, int] | None":
    """The bits and the numpy type of codes from `low` to `high`, and what code 0 stands for (0, or -zero point)."""
    for bits, signed, unsigned in ((4, np.int8, np.uint8), (8, np.int8, np.uint8), (16, np.int16, np.uint16)):
        if bits != 8 and opset < OTHER_WIDTHS:
            continue
        half = 1 << bits - 1
        if -half <= low and high < half:
            return bits, signed, 0
        low_or_zero, high_or_zero = min(low, 0), max(high, 0)
        if high_or_zero - low_or_zero < 2 * half:
            return bits, unsigned, low_or_zero
    return None


def _difference(found: Levels, codes: np.ndarray, zero: int, scale: np.ndarray) -> float | None:
    """By how much of itself an element differs at most, computed as DequantizeLinear does; None where that is too much,
    or the type is too short for it to go unnoticed."""
    most = 0.0
    for block in arrays.blocks(len(codes), arrays.BLOCK):
        factor = scale if found.scales is None else scale[arrays.places(found.shape, found.axis, block)]
        product = (codes[block].astype(np.int32) - zero).astype(np.float32) * factor
        made, wanted = round_to(product.astype(np.float64), found.dtype), found.elements(block)
        if not np.array_equal(made, wanted):
            one, other = (values(each, found.dtype).astype(np.float64) for each in (made, wanted))
            with np.errstate(all="ignore"):
                relative = np.abs(one - other) / np.abs(other)
            if found.dtype != FLOAT32 or not (relative[one != other] <= MAX_RELATIVE).all():
                return None
            most = max(most, float(relative[one != other].max(initial=0.0)))
    return most


def check_form(form: str, strict: bool) -> None:
    """Raise InvalidArgument where `form` is none, or `strict` says nothing of it."""
    if form not in FORMS:
        raise InvalidArgument(f"the form of a model is one of {', '.join(FORMS)}, not {form!r}")
    if strict and form != QDQ:
        raise InvalidArgument("strict is for the form qdq: in others nothing stands in for it")


def _some(names: Sequence[str]) -> str:
    """A few names, and how many more there are."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
