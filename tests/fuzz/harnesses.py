"""What is done with fuzzed bytes: each function ends quietly, whatever they are, or raises for a fault of dcz.

HARNESSES["container"](data)         dcz.load and dcz.open: a model, or a DczError
HARNESSES["decoders"](data)          dcz beside spec/decoder.py: both refuse, for the same reason, or decode alike
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

import dcz
from dcz.codec.decode import decode
from dcz.codec.stages import huffman
from dcz.encoded import END, check_lengths
from dcz.evaluation.samples import open_samples
from dcz.format import record
from dcz.format.container import Archive
from dcz.format.fields import Reader
from dcz.model.compact_graph import FORM_KEY
from dcz.plan import toml
from dcz.reading.decompress import decode_all
from dcz.tensor import DTYPES, is_valid_shape
from tests.conformance import VECTORS, decoder
from tests.fuzz import long_lists
from tests.fuzz.sealing import sealed

# What a record's structure holds may be looked at in any order (spec, section 9): of two such faults either is right.
CONTENT = {
    "block-length", "deflate", "codebook-value", "scale-value", "symbol-range", "segment", "gap-overrun", "kept-count",
    "tensor-crc",
}  # fmt: skip
MOST_COMPARED = 1 << 20  # bytes decoded: the second decoder is written to be read
Outcome = str | dict[str, tuple[int, tuple[int, ...], bytes]]


def container(data: bytes) -> None:
    """A whole file, by the readers that callers have; with the checksums of what it holds, too."""
    for file in (data, sealed(data)):
        for read in (_load, _open, _inspect):
            try:
                read(file)
            except dcz.DczError as error:
                str(error)


def _load(file: bytes) -> None:
    dcz.load(file, threads=1, max_bytes=1 << 24)


def _open(file: bytes) -> None:
    with dcz.open(file, max_bytes=1 << 24) as tensors:
        for name in tensors:
            try:
                tensors[name]
            except dcz.DczError as error:
                str(error)


def _inspect(file: bytes) -> None:
    with Archive(file) as archive:
        for entry in archive.directory.entries:
            archive.encoded(entry)


def decoders(data: bytes) -> None:
    """The same file by dcz and by the specification's decoder."""
    for file in (data, sealed(data)):
        first = _by_dcz(file)
        if first is None:  # more than the second decoder is made for
            continue
        second = _by_decoder(file)
        assert _alike(first, second), f"dcz: {_told(first)}; the specification: {_told(second)}"


def _by_dcz(file: bytes) -> Outcome | None:
    try:
        with Archive(file) as archive:
            if sum(entry.nbytes for entry in archive.directory.entries) > MOST_COMPARED:
                return None
            archive.graph()
            tensors = decode_all(archive, 1)
            return {entry.name: (entry.dtype.code, entry.shape, found.tobytes()) for entry, found in tensors}
    except dcz.CorruptFile as error:
        return error.reason


def _by_decoder(file: bytes) -> Outcome:
    try:
        found = decoder.decode(file)
    except decoder.Refused as error:
        return error.reason
    return {name: (tensor.dtype, tensor.dims, bytes(tensor.data)) for name, tensor in found.tensors.items()}


def _alike(first: object, second: object) -> bool:
    """Whether both accept, with the same result, or refuse for the same reason."""
    return first == second or (isinstance(first, str) and isinstance(second, str) and {first, second} <= CONTENT)


def _told(outcome: Outcome) -> str:
    return outcome if isinstance(outcome, str) else f"{len(outcome)} tensors"


# A record: dtype, encoding, rank and dims, a byte each, then its bytes.


