"""`dcz inspect`: where the bytes are, why, and what fetching them takes."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

import dcz
from tests import models
from tests.networks import perceptron


@pytest.fixture(scope="module")
def layers(tmp_path_factory) -> Path:
    """A folder with net.onnx and net.dcz: 30 layers, of falling size, in two blocks."""
    folder = tmp_path_factory.mktemp("layers")
    random = np.random.default_rng(0)
    nodes, tensors, x = [], [], "x"
    for number in range(30):
        name = f"{'encoder' if number < 20 else 'head'}/layer.{number}/weight"
        tensors.append(models.tensor(name, random.normal(size=(16, 16 + 32 * (30 - number))).astype(np.float32)))
        nodes.append(onnx.helper.make_node("MatMul", ["x", name], [f"y{number}"]))
    outputs = {f"y{number}": ["n", 16 + 32 * (30 - number)] for number in range(30)}
    onnx.save(models.model(nodes, {x: ["n", 16]}, outputs, tensors), folder / "net.onnx")
    dcz.compress(folder / "net.onnx", folder / "net.dcz")
    return folder


@pytest.fixture
def deep(layers, tmp_path, monkeypatch) -> Path:
    """The same two files in the current folder."""
    shutil.copytree(layers, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names_of(out: str) -> list[str]:
    return re.findall(r"^ *((?:encoder|head)\S*|\d+ others|graph, directory|total)", out, flags=re.M)


@pytest.mark.parametrize("file", ["net.dcz", "net.onnx"])
def test_the_largest_tensors_come_first_and_the_others_in_one_line(run, deep, file):
    report = dcz.inspect(file)
    _, out, _ = run("inspect", file)
    largest = [row.name for row in sorted(report.rows, key=lambda row: -row.huffman)]
    rest = "graph, directory" if file == "net.dcz" else "graph"
    assert [name for name in names_of(out) if name != "graph, directory"] == [*largest[:20], "10 others", "total"]
    assert rest in out
    others = sum(sorted((row.huffman for row in report.rows), reverse=True)[20:])
    assert re.search(rf"10 others .* {others:,} ", out) and f"{report.file_bytes:,}  100.0 %" in out
    assert names_of(run("inspect", file, "--all")[1])[:30] == largest


def test_columns_have_plain_names_and_true_figures(run, deep):
    dcz.compress("net.onnx", "net.dcz", dcz.Settings(sparsity=0.75, bits=4), force=True)
    _, out, _ = run("inspect", "net.dcz")
    head = re.search(r"tensor .*", out)[0].split("  ")
    assert [name.strip() for name in head if name.strip()][-5:] == ["values", "kept", "bits a weight", "bytes", "share"]
    row = max(dcz.inspect("net.dcz").rows, key=lambda row: row.huffman)
    bits = f"{8 * row.huffman / row.elements:.2f}"
    assert re.search(rf"{row.elements:,} +25.0 % +{bits} +{row.huffman:,} ", out)


def test_a_tree_adds_up_by_prefix(run, deep):
    report = dcz.inspect("net.dcz")
    _, out, _ = run("inspect", "net.dcz", "--tree")
    for block in ("encoder/layer.", "head/layer."):
        nbytes = sum(row.huffman for row in report.rows if row.name.startswith(block))
        assert re.search(rf"^ *{re.escape(block)} .* {nbytes:,} ", out, flags=re.M), block
    assert out.index("encoder/") < out.index("head/") and "others" in out  # the small ones of the head
    _, out, _ = run("inspect", "net.dcz", "--tree", "--all")
    assert "others" not in out and len(re.findall(r"^ +\d+/weight ", out, flags=re.M)) == 30


def test_several_files_one_after_another(run, deep):
    _, out, _ = run("inspect", "net.dcz", "net.onnx")
    assert out.index("net.dcz: .dcz format") < out.index("net.onnx: ONNX")
    found = json.loads(run("inspect", "net.dcz", "net.onnx", "--json")[1])["files"]
    assert [each["kind"] for each in found] == ["dcz", "onnx"]
    assert found[0] == json.loads(run("inspect", "net.dcz", "--json")[1])


def test_quiet_is_a_line_a_file(run, deep):
    _, out, _ = run("inspect", "-q", "net.dcz", "net.onnx")
    assert out.count("\n") == 2 and "times smaller" in out


def test_energy_is_that_of_the_paper(run, deep):
    total = dcz.inspect("net.dcz").total
    found = json.loads(run("inspect", "net.dcz", "--energy", "--on-chip", "400kB", "--json")[1])["energy"]
    assert found["sram"] == {"before": total.original / 4 * 5, "after": total.huffman / 4 * 5}
    assert found["dram"] == {"before": total.original / 4 * 640, "after": total.huffman / 4 * 640}
    assert found["fits"] == {"before": False, "after": True}
    assert found["spent"] == {"before": found["dram"]["before"], "after": found["sram"]["after"]}
    _, out, _ = run("inspect", "net.dcz", "--energy", "--on-chip", "400kB")
    assert re.search(r"fits on a chip with 400.0 kB +no +yes", out) and "45 nm" in out


@pytest.mark.parametrize("arguments, words", [
    (["net.dcz", "--on-chip", "8MB"], "give --energy too"),
    (["net.dcz", "--energy", "--on-chip", "big"], "'big' is no size"),
    (["net.dcz", "--plan", "plan.toml"], "give --why too"),
    (["net.dcz", "net.dcz", "--histogram", "*"], "of one file"),
    ([], "missing argument 'FILE...'"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(refuses, deep, arguments, words):
    refuses(["inspect", *arguments], 2, words)


# -- why ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def mixed(tmp_path, monkeypatch) -> Path:
    """net.onnx in the current folder: a layer, a table for arithmetic, whole numbers, a small layer."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["h"]),
        onnx.helper.make_node("Mul", ["h", "scale"], ["s"]),
        onnx.helper.make_node("Gather", ["s", "ids"], ["g"]),
        onnx.helper.make_node("MatMul", ["g", "small"], ["y"]),
    ]
    tensors = [
        models.tensor("w", random.normal(size=(64, 64)).astype(np.float32)),
        models.tensor("scale", random.normal(size=(64, 64)).astype(np.float32)),
        models.tensor("ids", (np.arange(200) * 7 % 64).astype(np.int64)),
        models.tensor("small", random.normal(size=(64, 3)).astype(np.float32)),
    ]
    onnx.save(models.model(nodes, {"x": [64, 64]}, {"y": [200, 3]}, tensors), "net.onnx")
    return tmp_path


