"""Models whose large data lies in a temporary file: the same to all that look at them."""

import errno
import gc
import tempfile

import numpy as np
import onnx
import pytest
from onnx import helper

from dcz import FileAccess
from dcz.evaluation import runtime
from dcz.files import unnamed
from dcz.files.unnamed import UnnamedFile, unload
from dcz.model import WorkingCopy, load, move_apart, open_model, read_program, serialize, with_values
from tests import models
from tests.models import normal, run, tensor

X = normal(3, 300, seed=5)


def network(inside=()):
    """A large initializer, a large Constant, and a small one of each."""
    weights = {"w": normal(300, 300), "c": normal(300, 300, seed=1), "b": normal(300, seed=2), "d": normal(300, seed=3)}
    nodes = [helper.make_node("Constant", [], [name], value=tensor(name, weights[name])) for name in "cd"]
    for number, (op, name) in enumerate([("MatMul", "w"), ("Add", "b"), ("MatMul", "c"), ("Add", "d")]):
        nodes.append(
            helper.make_node(op, [f"h{number}" if number else "x", name], ["y" if number == 3 else f"h{number + 1}"])
        )
    return models.model(nodes, {"x": ["n", 300]}, {"y": ["n", 300]}, [tensor(name, weights[name]) for name in "wb"])


def opened(tmp_path, **external):
    path = models.save(network(), tmp_path / "net.onnx", **external)
    model = load(path, apart=True)
    move_apart(model)
    return path, model


@pytest.mark.parametrize("external", [{}, {"location": "data.bin"}])
def test_tensors_and_outputs_are_the_same(tmp_path, external):
    path, model = opened(tmp_path, **external)
    assert model.proto.ByteSize() < 10_000
    for one, other in zip(load(path).tensors, model.tensors, strict=True):
        assert one.name == other.name and np.array_equal(one.read(), other.read())
    assert with_values(model, {}) == with_values(load(path), {})
    (y,), copy = run(network(), x=X), WorkingCopy(model)
    for loaded in (copy.loadable("net.onnx"), copy.piece({"x": X}, ["y"])):
        assert len(loaded.message) < 370_000 and len(loaded.tensors) == 1  # the Constant's data is in the graph
        assert np.array_equal(runtime.run(runtime.loaded(loaded, "net.onnx", 1), {"x": X})[0], y)


def test_new_values_come_and_go(tmp_path):
    path, model = opened(tmp_path)
    copy, new = WorkingCopy(model), {name: 0 * array for name, array in read_program(model, "").constants.items()}
    for _ in range(2):
        copy.put(new)
        found = {each.name: each.values() for each in copy.model().tensors}
        assert found.keys() == new.keys() and not any(array.any() for array in found.values())
        copy.restore(new)
        assert copy.whole() == load(path).proto
    assert not any(array.any() for array in read_program(WorkingCopy(model, new).model(), "").constants.values())


def test_a_copy_is_opened_as_its_source_until_it_is_changed(tmp_path):
    path, model = opened(tmp_path)
    copy = WorkingCopy(model)
    assert copy.source() == str(path) and open_model(copy).source_sha256 == load(path).source_sha256
    digests = []
    for number in (0, 1, 0):
        copy.put({"b": np.full(300, number)})
        digests.append(open_model(copy).source_sha256)
    assert copy.source() is None and digests[0] == digests[2] != digests[1]
    copy.restore(["b"])
    assert copy.source() == str(path)
    _, model = opened(tmp_path, location="data.bin")
    assert serialize(WorkingCopy(model).source(), "") == serialize(with_values(model, {}), "")


def test_bytes_in_a_file_without_a_name():
    store, parts = UnnamedFile(), [bytes([number]) * length for number, length in enumerate((1, 5000, 70_000), 1)]
    places = [(store.append(memoryview(part)), len(part)) for part in parts]
    views = [store.view(*place) for place in places]
    assert views == parts and store.view(0, 0) == b""
    for view in views:
        unload(view)
    assert views == parts
    store.replace(places[1][0], memoryview(b"x" * 5000))
    del store  # what was given out stays
    gc.collect()
    assert views == [parts[0], b"x" * 5000, parts[2]]


def test_a_full_disk_names_the_folder(monkeypatch, tmp_path):
    class Full:
        def seek(self, offset):
            pass

        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(FileAccess, match=f"^{tmp_path}: .*No space left.*; free 4.2 MB there"):
        UnnamedFile(str(tmp_path)).append(memoryview(bytes(1 << 22)))
    onnx.save(network(), tmp_path / "net.onnx")
    with pytest.raises(FileAccess, match="set TMPDIR"):
        move_apart(load(tmp_path / "net.onnx", apart=True))


def test_a_view_is_read_where_no_more_can_be_mapped(monkeypatch):
    """A process may have so many files, of which every map is one."""
    store, parts = UnnamedFile(), [b"a" * 5000, b"bc"]
    places = [store.append(memoryview(part)) for part in parts]

    def refuse(*_, **__):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(unnamed.mmap, "mmap", refuse)
    assert [bytes(store.view(place, len(part))) for place, part in zip(places, parts, strict=True)] == parts
