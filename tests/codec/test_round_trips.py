"""Properties of every stage and of the whole way, held against arrays that hypothesis draws: the same each time."""

import math
import tempfile

import numpy as np
import onnx
import pytest

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import dcz
from dcz.codec import decode as decoding
from dcz.codec import encode as encoding
from dcz.codec.stages import block, huffman, index
from dcz.deflate import crc32
from dcz.format import record
from dcz.format.container import Archive
from dcz.plan import LOSSLESS, Settings
from dcz.reading.decompress import decode_all
from dcz.tensor import DTYPES, Tensor, values
from tests import models

FIXED = settings(
    derandomize=True, deadline=None, max_examples=60, database=None, suppress_health_check=list(HealthCheck)
)
REAL = [code for code, dtype in DTYPES.items() if dtype.real]
WHOLE = [code for code, dtype in DTYPES.items() if dtype.bits >= 8]
SPECIAL = [0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1e-45, -1e-40, 1e300, 3.4e38, 65504.0, 65520.0, 1.0, -1.0]
LOSSY = [
    Settings(quality=20.0), Settings(bits=3), Settings(step=0.3), Settings(sparsity=0.7), Settings(rate=2.0),
    Settings(sparsity=0.5, bits=4), Settings(threshold=0.5, quality=30.0), Settings(bits=2, codebook="float16"),
]  # fmt: skip
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9)


@st.composite
def tensors(draw) -> Tensor:
    """A tensor of any type: bytes at random, or numbers: constants, few values, mostly zeros, huge ranges, scales."""
    dtype = DTYPES[draw(st.sampled_from(WHOLE))]
    shape = draw(SHAPES)
    count = math.prod(shape)
    kind = draw(st.sampled_from(["bytes", "constant", "few", "sparse", "wide", "scaled"])) if dtype.real else "bytes"
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    if kind == "bytes":
        data = random.integers(0, 256, count * dtype.bits // 8, np.uint8)
        if dtype.name == "bool":
            data &= 1
        return Tensor("w", dtype, shape, data)
    pool = np.array(draw(st.lists(st.sampled_from(SPECIAL), min_size=1, max_size=4)))
    if kind == "constant":
        numbers = np.full(count, pool[0])
    elif kind == "few":
        numbers = pool[random.integers(0, len(pool), count)]
    else:
        numbers = random.normal(size=count) * (10.0 ** random.integers(-30, 30, count) if kind == "wide" else 1.0)
    if kind == "sparse":
        kept = random.random(count) < draw(st.sampled_from([0.0, 0.05, 0.5]))
        numbers = np.where(kept, numbers, draw(st.sampled_from([0.0, -0.0])))
    if kind == "scaled" and shape:  # each row has a scale of its own
        numbers = (numbers.reshape(shape).T * 10.0 ** random.integers(-9, 9, shape[0])).T.reshape(-1)
    with np.errstate(all="ignore"):
        wide = {"float64": "<f8", "float16": "<f2"}.get(dtype.name, "<f4")
        patterns = numbers.astype(wide)
        if dtype.name == "bfloat16":
            patterns = (patterns.view("<u4") >> 16).astype("<u2")
    return Tensor("w", dtype, shape, np.ascontiguousarray(patterns).view(np.uint8).reshape(-1))


def encoded(tensor: Tensor, chosen: Settings):
    return encoding.encode(tensor, chosen, record.parts)


@FIXED
@given(tensors())
def test_what_is_lossless_comes_back_to_the_bit(tensor):
    made = encoded(tensor, LOSSLESS)
    read = record.read(made.data, made.info.encoding, tensor.dtype, tensor.shape)
    found = decoding.decode(read, tensor.dtype, tensor.shape)
    assert found.tobytes() == tensor.data.tobytes() and made.info.tensor_crc == crc32(tensor.data)


@FIXED
@given(tensors(), st.sampled_from(LOSSY))
def test_what_is_rounded_has_the_shape_and_no_new_infinities(tensor, chosen):
    if not tensor.dtype.real:
        return
    made = encoded(tensor, chosen)
    read = record.read(made.data, made.info.encoding, tensor.dtype, tensor.shape)
    found = decoding.decode(read, tensor.dtype, tensor.shape)
    assert crc32(found) == made.info.tensor_crc and record.write(read) == made.data
    before = values(tensor.data.view(tensor.dtype.pattern), tensor.dtype)
    after = values(found.view(tensor.dtype.pattern), tensor.dtype)
    assert len(before) == len(after)
    if np.isfinite(before).all():
        assert np.isfinite(after).all()
    else:  # such tensors stay exact
        assert found.tobytes() == tensor.data.tobytes()


@FIXED
@given(hnp.arrays(np.uint8, st.integers(0, 3000), elements=st.integers(0, 255)), st.integers(0, 8))
def test_huffman_gives_symbols_back(symbols, shift):
    symbols = symbols >> shift
    if not len(symbols):
        return
    stream = huffman.encode(symbols)
    assert np.array_equal(huffman.decode(stream), symbols) and np.array_equal(huffman.decode_slowly(stream), symbols)


@FIXED
@given(st.integers(2, 8), st.lists(st.integers(0, 2000), max_size=200), st.integers(0, 3000))
def test_the_index_gives_places_back(bits, gaps, rest):
    places = np.cumsum(np.array(gaps, np.int64) + 1) - 1
    total = int(places[-1] + 1 + rest) if len(places) else rest
    coded = index.encode(np.array(gaps, np.int64), bits)
    found = np.concatenate([np.zeros(0, np.int64), *index.decode(coded, bits, len(gaps), total)])
    assert found.tolist() == places.tolist()


@FIXED
@given(hnp.arrays(np.uint8, st.integers(0, 600)), st.sampled_from([1, 2, 4, 8]))
def test_blocks_give_bytes_back(data, size):
    data = data[: len(data) // size * size]
    made = block.encode(data, size)
    assert block.decode(made, len(data), size).tobytes() == data.tobytes()


@settings(FIXED, max_examples=25)
@given(st.lists(tensors(), min_size=1, max_size=4), st.booleans())
def test_a_whole_model_comes_back(drawn, is_lossless):
    protos = []
    for number, tensor in enumerate(drawn):
        proto = onnx.TensorProto(name=f"w{number}", data_type=tensor.dtype.code, raw_data=tensor.data.tobytes())
        proto.dims.extend(tensor.shape)
        protos.append(proto)
    nodes = [onnx.helper.make_node("MatMul", ["x", f"w{number}"], [f"y{number}"]) for number in range(len(drawn))]
    proto = models.model(nodes, {"x": [1, 4]}, {"y0": [1]}, protos)
    plan = LOSSLESS if is_lossless else None
    with tempfile.TemporaryDirectory() as folder:
        path = dcz.compress(proto, f"{folder}/net.dcz", plan, threads=1)
        found = dcz.load(path, threads=1)
        with Archive(path) as archive:
            for entry, data in decode_all(archive, 1):
                assert crc32(data) == entry.info.tensor_crc
    assert [tensor.name for tensor in found.graph.initializer] == [tensor.name for tensor in proto.graph.initializer]
    for before, after in zip(proto.graph.initializer, found.graph.initializer):
        assert list(before.dims) == list(after.dims) and len(before.raw_data) == len(after.raw_data)
        if is_lossless:
            assert before.raw_data == after.raw_data
