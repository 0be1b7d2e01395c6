"""The conformance corpus: dcz and spec/decoder.py decode and refuse alike what spec/make_vectors.py wrote down."""

import ast
import hashlib
import json
import re
import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import dcz
from dcz.errors import CorruptFile, UnsupportedFile
from tests import conformance
from tests.conformance import INVALID, VALID, VECTORS, by_dcz, by_dcz_slowly, by_dcz_with_zlib, by_decoder

DCZ = Path(dcz.__file__).parent


def reason_of(path: Path) -> str:
    return re.sub(r"-\d+$", "", path.stem)


def name_of(path: Path) -> str:
    return path.stem


def expected() -> dict:
    return json.loads((VECTORS / "valid" / "expected.json").read_text(encoding="utf-8"))


def test_the_corpus_is_there():
    assert len(VALID) > 25 and len(INVALID) > 150


def test_expected_json_names_the_valid_files_and_no_others():
    assert sorted(expected()) == sorted(path.stem for path in VALID)


@pytest.mark.parametrize("decode", [by_dcz, by_dcz_with_zlib, by_dcz_slowly, by_decoder])
@pytest.mark.parametrize("path", VALID, ids=name_of)
def test_a_valid_file_decodes_to_the_tensors_that_its_maker_meant(path, decode):
    answers = {
        name: {
            "dtype": dtype,
            "dims": list(dims),
            "crc32": f"{zlib.crc32(data):08x}",
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        for name, (dtype, dims, data) in decode(path).items()
    }
    wanted = expected()[path.stem]
    assert answers == wanted
    assert list(answers) == list(wanted)


@pytest.mark.parametrize("path", [path for path in VALID if path.stem in ("model", "deflated-graph")], ids=name_of)
def test_every_kind_of_reference_is_put_back_where_it_was(path):
    from corpus.valid import model

    original, _ = model(lifted=False)
    loaded = dcz.load(path)
    loaded.ClearField("doc_string")
    assert loaded == original


def test_transposed_references_are_put_back_where_they_were(tmp_path):
    from corpus.valid import transposed

    path = VECTORS / "valid" / "transposed.dcz"
    original, _ = transposed(lifted=False)
    assert dcz.load(path) == original
    outside = dcz.decompress(path, tmp_path / "net.onnx", external_data="always")
    for restored, meant in zip(onnx.load(outside).graph.initializer, original.graph.initializer, strict=True):
        assert np.array_equal(numpy_helper.to_array(restored), numpy_helper.to_array(meant))
    with dcz.open(path) as tensors:
        assert tensors["tall"].tolist() == [[1, 4], [2, 5], [3, 6]] and tensors["turned"].tolist() == [[1, 3], [2, 4]]


@pytest.mark.parametrize("path", INVALID, ids=name_of)
def test_dcz_refuses_an_invalid_file_by_its_name(path):
    with pytest.raises(CorruptFile) as refusal:
        dcz.load(path)
    assert refusal.value.reason == reason_of(path)
    assert str(path) in str(refusal.value)
    assert isinstance(refusal.value, UnsupportedFile) == (reason_of(path) == "version")


NEEDS_NO_ONNX = [path for path in INVALID if reason_of(path) != "graph-reference"]


@pytest.mark.parametrize("decode", [by_dcz_with_zlib, by_dcz_slowly, by_decoder])
@pytest.mark.parametrize("path", NEEDS_NO_ONNX, ids=name_of)
def test_the_other_decoders_refuse_an_invalid_file_by_its_name(path, decode):
    with pytest.raises((CorruptFile, conformance.decoder.Refused)) as refusal:
        decode(path)
    assert refusal.value.reason == reason_of(path)


def test_every_refusal_of_the_page_has_a_vector_and_every_vector_is_of_the_page():
    assert {reason_of(path) for path in INVALID} == set(conformance.reasons_of_page())


def test_dcz_refuses_for_the_reasons_of_the_page_and_no_others():
    raised = set()
    for path in DCZ.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if function in ("CorruptFile", "UnsupportedFile", "end") and node.args:
                    raised |= strings(node.args[0])
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "reason":
                raised |= strings(node.value)
    assert raised == set(conformance.reasons_of_page())


def strings(node: ast.AST) -> set[str]:
    found = (part.value for part in ast.walk(node) if isinstance(part, ast.Constant))
    return {value for value in found if isinstance(value, str)}


def test_make_vectors_writes_the_bytes_that_are_committed(tmp_path):
    import make_vectors

    make_vectors.main(tmp_path)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.*")}
    kept = {path.relative_to(VECTORS): path.read_bytes() for path in VECTORS.rglob("*.*")}
    assert made.keys() == kept.keys()
    assert [name for name in made if made[name] != kept[name]] == []


def test_make_vectors_leaves_no_old_vector_behind(tmp_path):
    import make_vectors

    old = tmp_path / "invalid" / "old-reason.dcz"
    old.parent.mkdir()
    old.write_bytes(b"")
    make_vectors.main(tmp_path)
    assert not old.exists()


def test_every_vector_is_small():
    sizes = {path.name: path.stat().st_size for path in VALID + INVALID}
    large = {name for name, size in sizes.items() if size > 2048}
    assert len(large) == 5  # two segments, of 2^18 symbols and some; megabytes of directory, fields and integers
    assert max(sizes.values()) < 40_000
