"""What diff finds: sizes that add up to the files, tensors by name or by bytes, values, answers."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import dcz
from dcz.comparison import diff as diff_module
from dcz.comparison import opened, table
from dcz.comparison.changes import REST
from dcz.errors import DczError, FileAccess
from tests import ROOT, models
from tests.networks import perceptron


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(path: str, *named, plan=None) -> str:
    """A model of tensors (name, array), as .onnx or compressed, all of them as weights."""
    proto = models.bag(*(models.tensor(name, array) for name, array in named))
    if path.endswith(".dcz"):
        dcz.compress(proto, path, plan or dcz.Plan(include=("*",)), force=True)
    else:
        onnx.save(proto, path)
    return path


def by_name(found) -> dict:
    return {row.name: row for row in found.tensors}


W, V = models.normal(64, 64), models.normal(64, 64, seed=1)


@pytest.mark.parametrize("old", ["a.onnx", "a.dcz"])
@pytest.mark.parametrize("new", ["b.onnx", "b.dcz"])
def test_sizes_add_up_to_the_files_in_any_mix(folder, old, new):
    save(old, ("w", W), ("gone", V), ("small", V[0, :3]))
    save(new, ("w", W * 1.01), ("come", V[:32]), ("small", V[0, :3]), ("more", V[1, :7]))
    found = dcz.diff(old, new)
    for which, path in (("old", old), ("new", new)):
        sides = [getattr(row, which) for row in found.rows if getattr(row, which)]
        assert sum(side.file_bytes for side in sides) == os.path.getsize(path) == getattr(found, which).file_bytes
        memory = dcz.check(path, max_memory=1).budgets[0].figure
        assert sum(side.memory_bytes for side in sides) == memory == getattr(found, which).memory_bytes
    assert found.file_change == os.path.getsize(new) - os.path.getsize(old) == sum(r.file_change for r in found.rows)
    kinds = {row.name: row.kind for row in found.tensors}
    assert kinds.items() >= {"w": "changed", "gone": "removed", "come": "added", "more": "added"}.items()
    assert by_name(found)["small"].decibels == math.inf
    assert [abs(r.file_change) for r in found.tensors] == sorted(
        (abs(r.file_change) for r in found.tensors), reverse=True
    )


def test_values_and_zeros_are_those_of_the_arrays(folder):
    new = W.copy()
    new[:16] = 0
    found = by_name(dcz.diff(save("a.onnx", ("w", W)), save("b.onnx", ("w", new))))["w"]
    noise = float((W[:16].astype(np.float64) ** 2).sum())
    assert found.decibels == pytest.approx(10 * math.log10((W.astype(np.float64) ** 2).sum() / noise))
    assert (found.old.sparsity, found.new.sparsity) == (0, 0.25) and found.old.bits == 32


def test_decibels_are_those_of_verify(folder):
    onnx.save(perceptron(), "net.onnx")
    dcz.compress("net.onnx", "net.dcz", dcz.Settings(bits=3), force=True)
    expected = {row.name: row.decibels for row in dcz.verify("net.dcz", against="net.onnx").tensors}
    found = {name: row.decibels for name, row in by_name(dcz.diff("net.onnx", "net.dcz")).items()}
    assert found == {name: pytest.approx(value) for name, value in expected.items()} and len(found) == 4


def test_the_same_file_does_not_differ(folder):
    for path in ("a.onnx", "a.dcz"):
        save(path, ("w", W), ("small", V[0, :3]))
        found = dcz.diff(path, path)
        assert not found.differs and {row.kind for row in found.rows} == {"same"}
        assert found.file_change == found.memory_change == 0


@pytest.mark.parametrize("end", ["onnx", "dcz"])
def test_another_operator_is_a_difference_though_all_sizes_are_the_same(folder, end):
    for name, operator in (("a", "Relu"), ("b", "Tanh"), ("c", "Relu")):
        proto = models.model([helper.make_node(operator, ["x"], ["y"])], {"x": [1, 4]}, {"y": [1, 4]}, [])
        onnx.save(proto, f"{name}.onnx")
        dcz.compress(proto, f"{name}.dcz", dcz.PRESETS["lossless"])
    found = dcz.diff(f"a.{end}", f"b.{end}")
    assert found.differs and found.rest.kind == "changed" and not found.tensors
    assert "all tensors are the same; nodes, attributes, names or metadata differ" in table.text(found, 100)
    assert not dcz.diff(f"a.{end}", f"c.{end}").differs


def test_the_same_external_data_in_another_file_is_no_difference(folder):
    for name, operator in (("a", "Relu"), ("b", "Relu"), ("c", "Tanh")):
        nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node(operator, ["h"], ["y"])]
        proto = models.model(nodes, {"x": [1, 4]}, {"y": [1, 4]}, [numpy_helper.from_array(np.eye(4, dtype="f4"), "w")])
        onnx.save(proto, f"{name}.onnx", save_as_external_data=True, location=f"{name}.data", size_threshold=0)
    assert not dcz.diff("a.onnx", "b.onnx").differs
    assert dcz.diff("a.onnx", "c.onnx").rest.kind == "changed"


@pytest.mark.parametrize("change", [lambda: os.truncate("b.onnx", 9), lambda: os.remove("b.onnx")])
def test_a_file_that_changes_before_the_rest_is_compared_is_an_error(folder, monkeypatch, change):
    save("a.onnx", ("w", W))
    save("b.onnx", ("w", W))
    plain = diff_module._rest
    monkeypatch.setattr(diff_module, "_rest", lambda *given: change() or plain(*given))
    with pytest.raises(FileAccess, match=r"b\.onnx: cannot be read"):
        dcz.diff("a.onnx", "b.onnx")


def test_records_with_one_checksum_are_equal_without_decoding(folder, monkeypatch):
    save("a.dcz", ("w", W), ("v", V))
    save("b.dcz", ("w", W), ("v", V * 2))
    decoded = []
    plain = opened.decode_tensor
    monkeypatch.setattr(opened, "decode_tensor", lambda archive, entry, threads: decoded.append(entry.name) or plain(
        archive, entry, threads))  # fmt: skip
    found = by_name(dcz.diff("a.dcz", "b.dcz"))
    assert found["w"].kind == "same" and found["v"].kind == "changed" and set(decoded) == {"v"}


@pytest.mark.parametrize("held", [opened.MAX_HELD, 1000])
def test_external_data_is_part_of_the_file(folder, monkeypatch, held):
    monkeypatch.setattr(opened, "MAX_HELD", held)
    save("a.onnx", ("w", W), ("v", V))
    proto = models.bag(models.tensor("w", W), models.tensor("v", V * 2))
    onnx.save(proto, "b.onnx", save_as_external_data=True, location="b.data", size_threshold=0)
    for old, new in (("a.onnx", "b.onnx"), ("b.onnx", "a.onnx")):
        found = dcz.diff(old, new)
        rows = by_name(found)
        assert rows["w"].decibels == math.inf and rows["v"].decibels == pytest.approx(
            0 if old[0] == "a" else 6.02, abs=0.01
        )
        sizes = {"a.onnx": os.path.getsize("a.onnx"), "b.onnx": os.path.getsize("b.onnx") + 2 * W.nbytes}
        assert (found.old.file_bytes, found.new.file_bytes) == (sizes[old], sizes[new])
        assert {rows["w"].old.encoding, rows["w"].new.encoding} == {"plain", "external"}


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", ["a.onnx", "a.dcz"])
@pytest.mark.parametrize("new", ["b.onnx", "b.dcz"])
def test_renamed_tensors_are_found_by_their_bytes(folder, old, new):
    exact = dcz.Plan(dcz.plan.LOSSLESS)
    shared = np.sign(W)  # which sharing keeps to the bit, and makes a record of
    save(old, ("a/w", shared), ("a/v", V), ("stays", V * 3), plan=exact)
    save(new, ("b/w", shared), ("b/v", V * 2), ("stays", V * 3), plan=exact)
    found = by_name(dcz.diff(old, new))
    assert (found["b/w"].kind, found["b/w"].old_name, found["b/w"].decibels) == ("renamed", "a/w", math.inf)
    assert found["a/v"].kind == "removed" and found["b/v"].kind == "added" and len(found) == 4


def test_tensors_of_equal_bytes_pair_up_once_and_only_in_one_shape_and_type(folder):
    zeros = np.zeros(200, np.float32)
    save("a.onnx", ("a1", zeros), ("a2", zeros), ("a3", zeros.reshape(2, 100)), ("a4", zeros.view(np.int32)))
    save("b.onnx", ("b1", zeros), ("b2", zeros), ("b3", zeros), ("b4", zeros.reshape(100, 2)))
    found = dcz.diff("a.onnx", "b.onnx")
    renamed = {row.name: row.old_name for row in found.tensors if row.kind == "renamed"}
    assert renamed == {"b1": "a1", "b2": "a2"} and found.count("added") == found.count("removed") == 2


def test_tensors_that_share_a_record_are_told_by_all_their_names(folder):
    proto = models.dense(W, V, W)
    onnx.save(proto, "a.onnx")
    dcz.compress("a.onnx", "a.dcz", force=True)
    found = dcz.diff("a.onnx", "a.dcz")
    assert {row.kind for row in found.tensors} == {"changed"} and len(found.tensors) == 3
    assert sorted(row.new.encoding for row in found.tensors) == ["repeated", "shared", "shared"]
    assert found.memory_change < 1000 and min(row.new.file_bytes for row in found.tensors) == 0


@pytest.mark.parametrize("change", [lambda w: w.reshape(32, 128), lambda w: w[:32]])
def test_another_shape_has_no_decibels(folder, change):
    row = by_name(dcz.diff(save("a.onnx", ("w", W)), save("b.onnx", ("w", change(W)))))["w"]
    assert row.kind == "changed" and row.decibels is None


def test_another_type_is_compared_by_value(folder):
    row = by_name(dcz.diff(save("a.onnx", ("w", W)), save("b.onnx", ("w", W.astype(np.float16)))))["w"]
    assert 60 < row.decibels < 90 and (row.old.bits, row.new.bits, row.memory_change) == (32, 16, -2 * W.size)


# -- what dcz does to a graph ------------------------------------------------------------------------------------------


def normalized() -> onnx.ModelProto:
    """A Conv and a BatchNormalization that is folded into it."""
    from tests.golden import convolutional

    return convolutional()


@pytest.mark.parametrize("reverse", [False, True])
def test_folded_normalizations_are_folded_on_both_sides(folder, reverse):
    onnx.save(normalized(), "net.onnx")
    dcz.compress("net.onnx", "net.dcz", dcz.Settings(quality=40), force=True)
    found = dcz.diff(*(("net.dcz", "net.onnx") if reverse else ("net.onnx", "net.dcz")))
    assert found.folded == 2
    rows = by_name(found)
    assert all(rows[name].decibels > 36 for name in ("w1", "w2", "w3"))
    assert {row.kind for name, row in rows.items() if name.startswith("mean")} == {"added" if reverse else "removed"}


# -- answers, progress, printing ---------------------------------------------------------------------------------------


def test_answers_are_those_of_evaluate(folder):
    onnx.save(perceptron(), "net.onnx")
    dcz.compress("net.onnx", "net.dcz", dcz.Settings(bits=2), force=True)
    np.savez("x.npz", x=np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32))
    found = dcz.diff("net.onnx", "net.dcz", data="x.npz").answers
    arrays = dcz.diff("net.onnx", "net.dcz", data=dict(np.load("x.npz"))).answers
    assert arrays.disagreements == found.disagreements
    assert found == dcz.evaluate("net.dcz", "x.npz", against="net.onnx") and found.disagreements > 0
    assert dcz.diff("net.onnx", "net.dcz").answers is None


def test_progress_ends_with_all_bytes(folder):
    calls = []
    save("a.dcz", ("w", W), ("v", V))
    save("b.onnx", ("w", W), ("u", V[:8]))
    dcz.diff("a.dcz", "b.onnx", progress=lambda *call: calls.append(call))
    done = [each for _, each, _ in calls]
    assert done == sorted(done) and done[-1] == calls[-1][2] == 3 * 16384 + 2048


def test_a_result_prints_itself_shortly_and_as_html(folder):
    evil = "<script>alert(1)</script>\x1b"
    found = dcz.diff(save("a.onnx", (evil, W), ("x", V)), save("b.onnx", (evil, W * 2), ("x", V)))
    sizes = f"{found.old.file_bytes:,} -> {found.new.file_bytes:,} bytes (=)"
    assert repr(found) == f"<a.onnx -> b.onnx: {sizes}, 1 of 2 tensors changed>"
    page = found._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page and "\x1b" not in page and page.count("<tr>") == 3


def test_to_dict_is_plain(folder):
    import json

    found = dcz.diff(save("a.onnx", ("w", W), ("n", V)), save("b.dcz", ("w", W), ("n", V * np.float32(np.nan))))
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["rest"]["name"] == REST and plain["differs"] is True and len(plain["tensors"]) == 2


# -- failures ----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_a_dcz_error(folder):
    save("a.onnx", ("w", W))
    save("a.dcz", ("w", W))
    data = bytearray(Path("a.dcz").read_bytes())
    data[-20] ^= 1
    Path("bad.dcz").write_bytes(data)
    Path("text.onnx").write_text("hello")
    for pair in (("a.onnx", "none.onnx"), ("bad.dcz", "a.onnx"), ("a.onnx", "text.onnx"), ("none.dcz", "a.dcz")):
        with pytest.raises(DczError):
            dcz.diff(*pair)


# -- memory ------------------------------------------------------------------------------------------------------------


def test_a_model_that_is_let_go_is_read_from_a_file(folder, monkeypatch):
    monkeypatch.setattr(opened, "MAX_HELD", 1000)
    save("a.onnx", ("w", W), ("v", V), ("small", V[0, :3]))
    save("b.onnx", ("w", W * 2), ("v2", V), ("small", V[0, :3]))
    held = dcz.diff("a.onnx", "b.onnx")
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert held == dcz.diff("a.onnx", "b.onnx")


MEASURE = """
import pathlib, re, sys
import dcz.model, dcz.comparison.diff
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
before = peak()
found = dcz.comparison.diff.diff(sys.argv[1], sys.argv[2])
print(found.count("changed"), (peak() - before) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_two_models_are_never_in_memory_together(folder):
    """Of 71 MB each: reading one takes 142 for a moment, and with the other held it would be 214."""
    for seed, name in enumerate(("a", "b")):
        save(f"{name}.onnx", *((f"w{n}", np.full((1024, 1024), n + 100 * seed, np.float32)) for n in range(17)))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MEASURE, "a.onnx", "b.onnx"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    count, megabytes = map(float, done.stdout.split())
    assert count == 17 and megabytes < 180
