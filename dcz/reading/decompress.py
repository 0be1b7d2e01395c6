"""`.dcz` files back to tensors and models.

net.dcz -> records -> codec.decode, a few ahead -> tensors, each checked against its CRC-32 -> net.onnx
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..arguments import expect, parse_limit
from ..codec.decode import decode_checked
from ..codec.stages import huffman
from ..display.progress import Progress, shown
from ..errors import CorruptFile, InvalidArgument, UnsuitableModel
from ..files import check_output
from ..format.container import Archive
from ..format.directory import Entry
from ..format.sources import Source
from ..parallel import helped, in_order, thread_count, thread_pool
from .data_files import DataFiles, content_name
from .limits import Limit
from .target import Target, write_at, write_whole

if TYPE_CHECKING:
    from onnx import ModelProto

    from ..model import Held, Reference

Engine = Callable[..., np.ndarray]  # decodes a stream: huffman.decode, or decode_slowly to check it
EXTERNAL_DATA = ("auto", "never", "always")


def decode_tensor(archive: Archive, entry: Entry, threads: int = 1, engine: Engine = huffman.decode) -> np.ndarray:
    """The bytes (uint8, flat) of one tensor of a file, checked against its checksum. `engine`: see codec.decode."""
    encoded = archive.encoded(entry)
    try:
        with helped(entry.nbytes * 8 // entry.dtype.bits, threads):
            data, crc = decode_checked(encoded, entry.dtype, entry.shape, engine)
        if crc != entry.info.tensor_crc:
            raise CorruptFile("tensor-crc", "the decoded tensor does not have its checksum")
    except CorruptFile as error:
        raise error.within(archive.describe(entry)) from error.__cause__
    return data


def decode_all(
    archive: Archive, threads: int | None = None, engine: Engine = huffman.decode
) -> Iterator[tuple[Entry, np.ndarray]]:
    """Every tensor of a file in order, a few decoded ahead: parallel.in_order says how many, and how much memory."""
    threads = thread_count(threads)
    with thread_pool(threads) as pool:
        jobs = ((entry, (archive, entry, threads, engine), entry.nbytes) for entry in archive.directory.entries)
        yield from in_order(pool, decode_tensor, jobs, threads)


def skeleton(archive: Archive, held: "Held | None" = None) -> "tuple[ModelProto, Mapping[int, list[Reference]]]":
    """The graph of a file as a ModelProto, and the references to each of its records, by number. Long lists of
    attributes are `held`, if given: for callers that do not look at them, or serialize the graph with these."""
    from .. import model

    proto = model.parse_graph(archive.graph(), archive.directory.graph_stored, archive.path, held)
    records = [(entry.dtype.code, entry.shape) for entry in archive.directory.entries]
    references: dict[int, list[model.Reference]] = defaultdict(list)
    for reference in model.find_references(proto, records, archive.path):
        references[reference.record].append(reference)
    return proto, references


def load(file: Source, *, threads: int | None = None, max_bytes: float | str | None = None) -> "ModelProto":
    """The model in a `.dcz` file (its path, its bytes, or the file opened in binary) as an onnx.ModelProto, all its
    tensors inside.

    A file that would decode to more than `max_bytes` (a number, or text such as "1MB"; default: see limits) is refused
    before anything is decoded. Raises DczError.
    """
    from .. import model

    parse_limit(max_bytes)  # raises where it is none
    with Archive(file) as archive:
        proto, references, _ = skeleton_within(archive, max_bytes)
        number = 0
        for _, data in decode_all(archive, threads):
            for reference in references[number]:
                model.restore_data(reference, data)
            del data  # before the next one is made
            number += 1  # noqa: SIM113 (enumerate would hold on to the tensor)
    return proto


def decompress(
    path: Source,
    output: str | os.PathLike[str],
    *,
    form: str = "dense",
    strict: bool = False,
    external_data: str = "auto",
    data_name: str | None = None,
    part_size: float | str | None = None,
    threads: int | None = None,
    max_bytes: float | str | None = None,
    progress: Progress = None,
    warn: Callable[[str], None] | None = None,
    force: bool = False,
) -> Path:
    """Decode a `.dcz` file into the ONNX file `output`, and return its path.

    `path` may also be its bytes, or the file opened in binary.

    `form`: "dense", the model as it was; or a small model that any ONNX runtime loads, which computes its weights from
    codes: by "gather" it looks them up in the codebook; by "qdq" DequantizeLinear does it where the codebook is a ramp,
    and with `strict` files where it is none are refused. `warn` is called with sentences: which tensors stay dense, and
    why; whether the operator set was raised; by how much weights differ, where rounding makes them.

    `external_data`: "always" writes the tensors of initializers to a file beside it, whose name tells its content (see
    data_files); "never" keeps all in one file; "auto" does that up to 2 GB, and where neither `data_name`, another name
    for the file beside, nor `part_size` is given: the most bytes (or text such as "2GB") of one such file, whose
    further parts are NAME_1, NAME_2 ...

    A file that would decode to more than `max_bytes` (see `load`) is refused before anything is decoded. `progress` is
    called with a tensor's name, the bytes of tensors done, and those in all; True shows a bar. `force` replaces files
    that exist, and removes those that held the data of an older `output` and that the new one has no use for. Raises
    DczError; older files stay as they were.
    """
    from .. import model
    from . import forms

    parse_limit(max_bytes)  # raises where it is none
    forms.check_form(form, strict)
    if external_data not in EXTERNAL_DATA:
        raise InvalidArgument(f"external_data is one of {', '.join(EXTERNAL_DATA)}, not {external_data!r}")
    if (data_name, part_size) != (None, None):
        expect(external_data != "never", "a name or a part size is for external data, and there is to be none")
        external_data = "always"
    beside = DataFiles.of(output, data_name, part_size)
    with Archive(path) as archive, shown(progress, "decoding") as report:
        held = model.Held() if form == forms.DENSE else None
        proto, references, nbytes = skeleton_within(archive, max_bytes, held)
        if data_name is None:
            beside.name = content_name(archive, beside.output.name, form)
        inputs = [archive.path] if os.path.exists(archive.path) else []
        target = Target(beside, external_data, data_name is None, force, inputs)
        if held is not None:
            _write_dense(archive, proto, held, references, nbytes, target, threads, report)
            return Path(output)
        check_output(output, force, inputs=target.inputs)  # before the work
        outcome = forms.rewrite(archive, proto, references, form, strict, thread_count(threads), report)
        write_whole(proto, target)
    if warn is not None:
        for sentence in outcome.sentences(form):
            warn(sentence)
    return Path(output)


def _write_dense(
    archive: Archive,
    proto: "ModelProto",
    held: "Held",
    references: "Mapping[int, list[Reference]]",
    nbytes: int,
    target: Target,
    threads: int | None,
    report: Callable[[str, int, int], None],
) -> None:
    """Decode all tensors into the model, of `nbytes` in all, whose lists are `held`, and into the files beside it, one
    after another."""
    from .. import model

    beside = target.beside
    outside = target.is_outside(nbytes)
    _check_message(archive, references, outside)
    if outside:
        beside.place(_outside(archive.directory.entries, references), model.ALIGNMENT)
    with target.files() as files:
        total, done, number = sum(entry.nbytes for entry in archive.directory.entries), 0, 0
        for entry, data in decode_all(archive, threads):  # enumerate would hold on to the tensor
            written: set[bool] = set()  # once as it is, once transposed
            for reference in references[number]:
                place = beside.places.get((number, reference.transposed)) if _may_be_outside(reference) else None
                if place is None:
                    model.restore_data(reference, data, held)
                    continue
                if reference.transposed not in written:
                    write_at(files[1 + place.part], place.offset, reference.data(data))
                    written.add(reference.transposed)
                model.make_external(reference, beside.names[place.part], place.offset, len(data))
            del data  # before the next one is made, where it is written
            done, number = done + entry.nbytes, number + 1
            report(entry.name, done, total)
        for piece in model.serialized(proto, held, str(beside.output)):
            files[0].write(piece)


def skeleton_within(
    archive: Archive, max_bytes: float | str | None, held: "Held | None" = None
) -> "tuple[ModelProto, Mapping[int, list[Reference]], int]":
    """`skeleton`, and the bytes of the whole model; raises UnsuitableModel where these are more than `max_bytes`."""
    limit = check_directory(archive, max_bytes)  # before the graph is parsed
    proto, references = skeleton(archive, held)
    directory = archive.directory
    inside = sum(directory.entries[number].nbytes * len(uses) for number, uses in references.items())
    return proto, references, limit.check(directory.graph_plain + inside)


def check_directory(archive: Archive, max_bytes: float | str | None) -> Limit:
    """The limit for a file; raises UnsuitableModel where its graph and records, each decoded once, take more."""
    directory = archive.directory
    limit = Limit.of(archive.path, directory.file_size, max_bytes)
    limit.check(directory.graph_plain + sum(entry.nbytes for entry in directory.entries))
    return limit


def _check_message(archive: Archive, references: "Mapping[int, list[Reference]]", outside: bool) -> None:
    """Raise UnsuitableModel where what stays in the model itself is more than protobuf takes."""
    from .. import model

    directory = archive.directory
    inside = sum(
        directory.entries[number].nbytes
        for number, uses in references.items()
        for reference in uses
        if not (outside and _may_be_outside(reference))
    )
    if directory.graph_plain + inside > model.PROTOBUF_LIMIT:
        remedy = "its tensors are no initializers" if outside else "give --external-data always"
        raise UnsuitableModel(f"{archive.path}: an ONNX file of 2 GB or more needs external data: {remedy}")


def _may_be_outside(reference: "Reference") -> bool:
    """Whether runtimes take a tensor's data from a file beside the model."""
    return reference.slot.is_initializer and reference.field == "raw_data"


def _outside(
    entries: Iterable[Entry], references: "Mapping[int, list[Reference]]"
) -> "Iterator[tuple[tuple[int, bool], str, int]]":
    """The records that may lie beside a model, as they are and, if need be, transposed: their keys, names and bytes."""
    for number, entry in enumerate(entries):
        for transposed in dict.fromkeys(each.transposed for each in references[number] if _may_be_outside(each)):
            yield (number, transposed), entry.name, entry.nbytes
