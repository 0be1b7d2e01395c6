"""Whether data is worth deflating whole: the estimate from probes, and the truth; checksums of parts, joined."""

import zlib

import numpy as np
import pytest

from dcz import deflate as home
from dcz import parallel
from dcz.deflate import crc_of_blocks, deflate, deflate_below, joined_crc, may_deflate_below

SIZE = 40 << 20  # bytes: more than are deflated without probes
NOISE = np.random.default_rng(0).integers(0, 256, SIZE, np.uint8).tobytes()


@pytest.mark.parametrize("nbytes, promising", [(SIZE // 8, False), (SIZE // 3, False), (SIZE - 1, True)])
def test_probes_rule_out_what_comes_nowhere_near(nbytes, promising):
    assert may_deflate_below(NOISE, nbytes) == promising


def test_probes_rule_out_nothing_that_deflates_far_enough():
    half = bytes(SIZE // 2)
    for data in (NOISE[: SIZE // 2] + half, half + NOISE[: SIZE // 2], (half[:1000] + NOISE[:1000]) * (SIZE // 2000)):
        assert may_deflate_below(data, len(deflate(data)) + 1)


def test_noise_in_step_does_not_hide_what_repeats():
    data = bytearray(NOISE[: 1 << 14] * (SIZE >> 14))
    for start in range(0, SIZE, 1 << 21):
        data[start : start + (3 << 15)] = NOISE[start : start + (3 << 15)]
    assert may_deflate_below(bytes(data), len(deflate(bytes(data))) + 1)


def test_small_data_is_not_probed():
    assert may_deflate_below(NOISE[: 1 << 20], 1)


def test_it_deflates_below_more_than_its_length_and_not_below_that():
    data = NOISE[:300_000] + bytes(3_000_000)
    size = len(deflate(data))
    assert deflate_below(data, size + 1) == deflate(data)
    assert deflate_below(data, size) is None and deflate_below(data, 10) is None


def test_the_engine_says_what_is_left_behind_a_stream(monkeypatch):
    """isal before 1.9 did not; then zlib takes its place."""
    from types import SimpleNamespace

    from dcz.deflate import inflate_engine, says_what_is_left

    assert says_what_is_left(zlib) and says_what_is_left(inflate_engine)
    silent = SimpleNamespace(decompress=lambda *_: b"", unused_data=b"")
    assert not says_what_is_left(SimpleNamespace(decompressobj=lambda _: silent))


@pytest.mark.parametrize(
    "lengths", [[], [0], [1], [5, 0, 7], [1, 2, 4, 8, 4095, 4096, 4097], [100_003] * 3, [0, 0, 9, 0]]
)
def test_the_checksums_of_parts_make_that_of_the_whole(lengths):
    ends = np.cumsum([0, *lengths]).tolist()
    parts = [NOISE[start:end] for start, end in zip(ends, ends[1:], strict=False)]
    assert joined_crc((zlib.crc32(part), len(part)) for part in parts) == zlib.crc32(NOISE[: ends[-1]])


@pytest.mark.parametrize("nbytes", [0, 1, 1000, 1001, 12_345])
@pytest.mark.parametrize("threads", [1, 3])
def test_threads_that_share_a_checksum_come_to_the_same(nbytes, threads, monkeypatch):
    monkeypatch.setattr(home, "_SUMMED", 1000)
    data = np.frombuffer(NOISE[:nbytes], np.uint8)
    with parallel.thread_pool(threads):
        assert crc_of_blocks(data) == zlib.crc32(data) == crc_of_blocks(memoryview(data))
