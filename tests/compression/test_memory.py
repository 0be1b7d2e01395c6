"""Memory goes by the largest tensor, not by the model, and what slices give is what the whole would be."""

import errno
import pickle
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

import dcz
from dcz import arrays, parallel
from dcz.codec import candidates
from dcz.codec.stages import recode
from dcz.compression.task import encode_task, encode_there
from dcz.deflate import crc32
from dcz.files import FileRange
from dcz.model import source
from dcz.plan import LOSSLESS, Settings
from dcz.tensor import FLOAT16, FLOAT32, Tensor
from examples.streaming import models

MANY = 16
CASES = {
    "default": (None, "float16"),
    "half pruned": (Settings(sparsity=0.5, quality=34.0), "float32"),
    "lossless": (LOSSLESS, "float16"),
}


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """Models of one huge tensor of each type: path by type."""
    folder = tmp_path_factory.mktemp("one")
    paths = {dtype: folder / f"{dtype}.onnx" for dtype in models.TYPES}
    for dtype, path in paths.items():
        models.write(path, models.chain(4_000_000, 2048, 1, dtype))
    return paths


def peak(task, *arguments, **options) -> int:
    """The most bytes that a task holds at a time."""
    tracemalloc.start()
    try:
        task(*arguments, **options)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# The tensor itself is a mapped copy, and not in these figures. Slices and tables take some megabytes.
SPARE = 12_000_000


@pytest.mark.parametrize("settings, dtype", CASES.values(), ids=CASES)
def test_one_huge_tensor_takes_a_few_times_its_size(settings, dtype, one, tmp_path, monkeypatch):
    monkeypatch.setattr(dcz.files.ranges, "COPIED_FROM", 1_000_000)
    nbytes = Path(f"{one[dtype]}.data").stat().st_size
    packed = tmp_path / "net.dcz"
    assert peak(dcz.compress, one[dtype], packed, settings, threads=1) < 2.5 * nbytes + SPARE
    assert peak(dcz.verify, packed, threads=1) < 2 * nbytes + SPARE
    restored = tmp_path / "restored.onnx"
    assert peak(dcz.decompress, packed, restored, external_data="always", threads=1) < 2 * nbytes + SPARE
    if settings is LOSSLESS:
        assert next(tmp_path.glob("restored.onnx.*.data")).read_bytes() == Path(f"{one[dtype]}.data").read_bytes()


def test_many_tensors_take_no_more_than_a_few(tmp_path, monkeypatch):
    network = models.chain(MANY * 500_000, 1000, MANY)
    nbytes = network.weights[0].nbytes
    models.write(tmp_path / "net.onnx", network)
    monkeypatch.setattr(dcz.files.temporaries, "IN_MEMORY", 1000)
    monkeypatch.setattr(dcz.files.ranges, "COPIED_FROM", 1_000_000)
    limit = 5 * nbytes + SPARE
    assert limit < network.nbytes * 0.75, "the model would fit"
    packed, restored = tmp_path / "net.dcz", tmp_path / "restored.onnx"
    assert peak(dcz.compress, tmp_path / "net.onnx", packed, threads=2) < limit
    assert peak(dcz.decompress, packed, restored, external_data="always", threads=2) < limit


def test_a_model_in_one_file_takes_no_more_than_a_few_of_its_tensors(tmp_path, monkeypatch):
    network = models.chain(MANY * 500_000, 1000, MANY)
    models.write(tmp_path / "beside.onnx", network)
    onnx.save(onnx.load(tmp_path / "beside.onnx"), tmp_path / "net.onnx")
    monkeypatch.setattr(dcz.files.temporaries, "IN_MEMORY", 1000)
    plain, packed = tmp_path / "plain.dcz", tmp_path / "net.dcz"
    dcz.compress(tmp_path / "net.onnx", plain)
    monkeypatch.setattr(source, "COPIED_FROM", 1_000_000)
    limit = 4 * network.weights[0].nbytes + SPARE
    assert limit < network.nbytes * 0.75, "the model would fit"
    assert peak(dcz.compress, tmp_path / "net.onnx", packed, threads=1) < limit
    assert packed.read_bytes() == plain.read_bytes()