def why(run, *arguments: str) -> dict[str, dict]:
    code, out, err = run("inspect", "--why", "--json", *arguments)
    assert code == 0, err
    return {row["name"]: row for row in json.loads(out)["why"]}


def test_why_names_what_limits_each_tensor_and_the_option_that_would_shrink_it(run, mixed):
    run("compress", "net.onnx")
    found = why(run, "net.dcz")
    assert re.search(r"bits a weight, \d+ shared values", found["w"]["reason"])
    assert found["w"]["options"].startswith("--quality ")
    assert found["scale"]["reason"] == "exact, being no weight of a layer: read by Mul"
    assert found["scale"]["options"] == "--include scale"
    assert found["ids"] == {"name": "ids", "nbytes": found["ids"]["nbytes"], "options": "",
                            "reason": "int64 of Gather: whole numbers stay exact"}  # fmt: skip
    assert found["small"]["reason"] == "fewer than 256 weights stay exact"
    _, out, _ = run("inspect", "net.dcz", "--why")
    assert "read by Mul; smaller by:\n    dcz compress -f net.onnx -o net.dcz --include scale\n" in out


def test_why_tells_signal_processing_from_what_was_excluded(run, tmp_path, monkeypatch):
    """The file says neither: what a matrix is its numbers tell, how much of the model a tensor is its size."""
    monkeypatch.chdir(tmp_path)
    angles = 2 * np.pi * np.outer(np.arange(64), np.arange(64)) / 64
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "dft"], ["s"]),
        onnx.helper.make_node("Mul", ["s", "s"], ["p"]),
        onnx.helper.make_node("MatMul", ["p", "w"], ["h"]),
        onnx.helper.make_node("MatMul", ["h", "kept"], ["k"]),
        onnx.helper.make_node("MatMul", ["k", "tiny"], ["y"]),
    ]
    shapes = {"w": (64, 512), "kept": (512, 128), "tiny": (128, 2)}
    weights = {name: models.normal(*shape, seed=len(name)) for name, shape in shapes.items()}
    weights["dft"] = np.cos(angles).astype(np.float32)
    tensors = [models.tensor(name, weight) for name, weight in weights.items()]
    onnx.save(models.model(nodes, {"x": [1, 64]}, {"y": [1, 2]}, tensors), "net.onnx")
    run("compress", "net.onnx", "--exclude", "kept", "--exclude", "tiny")
    found = {name: row["reason"] for name, row in why(run, "net.dcz").items()}
    assert found["dft"].startswith("weights of MatMul, exact: a matrix of sinusoids, as of signal processing")
    assert found["kept"] == "weights of MatMul, exact: a plan or --exclude names it"
    named = "a plan or --exclude names it"
    assert found["tiny"] == f"weights of MatMul, exact: {named}, or it is next to nothing of the model"


