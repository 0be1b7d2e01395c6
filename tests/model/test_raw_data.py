"""Large raw_data that protobuf does not get: all that protobuf makes of it is the same, whatever the file says."""

import contextlib
import io
import os
import random
import threading
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper

import dcz
from dcz.model import data_fields, from_proto, load, model_file, raw_data
from dcz.model import source as sources
from dcz.model.source import of_bytes, read
from dcz.parallel import BIG, helped
from tests import models
from tests.messages import field, varint

LARGE = 40  # bytes, for these tests
GROUP = 3  # a wire type


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(raw_data, "LARGE", LARGE)


ODD = [
    b"\xff\x01",
    b"\x4b\x08\x01\x4c",  # a group in the place of raw_data
    b"\x48\x05",  # raw_data as a number
    b"\x49" + bytes(8),
    b"\x4d" + bytes(4),
    b"\x4f",
    field(99, bytes(50)),  # an unknown field
    b"\xca\x80\x80\x80\x00" + varint(LARGE) + bytes(LARGE),  # a key that is longer than it need be
    b"\xca\x80\x80\x80\x80\x00" + varint(LARGE) + bytes(LARGE),  # longer than it may be
    b"\xca\x80\x80\x80\x10" + varint(LARGE) + bytes(LARGE),  # a number beyond 32 bits
    b"\x02\x00",  # the field 0
    b"\x4a\xff\xff\xff\xff\x0f",
    b"\x4a" + varint(LARGE, padding=2) + bytes(LARGE),
    b"\x4a" + varint(LARGE, padding=8) + bytes(LARGE),
    b"\x08" + b"\x80" * 9 + b"\x01",
    b"\x08" + b"\x80" * 10 + b"\x01",
]


class Maker:
    """Messages as other programs might write them: fields twice, in parts, of other kinds, in any order."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.odd = self.random.choice([0, 0, 0.05])

    def some(self, least, most, *makers):
        chosen = [self.random.choice(makers)() for _ in range(self.random.randint(least, most))]
        if self.random.random() < self.odd:
            chosen.insert(self.random.randrange(len(chosen) + 1), self.random.choice(ODD))
        return b"".join(chosen)

    def raw(self):
        return field(9, self.random.randbytes(self.random.choice([0, 5, LARGE - 1, LARGE, 3 * LARGE, 64])))

    def dims(self):
        dims = [varint(self.random.choice([0, 1, 8, 8, LARGE])) for _ in range(self.random.randrange(3))]
        return self.random.choice([b"".join(b"\x08" + dim for dim in dims), field(1, b"".join(dims))])

    def small(self):
        return self.random.choice(
            [field(8, b"w"), field(8, b"v"), b"\x10\x01", b"\x10\x03", b"\x70\x01", field(4, bytes(4))]
        )

    def tensor(self):
        if self.random.random() < 0.5:  # one that fits
            return field(8, b"w") + b"\x10\x02" + b"\x08" + varint(64) + field(9, self.random.randbytes(64))
        return self.some(1, 4, self.raw, self.raw, self.dims, self.small)

    def attribute(self):
        return field(1, b"value") + self.some(1, 2, lambda: field(5, self.tensor()), lambda: field(6, self.graph(1)))

    def node(self):
        return field(4, b"Constant") + field(2, b"c") + self.some(1, 2, lambda: field(5, self.attribute()))

    def graph(self, least=0):
        inside = [lambda: field(5, self.tensor()), lambda: field(5, self.tensor()), lambda: field(12, b"")]
        return self.some(0, 3, *inside, *([] if least else [lambda: field(1, self.node())]))

    def model(self):
        return self.some(1, 2, lambda: field(7, self.graph()), lambda: field(7, self.graph()), lambda: b"\x08\x0a")


MODEL = st.integers(0, 1 << 64).map(lambda seed: Maker(seed).model())


def parsed(data: bytes) -> ModelProto | None:
    proto = ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError:
        return None
    return proto


def filled(message, apart):
    """Change a message: put in the place of all tokens what they stand for, and return how many there were."""
    count = 0
    for described, value in message.ListFields():
        inner = [value] if isinstance(value, Message) else value
        if described.message_type:
            count += sum(filled(each, apart) for each in inner)
        elif isinstance(message, TensorProto) and described.name == "raw_data" and value in apart:
            message.raw_data = apart[value].tobytes()
            count += 1
    return count


class Slow(io.BytesIO):
    """A file that gives a few bytes at a time, and may have been cut off meanwhile."""

    is_cut = False

    def readinto(self, buffer):
        return 0 if self.is_cut else super().readinto(memoryview(buffer)[:7])


@settings(max_examples=400, deadline=None)
@given(MODEL, st.integers(0, 1 << 30), st.booleans())
@example(field(7, field(5, field(9, bytes(LARGE)) + field(9, bytes(range(LARGE))))), 0, False)  # the last one holds
@example(field(7, field(5, field(9, bytes(LARGE)))) * 2, 0, False)  # a graph in two parts
def test_protobuf_makes_the_same_of_it(data, place, is_cut):
    if is_cut and data:
        data = data[: place % len(data)]
    source = of_bytes(data, apart=True)
    assert b"".join(source.pieces) == source.whole() == data and len(source) == len(data)
    plain, apart = parsed(data), parsed(source.message)
    if plain is None:
        assert apart is None
        return
    filled(apart, source.apart)
    assert apart.SerializeToString(deterministic=True) == plain.SerializeToString(deterministic=True)


@settings(max_examples=100, deadline=None)
@given(MODEL)
def test_a_model_is_the_same_apart_or_not(data):
    """Or it is refused in the same words: what is no tensor's data stays with protobuf."""

    def found(apart):
        try:
            model = model_file._model(of_bytes(data, apart), "net", None)
            return [(each.name, each.shape, each.read().tobytes()) for each in model.tensors], model.source_sha256
        except dcz.DczError as error:
            return str(error)

    assert found(True) == found(False)


