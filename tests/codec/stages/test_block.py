"""block: the smallest of three forms, which decodes to the same bytes."""

import zlib

import numpy as np
import pytest

from dcz import deflate
from dcz.codec.stages import block
from dcz.encoded import Block
from dcz.errors import CorruptFile

RANDOM = np.random.default_rng(0).integers(0, 256, 5000, np.uint8)
WEIGHTS = np.random.default_rng(1).normal(0, 0.05, 4000)
SAMPLES = {
    "plain": (RANDOM, 1),
    "deflated": (np.tile(RANDOM[:100], 50), 1),
    "planes": (WEIGHTS.astype("<f4").view(np.uint8), 4),
    "planes of two bytes": ((np.arange(2000, dtype="<u2") * 3).view(np.uint8), 2),
    "planes of eight bytes": (WEIGHTS.view(np.uint8), 8),
    "plain, empty": (np.empty(0, np.uint8), 4),
    "plain, one byte": (np.array([7], np.uint8), 1),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_smallest_method_is_taken_and_decodes_to_the_same_bytes(name):
    data, itemsize = SAMPLES[name]
    encoded = block.encode(data, itemsize)
    assert encoded.method == name.replace(",", " ").split()[0]
    assert len(encoded.data) <= len(data)
    assert np.array_equal(block.decode(encoded, len(data), itemsize), data)


def test_planes_hold_the_first_byte_of_every_element_then_the_second():
    data = np.array([1.0, 2.0] * 400, "<f4").view(np.uint8)
    encoded = Block("planes", deflate.deflate(data.reshape(-1, 4).T.tobytes()))
    assert zlib.decompress(encoded.data, -15)[:2] == b"\0\0"
    assert zlib.decompress(encoded.data, -15)[2400:] == b"\x3f\x40" * 400  # the docstring's example
    assert np.array_equal(block.decode(encoded, 3200, 4), data)


def test_elements_of_one_byte_are_never_cut_into_planes():
    data = np.tile(np.array([1, 2, 3, 4], np.uint8), 500)
    assert block.encode(data, 1).method == "deflated"


@pytest.mark.parametrize("nbytes", [0, 799, 801, 1 << 40])
def test_a_block_of_another_size_is_refused(nbytes):
    data = np.tile(np.arange(100, dtype=np.uint8), 8)
    with pytest.raises(CorruptFile) as refusal:
        block.decode(Block("plain", data.tobytes()), nbytes, 1)
    assert refusal.value.reason == "block-length"
    for method in ("deflated", "planes"):
        with pytest.raises(CorruptFile) as refusal:
            block.decode(Block(method, deflate.deflate(data)), nbytes, 4)
        assert refusal.value.reason == "deflate"


DEFLATED = deflate.deflate(b"weights" * 100)
DAMAGED = {
    "cut": DEFLATED[:-1],
    "empty": b"",
    "a byte more": DEFLATED + b"\0",
    "a reserved block type": b"\x07" + DEFLATED[1:],
    "a zlib wrapper": zlib.compress(b"weights" * 100),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_damaged_deflated_data_is_refused(data):
    with pytest.raises(CorruptFile) as refusal:
        deflate.inflate(data, 700)
    assert refusal.value.reason == "deflate"


def test_a_bomb_is_not_inflated_beyond_the_expected_size(monkeypatch):
    made = []

    class Watched:
        def __init__(self):
            self.engine = decompressobj(-15)

        def __getattr__(self, name):
            return getattr(self.engine, name)

        def decompress(self, *arguments):
            made.append(len(plain := self.engine.decompress(*arguments)))
            return plain

    decompressobj = zlib.decompressobj
    bomb = deflate.deflate(bytes(10_000_000))
    monkeypatch.setattr(deflate.zlib, "decompressobj", lambda wbits: Watched())
    with pytest.raises(CorruptFile):
        deflate.inflate(bomb, 1000)
    assert made == [1001]


def is_share(data, itemsize, low, high, probes=1):
    """Whether probes tell what share of its size data takes."""
    below = [block.may_be_below(data, itemsize, share * len(data), probes) for share in (low, high)]
    return below == [False, True]


@pytest.mark.parametrize("itemsize", [1, 2, 4, 8])
def test_a_probe_estimates_whether_data_deflates(itemsize):
    noise = np.random.default_rng(2).integers(0, 256, 300_000 // 8 * 8, np.uint8)
    assert is_share(noise, itemsize, 0.99, 1.01)
    assert is_share(np.zeros(300_000 // 8 * 8, np.uint8), itemsize, 0, 0.01)
    assert not block.may_be_below(np.empty(0, np.uint8), itemsize, 0) and block.may_be_below(noise[:800], itemsize, 900)


def test_several_probes_are_spread_over_the_data():
    data = np.random.default_rng(2).integers(0, 256, 2_000_000, np.uint8)
    data[900_000:1_100_000] = 0
    assert is_share(data, 4, 0, 0.01) and is_share(data, 4, 0.85, 0.95, probes=16)


def test_no_thorough_search_is_made_where_a_quick_one_tells_enough(monkeypatch):
    random = np.random.default_rng(3)
    kept = np.where(random.random(1 << 16) < 0.1, random.integers(1, 32, 1 << 16), 0).astype("<u4").view(np.uint8)
    thorough = len(block.encode(kept[: block.PROBE], 4).data)
    sizes = []
    encode = block.encode
    monkeypatch.setattr(block, "encode", lambda part, itemsize: sizes.append(len(part)) or encode(part, itemsize))
    assert not block.may_be_below(kept, 4, 0.5 * thorough * len(kept) / block.PROBE) and not sizes
    assert block.may_be_below(kept, 4, 1.2 * thorough * len(kept) / block.PROBE) and sizes  # in doubt it is
