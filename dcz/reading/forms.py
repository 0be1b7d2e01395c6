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
from ..codec.levels import is_ramp, levels
from ..deflate import crc32
from ..encoded import Codebook, Encoded, Shared, Sparse
from ..errors import CorruptFile, InvalidArgument, UnsuitableModel
from ..format.container import Archive
from ..format.directory import Entry
from ..parallel import helped, in_order, thread_pool
from ..text import counted
from .decompress import decode_tensor
from .form_choice import BY_NUMBER, OTHER_WIDTHS, PER_AXIS, PER_TENSOR, QDQ, Choice

if TYPE_CHECKING:
    from onnx import ModelProto

    from .. import model
    from ..model import Reference

DENSE, GATHER = "dense", "gather"
FORMS = (DENSE, QDQ, GATHER)
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
    choice = Choice(form, outcome.opset[1])
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


def _made(archive: Archive, entry: Entry, threads: int, choice: Choice, has_codes: bool) -> _Made:
    """Decode one record. A tensor by codes is checked against its checksum, too."""
    from .. import model

    if not has_codes:
        return _Made(None, decode_tensor(archive, entry, threads))
    try:
        with helped(entry.nbytes * 8 // entry.dtype.bits, threads):
            found = levels(archive.encoded(entry), entry.dtype, entry.shape)
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
