"""The file: exact bytes, reading them back, and errors while reading. Refusals are in tests/spec/test_vectors.py."""

import io
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dcz.encoded import MAX_RECORD_EXPANSION, RecordInfo, may_expand
from dcz.errors import CorruptFile, FileAccess, UnsupportedFile
from dcz.format import container
from dcz.format.container import Archive
from dcz.format.directory import Entry, read_directory, write_head
from dcz.tensor import DTYPES, FLOAT32

# spec/FORMAT.md, section 12, up to the record, and the record.
HEAD = bytes.fromhex(
    "89 44 43 5A 0D 0A 1A 0A 01 00 00 00 22 00 00 00 22 00 00 00 85 E2 C4 49"
    "1E 1E 47 D7 86 82 01 06 77 72 69 74 65 72 02 6D 65 01 01 77 01 02 04 06 02 15 30 8F 36 C2 C2 2E 00 F1"
    "3A 1C 2A 1A 08 04 08 06 10 01 42 01 77 6A 0D 0A 08 72 61 77 5F 64 61 74 61 12 01 30 70 01"
)
GRAPH = HEAD[58:]
RECORD = bytes.fromhex("01 05 0A 02 03 33 13 01 03 43 53 72 01 01 00 BC 00 38 01 01 0D")
ENTRY = Entry("w", FLOAT32, (4, 6), RecordInfo(2, 21, 0xC2368F30, 0xF1002EC2))


def entry(name: str, record: bytes, **changes) -> Entry:
    fields = {"dtype": DTYPES[3], "shape": (len(record),), "encoding": 0, "length": len(record)}
    fields |= {"record_crc": zlib.crc32(record), "tensor_crc": 0} | changes
    dtype, shape = fields.pop("dtype"), fields.pop("shape")
    return Entry(name, dtype, shape, RecordInfo(**fields))


def written(folder: Path, data: bytes) -> Path:
    path = folder / "net.dcz"
    path.write_bytes(data)
    return path


def refusal(data: bytes) -> str:
    with pytest.raises(CorruptFile) as error:
        read_directory(io.BytesIO(data))
    return error.value.reason


def test_the_head_of_the_page_s_file_has_these_bytes():
    assert write_head(GRAPH, {"writer": "me"}, [ENTRY]) == HEAD


def test_the_page_s_file_is_read(tmp_path):
    with Archive(written(tmp_path, HEAD + RECORD)) as archive:
        directory = archive.directory
        assert directory.version == (1, 0)
        assert directory.metadata == {"writer": "me"}
        assert (directory.graph_offset, directory.graph_stored, directory.graph_plain) == (58, 30, 30)
        assert directory.file_size == 109
        (found,) = directory.entries
        assert (found.name, found.dtype, found.shape, found.info.encoding) == ("w", FLOAT32, (4, 6), 2)
        assert (found.offset, found.info.length, found.nbytes) == (88, 21, 96)
        assert archive.record(found) == RECORD
        assert archive.graph() == GRAPH


def test_a_file_of_many_tensors_comes_back_in_order(tmp_path):
    records = {f"tensor {i}": bytes([i]) * (i + 1) for i in range(100)}
    metadata = {"z": "1", "a": "2", "": ""}
    head = write_head(b"graph", metadata, [entry(name, record) for name, record in records.items()])
    with Archive(written(tmp_path, head + b"".join(records.values()))) as archive:
        assert list(archive.directory.metadata.items()) == list(metadata.items())
        assert {found.name: archive.record(found) for found in archive.directory.entries} == records
        assert [found.name for found in archive.directory.entries] == list(records)


def test_long_records_of_a_file_of_our_own_are_mapped(tmp_path, monkeypatch):
    path = written(tmp_path, HEAD + RECORD)
    monkeypatch.setattr(container, "MAPPED_FROM", len(RECORD))
    with Archive(path, is_private=True) as archive, Archive(path) as other:
        (entry,) = archive.directory.entries
        found = archive.record(entry)
        assert isinstance(found, memoryview) and found == RECORD == other.record(entry)
        path.write_bytes(HEAD + RECORD[:-1] + bytes([RECORD[-1] ^ 1]))
        with pytest.raises(CorruptFile) as refused:
            archive.record(entry)
    assert refused.value.reason == "record-crc"


def test_an_empty_file_of_the_format_is_read(tmp_path):
    with Archive(written(tmp_path, write_head(b"", {}, []))) as archive:
        assert archive.directory.entries == ()
        assert archive.graph() == b""


@pytest.mark.parametrize("shape", [(), (1,), (0,), (2**40, 0), (1,) * 255, (3, 5, 7)])
@pytest.mark.parametrize("code", DTYPES)
def test_every_type_and_shape_comes_back(code, shape):
    wanted = entry("w", b"", dtype=DTYPES[code], shape=shape, length=1000)
    head = write_head(b"", {}, [wanted])
    (found,) = read_directory(io.BytesIO(head + bytes(1000))).entries
    assert (found.dtype, found.shape, found.info.length) == (DTYPES[code], shape, 1000)


def test_the_same_values_have_the_same_bytes():
    heads = {write_head(GRAPH, {"a": "1", "b": "2"}, [ENTRY]) for _ in range(3)}
    assert len(heads) == 1


