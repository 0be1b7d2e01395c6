"""Small files that claim or cost much: refused, or handled in bounded time and memory, in every way of reading."""

import numpy as np
import pytest

import dcz
from dcz.format.container import Archive
from dcz.format.directory import write_head
from dcz.model import wire
from dcz.reading.limits import FACTOR, FLOOR, Limit
from tests import models
from tests.hostile.bombs import BOMBS, message, of_graph, references
from tests.hostile.limits import QUICK, SMALL, run_limited
from tests.hostile.probe import WAYS

REFUSED = {
    "references": "UnsuitableModel", "one_tensor": "handled", "one_list": "handled",
    "initializers": "graph-reference", "nodes": "graph-reference", "attributes": "graph-reference",
    "tensors_of_an_attribute": "graph-reference", "functions": "graph-reference", "fields": "graph-reference",
    "packed_integers": "graph-reference", "allowed": "handled", "zeros": "graph-size",
    "hidden_in_a_group": "graph-reference", "ranks": "directory-size", "long_dims": "directory-size",
    "entries": "directory-size", "allowed_entries": "truncated", "metadata": "directory-size",
    "allowed_metadata": "handled", "long_text": "directory-size", "record_of_zeros": "UnsuitableModel",
    "constant_codes": "UnsuitableModel",
}  # fmt: skip
IN_DIRECTORY = (
    "zeros",
    "ranks",
    "long_dims",
    "entries",
    "allowed_entries",
    "metadata",
    "long_text",
)  # inspect sees these too


