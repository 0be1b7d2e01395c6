"""Names and parts of the files beside a decoded model, and what becomes of those of an older one."""

import os

import numpy as np
import onnx
import pytest

import dcz
from dcz.errors import InvalidArgument
from dcz.plan import LOSSLESS
from tests import models
from tests.networks import perceptron


@pytest.fixture
def packed(tmp_path):
    return dcz.compress(perceptron(), tmp_path / "packed" / "net.dcz", LOSSLESS, force=True)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "packed").mkdir()
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")


def answers(path):
    return models.run(str(path), x=models.normal(3, 64))[0]


def locations(path) -> dict[str, str]:
    proto = onnx.load(path, load_external_data=False)
    found = {each.name: {pair.key: pair.value for pair in each.external_data} for each in proto.graph.initializer}
    return {name: entries["location"] for name, entries in found.items() if entries}


def test_the_file_beside_may_have_another_name(packed):
    path = dcz.decompress(packed, "model.onnx", data_name="model.onnx_data", force=True)
    assert sorted(os.listdir()) == ["model.onnx", "model.onnx_data"]
    assert set(locations(path).values()) == {"model.onnx_data"}
    np.testing.assert_array_equal(answers(path), answers(dcz.decompress(packed, "whole.onnx", force=True)))


def test_parts_are_no_larger_than_asked_for_and_run(packed):
    sizes = sorted((entry.nbytes for entry in models.entries(packed)), reverse=True)
    limit = sizes[0] + 100  # the others do not fit beside the largest
    path = dcz.decompress(packed, "net.onnx", data_name="net.onnx_data", part_size=limit, force=True)
    parts = sorted(set(os.listdir()) - {"net.onnx"})
    assert parts == ["net.onnx_data", "net.onnx_data_1"] and set(locations(path).values()) == set(parts)
    assert all(os.path.getsize(part) <= limit for part in parts)
    np.testing.assert_array_equal(answers(path), answers(dcz.decompress(packed, "whole.onnx", force=True)))
    onnx.checker.check_model(str(path))
    assert dcz.verify(packed, against=path).worst_first == []  # and it is a model that dcz reads


def test_one_part_is_enough_where_all_fits(packed):
    dcz.decompress(packed, "net.onnx", part_size="1MB", force=True)
    assert sorted(os.listdir()) == ["net.onnx", "net.onnx.data"]


def test_a_tensor_that_no_part_holds_is_named(packed):
    with pytest.raises(InvalidArgument, match="net.onnx: tensor 'fc1.weight' alone takes 32,768 bytes"):
        dcz.decompress(packed, "net.onnx", part_size="1kB", force=True)
    assert os.listdir() == []


@pytest.mark.parametrize(
    "options, words",
    [
        ({"data_name": "sub/net.data"}, "without folders, not 'sub/net.data'"),
        ({"data_name": ".."}, "without folders"),
        ({"data_name": ""}, "without folders"),
        ({"data_name": "net.onnx"}, "is the model itself"),
        ({"part_size": 0}, "1 byte or more"),
        ({"part_size": "much"}, "'much' is no size"),
        ({"part_size": 10**9, "external_data": "never"}, "there is to be none"),
    ],
)
def test_names_and_sizes_that_cannot_be_are_refused(packed, options, words):
    with pytest.raises(InvalidArgument, match=words):
        dcz.decompress(packed, "net.onnx", **options, force=True)
    assert os.listdir() == []


def test_the_data_of_an_older_model_does_not_stay_lying(packed):
    dcz.decompress(packed, "net.onnx", part_size=33000, force=True)
    assert len(os.listdir()) > 2
    dcz.decompress(packed, "net.onnx", external_data="never", force=True)
    assert os.listdir() == ["net.onnx"]
    dcz.decompress(packed, "net.onnx", data_name="net.onnx_data", force=True)
    dcz.decompress(packed, "net.onnx", external_data="always", force=True)
    assert sorted(os.listdir()) == ["net.onnx", "net.onnx.data"]


def test_files_that_the_older_model_did_not_use_stay(packed):
    for name in ("net.onnx.data", "other.data"):
        with open(name, "wb") as file:
            file.write(b"mine")
    dcz.decompress(packed, "net.onnx", external_data="never", force=True)
    models.save(perceptron(), onnx_path := packed.parent.parent / "out" / "net.onnx", location="weights.bin")
    dcz.decompress(packed, onnx_path, external_data="never", force=True)
    assert sorted(os.listdir()) == ["net.onnx", "net.onnx.data", "other.data", "weights.bin"]


def test_the_data_of_an_older_model_stays_where_decoding_fails(packed):
    dcz.decompress(packed, "net.onnx", external_data="always", force=True)
    data = bytearray(packed.read_bytes())
    data[-20] ^= 1
    packed.write_bytes(data)
    with pytest.raises(dcz.CorruptFile):
        dcz.decompress(packed, "net.onnx", external_data="never", force=True)
    assert sorted(os.listdir()) == ["net.onnx", "net.onnx.data"]
    answers("net.onnx")
