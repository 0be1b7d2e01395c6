"""The reader in JavaScript gives what Python gives. Here it needs Node alone; `make browser` tests its page."""

import gzip
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import dcz
from dcz.model import wire
from tests import ROOT
from tests.conformance import VALID, reasons_of_page
from tests.hostile.bombs import BOMBS
from tests.hostile.limits import QUICK
from tests.hostile.test_bombs import REFUSED

BROWSER = ROOT / "examples" / "browser"
OLDEST = 20, 12
MEGABYTES = 500  # of a process of Node, which takes memory back when it likes
LOCAL_REASONS = {"too-large", "memory", "network", "http", "changed"}  # not of the format


def why_no_node() -> str:
    """Why the tests cannot run, or ""."""
    node = shutil.which("node")
    if node is None:
        return "no Node here: the reader in JavaScript is not tested"
    version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
    found = tuple(int(part) for part in version.removeprefix("v").split(".")[:2])
    return "" if found >= OLDEST else f"Node {version} inflates no raw streams: 20.12 or later does"


needs_node = pytest.mark.skipif(bool(why_no_node()), reason=why_no_node() or "there is one")


def node(*arguments, **environment: str) -> str:
    """What Node prints; `environment` is the whole of what it finds there but for the path."""
    done = subprocess.run(
        ["node", *map(str, arguments)],
        cwd=BROWSER,
        env={"PATH": str(Path(shutil.which("node")).parent)} | environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def real_file(tmp_path_factory) -> Path:
    """A network that a package ships, compressed."""
    magika = pytest.importorskip("magika")
    (model,) = list((Path(magika.__file__).parent / "models").glob("*/model.onnx"))[:1]
    out = tmp_path_factory.mktemp("real") / "magika.dcz"
    dcz.compress(model, out)
    return out


@needs_node
@pytest.mark.parametrize("name", ["conformance", "damage", "source", "limits"])
def test_its_own_tests_pass(name, real_file):
    told = node("--expose-gc", "--test", f"tests/{name}.test.js", DCZ_FILE=str(real_file), DCZ_FLIPS="500")
    counts = {key: int(count) for key, count in re.findall(r"^# (tests|pass|fail|skipped) (\d+)$", told, flags=re.M)}
    assert counts["tests"] == counts["pass"] >= 3 and not counts["fail"] and not counts["skipped"], told[-2000:]


@needs_node
def test_it_restores_the_models_that_python_restores(real_file, tmp_path):
    files = [*VALID, real_file]
    node("tests/restore.js", tmp_path, *files)
    for number, file in enumerate(files):
        found = ModelProto()
        found.ParseFromString((tmp_path / f"{number}.onnx").read_bytes())
        assert found == dcz.load(file), file.name


@needs_node
def test_varints_of_a_fixed_length_are_the_numbers(tmp_path):
    """Tensors that lie in int32_data and int64_data: negative, small and large."""
    edges = np.array([0, 1, -1, 127, 128, -(2**31), 2**31 - 1] * 400, np.int64)
    tensors = [
        TensorProto(name="a", data_type=TensorProto.INT64, dims=[len(edges)], int64_data=[*edges[:-1], -(2**63)]),
        TensorProto(name="b", data_type=TensorProto.INT32, dims=[len(edges)], int32_data=edges),
        TensorProto(name="c", data_type=TensorProto.FLOAT16, dims=[len(edges)], int32_data=edges & 0x7FFF),
    ]
    nodes = [helper.make_node("Identity", [each.name], [f"{each.name}2"]) for each in tensors]
    outputs = [helper.make_tensor_value_info(f"{each.name}2", each.data_type, each.dims) for each in tensors]
    graph = helper.make_graph(nodes, "g", [], outputs, tensors)
    onnx.save(helper.make_model(graph), tmp_path / "net.onnx")
    dcz.compress(tmp_path / "net.onnx", tmp_path / "net.dcz")
    node("tests/restore.js", tmp_path, tmp_path / "net.dcz")
    found = onnx.load(tmp_path / "0.onnx")
    assert found == dcz.load(tmp_path / "net.dcz")
    fields = [{field.name for field, _ in each.ListFields()} for each in found.graph.initializer]
    assert [fields_ & {"int64_data", "int32_data"} for fields_ in fields] == [
        {"int64_data"},
        {"int32_data"},
        {"int32_data"},
    ]


@needs_node
def test_it_counts_the_messages_that_the_schema_has():
    """Its tables of messages are those of protobuf's own description of ONNX."""
    script = "import('./src/schema.js').then((m) => console.log(JSON.stringify([m.SCHEMA, m.PACKED]))), ''"
    schema, packed = json.loads(node("-p", script))
    seen: set[tuple[str, str]] = set()

    def compare(message, name: str) -> None:
        if (message.full_name, name) in seen:
            return
        seen.add((message.full_name, name))
        inner = {str(field.number): field.message_type for field in message.fields if field.message_type}
        assert inner.keys() == schema[name].keys(), (message.full_name, name)
        assert wire.tables()[message.full_name].packed == set(packed.get(name, ())), (message.full_name, name)
        for number, kind in inner.items():
            compare(kind, schema[name][number])

    compare(ModelProto.DESCRIPTOR, "Model")
    assert {name for _, name in seen} == schema.keys()


@needs_node
def test_bombs_take_neither_time_nor_memory(tmp_path):
    """What comes of them is what comes of them in Python, the costliest of each kind; a process reads each."""
    for name in ("references", "nodes", "fields", "allowed_entries", "metadata", "record_of_zeros"):
        (tmp_path / "bomb.dcz").write_bytes(BOMBS[name]())
        (found,) = json.loads(node("tests/probe.js", tmp_path / "bomb.dcz"))
        assert found["outcome"] == REFUSED[name].replace("UnsuitableModel", "too-large"), name
        assert found["seconds"] < QUICK and found["megabytes"] < MEGABYTES, (name, found)


def test_it_knows_the_refusals_of_the_page():
    source = "".join(path.read_text() for path in sorted((BROWSER / "src").glob("*.js")))
    named = set(re.findall(r'"([a-z]+(?:-[a-z]+)*)"', source))
    assert set(reasons_of_page()) <= named
    assert set(re.findall(r'(?:Broken|DczError)\("([a-z-]+)"', source)) <= set(reasons_of_page()) | LOCAL_REASONS


def test_the_module_is_made_of_its_source():
    """Without the tool that makes it: its first line has a digest of what it was made of."""
    digest = hashlib.sha256()
    for path in sorted((BROWSER / "src").iterdir()):
        digest.update(path.read_bytes())
    told = (BROWSER / "dcz.js").read_text().splitlines()[0]
    assert digest.hexdigest()[:16] in told, "npm run build in examples/browser"


def test_the_tutorial_tells_the_size_of_the_module():
    module, page = (BROWSER / "dcz.js").read_bytes(), (ROOT / "docs" / "tutorials" / "web.md").read_text()
    size, packed = (
        int(each.replace(",", "")) for each in re.search(r"\| `dcz.js` \| (\S+) \| (\S+) \|", page).groups()
    )
    assert size == len(module) and abs(packed - len(gzip.compress(module, 9))) < 0.01 * packed
    for told in (ROOT / "README.md", BROWSER / "README.md"):
        assert f"{packed / 1000:.1f} kB" in told.read_text(), told


def test_the_lock_file_names_no_place_to_fetch_from():
    lock = json.loads((BROWSER / "package-lock.json").read_text())
    assert all("resolved" not in package for package in lock["packages"].values())
    assert all("integrity" in package for name, package in lock["packages"].items() if name)
    assert "dependencies" not in json.loads((BROWSER / "package.json").read_text())


def test_a_model_is_prepared_for_the_page(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    from examples.browser import prepare

    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (40, 60, 3), np.uint8)
    monkeypatch.setattr(prepare, "cat", lambda: image.fromarray(pixels))
    weight = numpy_helper.from_array(random.normal(0, 0.1, (192, 5)).astype(np.float32), "w")
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [y], [weight]), ir_version=8), tmp_path / "net.onnx")
    (tmp_path / "net.txt").write_text("a\nb\nc\nd\ne\n")

    options = ["--labels", tmp_path / "net.txt", "--order", "bgr", "--mean", 1, 2, 3, "--deviation", 4, 5, 6]
    assert prepare.main([*map(str, ["--model", tmp_path / "net.onnx", *options, "--out", tmp_path / "out"])]) == 0
    told = json.loads((tmp_path / "out" / "model.json").read_text())
    assert (told["labels"], told["name"]) == (list("abcde"), "net")
    assert told["input"] == {"width": 8, "height": 8, "order": "bgr", "mean": [1, 2, 3], "deviation": [4, 5, 6]}
    sample = np.asarray(image.open(tmp_path / "out" / "sample.png"), np.float64)
    fed = ((sample[:, :, ::-1] - [1, 2, 3]) / [4, 5, 6]).transpose(2, 0, 1).reshape(1, -1)
    weights = numpy_helper.to_array(dcz.load(tmp_path / "out" / "model.dcz").graph.initializer[0])
    answers = json.loads((tmp_path / "out" / "answers.json").read_text())
    assert np.allclose((fed @ weights)[0], answers, atol=1e-3)
    assert prepare.main(["--model", str(tmp_path / "none.onnx"), "--out", str(tmp_path / "out")]) == 1