def product(weight):
    """x @ weight."""
    node = models.helper.make_node("MatMul", ["x", "w"], ["y"])
    return models.model([node], {"x": [1, None]}, {"y": [1, None]}, [models.tensor("w", weight)])


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    """The process that read each bomb in every way, and the lines that it printed of each."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, made in BOMBS.items():
        (folder / name).write_bytes(made())
    used = run_limited(["-m", "tests.hostile.probe", *BOMBS], cwd=folder, seconds=60)
    outputs = {f"{name}{suffix}" for name in BOMBS for suffix in ("", ".onnx", ".out")}
    found = {path.name for path in folder.iterdir()} - outputs
    assert len(found) == 1 and found.pop().startswith("one_tensor.onnx.")  # its data, beside it
    return used, [line.split("\t") for line in used.out.splitlines()]


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_neither_time_nor_memory(name, probed):
    used, lines = probed
    found = {way: (float(seconds), outcome) for bomb, way, seconds, outcome in lines if bomb == name}
    assert found.keys() == WAYS.keys(), (used.code, used.err)
    for way, (seconds, outcome) in found.items():
        assert outcome == ("handled" if way == "inspect" and name not in IN_DIRECTORY else REFUSED[name]), way
        assert seconds < QUICK, way
    assert used.megabytes < SMALL and used.code == 0


@pytest.mark.parametrize(
    "arguments", [["verify"], ["decompress", "-o", "out.onnx"], ["decompress", "--external-data", "never"]]
)
def test_commands_refuse_a_bomb_and_say_how_to_trust_it(arguments, tmp_path):
    (tmp_path / "bomb.dcz").write_bytes(references(20, 8_000_000))  # 1.28 GB
    done = run_limited(["-m", "dcz", arguments[0], "bomb.dcz", *arguments[1:]], cwd=tmp_path)
    assert done.code == 3 and "--max-bytes" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["bomb.dcz"]


def test_one_onnx_file_of_2_gb_is_refused_before_anything_is_decoded(tmp_path):
    path = tmp_path / "bomb.dcz"
    path.write_bytes(references(20, 16_000_000))
    for way in ("never", "always"):
        # of float64 in `double_data`, which cannot lie outside
        path.write_bytes(references(20, 16_000_000, b"double_data" if way == "always" else b"raw_data"))
        with pytest.raises(dcz.UnsuitableModel, match="2 GB or more"):
            dcz.decompress(path, tmp_path / "out.onnx", external_data=way, max_bytes="4GB")
    assert [file.name for file in tmp_path.iterdir()] == ["bomb.dcz"]


def test_the_default_limit_is_a_floor_and_a_multiple_of_the_file():
    assert [Limit.of("net.dcz", size, None).nbytes for size in (0, 40_000, 1 << 20)] == [FLOOR, FLOOR, FACTOR << 20]
    assert Limit.of("net.dcz", 1 << 30, "1MB").nbytes == 1e6
    assert Limit.of("net.dcz", 1, 7).check(7) == 7


def test_a_model_of_zeros_is_read_without_ado(tmp_path):
    zeros = np.zeros((1000, 5000), np.float32)  # 20 MB, in a file of a few kB
    path = dcz.compress(product(zeros), tmp_path / "net.dcz")
    assert path.stat().st_size < 40e6 / FACTOR
    assert not models.arrays(dcz.load(path))["w"].any()


def test_what_only_the_graph_multiplies_counts_when_names_are_listed(tmp_path):
    path = tmp_path / "bomb.dcz"
    path.write_bytes(references(20, 5_000_000))
    with dcz.open(path) as tensors:
        assert tensors["w"].nbytes == 40_000_000  # its own record, read alone
        with pytest.raises(dcz.UnsuitableModel, match="decodes to"):
            list(tensors)
    with pytest.raises(dcz.UnsuitableModel, match="decodes to"):
        dcz.open(path, max_bytes="10MB")


def test_a_text_of_what_a_file_holds_is_of_bounded_length(tmp_path):
    graph = message(7, message(5, message(1, bytes(1_000_000))))  # an initializer's dims, all 0
    (tmp_path / "bomb.dcz").write_bytes(of_graph(graph))
    model = product(models.normal(4, 4))
    weight = model.graph.initializer[0]
    weight.data_location = weight.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", "9" * 1_000_000)):
        weight.external_data.add(key=key, value=value)
    (tmp_path / "w.bin").write_bytes(bytes(64))
    models.save(model, tmp_path / "net.onnx")
    for read, ends in (
        (lambda: dcz.verify(tmp_path / "bomb.dcz"), "0, 0) [graph-reference]"),
        (lambda: dcz.compress(tmp_path / "net.onnx", tmp_path / "out.dcz"), "99' is no number of bytes"),
    ):
        with pytest.raises(dcz.DczError) as refused:
            read()
        text = str(refused.value)
        assert "..." in text and text.startswith(str(tmp_path)) and text.endswith(ends) and len(text) < 5000


def test_counts_are_those_of_protobuf():
    proto = models.place("if_branches")
    data = proto.SerializeToString()

    def walk(message):
        yield message
        for field, value in message.ListFields():
            if field.message_type:
                for inner in value if hasattr(value, "__len__") else [value]:
                    yield from walk(inner)

    found = wire.count(data)
    assert found.packed == 0 == wire.count(data[:-1]).packed
    packed = models.helper.make_tensor("t", models.onnx.TensorProto.INT64, [3], [1, 300, -1])
    assert packed.int64_data and wire.count(message(7, message(5, packed.SerializeToString()))).packed == 1 + 2 + 10
    assert found.messages == sum(1 for _ in walk(proto))
    assert found.fields > found.messages
    assert wire.count(data, found.messages, found.fields) == found
    assert wire.count(data, found.messages - 1).messages == found.messages  # one too many: it stops


def test_a_graph_that_deflates_too_well_is_written_so_that_it_is_read(tmp_path):
    """A quarter of a million messages that are the same: fewer matches in the file, not a file that nobody reads."""
    proto = models.model([models.helper.make_node("Identity", ["x"], ["y"])], {"x": [1]}, {"y": [1]}, [])
    proto.MergeFromString(message(7, message(13, b"") * 250_000))
    path = dcz.compress(proto, tmp_path / "net.dcz", dcz.PRESETS["lossless"])
    assert dcz.load(path) == proto
    with Archive(path) as archive:
        stored = archive.directory.graph_stored
    assert stored >= archive.directory.graph_plain / 8
    assert wire.least_stored(proto.SerializeToString(), "net") <= stored


def test_a_directory_that_deflates_too_well_is_written_so_that_it_is_read(tmp_path):
    path = tmp_path / "net.dcz"
    path.write_bytes(write_head(b"", {"a": "0" * 2_000_000}, []))
    with Archive(path) as archive:
        assert archive.directory.metadata["a"] == "0" * 2_000_000
    assert path.stat().st_size > 2_000_000 / 8


def test_data_beside_that_of_a_record_is_refused(tmp_path):
    """Which would be appended to."""
    tensor = b"\x08\2\x10\1" + message(8, b"w") + message(4, np.float32([1, 2]).tobytes())
    tensor += message(13, message(1, b"float_data") + message(2, b"0")) + b"\x70\1"
    (tmp_path / "bad.dcz").write_bytes(of_graph(message(7, message(5, tensor))))
    with pytest.raises(dcz.CorruptFile, match="graph-reference"):
        dcz.load(tmp_path / "bad.dcz")
