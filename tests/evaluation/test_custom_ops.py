"""Libraries of custom operators: known wherever a session is made, refused where they are none."""

import onnx
import pytest
from onnx import helper

import dcz
from dcz.calibrate.schedule import prefetch
from dcz.errors import BadPlan, FileAccess
from dcz.evaluation import runtime
from tests import models
from tests.networks import perceptron


@pytest.fixture
def loaded(monkeypatch):
    """The libraries that sessions are given, which are none."""
    found = []
    monkeypatch.setattr(runtime.onnxruntime, "SessionOptions", _recording(found))
    return found


def _recording(found):
    class Recording(runtime.onnxruntime.SessionOptions):
        def register_custom_ops_library(self, path):
            found.append(path)

    return Recording


def test_what_is_no_library_is_refused(tmp_path, monkeypatch):
    with pytest.raises(FileAccess, match=r"lib.so: cannot be read: there is no such library of custom operators"):
        dcz.evaluate("net.onnx", {}, against="net.onnx", ops=[tmp_path / "lib.so"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lib.so").write_bytes(b"no library")
    with pytest.raises(BadPlan, match=r"/lib.so: onnxruntime \S+ cannot load it as a library of custom operators: .*"):
        dcz.evaluate("net.onnx", {}, against="net.onnx", ops="lib.so")


def test_every_session_knows_them_and_later_ones_do_not(loaded, tmp_path):
    (tmp_path / "lib.so").write_bytes(b"")
    net = perceptron().SerializeToString()
    with runtime.custom_ops([tmp_path / "lib.so"]):
        assert len(loaded) == 1  # tried at once, before any work
        runtime.session(net)
        assert list(prefetch(len(loaded) for _ in [runtime.session(net)])) == [3]  # in a thread, too
        runtime.session_of(net, {}, "net", options=runtime.onnxruntime.SessionOptions())
    assert loaded == [str(tmp_path / "lib.so")] * 4
    runtime.session(net)
    assert len(loaded) == 4


def test_all_functions_that_run_a_model_take_them(loaded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lib.so").write_bytes(b"")
    onnx.save(perceptron(), "net.onnx")
    x = models.normal(32, 64)
    dcz.compress("net.onnx", "net.dcz")
    calls = {
        "tune": lambda ops: dcz.tune("net.onnx", "a.dcz", x, ratio=4, ops=ops),
        "sensitivity": lambda ops: dcz.sensitivity("net.onnx", x, bits=(3,), sparsities=(), ops=ops),
        "evaluate": lambda ops: dcz.evaluate("net.dcz", x, against="net.onnx", ops=ops),
        "verify": lambda ops: dcz.verify("net.dcz", against="net.onnx", inputs=x, ops=ops),
        "report": lambda ops: dcz.report("net.dcz", "a.html", against="net.onnx", ops=ops),
        "session": lambda ops: dcz.session("net.dcz", ops=ops),
    }
    for name, call in calls.items():
        loaded.clear()
        call(["lib.so"])
        assert len(loaded) > 1 and set(loaded) == {str(tmp_path / "lib.so")}, name


@pytest.mark.parametrize("domain", ["", "com.example"])
def test_what_is_missing_is_told(domain):
    node = helper.make_node("NoSuchOperator", ["x"], ["y"], domain=domain)
    proto = models.model([node], {"x": ["n", 3]}, {"y": ["n", 3]})
    proto.opset_import.append(helper.make_opsetid("com.example", 1))
    with pytest.raises(dcz.UnsuitableModel, match=r"NoSuchOperator.*; of custom operators give the library, --ops LIB"):
        runtime.session(proto.SerializeToString())


def test_a_real_library_runs(tmp_path):
    """That of onnxruntime_extensions, where it is installed."""
    extensions = pytest.importorskip("onnxruntime_extensions")
    library, domain = extensions.get_library_path(), "ai.onnx.contrib"
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("NegPos", ["h"], ["negative", "positive"], domain=domain),
        helper.make_node("MatMul", ["positive", "v"], ["y"]),
    ]
    proto = models.model(
        nodes, {"x": ["n", 64]}, {"y": ["n", 10]},
        [models.tensor("w", models.normal(64, 32)), models.tensor("v", models.normal(32, 10, seed=3))],
    )  # fmt: skip
    proto.opset_import.append(helper.make_opsetid(domain, 1))
    onnx.save(proto, tmp_path / "net.onnx")
    x = models.normal(64, 64, seed=2)
    made = dcz.tune(tmp_path / "net.onnx", tmp_path / "net.dcz", x, ratio=4, ops=[library])
    found = dcz.verify(made.path, against=tmp_path / "net.onnx", inputs=x, ops=[library])
    assert found.outputs[0].decibels > 10
    with pytest.raises(dcz.UnsuitableModel, match="onnxruntime cannot load it"):
        dcz.evaluate(made.path, x, against=tmp_path / "net.onnx")