def records(data: bytes) -> None:
    """One record, of a type and shape that the first bytes say, decoded by both."""
    if len(data) < 3 or len(data) < 3 + data[2] % 5:
        return
    dtype = list(DTYPES.values())[data[0] % len(DTYPES)]
    encoding = data[1] % 4 if dtype.real else 0
    rank = data[2] % 5
    shape, body = tuple(data[3 : 3 + rank]), data[3 + rank :]
    if not is_valid_shape(shape, dtype.bits) or dtype.nbytes(shape) > MOST_COMPARED:
        return
    try:
        first: bytes | str = decode(record.read(body, encoding, dtype, shape), dtype, shape).tobytes()
    except dcz.CorruptFile as error:
        first = error.reason
    part = decoder.Part(body, "record")
    entry = decoder.Entry("w", dtype.code, shape, decoder.ENCODINGS[encoding], len(body), decoder.zlib.crc32(body), 0)
    second = _second(part, entry)
    assert _alike(first, second), f"{dtype.name} {shape} encoding {encoding}: {first!r:.60} and {second!r:.60}"


def _second(part, entry) -> bytes | str:
    """What the specification's decoder makes of a record, whose tensor's CRC is left out."""
    found: list[bytes] = []
    plain = decoder.zlib.crc32

    class Recording:  # the last CRC that it takes is that of the tensor
        error = decoder.zlib.error
        decompressobj = staticmethod(decoder.zlib.decompressobj)

        @staticmethod
        def crc32(data) -> int:
            found.append(bytes(data))
            return plain(data) if len(found) == 1 else 0

    zlib, decoder.zlib = decoder.zlib, Recording
    try:
        return bytes(decoder.read_record(part, entry))
    except decoder.Refused as error:
        return error.reason
    finally:
        decoder.zlib = zlib


def tables(data: bytes) -> None:
    """A code's table, and a segment in that code: by both Huffman engines, and by the specification."""
    alphabet, count = (data[0] or 256, data[1]) if len(data) > 1 else (256, 0)
    body = b"\2" + data[2:]
    try:
        reader = Reader(body, "table")
        stream = record._read_stream(reader, count, alphabet)
        reader.end("record-trailing")
        if count:
            check_lengths(stream.lengths) if stream.lengths is not None else None
        found = [bytes(huffman.decode(stream)), bytes(huffman.decode_slowly(stream))]
        first: bytes | str = found[0]
        assert found[0] == found[1], "two engines differ"
    except dcz.CorruptFile as error:
        first = error.reason
    try:
        part = decoder.Part(body, "table")
        make = decoder.read_stream(part, count, alphabet)
        part.check(part.left() == 0, "record-trailing")
        second: bytes | str = bytes(make())
    except decoder.Refused as error:
        second = error.reason
    assert first == second, f"{first!r:.60} and {second!r:.60}"
    assert END == decoder.END


_FOLDER = tempfile.TemporaryDirectory(prefix="dcz-fuzz-")


def _file(name: str, data: bytes) -> Path:
    path = Path(_FOLDER.name, name)
    path.write_bytes(data)
    return path


def models(data: bytes) -> None:
    """An ONNX file: what is written of it gives it back, or it is refused."""
    path = _file("net.onnx", data)
    try:
        dcz.inspect(path)
        packed = dcz.compress(path, Path(_FOLDER.name, "net.dcz"), dcz.PRESETS["lossless"], threads=1, force=True)
    except dcz.DczError as error:
        str(error)
        return
    import onnx

    before, after = onnx.ModelProto.FromString(data), dcz.load(packed, threads=1, max_bytes="2GB")
    is_small_form = any(entry.key == FORM_KEY for entry in before.metadata_props)  # whose codes become tensors again
    if before.functions or is_small_form:
        return
    if len(before.SerializeToString()) == len(data):  # else fields that ONNX does not have
        assert len(after.graph.initializer) == len(before.graph.initializer)
        for old, new in zip(before.graph.initializer, after.graph.initializer, strict=True):
            assert (old.name, list(old.dims), old.raw_data) == (new.name, list(new.dims), new.raw_data)


def samples(data: bytes) -> None:
    """An .npz or .npy file."""
    try:
        for array in open_samples(_file("x.npz", data)).arrays.values():
            np.asarray(array)[:1] if array.ndim else array
    except dcz.DczError as error:
        str(error)


