"""The example of models bigger than memory, on small ones: under a real limit, with a real kill."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import onnx
import pytest

from examples.streaming import large_model, measure, models, plot, scaling


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The folder of results of a quick run of each command."""
    folder = tmp_path_factory.mktemp("results")
    assert large_model.main(["--quick", "--out", str(folder)]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scaling, "SIZES", (50_000, 10**9))
        took = {"seconds": 1.0, "cpu_seconds": 2.0, "peak_bytes": 9_000_000, "base_bytes": 4_000_000, "bytes": 7}
        patch.setattr(measure, "run", lambda *task: took)
        assert scaling.main(["--most", "1e5", "--out", str(folder)]) == 0
    return folder


def test_a_model_is_drawn_the_same_each_time_and_is_valid(tmp_path):
    network = models.transformer(32, 64, 100, 1, 1)
    models.write(tmp_path / "net.onnx", network)
    proto = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(proto, full_check=True)
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    assert sum(array.nbytes for array in arrays.values()) == network.nbytes
    for weight in network.weights:
        assert np.array_equal(arrays[weight.name].ravel(), np.concatenate(list(weight.drawn())))
    assert {str(array.dtype) for array in arrays.values()} == {"float32", "float16"}


def test_what_is_recorded_is_what_was_checked(results):
    found = json.loads((results / "large_model.json").read_text())
    assert found["holds"] and found["same_bytes_after_kill"]
    for each in found["tasks"].values():
        assert 0 < each["peak_bytes"] <= each["address_space"] <= found["limit"]
    points = json.loads((results / "scaling.json").read_text())
    assert {(p["task"], p["kind"]) for p in points} == {
        (task, kind) for task in scaling.TASKS for kind in scaling.KINDS
    }
    page = (results / "RESULTS.md").read_text()
    assert f"{found['model_bytes']:,}" in page and "scaling.svg" in page
    assert sorted(path.name for path in results.iterdir()) == [
        "RESULTS.md", "large_model.json", "scaling.json", "scaling.svg", "work",
    ]  # fmt: skip
    assert not list((results / "work").iterdir()), "models are removed"


def test_a_limit_is_one(tmp_path):
    models.write(tmp_path / "net.onnx", models.chain(100_000, 100, 1))
    with open(tmp_path / "net.onnx.data", "r+b") as file:  # mostly a hole, which takes no disk
        file.truncate(300_000_000)
    proto = onnx.load(tmp_path / "net.onnx", load_external_data=False)
    proto.graph.initializer[0].dims[:] = [100, 750_000]
    proto.graph.initializer[0].external_data[2].value = "300000000"
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(RuntimeError, match="Cannot allocate memory|MemoryError"):
        measure.run("compress", tmp_path / "net.onnx", tmp_path / "net.dcz", limit=300 << 20)
    assert not (tmp_path / "net.dcz").exists()


def test_the_exponent_is_that_of_a_power():
    points = [{"task": "t", "kind": "k", "weights": 10**n, "seconds": 3 * 10 ** (n * 1.5)} for n in range(5, 10)]
    assert scaling.exponent(points, "t", "k", lambda point: point["seconds"]) == pytest.approx(1.5)


def test_figures_are_well_formed():
    drawn = plot.svg("x", [("a < b", {"one": [(1e6, 0.2), (1e9, 300.0)]}), ("c", {"two": [(1, 1), (10, 10)]})])
    root = ElementTree.fromstring(drawn)
    assert len(root.findall(".//{*}circle")) == 4
    assert "a < b" in [text.text for text in root.findall(".//{*}text")]