@pytest.mark.parametrize("dtype, is_told", [(np.int8, True), (np.uint8, True), (np.int64, False)])
def test_why_of_a_quantized_model_tells_what_gets_smaller(run, tmp_path, monkeypatch, dtype, is_told):
    monkeypatch.chdir(tmp_path)
    codes = models.tensor("codes", np.random.default_rng(0).integers(0, 100, (300, 300)).astype(dtype))
    onnx.save(models.bag(codes, models.tensor("w", models.normal(90, 90))), "net.onnx")
    run("compress", "net.onnx", "--include", "w")
    for path in ("net.onnx", "net.dcz"):
        shown = " ".join(run("inspect", path, "--why")[1].split())
        assert "whole numbers stay exact" in shown
        assert (f"mostly {np.dtype(dtype)}: weights that are quantized already shrink little" in shown) == is_told


def test_the_same_is_the_command_that_was_shown_last(run, mixed):
    run("compress", "net.onnx")
    _, out, _ = run("inspect", "net.dcz", "--why")
    options = {name: row["options"] for name, row in why(run, "net.dcz").items()}
    last, names = "", [name for name in options if re.search(rf"^{name}  ", out, flags=re.M)]
    for name, following in zip(names, [*names[1:], None]):
        part = out.split(f"\n{name}  ")[-1] if name != names[0] else out
        part = part.split(f"\n{following}  ")[0] if following else part
        assert ("smaller by the same" in part) == (options[name] == last != ""), name
        last = options[name] or last


def test_the_options_that_it_names_make_the_tensor_smaller(run, mixed):
    run("compress", "net.onnx")
    before = why(run, "net.dcz")
    for name in ("w", "scale", "small"):
        assert run("compress", "net.onnx", "-f", *before[name]["options"].split())[0] == 0
        assert why(run, "net.dcz")[name]["nbytes"] < before[name]["nbytes"]


@pytest.mark.parametrize("options, reason, remedy", [
    (["--lossless"], "weights of MatMul, exact as everything is", "--preset safe"),
    (["--sparsity", "0.9", "--bits", "3"], r"10\.0% kept: \S+ bits a kept weight and \S+ for", "--sparsity 95%"),
    (["--sparsity", "0.9", "--no-share"], "kept, with all bits of their float32", "--bits 5"),
    (["--exclude", "w", "--quality", "20", "--include", "scale"], "weights of MatMul, exact: a plan", "--include w"),
    (["--bits", "6"], "bits a weight, 64 shared values", "--data samples.npz"),
])  # fmt: skip
def test_every_encoding_has_its_reason(run, mixed, options, reason, remedy):
    assert run("compress", "net.onnx", *options)[0] == 0
    found = why(run, "net.dcz")["w"]
    assert re.search(reason, found["reason"]) and found["options"].startswith(remedy)


def test_the_plans_rules_are_named(run, mixed):
    Path("plan.toml").write_text('exclude = ["scale"]\n[[rule]]\nmatch = "w"\nbits = 3\n')
    run("compress", "net.onnx", "--plan", "plan.toml")
    found = why(run, "net.dcz", "--plan", "plan.toml")
    assert found["w"]["reason"].startswith("the plan's rule for w (bits=3); ")
    assert found["scale"]["reason"].startswith("excluded by the plan; ")


def test_why_of_a_model_says_what_would_become_of_it(run, mixed):
    found = why(run, "net.onnx")
    assert found["w"]["reason"] == "float32 weights of MatMul, not compressed yet"
    assert found["scale"]["options"] == "--include scale" and "whole numbers" in found["ids"]["reason"]


def test_names_in_why_are_quoted_for_the_shell(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    proto = perceptron()
    for message in (proto.graph.initializer[0], proto.graph.node[0]):
        message.ParseFromString(message.SerializeToString().replace(b"fc1.weight", b"a b;$(ls)!"))
    onnx.save(proto, "net.onnx")
    run("compress", "net.onnx", "--exclude", "a b*", "--include", "fc2.weight")
    assert why(run, "net.dcz")["a b;$(ls)!"]["options"] == "--include 'a b;$(ls)!'"
