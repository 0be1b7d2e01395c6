"""Long lists in attributes that protobuf does not get: what it makes of a model is the same, whatever the file says."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, helper

import dcz
from dcz.format.container import Archive
from dcz.model import attribute_lists, held, model_file, raw_data, skeleton, wire
from dcz.model.source import of_bytes
from dcz.reading.stream import stream
from tests import models
from tests.messages import FLOATS, INTS, ODD, STRINGS, WHOLE, Maker, elements, field

LARGE = 64  # bytes, for these tests


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(raw_data, "LARGE", LARGE)


SEEDS = st.integers(0, 1 << 64)  # of models, which are too long to be shown


@settings(max_examples=600, deadline=None)
@given(SEEDS, st.integers(0, 1 << 30), st.booleans())
def test_a_model_is_the_same_with_its_lists_apart_or_not(seed, place, is_cut):
    """Or it is refused in the same words."""
    data = Maker(seed).model()
    data = data[: place % len(data)] if is_cut else data

    def made(lists: bool):
        try:
            model = model_file._model(of_bytes(data, lists, lists), "net", None)
            tensors = [(each.name, each.shape, each.read().tobytes()) for each in model.tensors]
            return tensors, model.source_sha256, held.serialized_whole(model, "net")
        except dcz.DczError as error:
            return str(error)

    assert made(True) == made(False)


@settings(max_examples=300, deadline=None)
@given(SEEDS)
def test_a_graph_is_the_same_with_its_lists_held_or_not(seed):
    data = Maker(seed).model()

    def made(*given):
        try:
            proto = skeleton.parse_graph(data, len(data), "net.dcz", *given)
            return b"".join(held.serialized(proto, *given or [held.Held()], "net"))
        except dcz.DczError as error:
            return str(error)

    assert made(held.Held()) == made()


@settings(max_examples=300, deadline=None)
@given(SEEDS, st.integers(0, 1 << 30), st.booleans(), st.integers(0, 1500))
def test_lists_count_as_many_fields_as_they_have(seed, place, is_cut, most):
    data = Maker(seed).model()
    data = data[: place % len(data)] if is_cut else data
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "_LONG", (1 << 40, 1))
        expected, limited = wire.count(data), wire.count(data, None, most)
        for least in (1, 100):
            patch.setattr(wire, "_LONG", (0, least))
            assert wire.count(data) == expected
            assert wire.count(data, None, most).fields == limited.fields


@pytest.mark.parametrize("kind", [FLOATS, INTS, STRINGS])
def test_elements_are_told_one_by_one(kind):
    """As far as they are whole, and as protobuf writes them."""
    draws = random.Random(kind)
    parts = elements(kind, 500, draws)
    data, ends = b"".join(parts), set(np.cumsum([0, *map(len, parts)]).tolist())
    for end in range(len(data) + 1):
        assert attribute_lists.length(data[:end]) == max(place for place in ends if place <= end)
    assert attribute_lists.count(data, 0, len(data), 1 << 30) == (500, len(data))
    for odd in ODD:
        if odd not in WHOLE:
            assert attribute_lists.length(data + odd) == len(data)


def kept_in_places() -> dict[str, ModelProto]:
    """A long list in each place where a node may be."""
    node = helper.make_node("Trees", ["x"], ["y"], "trees", domain="d", ids=range(1000), words=["LEAF", "B"] * 500)
    inner = models.graph([node], {}, {"y": [1]})
    choice = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    function = models.function("F", ["x"], ["y"], [node])
    return {
        "graph": models.model([node], {"x": [1]}, {"y": [1]}, domains=["d"]),
        "subgraph": models.model([choice], {"x": [1], "c": []}, {"y": [1]}, domains=["d"]),
        "function": models.model([helper.make_node("F", ["x"], ["y"], domain=function.domain)], {"x": [1]}, {"y": [1]},
                                 functions=[function], domains=["d", function.domain]),
    }  # fmt: skip


@pytest.mark.parametrize("place", ["graph", "subgraph", "function"])
def test_protobuf_gets_no_long_list_wherever_its_node_is(place):
    data = kept_in_places()[place].SerializeToString()
    model = model_file._model(of_bytes(data, True, True), "net", None)
    assert len(model.source.message) < 700 < len(data) / 10
    assert held.serialized_whole(model, "net") == data


def test_a_list_whose_node_was_copied_is_in_both():
    proto = kept_in_places()["graph"]
    model = model_file._model(of_bytes(proto.SerializeToString(), True, True), "net", None)
    for each in (proto, model.proto):
        each.graph.node.append(each.graph.node[0])
    assert held.serialized_whole(model, "net") == proto.SerializeToString(deterministic=True)


def test_lists_that_dcz_looks_at_stay():
    node = helper.make_node("Constant", [], ["w"], value_floats=models.normal(1000).tolist())
    proto = models.model([node, helper.make_node("Add", ["x", "w"], ["y"])], {"x": [1000]}, {"y": [1000]})
    model = model_file._model(of_bytes(proto.SerializeToString(), True, True), "net", None)
    assert [each.shape for each in model.tensors] == [(1000,)] and model.source is None


def graph_first(proto: ModelProto) -> bytes:
    """A model's bytes in another order than protobuf's."""
    rest = ModelProto()
    rest.CopyFrom(proto)
    rest.ClearField("graph")
    return field(7, proto.graph.SerializeToString()) + rest.SerializeToString()


def test_a_source_gives_its_bytes_away():
    data = kept_in_places()["graph"].SerializeToString()
    source = of_bytes(data, lists=True)
    assert len(source.apart) == 2 and source.taken() == data and not source.apart and not len(source)


@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_file_is_the_same_whether_protobuf_has_its_lists(is_reversed, tmp_path, monkeypatch):
    """And so is all that comes of it. Fields in another order than protobuf's are not in its bytes of the model."""
    proto = models.trees(5000)
    proto.graph.initializer.append(models.tensor("w", models.normal(300, 40)))
    data = graph_first(proto) if is_reversed else proto.SerializeToString()
    path = tmp_path / "net.onnx"
    path.write_bytes(data)

    def everything(name: str):
        packed = dcz.compress(path, tmp_path / f"{name}.dcz", lossless=True)
        restored = dcz.decompress(packed, tmp_path / f"{name}.onnx", external_data="never").read_bytes()
        with Archive(packed) as archive:
            pieces = b"".join(stream(archive))
        reports = [dcz.inspect(each).to_dict() | {"path": ""} for each in (packed, path)]
        changes = str(dcz.diff(path, packed)).replace(name, "")
        return (
            Path(packed).read_bytes(),
            restored,
            pieces,
            dcz.load(packed),
            reports,
            changes,
            dcz.verify(packed).tensors,
        )

    parsed, parse = [], model_file._parse
    monkeypatch.setattr(model_file, "_parse", lambda data, label: parsed.append(len(data)) or parse(data, label))
    apart = everything("apart")
    assert max(parsed) < 20_000 < len(data) / 10
    monkeypatch.setattr(raw_data, "LARGE", 1 << 40)
    whole = everything("whole")
    assert max(parsed) > 200_000
    assert apart[1:] == whole[1:] and apart[0] == whole[0]
    assert is_reversed or apart[1] == data