@pytest.mark.parametrize("name", models.PLACES)
def test_large_data_is_kept_apart_wherever_a_tensor_is(name, tmp_path):
    proto = models.place(name)
    path = models.save(proto, tmp_path / "net.onnx")
    plain, apart = load(path), load(path, apart=True)
    assert apart.source_sha256 == plain.source_sha256 and apart.source_bytes == plain.source_bytes
    assert [each.read().tobytes() for each in apart.tensors] == [each.read().tobytes() for each in plain.tensors]
    is_raw = any(each.field == "raw_data" and each.nbytes > 2000 for each in plain.tensors)
    assert (apart.source is not None) == (from_proto(proto, apart=True).source is not None) == is_raw
    if is_raw:
        assert len(apart.source.message) < path.stat().st_size / 2
        assert all(each.read().ctypes.data % data_fields.ALIGNED == 0 for each in apart.tensors if each.nbytes >= LARGE)


def test_a_file_is_read_in_pieces_as_it_comes_by_any_thread(tmp_path, monkeypatch):
    path = models.save(models.place("initializer"), tmp_path / "net.onnx")
    data, plain, is_cut = path.read_bytes(), os.preadv, False

    def a_little(file, buffers, start):
        return 0 if is_cut else plain(file, [buffers[0][:99_999]], start)

    monkeypatch.setattr(sources.os, "preadv", a_little)
    monkeypatch.setattr(sources, "_TOGETHER", 200_000)
    with helped(BIG, 3):
        assert b"".join(sources.read(path, apart=True).pieces) == data
        is_cut = True
        with pytest.raises(dcz.FileAccess, match="changed while it was read"):
            sources.read(path, apart=True)


