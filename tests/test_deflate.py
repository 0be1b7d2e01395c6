"""Whether data is worth deflating whole: the estimate from probes, and the truth."""

import zlib

import numpy as np
import pytest

from dcz.deflate import deflate, deflate_below, may_deflate_below

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
