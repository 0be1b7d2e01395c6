"""The page: its examples are true, and what it promises of damaged and hostile files holds for both decoders."""

import os
import re
import struct
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from onnx import GraphProto, ModelProto, OperatorSetIdProto, checker, helper

import dcz
from dcz.codec.stages import huffman, index
from dcz.encoded import END
from dcz.errors import CorruptFile
from dcz.format import record
from dcz.tensor import DTYPES
from tests import ROOT, conformance
from tests.conformance import PAGE, SPEC, VECTORS, by_dcz, by_decoder, decoder

from corpus import parts  # isort: skip  (conformance puts spec/ on the path)

TAKEN_APART = VECTORS / "valid" / "taken-apart.dcz"


# -- the examples -----------------------------------------------------------------------------------------------------


def example(label: str) -> dict[str, str]:
    """The lines of a fenced block of the page by their first word."""
    block = re.search(rf"^```{label}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL).group(1)
    return dict(line.split(maxsplit=1) for line in block.splitlines())


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def test_the_example_of_a_code_is_followed_to_its_bytes():
    told = example("huffman")
    symbols = np.array(numbers(told["symbols"]), np.uint8)
    lengths = np.zeros(END + 1, np.uint8)
    for pair in told["lengths"].split():
        symbol, length = numbers(pair)
        lengths[symbol] = length

    words = dict(pair.split(":") for pair in told["words"].split())
    used = {symbol: int(lengths[symbol]) for symbol in np.flatnonzero(lengths).tolist()}
    assert {int(symbol): word for symbol, word in words.items()} == parts.words(used)
    bits = told["bits"].replace(" ", "")
    assert bits == "".join(words[str(symbol)] for symbol in [*symbols, END])
    assert parts.bits_to_bytes(bits) == bytes.fromhex(told["segment"])
    nibbles = [nibble for byte in bytes.fromhex(told["table"])[1:] for nibble in (byte & 15, byte >> 4)]
    assert numbers(told["nibbles"]) == nibbles[:5]

    coded = bytes.fromhex(told["stream"])
    segment, table = bytes.fromhex(told["segment"]), bytes.fromhex(told["table"])
    assert coded == b"\2" + table + bytes([len(segment)]) + segment
    assert decoder.read_stream(decoder.Part(coded, "example"), len(symbols), 4)() == symbols.tobytes()
    shared = record.read(parts.ramp(4, 0, 1) + coded, parts.SHARED, DTYPES[parts.FLOAT], (len(symbols),))
    assert shared.codes.lengths.tolist() == lengths.tolist()
    assert huffman.decode(shared.codes).tolist() == symbols.tolist()
    assert record.write(shared) == parts.ramp(4, 0, 1) + coded


def test_the_example_of_gaps_is_followed_to_its_bytes():
    told = example("gaps")
    kept, skipped, symbols = numbers(told["kept"]), numbers(told["skipped"]), numbers(told["symbols"])
    assert np.diff(kept, prepend=-1).tolist() == [gap + 1 for gap in skipped]
    assert index.encode(np.array(skipped), 2).tolist() == symbols
    coded = bytes.fromhex(told["index"])
    assert coded == bytes([0x01, len(kept), len(symbols)]) + bytes.fromhex(example("huffman")["stream"])
    count, places = decoder.read_index(decoder.Part(coded, "example"), (4, 6))
    assert (count, places()) == (len(kept), kept)
    found = index.decode(np.array(symbols, np.uint8), 2, len(kept), 24)
    assert np.concatenate(list(found)).tolist() == kept


def test_the_example_of_scales_is_followed_to_its_bytes(tmp_path):
    told = example("scales")
    data = np.array([float(number) for number in told["tensor"].split()], "<f4").tobytes()
    coded = b"".join(bytes.fromhex(told[part]) for part in ("codebook", "axis", "scales", "codes"))
    assert coded in (VECTORS / "valid" / "scales-taken-apart.dcz").read_bytes()
    path = tmp_path / "example.dcz"
    path.write_bytes(parts.build(parts.Tensor("w", parts.FLOAT, (2, 3), parts.SHARED, coded, data), minor=1))
    assert by_dcz(path) == by_decoder(path) == {"w": (parts.FLOAT, (2, 3), data)}


def test_the_example_of_low_bits_is_followed_to_its_bytes(tmp_path):
    told = example("fine")
    data = np.array([float(number) for number in told["tensor"].split()], "<f4").tobytes()
    coded = b"".join(bytes.fromhex(told[part]) for part in ("codebook", "codes", "low"))
    assert coded in (VECTORS / "valid" / "fine-taken-apart.dcz").read_bytes()
    path = tmp_path / "example.dcz"
    path.write_bytes(parts.build(parts.Tensor("w", parts.FLOAT, (4,), parts.SHARED, coded, data), minor=1))
    assert by_dcz(path) == by_decoder(path) == {"w": (parts.FLOAT, (4,), data)}


def test_the_file_taken_apart_on_the_page_is_the_vector():
    section = PAGE.split("\n## 12.")[1]
    rows = re.findall(r"^\| (\d+) \| `([0-9A-F ]+)` \|", section, re.MULTILINE)
    at = 0
    for offset, taken in rows:
        assert int(offset) == at, f"the row of {taken} is at {at}"
        at += len(bytes.fromhex(taken))
    assert b"".join(bytes.fromhex(taken) for _, taken in rows) == TAKEN_APART.read_bytes()


def test_the_file_taken_apart_is_a_model():
    (initializer,) = dcz.load(TAKEN_APART).graph.initializer
    values = np.frombuffer(initializer.raw_data, "<f4")
    assert values[numbers(example("gaps")["kept"])].tolist() == [0.5, -1, 0.5, 0.5, -1]
    assert np.count_nonzero(values) == 5


def test_the_page_names_in_its_text_the_refusals_of_its_table_and_no_others():
    text = PAGE.split("\n## 9.")[0]
    assert set(re.findall(r"\*\*`([a-z-]+)`\*\*", text)) == set(conformance.reasons_of_page())


def test_the_page_lists_the_types_that_dcz_knows():
    table = PAGE.split("| bits of an element | dtype |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (\d+) \| (\d.*) \|$", table, re.MULTILINE)
    told = {int(code): (name, int(bits)) for bits, cell in rows for code, name in re.findall(r"(\d+) \**(\w+)", cell)}
    names = {"float32": "float", "float64": "double"}
    assert told == {code: (names.get(dtype.name, dtype.name), dtype.bits) for code, dtype in DTYPES.items()}
    assert {code: bits for code, (_, bits) in told.items()} == decoder.ELEMENT_BITS


# -- the second decoder -----------------------------------------------------------------------------------------------


def run_decoder(*arguments) -> subprocess.CompletedProcess:
    """Without site-packages and the environment: nothing but the standard library can be imported."""
    command = [sys.executable, "-I", "-S", SPEC / "decoder.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8")


def test_the_second_decoder_runs_on_the_standard_library_alone(tmp_path):
    done = run_decoder(TAKEN_APART, tmp_path / "out")
    data = (tmp_path / "out" / "0000.bin").read_bytes()
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"w\t1\t[4,6]\tsparse\t96\t{zlib.crc32(data):08x}\n"
    assert data == by_decoder(TAKEN_APART)["w"][2]


def test_the_second_decoder_says_what_it_refuses():
    done = run_decoder(VECTORS / "invalid" / "record-crc.dcz")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("refused: record-crc in ")


# -- damage -----------------------------------------------------------------------------------------------------------

ENTRIES = [parts.floats(-1), parts.floats(0.5)]
CODES = [0, 1, 1, 1, 0, 1] * 4
CODED = parts.huffman(CODES, {0: 2, 1: 1, END: 2}, 1, [2, 2, 1])
KEPT = [2, 13, 14, 16, 23]
GAPS = parts.huffman([2, 3, 3, 3, 1, 0, 1, 3, 3, 0], {0: 3, 1: 3, 2: 3, 3: 1, END: 3}, 3, [3, 3, 3, 1, 1])
INDEX = bytes([1, 5, 10]) + GAPS
VALUES = [parts.floats(value) for value in (1, 2, 3, 4, 5)]
EXACT = b"\2" + parts.deflate(parts.planes(b"".join(VALUES), 4))
TENSORS = [
    parts.stored("b", parts.FLOAT, (2,), parts.floats(1, 2)),
    parts.shared("s", parts.ramp(2, -1, 1.5), ENTRIES, CODES, CODED),
    parts.sparse("w", (4, 6), KEPT, INDEX),
    parts.Tensor("p", parts.FLOAT, (4, 6), parts.PRUNED, INDEX + EXACT, parts.scattered(24, KEPT, VALUES)),
]


def small_graph() -> bytes:
    tensors = [parts.reference(t.name, t.dtype, t.dims, "raw_data", str(i)) for i, t in enumerate(TENSORS)]
    output = helper.make_tensor_value_info("y", parts.FLOAT, (4, 6))
    node = helper.make_node("Add", ["w", "p"], ["y"])
    graph = GraphProto(name="g", node=[node], initializer=tensors, output=[output])
    proto = ModelProto(ir_version=8, graph=graph, opset_import=[OperatorSetIdProto(version=17)])
    return proto.SerializeToString(deterministic=True)


GRAPH = small_graph()
SMALL = parts.build(*TENSORS, metadata=[("writer", "me")], graph=GRAPH)
GRAPH_AT = 24 + struct.unpack_from("<I", SMALL, 12)[0]


def outcome(decode, path: Path) -> dict | str:
    """The tensors, or the reason of the refusal."""
    try:
        return decode(path)
    except (CorruptFile, decoder.Refused) as refusal:
        return refusal.reason


def flips(data: bytes, start: int, end: int):
    """(bit, `data` with that bit flipped) for every bit of the bytes from `start` to `end`."""
    for bit in range(8 * start, 8 * end):
        yield bit, data[: bit >> 3] + bytes([data[bit >> 3] ^ 1 << (bit & 7)]) + data[(bit >> 3) + 1 :]


def test_the_small_file_is_sound_and_small(tmp_path):
    path = tmp_path / "small.dcz"
    path.write_bytes(SMALL)
    wanted = {tensor.name: (tensor.dtype, tensor.dims, tensor.data) for tensor in TENSORS}
    assert by_dcz(path) == by_decoder(path) == wanted
    checker.check_model(dcz.load(path), full_check=True)
    assert 300 < len(SMALL) < 500


def test_every_flipped_bit_is_refused(tmp_path):
    path = tmp_path / "flipped.dcz"
    for bit, data in flips(SMALL, 0, len(SMALL)):
        path.write_bytes(data)
        reason = outcome(by_dcz, path)
        assert isinstance(reason, str), f"bit {bit} went unnoticed"
        assert reason == outcome(by_decoder, path), f"bit {bit}"


def test_every_cut_and_every_longer_file_is_refused(tmp_path):
    path = tmp_path / "cut.dcz"
    for size in range(len(SMALL)):
        path.write_bytes(SMALL[:size])
        wanted = "not-dcz" if size < 8 else "truncated"
        assert outcome(by_dcz, path) == outcome(by_decoder, path) == wanted, f"cut at {size}"
    for byte in range(256):
        path.write_bytes(SMALL + bytes([byte]))
        assert outcome(by_dcz, path) == outcome(by_decoder, path) == "trailing-bytes"


def test_damage_in_a_record_whose_checksum_is_mended_is_refused_or_changes_nothing(tmp_path):
    """A forger mends the CRCs that are easy to mend: what is left are the structure, and the tensor's CRC."""
    path = tmp_path / "forged.dcz"
    path.write_bytes(SMALL)
    wanted = by_dcz(path)
    ignored = 0
    for number, tensor in enumerate(TENSORS):
        for bit, data in flips(tensor.record, 0, len(tensor.record)):
            forged = [*TENSORS[:number], tensor._replace(record=data), *TENSORS[number + 1 :]]
            path.write_bytes(parts.build(*forged, graph=GRAPH))
            found = outcome(by_dcz, path)
            assert found == outcome(by_decoder, path), f"bit {bit} of {tensor.name}"
            assert isinstance(found, str) or found == wanted, f"bit {bit} of {tensor.name}"
            ignored += not isinstance(found, str)
    assert ignored > 0  # the bits that the page tells readers to ignore


def test_damage_in_a_directory_whose_checksum_is_mended_is_taken_alike_by_both_decoders(tmp_path):
    """A flipped bit in a name or in metadata cannot be noticed then; in any other place it is refused."""
    path = tmp_path / "forged.dcz"
    for bit, data in flips(SMALL, 24, GRAPH_AT):
        crc = zlib.crc32(data[24:GRAPH_AT], zlib.crc32(data[:20]))
        path.write_bytes(data[:20] + struct.pack("<I", crc) + data[24:])
        found = outcome(by_dcz, path)
        assert found == outcome(by_decoder, path), f"bit {bit}"
        if not isinstance(found, str):
            assert [tensor[2] for tensor in found.values()] == [tensor.data for tensor in TENSORS], f"bit {bit}"


def test_damage_in_a_graph_whose_checksum_is_mended_gives_a_model_or_a_refusal(tmp_path):
    path = tmp_path / "forged.dcz"
    for bit, graph in flips(GRAPH, 0, len(GRAPH)):
        path.write_bytes(parts.build(*TENSORS, graph=graph))
        found = outcome(lambda path: dcz.load(path).ByteSize(), path)
        assert found == "graph-reference" or isinstance(found, int), f"bit {bit}"


def test_names_that_are_no_text_are_refused_by_protobuf_in_pure_python_too(tmp_path):
    """Which has an error of its own for them."""
    at = GRAPH.index(b"w", 20)
    graph = GRAPH[:at] + b"\xf7" + GRAPH[at + 1 :]
    (tmp_path / "net.dcz").write_bytes(parts.build(*TENSORS, graph=graph))
    (tmp_path / "net.onnx").write_bytes(graph)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    code = """if True:
        import dcz
        for name, error in (("net.dcz", dcz.CorruptFile), ("net.onnx", dcz.UnsuitableModel)):
            try:
                dcz.load(name) if name == "net.dcz" else dcz.compress(name, "out.dcz")
            except error as found:
                print(type(found).__name__)
    """
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["CorruptFile", "UnsuitableModel"], done.stderr


# -- claims -----------------------------------------------------------------------------------------------------------

ZEROS = parts.constant(0)
MILLIONS = (15 << 20,)  # float32 elements: 60 MiB, which a record of 1 KB may truly ask for


def of_one(encoding: int, coded: bytes, dims: tuple[int, ...] = MILLIONS, size: int = 1000) -> bytes:
    return parts.build(parts.Tensor("w", parts.FLOAT, dims, encoding, coded.ljust(size, b"\0"), b""))


HEAD = parts.listing([])[:6]
RAMP, TABLE = parts.ramp(2, 0, 1), parts.table(1, [2, 1, 2])
ALL_KEPT = b"\1" + parts.varint(15 << 20) * 2 + ZEROS
INFINITIES = parts.half(*[0x7C00] * 256)
SOME = bytes(1000)
CLAIMS = {
    "a tensor of 4 TiB": ("expansion", of_one(parts.STORED, b"\1", (2**40,))),
    "a tensor of 2^63 bits": ("shape", of_one(parts.STORED, b"\1", (2**29, 2**29))),
    "a directory of 64 MiB": ("truncated", parts.seal(b"", SOME, stored=2**26, plain=2**26)),
    "64 MiB inflated": ("directory-size", parts.seal(parts.deflate(bytes(9**5)), plain=2**26)),
    "1 MiB inflated": ("deflate", parts.seal(parts.deflate(bytes(9**5)), plain=2**20)),
    "a graph of 2 GiB": ("truncated", parts.seal(parts.varint(2**31 - 1) * 2 + bytes(6), SOME)),
    "a record of 8 EiB": ("truncated", parts.seal(parts.listing([parts.entry(parts.W, 2**63 - 1)]), SOME)),
    "a name of 8 EiB": ("truncated", parts.seal(HEAD + b"\0\1" + parts.varint(2**63 - 1) + SOME)),
    "2^62 pairs of metadata": ("directory-size", parts.seal(HEAD + parts.varint(2**62) + SOME)),
    "2^12 pairs of metadata": ("duplicate-name", parts.seal(HEAD + parts.varint(2**12) + SOME)),
    "2^62 tensors": ("directory-size", parts.seal(HEAD + b"\0" + parts.varint(2**62) + SOME)),
    "2^12 tensors": ("dtype", parts.seal(HEAD + b"\0" + parts.varint(2**12) + SOME)),
    "60 MiB, codes missing": ("truncated", of_one(parts.SHARED, RAMP + b"\1\1")),
    "60 MiB, segments missing": ("truncated", of_one(parts.SHARED, RAMP + TABLE + b"\xff\xff\3" * 60)),
    "60 MiB, a byte too many": ("record-trailing", of_one(parts.SHARED, RAMP + ZEROS)),
    "60 MiB, a bitmap missing": ("truncated", of_one(parts.SPARSE, bytes([0x11]))),
    "60 MiB, all kept": ("truncated", of_one(parts.SPARSE, ALL_KEPT + RAMP + b"\1\1")),
    "60 MiB stored in none": ("block-length", of_one(parts.STORED, b"\0")),
    "60 MiB deflated in none": ("deflate", of_one(parts.STORED, b"\1\3")),
    "32 MiB of infinities": ("codebook-value", of_one(parts.SHARED, INFINITIES + ZEROS, (8 << 20,), 0)),
}


@pytest.mark.parametrize("decode", [by_dcz, by_decoder])
@pytest.mark.parametrize("claim", CLAIMS)
def test_a_small_file_that_claims_much_is_refused_before_memory_is_taken(claim, decode, tmp_path):
    reason, data = CLAIMS[claim]
    path = tmp_path / "claim.dcz"
    path.write_bytes(data)
    assert len(data) < 1200
    outcome(decode, path)  # what a first call takes for itself
    tracemalloc.start()
    try:
        assert outcome(decode, path) == reason
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