def test_a_file_is_read_in_pieces_as_it_comes(tmp_path, monkeypatch):
    """On systems that read at the file's position alone."""
    monkeypatch.delattr(sources.os, "preadv", raising=False)
    path = models.save(models.place("initializer"), tmp_path / "net.onnx")
    data = path.read_bytes()
    found = sources._read(Slow(data), len(data), True)
    assert found.apart and b"".join(found.pieces) == data
    assert found[100:5000] == data[100:5000] and found[-3:] == data[-3:] and found[5:3] == b""
    file = Slow(data)
    file.is_cut = True
    with pytest.raises(OSError, match="changed while it was read"):
        sources._read(file, len(data), True)


def test_data_that_no_tensor_claims_stays_with_protobuf():
    """A tensor of a type that dcz does not know keeps its data in the graph."""
    unknown = TensorProto(name="u", data_type=99, dims=[LARGE], raw_data=bytes(range(LARGE)) * 3)
    weight = models.tensor("w", models.normal(8, 8))
    proto = models.model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": [1, 8]}, {"y": [1, 8]}, [weight, unknown]
    )
    model = from_proto(proto, apart=True)
    assert model.source is None
    assert model.proto.graph.initializer[1].raw_data == unknown.raw_data


def test_a_token_of_an_earlier_file_is_data_as_any_other(tmp_path):
    path = models.save(models.place("initializer"), tmp_path / "net.onnx")
    (token,) = load(path, apart=True).source.apart
    weight = TensorProto(name="w", data_type=TensorProto.UINT8, dims=[len(token)], raw_data=token)
    other = models.tensor("v", models.normal(8, 8))
    node = helper.make_node("Identity", ["w"], ["y"])
    found = from_proto(models.model([node], {}, {"y": [len(token)]}, [weight, other]), apart=True)
    assert found.source is not None and found.tensors[0].read().tobytes() == token


def test_a_pipe_is_read_once(tmp_path):
    data = models.place("initializer").SerializeToString()
    os.mkfifo(pipe := tmp_path / "pipe")
    writer = threading.Thread(target=lambda: pipe.write_bytes(data))
    writer.start()
    found = read(pipe, apart=True)
    writer.join()
    assert found.apart and found.whole() == data


def test_a_pipe_without_an_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "PROTOBUF_LIMIT", 100_000)
    monkeypatch.setattr(sources, "_PART", 1000)
    os.mkfifo(pipe := tmp_path / "pipe")
    written = []

    def write():
        with contextlib.suppress(BrokenPipeError), open(pipe, "wb", buffering=0) as file:
            for _ in range(10_000):
                written.append(file.write(models.place("initializer").SerializeToString()[:1000]))

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(dcz.UnsuitableModel, match="more than 2 GB in one file"):
        read(pipe, apart=True)
    writer.join()
    assert sum(written) < 1_000_000  # with what the pipe itself holds


def test_a_file_that_grows_is_read_no_further_than_a_model_goes(monkeypatch):
    monkeypatch.setattr(sources, "PROTOBUF_LIMIT", 100_000)
    file = io.BytesIO(bytes(10_000_000))
    assert len(sources._rest(file, 1)) == 100_001


@pytest.mark.parametrize("content", [b"\x08\x01" * (1 << 20), field(7, field(5, b"\x20\x01" * (1 << 20)))])
def test_many_fields_are_left_to_protobuf(content):
    """Of two bytes each: looking at them here would take seconds. (4 is no field of tensors that is a number.)"""
    looked_at = []

    class Counting(bytes):
        def __getitem__(self, at):
            looked_at.append(at)
            return super().__getitem__(at)

    assert raw_data.find(Counting(content), len(content)) is None
    assert len(looked_at) < 1 << 19


@pytest.mark.parametrize("options", [{}, {"bits": 5, "sparsity": 0.9}, {"lossless": True}])
def test_compress_gives_protobuf_no_weights_and_reads_the_file_once(options, tmp_path, monkeypatch):
    path = models.save(models.dense(models.normal(256, 512)), tmp_path / "net.onnx")
    expected = dcz.compress(reread(path), tmp_path / "plain.dcz", **options)
    messages, opened = [], []
    parse, read_file = model_file._parse, model_file.sources.read
    monkeypatch.setattr(model_file, "_parse", lambda data, label: messages.append(data) or parse(data, label))
    monkeypatch.setattr(model_file.sources, "read", lambda *given: opened.append(given) or read_file(*given))
    monkeypatch.setattr(Path, "read_bytes", None)
    made = dcz.compress(path, tmp_path / "net.dcz", **options)
    assert [len(data) < 1000 for data in messages] == [True] and len(opened) == 1
    monkeypatch.undo()
    assert Path(made).read_bytes() == Path(expected).read_bytes()


