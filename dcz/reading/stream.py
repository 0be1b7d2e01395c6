"""A decoded model as a stream of bytes: each large tensor is decoded when its turn comes, and gone when it is read.

with Archive("net.dcz") as archive:
    for piece in stream(archive, threads=2):     b"\\x08\\x08 ...", 3,211,264 bytes of fc1.weight, b"*\\x17 ...", ...
"""

from collections.abc import Generator
from typing import TYPE_CHECKING

from ..format.container import Archive
from ..parallel import in_order, thread_count, thread_pool
from .decompress import decode_tensor, skeleton_within

if TYPE_CHECKING:
    from .. import model

Pieces = Generator[bytes | memoryview, None, None]
AWAITED_BYTES = 1 << 14  # of a tensor from which it waits for its turn; smaller ones are decoded before the first piece
IN_FLIGHT = 1 << 25  # bytes of tensors decoded ahead, unless one alone has more


def stream(archive: Archive, threads: int | None = None, max_bytes: float | str | None = None) -> Pieces | None:
    """The bytes of the serialized model in an open file, one piece after another; None where it has 2 GB or more.

    For `max_bytes` and errors see dcz.load; what is wrong with a large tensor is raised at its place. Beside the piece
    that was given last, tensors of IN_FLIGHT bytes, or one, are in memory.
    """
    from .. import model

    held = model.Held()
    proto, references, nbytes = skeleton_within(archive, max_bytes, held)
    if nbytes > model.PROTOBUF_LIMIT:
        return None
    entries = archive.directory.entries
    for number, entry in enumerate(entries):
        uses = references[number]
        if entry.nbytes >= AWAITED_BYTES and all(reference.field == "raw_data" for reference in uses):
            for reference in uses:
                held.await_data(reference, entry.nbytes)
            continue
        data = decode_tensor(archive, entry)
        for reference in uses:
            model.restore_data(reference, data)
    pieces = model.serialized_later(proto, held, archive.path)
    return None if pieces is None else _decoded(archive, pieces, thread_count(threads))


def _decoded(archive: Archive, pieces: "list[bytes | memoryview | model.Awaited]", threads: int) -> Pieces:
    """The pieces, with the data of those that are awaited."""
    from .. import model

    entries = archive.directory.entries
    awaited = [piece.reference for piece in pieces if isinstance(piece, model.Awaited)]
    jobs = ((each, (archive, entries[each.record], threads), entries[each.record].nbytes) for each in awaited)
    with thread_pool(threads) as pool:
        decoded = in_order(pool, decode_tensor, jobs, threads, IN_FLIGHT)
        for piece in pieces:
            if isinstance(piece, model.Awaited):
                reference, data = next(decoded)
                yield reference.data(data).data
                del data  # before the next one is made
            else:
                yield piece
