"""`.dcz` files back to tensors and models.

net.dcz -> records -> codec.decode, a few ahead -> tensors, each against its checksum -> net.onnx
"""

import contextlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..codec.decode import decode
from ..codec.stages import huffman
from ..deflate import crc32
from ..errors import BadPlan, CorruptFile, UnsuitableModel
from ..files import check_output, replacing, sync
from ..format.container import Archive, Entry
from ..parallel import in_order, map_over_parts, thread_count

EXTERNAL_DATA = ("auto", "never", "always")


def decode_tensor(archive: Archive, entry: Entry, threads: int = 1, engine=huffman.decode) -> np.ndarray:
    """The bytes (uint8, flat) of one tensor of a file, checked against its checksum. `engine`: see codec.decode."""
    encoded = archive.encoded(entry)
    try:
        with map_over_parts(entry.nbytes * 8 // entry.dtype.bits, threads) as run_parts:
            data = decode(encoded, entry.dtype, entry.shape, run_parts, engine)
        if crc32(data) != entry.info.tensor_crc:
            raise CorruptFile("tensor-crc", "the decoded tensor does not have its checksum")
    except CorruptFile as error:
        raise error.within(archive.describe(entry)) from error.__cause__
    return data


def decode_all(
    archive: Archive, threads: int | None = None, engine=huffman.decode
) -> Iterator[tuple[Entry, np.ndarray]]:
    """Every tensor of a file in order, a few decoded ahead: see parallel.in_order, for memory too."""
    threads = thread_count(threads)
    with ThreadPoolExecutor(threads) as pool:
        jobs = ((entry, (archive, entry, threads, engine), entry.nbytes) for entry in archive.directory.entries)
        yield from in_order(pool, decode_tensor, jobs, threads)


def skeleton(archive: Archive):
    """The graph of a file as a ModelProto, and the references (model.Reference) to each of its records, by number."""
    from .. import model

    proto = model.parse_graph(archive.graph(), archive.path)
    records = [(entry.dtype.code, entry.shape) for entry in archive.directory.entries]
    references = defaultdict(list)
    for reference in model.references(proto, records, archive.path):
        references[reference.record].append(reference)
    return proto, references


def load(path: str | os.PathLike, *, threads: int | None = None, max_bytes: int | None = None):
    """The model in a `.dcz` file as an onnx.ModelProto, all its tensors inside.

    `max_bytes` refuses, before anything is decoded, a file that would decode to more. Raises DczError.
    """
    from .. import model

    with Archive(path) as archive:
        proto, references, _ = _skeleton_within(archive, max_bytes)
        number = 0
        for _, data in decode_all(archive, threads):
            for reference in references[number]:
                model.fill(reference, data)
            del data  # before the next one is made
            number += 1
    return proto


def decompress(
    path: str | os.PathLike,
    output: str | os.PathLike,
    *,
    external_data: str = "auto",
    threads: int | None = None,
    max_bytes: int | None = None,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    force: bool = True,
) -> Path:
    """Decode the `.dcz` file `path` into the ONNX file `output`, and return its path.

    `external_data`: "always" writes the tensors of initializers to `output` + ".data"; "never" keeps all in one file;
    "auto" does that up to 2 GB. `max_bytes` refuses, before anything is decoded, a file that would decode to more.
    `progress` is told a tensor's name, the bytes of tensors done, and those in all. `force` replaces files that exist.
    Raises DczError, older files staying as they were.
    """
    from .. import model

    if external_data not in EXTERNAL_DATA:
        raise BadPlan(f"external_data is one of {', '.join(EXTERNAL_DATA)}, not {external_data!r}")
    data_path = Path(f"{os.fspath(output)}.data")
    with Archive(path) as archive, contextlib.ExitStack() as stack:
        proto, references, nbytes = _skeleton_within(archive, max_bytes)
        outside = external_data == "always" or (external_data == "auto" and nbytes > model.PROTOBUF_LIMIT - (1 << 20))
        files = []
        for target in (output, data_path) if outside else (output,):
            check_output(target, force, inputs=[path])
            files.append(stack.enter_context(replacing(target)))
        total, done, number = sum(entry.nbytes for entry in archive.directory.entries), 0, 0
        for entry, data in decode_all(archive, threads):  # enumerate would hold on to the tensor
            offset = None
            for reference in references[number]:
                if outside and reference.held.own_file and reference.field == "raw_data":
                    offset = _append(files[1], data, model.ALIGNMENT) if offset is None else offset
                    model.point_outside(reference, data_path.name, offset, len(data))
                else:
                    model.fill(reference, data)
            del data  # before the next one is made
            done, number = done + entry.nbytes, number + 1
            progress(entry.name, done, total)
        files[0].write(model.serialize(proto, os.fspath(output)))
        for file in files:  # a disk that is full for one of them shows before either takes its place
            sync(file)
    return Path(output)


def _skeleton_within(archive: Archive, most: int | None):
    """`skeleton`, and the bytes of the whole model; raises UnsuitableModel where these are more than `most`."""
    directory = archive.directory

    def check(nbytes: int) -> int:
        if most is not None and nbytes > most:
            raise UnsuitableModel(f"{archive.path}: decodes to {nbytes} bytes, more than the limit of {most}")
        return nbytes

    check(directory.graph_plain + sum(entry.nbytes for entry in directory.entries))  # before the graph is parsed
    proto, references = skeleton(archive)
    repeated = sum(directory.entries[number].nbytes * len(found) for number, found in references.items())
    return proto, references, check(directory.graph_plain + repeated)


def _append(file, data: np.ndarray, alignment: int) -> int:
    file.write(b"\0" * (-file.tell() % alignment))
    offset = file.tell()
    file.write(data)
    return offset