def test_where_the_disk_has_no_room_for_a_copy_a_model_is_read(tmp_path, monkeypatch):
    models.write(tmp_path / "beside.onnx", models.chain(600_000, 500, 2))
    onnx.save(onnx.load(tmp_path / "beside.onnx"), tmp_path / "net.onnx")
    dcz.compress(tmp_path / "net.onnx", tmp_path / "plain.dcz")

    def full(*arguments):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(source, "COPIED_FROM", 1_000_000)
    monkeypatch.setattr(source, "copied", full)
    dcz.compress(tmp_path / "net.onnx", tmp_path / "net.dcz")
    assert (tmp_path / "net.dcz").read_bytes() == (tmp_path / "plain.dcz").read_bytes()


def test_a_large_record_is_kept_in_pieces_that_workers_can_send():
    weights = np.random.default_rng(0).normal(0, 1, (2000, 1000)).astype(np.float32)
    tensor = Tensor("w", FLOAT32, weights.shape, weights.reshape(-1).view(np.uint8), -1)
    here, there = (make(tensor, Settings(bits=8), 1, *rest) for make, *rest in ((encode_task,), (encode_there, ())))
    assert len(here.pieces) > 1 and here.info.length == len(here.data) > candidates.MAX_JOINED
    assert crc32(here.data) == here.info.record_crc
    sent = pickle.loads(pickle.dumps(there.record))
    assert sent.data == here.data and sent.info == here.info


# -- tensors at work together ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [1, 10, 25, 1000])
def test_what_is_at_work_together_is_bounded_by_its_bytes(room):
    sizes = [3, 9, 30, 2, 2, 2, 2, 8, 1, 40, 5]
    alive, most, lock = 0, 0, threading.Lock()

    def jobs():
        nonlocal alive, most
        for number, size in enumerate(sizes):
            yield number, (number,), size

    def work(number: int) -> int:
        nonlocal alive, most
        with lock:
            alive += sizes[number]
            most = max(most, alive if alive > sizes[number] else 0)
        done.wait(0.002)
        with lock:
            alive -= sizes[number]
        return number * number

    done = threading.Event()
    with ThreadPoolExecutor(4) as pool:
        found = list(parallel.in_order(pool, work, jobs(), 4, room))
    assert found == [(number, number * number) for number in range(len(sizes))]
    assert most <= room