def plans(data: bytes) -> None:
    """A plan.toml, and what it says of a few names."""
    try:
        plan = toml.load(_file("plan.toml", data))
        for name in ("w", "encoder.layer.0.weight", "a" * 300):
            plan.settings(name, True, 10_000)
    except dcz.DczError as error:
        str(error)


HARNESSES: dict[str, Callable[[bytes], None]] = {
    "container": container, "decoders": decoders, "records": records, "tables": tables, "models": models,
    "lists": long_lists.lists, "samples": samples, "plans": plans,
}  # fmt: skip


# -- where each begins -------------------------------------------------------------------------------------------------


def seeds(name: str) -> list[bytes]:
    """Inputs that are sound, or nearly, and small: mostly out of the specification's vectors."""
    vectors = [path.read_bytes() for path in sorted(VECTORS.glob("*/*.dcz")) if path.stat().st_size < 4096]
    if name in ("container", "decoders"):
        return vectors
    if name == "records":
        return list(_record_seeds(vectors))
    if name == "tables":
        return [b"\4\x18" + bytes.fromhex(text) for text in ("03321121ff0f", "0103", "ff0f00", "02f0ff")] + [
            bytes([0, 9]) + body[3:] for body in _record_seeds(vectors)
        ][:40]
    if name == "models":
        return _model_seeds()
    if name == "lists":
        return long_lists.seeds()
    if name == "samples":
        return _sample_seeds()
    return _plan_seeds()


def _record_seeds(vectors: list[bytes]):
    codes = list(DTYPES)
    for file in vectors:
        try:
            with Archive(file) as archive:
                for entry in archive.directory.entries:
                    if len(entry.shape) < 5 and max(entry.shape, default=0) < 256:
                        head = [codes.index(entry.dtype.code), entry.info.encoding, len(entry.shape), *entry.shape]
                        yield bytes(head) + archive.record(entry)
        except dcz.DczError:
            continue


def _model_seeds() -> list[bytes]:
    import onnx

    from tests import models as made
    from tests.networks import perceptron

    found = [perceptron(), made.dense(made.normal(8, 6), made.normal(6, 4)), made.place("if_branches")]
    packed = dcz.compress(made.dense(made.normal(40, 30)), Path(_FOLDER.name, "small.dcz"), bits=4, force=True)
    for form in ("gather", "qdq"):
        dcz.decompress(packed, Path(_FOLDER.name, "small.onnx"), form=form, force=True)
        found.append(onnx.load(Path(_FOLDER.name, "small.onnx")))
    return [each.SerializeToString() for each in found]


def _sample_seeds() -> list[bytes]:
    import io

    arrays = {"x": np.zeros((3, 4), np.float32), "y": np.arange(3), "t": np.array(["a", "bc", ""])}
    found = []
    for save in (np.savez, np.savez_compressed):
        file = io.BytesIO()
        save(file, **arrays)
        found.append(file.getvalue())
    file = io.BytesIO()
    np.save(file, arrays["x"])
    return [*found, file.getvalue()]


def _plan_seeds() -> list[bytes]:
    texts = [
        'min_weights = 1\n[default]\nquality = 20\n[[rule]]\nmatch = "p*"\nsparsity = 0.9\nshare = false\n',
        'include = ["a", "op:Gather"]\nexclude = "b[0-9]?"\nfold = false\n[default]\nbits = 5\nseed = 3\n',
        '[default]\npreset = "small"\n[[rule]]\nmatch = ["a", "layer:x.*"]\nlossless = true\n',
    ]
    return [text.encode() for text in texts]


if os.environ.get("DCZ_FUZZ_FAULT"):  # shows that a fault is found, written down and told
    HARNESSES["plans"] = lambda data: (_ for _ in ()).throw(RuntimeError("a fault")) if b"q" in data else None