# -- memory ------------------------------------------------------------------------------------------------------------

STEPS = {  # what a process does with model.onnx and model.dcz, and how many times the model it may take
    "compress": ("dcz.compress('{0}.onnx', '{0}.out.dcz', threads=1, force=True)", 3),
    "compress, in another order": ("dcz.compress('{0}.first.onnx', '{0}.out.dcz', threads=1, force=True)", 3.5),
    "decompress": ("dcz.decompress('{0}.dcz', '{0}.out.onnx', threads=1, force=True)", 2),
    "verify": ("dcz.verify('{0}.dcz', threads=1)", 2),
    "inspect": ("dcz.inspect('{0}.onnx')", 2),
    "check": ("dcz.check('{0}.onnx', max_size='1GB')", 2),
    "check a .dcz": ("dcz.check('{0}.dcz', max_size='1GB')", 2),
    "diff": ("dcz.diff('{0}.onnx', '{0}.onnx', threads=1)", 3),
}
PROCESS = """
import sys, dcz
def peak():
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))
step = sys.argv[1]
exec(step.format("small"))  # what is imported is not counted
before = peak()
exec(step.format("large"))
print(peak() - before)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two models of trees, each as it is and compressed."""
    folder = tmp_path_factory.mktemp("trees")
    for name, count in (("small", 5000), ("large", 800_000)):
        proto = models.trees(count)
        dcz.compress(models.save(proto, folder / f"{name}.onnx"), folder / f"{name}.dcz")
        (folder / f"{name}.first.onnx").write_bytes(graph_first(proto))
    return folder


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell what a process takes")
@pytest.mark.parametrize("name", STEPS)
def test_memory_of_trees_goes_by_their_bytes(name, folder):
    """Not by what protobuf would take for them, which is six times as much."""
    step, times = STEPS[name]
    nbytes = (folder / "large.onnx").stat().st_size
    assert 25_000_000 < nbytes < 35_000_000
    root = Path(dcz.__file__).parents[1]
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{PROCESS}", step]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert int(ended.stdout) < times * nbytes
