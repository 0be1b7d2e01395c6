"""Baselines are read as they were written, differ in the lines that changed, and are refused where they are none."""

import difflib
import json
import os
from pathlib import Path

import pytest

import dcz
from dcz.budget import baseline
from dcz.budget.baseline import Baseline, TensorWeight, Weight
from dcz.errors import DczError, FileAccess, InvalidArgument


def weight(nbytes: int = 100, **tensors) -> Weight:
    return Weight(nbytes, 4 * nbytes, {name: TensorWeight(size, 4 * size, "shared") for name, size in tensors.items()})


def test_what_was_written_is_read(tmp_path):
    odd = {'quo"te \\ \n \u2028 \ud800': TensorWeight(1, 2, "stored")}
    old = Baseline(str(tmp_path / "b.json"), {"net.dcz": weight(b=3, a=2), "empty.dcz": Weight(5, 6, odd)})
    baseline.write(old)
    assert baseline.read(old.path) == old
    assert json.loads(Path(old.path).read_text())["files"]["net.dcz"]["tensors"]["a"]["bytes"] == 2


def test_the_same_weights_are_the_same_bytes_in_any_order():
    files = {"b.dcz": weight(y=1, x=2), "a.dcz": weight()}
    one, other = Baseline("b.json", files), Baseline("b.json", dict(reversed(files.items())))
    assert baseline.dump(one) == baseline.dump(other)
    assert baseline.dump(Baseline("b.json", {})).endswith("}\n")


def test_a_tensor_that_changes_is_one_line_of_the_difference():
    names = [f"layer{n}.weight" for n in range(30)]
    old = weight(**dict.fromkeys(names, 7))
    new = Weight(old.bytes, old.memory, {**old.tensors, names[4]: TensorWeight(9, 36, "shared")})
    texts = [baseline.dump(Baseline("b.json", {"net.dcz": each})).splitlines() for each in (old, new)]
    changed = [
        line for line in difflib.unified_diff(*texts, lineterm="", n=0) if line[0] in "+-" and line[1] != line[0]
    ]
    assert len(changed) == 2 and all(names[4] in line for line in changed)


def test_files_are_named_from_the_baselines_folder_on(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    place = str(tmp_path / "b.json")
    old = Baseline(place).with_files({str(tmp_path / "models" / "net.dcz"): weight()})
    assert list(old.files) == ["models/net.dcz"]
    for folder, name in ((tmp_path, os.path.join("models", "net.dcz")), (tmp_path / "models", "net.dcz")):
        monkeypatch.chdir(folder)
        assert Baseline(os.path.relpath(place), old.files).of(name) == weight()
    assert old.of("other.dcz") is None


def test_other_files_stay_unless_these_are_all():
    old = Baseline("b.json", {"a.dcz": weight(1), "b.dcz": weight(2)})
    assert old.with_files({"b.dcz": weight(3)}).files == {"a.dcz": weight(1), "b.dcz": weight(3)}
    assert old.with_files({"b.dcz": weight(3)}, only_these=True).files == {"b.dcz": weight(3)}


def test_a_model_is_a_baseline_of_any_file(folder):
    for path in ("net.dcz", "net.onnx"):
        old = baseline.read(path)
        assert old.model and old.of("other.dcz").bytes == Path(path).stat().st_size
        rows = dcz.inspect(path).rows
        assert {name: each.bytes for name, each in old.of("x").tensors.items()} == {r.name: r.huffman for r in rows}


def test_there_may_be_none(tmp_path):
    assert baseline.read(tmp_path / "none.json") is None


@pytest.mark.parametrize("text, words", [
    ("{", "is no baseline"), ("[]", "has no files"), ("{}", "has no files"), ('{"files": {}}', "version is None"),
    ('{"version": 2, "files": {}}', "update dcz"),
    ('{"version": 1, "files": {"a": 3}}', "'a' is no table"),
    ('{"version": 1, "files": {"a": {"bytes": -1, "memory": 1}}}', "bytes is -1"),
    ('{"version": 1, "files": {"a": {"bytes": 1, "memory": true}}}', "memory is True"),
    ('{"version": 1, "files": {"a": {"bytes": 1, "memory": 1, "tensors": {"t": 3}}}}', "'t' of 'a'"),
    ('{"version": 1, "files": {"a": {"bytes": 1e999, "memory": 1}}}', "bytes is inf"),
    ("[" * 100_000, "is no baseline"), ("\xff", "is no baseline"),
])  # fmt: skip
def test_what_is_no_baseline_is_refused(tmp_path, text, words):
    path = tmp_path / "b.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InvalidArgument, match=words) as caught:
        baseline.read(path)
    assert str(path) in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(FileAccess):
        baseline.read(tmp_path)
    with pytest.raises(FileAccess):
        baseline.read("a\0b.json")
    (tmp_path / "net.dcz").write_bytes(b"x")
    with pytest.raises(DczError):
        baseline.read(tmp_path / "net.dcz")


def test_a_byte_order_mark_is_no_fault(tmp_path):
    path = tmp_path / "b.json"
    path.write_bytes(b"\xef\xbb\xbf" + baseline.dump(Baseline("b.json", {"a": weight()})).encode())
    assert baseline.read(path).files == {"a": weight()}