def reread(path: Path) -> ModelProto:
    """The model of a file, whose bytes are what onnx makes of it again."""
    proto = ModelProto()
    proto.ParseFromString(path.read_bytes())
    return proto


def tokens_in(message, apart):
    """The tokens that a message still has, as raw_data of tensors."""
    found = set()
    for described, value in message.ListFields():
        if described.message_type:
            found |= set().union(
                *(tokens_in(each, apart) for each in ([value] if isinstance(value, Message) else value))
            )
        elif isinstance(message, TensorProto) and described.name == "raw_data" and value in apart:
            found.add(value)
    return found


def has_group(message):
    """Whether protobuf kept a group, which ONNX does not have, in a message or in one inside it."""
    if any(kept.wire_type == GROUP for kept in UnknownFieldSet(message)):
        return True
    inner = [value for described, value in message.ListFields() if described.message_type]
    return any(has_group(each) for value in inner for each in ([value] if isinstance(value, Message) else value))


@settings(max_examples=200, deadline=None)
@given(MODEL)
@example(b"\x08\n\x4b\x08\x01\x4c")  # a group
def test_data_comes_back_into_the_places_of_its_tokens(data):
    source = of_bytes(data, apart=True)
    proto = parsed(source.message)
    if proto is None:
        return
    message = proto.SerializeToString(deterministic=True)
    live = {token: source.apart[token] for token in tokens_in(proto, source.apart)}
    pieces = raw_data.filled(message, live)
    if pieces is None:
        assert has_group(proto)
        return
    filled(proto, source.apart)
    assert b"".join(pieces) == proto.SerializeToString(deterministic=True)
    if live:  # one that is not there
        assert raw_data.filled(message, live | {bytes(raw_data.TOKEN): source.pieces[0]}) is None


class Watched(bytes):
    """Bytes that know how many of them were searched."""

    searched = 0

    def find(self, part, start=0):
        found = super().find(part, start)
        self.searched += (len(self) if found < 0 else found + len(part)) - start
        return found


def test_all_tokens_of_a_message_are_looked_for_in_one_go():
    """A few kilobytes of a file may be a hundred megabytes of graph before thousands of tokens."""
    data = {
        raw_data.token(secret * 16, number): b"data %d" % number for secret in (b"a", b"b") for number in range(100)
    }
    graph = field(10, bytes(50_000)) + b"".join(field(5, field(9, token)) for token in data)
    message = Watched(field(7, graph))
    pieces = raw_data.filled(message, data)
    assert [piece for piece in pieces if bytes(piece).startswith(b"data")] == list(data.values())
    assert message.searched <= 2 * len(message)  # once for each secret


@pytest.mark.parametrize("name", [*models.PLACES, "everything"])
@pytest.mark.parametrize("limit", [LARGE, 1 << 30, None])
def test_a_file_is_the_same_whether_protobuf_has_its_data(name, limit, tmp_path, monkeypatch):
    """Data that is none of protobuf's, data that is, and data that it gets after all."""
    proto = models.everything() if name == "everything" else models.place(name)
    packed = dcz.compress(proto, tmp_path / "net.dcz", lossless=True)
    expected = dcz.load(packed).SerializeToString(deterministic=True)
    if limit is None:
        monkeypatch.setattr(raw_data, "filled", lambda message, apart: None)
    else:
        monkeypatch.setattr(raw_data, "LARGE", limit)
    restored = dcz.decompress(packed, tmp_path / "restored.onnx", external_data="never")
    assert restored.read_bytes() == expected
