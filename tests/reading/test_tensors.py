"""An open file: one tensor costs its own bytes, and many are decoded ahead in bounded memory."""

import io
import threading
from pathlib import Path

import numpy as np
import pytest

import dcz
from dcz import parallel
from dcz.codec.stages import huffman
from dcz.format import sources
from dcz.format.container import Archive
from dcz.format.directory import HEADER
from dcz.reading import decompress
from tests import models


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    """A file of megabytes: six matrices kept exactly, and a small one."""
    folder = tmp_path_factory.mktemp("mapping")
    proto = models.dense(*(models.normal(400, 400, seed=i) for i in range(6)), models.normal(400, 40, seed=9))
    return dcz.compress(proto, folder / "net.dcz", dcz.Settings(lossless=True))


@pytest.fixture
def reads(monkeypatch) -> list[tuple[int, int]]:
    """What is read from .dcz files: (offset, bytes) of every call to the system."""
    found = []

    class Counting(io.FileIO):
        def read(self, size=-1):
            at = self.tell()
            data = super().read(size)
            found.append((at, len(data)))
            return data

    monkeypatch.setattr(sources, "open", lambda path, mode, **_: Counting(path, mode), raising=False)
    return found


def test_one_tensor_costs_the_directory_and_its_own_bytes(packed, reads):
    with Archive(packed) as archive:
        directory = archive.directory
    names = [entry.name for entry in directory.entries]
    wanted = directory.entries[names.index("w3")]
    reads.clear()
    with dcz.open(packed) as tensors:
        assert tensors["w3"].shape == (400, 400)
        assert reads == [(0, HEADER), (HEADER, directory.graph_offset - HEADER), (wanted.offset, wanted.info.length)]
        assert sum(nbytes for _, nbytes in reads) < directory.file_size / 5
        reads.clear()
        tensors["w5"], tensors["w3"], "w1" in tensors
        assert len(reads) == 2  # a record each, and nothing for a name that the directory has


def test_going_through_all_reads_each_byte_once(packed, reads):
    with dcz.open(packed) as tensors:
        one_by_one = {name: tensors[name] for name in tensors}
        reads.clear()
        together = dict(tensors.items())
        assert sum(nbytes for _, nbytes in reads) == sum(
            entry.info.length for entry in tensors._archive.directory.entries
        )
        assert list(together) == list(one_by_one)
        for name, array in zip(tensors, tensors.values()):
            assert np.array_equal(together[name], one_by_one[name]) and np.array_equal(array, one_by_one[name])
        assert len(tensors.items()) == len(tensors)


def test_few_are_decoded_ahead_and_fewer_where_they_are_big(packed, monkeypatch):
    begun, lock = [], threading.Lock()
    decode = decompress.decode_tensor

    def count(archive, entry, *rest):
        with lock:
            begun.append(entry.name)
        return decode(archive, entry, *rest)

    monkeypatch.setattr(decompress, "decode_tensor", count)
    for room, most in ((1 << 30, 4), (2 * 640_000, 2), (1, 1)):
        monkeypatch.setattr(parallel, "MAX_BYTES_IN_FLIGHT", room)
        begun.clear()
        with Archive(packed) as archive:
            for number, _ in enumerate(decompress.decode_all(archive, 3), 1):
                assert len(begun) <= number - 1 + most
        assert len(begun) == 7


def test_a_big_tensor_is_decoded_by_several_threads(monkeypatch, tmp_path):
    monkeypatch.setattr(parallel, "BIG", 1 << 10)
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    proto = models.dense(models.normal(1300, 1000))
    packed = dcz.compress(proto, tmp_path / "net.dcz", dcz.Settings(bits=8))
    alone = decompress.decode_tensor
    used, inflate, has_help = set(), huffman._inflate, threading.Event()

    def watched(*arguments):
        used.add(threading.current_thread().name)
        if threading.current_thread() is threading.main_thread():
            has_help.wait(10)  # it could be done with all blocks before another thread takes one
        else:
            has_help.set()
        return inflate(*arguments)

    monkeypatch.setattr(huffman, "_inflate", watched)
    with dcz.open(packed) as tensors, Archive(packed) as archive:
        several = tensors["w0"]
        assert used - {threading.main_thread().name}
        expected = alone(archive, archive.directory.entries[0], 1)
    assert np.array_equal(several.ravel().view(np.uint8), expected)