def test_directory_and_graph_are_deflated_where_that_is_shorter(tmp_path):
    graph, metadata = b"layer " * 1000, {"settings": "sparsity " * 1000}
    data = write_head(graph, metadata, [])
    assert len(data) < 300
    with Archive(written(tmp_path, data)) as archive:
        assert archive.directory.graph_stored < archive.directory.graph_plain == len(graph)
        assert archive.directory.metadata == metadata
        assert archive.graph() == graph


def test_what_deflate_would_lengthen_is_plain(tmp_path):
    graph = os.urandom(100)
    with Archive(written(tmp_path, write_head(graph, {}, []))) as archive:
        assert archive.directory.graph_stored == archive.directory.graph_plain == 100
        assert archive.graph() == graph


def test_a_later_minor_version_is_read_and_a_later_major_is_not():
    def of_version(major: int, minor: int) -> bytes:
        start = HEAD[:8] + bytes([major, minor]) + HEAD[10:20]
        return start + zlib.crc32(HEAD[24:58], zlib.crc32(start)).to_bytes(4, "little") + HEAD[24:] + RECORD

    assert read_directory(io.BytesIO(of_version(1, 7))).version == (1, 7)
    with pytest.raises(UnsupportedFile, match="update dcz") as error:
        read_directory(io.BytesIO(of_version(2, 0)))
    assert error.value.reason == "version"


def test_the_limit_of_expansion():
    assert may_expand(0, 0)
    assert may_expand(3 * MAX_RECORD_EXPANSION, 3)
    assert not may_expand(3 * MAX_RECORD_EXPANSION + 1, 3)
    assert not may_expand(1, 0)
    wide = {"dtype": FLOAT32, "shape": (MAX_RECORD_EXPANSION // 4 * 3,), "length": 3}
    assert read_directory(io.BytesIO(write_head(b"", {}, [entry("w", b"", **wide)]) + bytes(3))).entries
    wide["shape"] = (MAX_RECORD_EXPANSION // 4 * 3 + 1,)
    assert refusal(write_head(b"", {}, [entry("w", b"", **wide)]) + bytes(3)) == "expansion"


def test_names_are_compared_byte_for_byte():
    close = [entry(name, b"") for name in ("w", "W", "w ", "\u00fc", "u\u0308", "")]
    assert len(read_directory(io.BytesIO(write_head(b"", {}, close))).entries) == 6
    assert refusal(write_head(b"", {}, [entry("w", b""), entry("w", b"")])) == "duplicate-name"


def test_a_fault_of_an_entry_is_reported_before_its_name_s():
    twice = [entry("w", b""), entry("w", b"", shape=(1,))]
    assert refusal(write_head(b"", {}, twice)) == "expansion"


def test_a_fault_of_the_directory_is_reported_before_the_file_s_length():
    twice = [entry("w", b"", length=99), entry("w", b"")]
    assert refusal(write_head(b"", {}, twice)) == "duplicate-name"


def test_damage_is_reported_with_the_file_and_the_tensor(tmp_path):
    data = bytearray(HEAD + RECORD)
    data[60] ^= 1
    data[90] ^= 1
    path = written(tmp_path, bytes(data))
    with Archive(path) as archive:
        with pytest.raises(CorruptFile, match="'w'") as error:
            archive.record(archive.directory.entries[0])
        assert error.value.reason == "record-crc" and str(path) in str(error.value)
        with pytest.raises(CorruptFile) as error:
            archive.graph()
        assert error.value.reason == "graph-crc" and str(path) in str(error.value)
    path.write_bytes(b"no .dcz at all")
    with pytest.raises(CorruptFile) as error:
        Archive(path)
    assert error.value.reason == "not-dcz" and str(path) in str(error.value)


def test_a_file_that_shrinks_while_it_is_open_is_truncated(tmp_path):
    record = bytes(1 << 20)  # more than Python's buffer has read already
    path = written(tmp_path, write_head(b"", {}, [entry("w", record)]) + record)
    with Archive(path) as archive:
        os.truncate(path, 1 << 19)
        with pytest.raises(CorruptFile) as error:
            archive.record(archive.directory.entries[0])
        assert error.value.reason == "truncated"


def test_a_file_that_cannot_be_read_is_no_corrupt_file(tmp_path):
    for path in (tmp_path / "missing.dcz", tmp_path):
        with pytest.raises(FileAccess, match=str(path)):
            Archive(path)
    archive = Archive(written(tmp_path, HEAD + RECORD))
    archive.close()
    with pytest.raises(FileAccess):
        archive.graph()


def test_a_refused_file_is_closed(tmp_path):
    path = written(tmp_path, HEAD[:50])
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(5):
        with pytest.raises(CorruptFile):
            Archive(path)
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_threads_may_share_an_archive(tmp_path):
    records = [bytes([i]) * 5000 for i in range(50)]
    head = write_head(b"", {}, [entry(str(i), record) for i, record in enumerate(records)])
    with Archive(written(tmp_path, head + b"".join(records))) as archive, ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            assert list(pool.map(archive.record, archive.directory.entries)) == records