# -- slices ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("few", [0, 1 << 21], ids=["made", "gathered"])
@pytest.mark.parametrize("density", [0.0, 0.001, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("dtype, kind", [(FLOAT32, "<f4"), (FLOAT16, "<f2")], ids=["float32", "float16"])
def test_numbers_are_those_of_the_whole(dtype, kind, density, few, monkeypatch):
    monkeypatch.setattr(arrays.kept, "GATHER_LIMIT", few)
    draw = np.random.default_rng(0)
    whole = draw.normal(0, 1, 200_001).astype(kind)
    mask = draw.random(len(whole)) < density
    kept, expected = arrays.LazyValues(whole.view(dtype.pattern), dtype, mask), whole[mask].astype(np.float32)
    assert len(kept) == len(expected)
    for part in [slice(0, 5), slice(65_530, 65_540), slice(100_000, None), slice(None), slice(7, 7)]:
        assert np.array_equal(kept[part], expected[part])
    if density in (0.0, 1.0):
        return
    positions = arrays.KeptPositions(mask)
    assert np.array_equal(positions[10:70], np.flatnonzero(mask)[10:70])
    ends = (0, 65_536, 70_000, len(mask))
    assert [positions.rank(p) for p in ends] == [mask[:p].sum() for p in ends]
    for part in [slice(65_536, 131_072), slice(131_072, None), slice(7, 7)]:
        assert np.array_equal(positions.within(part), np.flatnonzero(mask[part]))
    half = expected > 0
    assert np.array_equal(arrays.select(kept, half)[:], arrays.select(expected, half))


def test_bytes_are_made_for_any_slice():
    elements = np.arange(100_000, dtype="<u4")
    made = arrays.LazyBytes(len(elements), 4, lambda part: elements[part])
    whole = elements.view(np.uint8)
    for part in [slice(0, 3), slice(5, 6), slice(6, 4001), slice(399_999, 400_000), slice(None), slice(8, 8)]:
        assert np.array_equal(made[part], whole[part])
    assert len(made) == len(whole)


@pytest.mark.parametrize("every", [1, 2, 3, 16, 357])
@pytest.mark.parametrize("length", [1, 356, 357, 358, 100_000])
def test_scattered_places_are_one_in_each_stretch(length, every):
    found = np.arange(length)[arrays.scattered_sample(length, every)]
    assert np.array_equal(found // every, np.arange(-(-length // every)))
    if len(found) > 1000 and every > 1:
        for period in (2, 3, 5, 7, 9, 16):
            assert np.bincount(found % period, minlength=period).min() > 0.9 * len(found) / period


def test_codes_are_looked_up_and_counted_without_being_widened():
    codes = np.random.default_rng(0).integers(0, 200, 300_001).astype(np.uint8)
    table = np.random.default_rng(1).permutation(256).astype(np.uint8)
    expected = table[codes]
    assert np.array_equal(recode.count_codes(codes), np.bincount(codes))
    wide = codes.astype(np.uint16) * 300
    assert np.array_equal(recode.count_codes(wide), np.bincount(wide))
    assert peak(recode.count_codes, np.tile(wide, 10)) < 6 * len(wide) + SPARE
    assert recode.remap(np.arange(200, dtype=np.uint8), codes) is codes
    assert peak(recode.remap, table, np.tile(codes, 10)) < 10 * len(codes) + SPARE
    before = codes.copy()
    assert np.array_equal(recode.remap(table, codes), expected) and np.array_equal(codes, before)


def test_codes_are_counted_anew_where_they_have_changed():
    codes = np.random.default_rng(0).integers(0, 200, 300_001).astype(np.uint8)
    moved = codes.copy()
    moved[::7] += 3
    assert np.array_equal(recode.recount(np.bincount(codes), codes, moved), np.bincount(moved, minlength=256))
    assert np.array_equal(recode.recount(np.bincount(codes), codes, codes), np.bincount(codes, minlength=256))


@pytest.mark.parametrize("density", [0.0, 0.01, 0.04, 0.1, 0.101, 0.5, 1.0])
@pytest.mark.parametrize("length", [0, 1, 9, 1000, 65536])
def test_true_places_are_found_however_many_there_are(length, density):
    mask = np.random.default_rng(length).random(length) < density
    assert np.array_equal(arrays.true_places(mask), np.flatnonzero(mask))


@pytest.mark.parametrize("copied_from", [1, 1000])
def test_a_file_that_is_too_short_is_not_read(copied_from, tmp_path, monkeypatch):
    monkeypatch.setattr(dcz.files.ranges, "COPIED_FROM", copied_from)
    path = tmp_path / "data"
    path.write_bytes(bytes(range(100)))
    found = FileRange(path, 90, 10)
    assert bytes(found.read()) == b"".join(found.chunks()) == bytes(range(90, 100))
    assert bytes(FileRange(path, 100, 0).read()) == b""
    with pytest.raises((OSError, ValueError)):
        FileRange(path, 90, 11).read()


def test_without_room_for_a_copy_what_is_read_lies_in_memory(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dcz.files.ranges, "COPIED_FROM", 1)
    monkeypatch.setattr(dcz.files.ranges.tempfile, "TemporaryFile", full)
    path = tmp_path / "data"
    path.write_bytes(bytes(range(100)))
    assert bytes(FileRange(path, 90, 10).read()) == bytes(range(90, 100))
