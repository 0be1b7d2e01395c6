"""Lines of text as samples, by a tokenizer."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from dcz.errors import FileAccess, InvalidArgument, MissingBackend
from dcz.evaluation.text_samples import text_samples
from tests import models

WORDS = ["[PAD]", "[UNK]", "the", "cat", "sat", "on", "a", "mat"]


def tokenizer(path: Path) -> Path:
    """One that knows a few words."""
    model = {"type": "WordLevel", "vocab": {word: number for number, word in enumerate(WORDS)}, "unk_token": "[UNK]"}
    path.write_text(
        json.dumps({"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}, "model": model})
    )
    return path


def network(path: Path, names=("input_ids", "attention_mask"), places="t", rows=len(WORDS)) -> Path:
    """Embeddings of tokens, their mean; of other inputs nothing but that they are there."""
    kinds = {name: TensorProto.FLOAT if "mask" in name else TensorProto.INT64 for name in names}
    inputs = [helper.make_tensor_value_info(name, kind, ["n", places]) for name, kind in kinds.items()]
    nodes = [
        helper.make_node("Gather", ["table", names[0]], ["e"]),
        helper.make_node("ReduceMean", ["e"], ["y"], axes=[1], keepdims=0),
    ]
    nodes += [helper.make_node("Identity", [name], [f"{name}_out"]) for name in names[1:]]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 8])]
    outputs += [helper.make_tensor_value_info(f"{name}_out", kinds[name], ["n", places]) for name in names[1:]]
    graph = helper.make_graph(nodes, "net", inputs, outputs, [models.tensor("table", models.normal(rows, 8))])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


@pytest.fixture
def text(tmp_path) -> Path:
    (tmp_path / "lines.txt").write_text("the cat sat\n\n  on a mat  \nthe cat sat on the mat\n", encoding="utf-8-sig")
    return tmp_path / "lines.txt"


def test_lines_become_arrays_for_each_input(text, tmp_path):
    pytest.importorskip("tokenizers")
    names = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
    made = text_samples(text, network(tmp_path / "net.onnx", names), tokenizer(tmp_path / "t.json"))
    arrays = made.samples.arrays
    assert arrays["input_ids"].tolist() == [[2, 3, 4, 0, 0, 0], [5, 6, 7, 0, 0, 0], [2, 3, 4, 5, 2, 7]]
    assert arrays["attention_mask"].sum(1).tolist() == [3, 3, 6] and arrays["attention_mask"].dtype == np.float32
    assert not arrays["token_type_ids"].any() and arrays["position_ids"][1].tolist() == list(range(6))
    assert (made.length, made.tokens, made.cut, made.unknown, made.doubts) == (6, 4.0, 0, 0, ())


def test_lengths_are_those_of_the_model_or_as_asked_for(text, tmp_path):
    pytest.importorskip("tokenizers")
    path = tokenizer(tmp_path / "t.json")
    fixed = text_samples(text, network(tmp_path / "net.onnx", places=4), path)
    assert fixed.samples.arrays["input_ids"].shape == (3, 4) and fixed.cut == pytest.approx(1 / 3)
    asked = text_samples(text, network(tmp_path / "net.onnx"), path, length=5, limit=2)
    assert asked.samples.arrays["input_ids"].tolist() == [[2, 3, 4, 0, 0], [2, 3, 4, 5, 2]]


def test_a_tokenizer_of_another_model_is_doubted_or_refused(text, tmp_path):
    pytest.importorskip("tokenizers")
    path = tokenizer(tmp_path / "t.json")
    text.write_text("der Hund lief\nthe cat sat on\n")
    (doubt,) = text_samples(text, network(tmp_path / "net.onnx"), path).doubts
    assert "does not know 43% of the tokens" in doubt
    with pytest.raises(InvalidArgument, match="gives the token 5, and .*net.onnx has 5: give the model's own"):
        text_samples(text, network(tmp_path / "net.onnx", rows=5), path)


def test_what_cannot_be_read_or_known_is_refused(text, tmp_path):
    pytest.importorskip("tokenizers")
    path, net = tokenizer(tmp_path / "t.json"), network(tmp_path / "net.onnx")
    with pytest.raises(InvalidArgument, match="the name of its input 'x' does not say"):
        text_samples(text, network(tmp_path / "x.onnx", ("input_ids", "x")), path)
    with pytest.raises(FileAccess, match="missing.txt"):
        text_samples(tmp_path / "missing.txt", net, path)
    with pytest.raises(FileAccess, match="missing.json"):
        text_samples(text, net, tmp_path / "missing.json")
    path.write_text("{}")
    with pytest.raises(InvalidArgument, match="t.json: no tokenizer.json"):
        text_samples(text, net, path)
    for data, words in ((b"\xff\xfe\x00", "no text in UTF-8"), (b"\n \n", "holds no lines")):
        text.write_bytes(data)
        with pytest.raises(InvalidArgument, match=words):
            text_samples(text, net, tokenizer(path))


def test_the_library_is_named_where_it_is_missing(text, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingBackend, match=r"pip install 'dcz\[text\]'"):
        text_samples(text, network(tmp_path / "net.onnx"), tokenizer(tmp_path / "t.json"))
