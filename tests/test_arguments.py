"""arguments: what callers give is taken, or refused as a DczError that says why."""

import numpy as np
import onnx
import pytest
from onnx import helper

import dcz
from dcz import arguments
from dcz.arguments import is_number, is_whole, parse_limit, parse_size, size_at_ratio
from dcz.compression.size_search import SizeTrial, seek
from dcz.errors import InvalidArgument
from tests import models
from tests.networks import perceptron


def weightless() -> onnx.ModelProto:
    """A model without tensors."""
    return models.model([helper.make_node("Relu", ["x"], ["y"])], {"x": ["n", 4]}, {"y": ["n", 4]}, [])


def test_bad_plan_and_invalid_argument_catch_the_same():
    with pytest.raises(dcz.BadPlan):
        raise dcz.InvalidArgument("threads")
    with pytest.raises(dcz.InvalidArgument) as refusal:
        dcz.Settings(bits=9)
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize("size, nbytes", [
    ("7MB", 7_000_000), (" 1.5 kib ", 1536), ("0", 0), (12, 12), (12.9, 12), (np.int64(3), 3), ("1" + "0" * 18, 10**18),
    (2**70, arguments.MAX_SIZE), (float("inf"), arguments.MAX_SIZE), (10**400, arguments.MAX_SIZE),
])  # fmt: skip
def test_sizes(size, nbytes):
    assert parse_size(size) == nbytes


@pytest.mark.parametrize("size", ["", "MB", "7 tons", "-1 tons", True, None, b"7", "9" * 400, "0 tons"])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(InvalidArgument, match="is no size"):
        parse_size(size)


@pytest.mark.parametrize("size", [-1, -0.5, float("nan"), float("-inf"), "-1", "-1.5 MB"])
def test_a_size_below_zero_is_refused(size):
    with pytest.raises(InvalidArgument, match="a size is 0 or more bytes"):
        parse_size(size)


def test_a_limit_keeps_its_fraction_and_none_is_none():
    assert [parse_limit(limit) for limit in (None, 9000.7, "9kB", 2**70)] == [None, 9000.7, 9000, arguments.MAX_SIZE]
    sizes = []

    def measure(quality: float) -> SizeTrial:
        sizes.append(SizeTrial(quality, round(1000 * quality)))
        return sizes[-1]

    assert seek(measure, 9000.7, first=9.0).nbytes == 9000


def test_a_ratio_asks_for_one_byte_at_least():
    assert size_at_ratio(1000, 3) == 333
    assert size_at_ratio(1000, 1e300) == 1
    assert size_at_ratio(1000, 5e-324) == arguments.MAX_SIZE


def test_numbers_are_told_from_what_only_looks_like_them():
    assert is_number(0.5, 0, 1) and is_number(np.float32(1), 0, 1) and is_number(1, 0, 1)
    assert not any(is_number(value, 0, 1) for value in (True, "0.5", None, float("nan"), 2, np.array([0.5])))
    assert is_whole(1, 1, 1) and is_whole(np.int8(1), 1) and not is_number(10**400, 0, 1)
    assert not any(is_whole(value, 0, 1) for value in (1.0, True, "1", None, 2))


@pytest.mark.parametrize("make", [weightless, perceptron])
@pytest.mark.parametrize("goal", [{"max_bytes": 0}, {"max_bytes": 1}, {"ratio": 1e6}, {"ratio": 1e300}], ids=str)
def test_a_budget_that_no_file_meets_is_refused_with_the_smallest(tmp_path, make, goal):
    with pytest.raises(InvalidArgument, match=r"as small as [01] bytes: .*(at 1 dB it has|exactly it takes) [\d,]+;"):
        dcz.compress_to_size(make(), tmp_path / "net.dcz", **goal)
    assert not (tmp_path / "net.dcz").exists()


def test_calibration_refuses_a_size_that_no_file_meets_with_the_smallest(tmp_path):
    x = np.random.default_rng(0).normal(size=(8, 64)).astype(np.float32)
    with pytest.raises(InvalidArgument, match=r"the file still takes [\d,]+ bytes, more than 0: allow"):
        dcz.tune(perceptron(), tmp_path / "net.dcz", {"x": x}, max_bytes="0.5B", threads=1)
    with pytest.raises(dcz.UnsuitableModel, match="no weights that could be calibrated"):
        dcz.tune(weightless(), tmp_path / "net.dcz", {"x": x[:, :4]}, max_bytes=0, threads=1)


def test_a_large_limit_is_none_and_flags_may_be_numbers(tmp_path):
    path = dcz.compress(perceptron(), tmp_path / "net.dcz", resume=0, force=True)
    assert dcz.load(path, max_bytes=2**70) == dcz.load(path, max_bytes=float("inf")) == dcz.load(path)
    dcz.compress(perceptron(), path, resume=1, force=True)
    dcz.compress_to_size(perceptron(), path, 2**70, threads=1, force=True)


def test_sizes_may_be_text(tmp_path):
    output, back = tmp_path / "net.dcz", tmp_path / "net.onnx"
    assert dcz.compress_to_size(perceptron(), output, "9kB", threads=1).nbytes == output.stat().st_size <= 9000
    x = np.random.default_rng(0).normal(size=(48, 64)).astype(np.float32)
    assert dcz.tune(perceptron(), output, {"x": x}, max_bytes="9kB", threads=1, force=True).kept.nbytes <= 9000
    assert dcz.decompress(output, back, max_bytes="1MB", force=True) == back
    dcz.load(output, max_bytes="1MB")
    for decode in (dcz.load, lambda path, **limit: dcz.decompress(path, back, **limit, force=True)):
        with pytest.raises(dcz.UnsuitableModel, match="limit of 10000"):
            decode(output, max_bytes="10kB")


@pytest.mark.parametrize(("call", "words"), [
    (lambda path: dcz.compress_to_size(perceptron(), path, "seven"), "'seven' is no size"),
    (lambda path: dcz.compress_to_size(perceptron(), path, -1), "0 or more bytes"),
    (lambda path: dcz.compress_to_size(perceptron(), path, ratio="5"), "how many times smaller"),
    (lambda path: dcz.compress_to_size(perceptron(), path, 9000, resume="x"), "resume is true, false or None"),
    (lambda path: dcz.tune(perceptron(), path, {}, max_bytes="seven"), "'seven' is no size"),
    (lambda path: dcz.tune(perceptron(), path, {}, max_bytes=-1), "0 or more bytes"),
    (lambda path: dcz.tune(perceptron(), path, {}, ratio="5"), "how many times smaller"),
    (lambda path: dcz.tune(perceptron(), path, {}, max_drop="150%"), "a drop is a share"),
    (lambda path: dcz.tune(perceptron(), path, {}, resume="x"), "resume is true, false or None"),
    (lambda path: dcz.compress(perceptron(), path, metadata={"a": 1}), "metadata maps names to texts, not 'a' to 1"),
    (lambda path: dcz.compress(perceptron(), path, metadata=["a"]), "it is no list"),
    (lambda path: dcz.compress(perceptron(), path, metadata={"a": "\ud800"}), "what UTF-8 cannot"),
    (lambda path: dcz.compress(perceptron(), path, resume="x"), "resume is true, false or None"),
    (lambda path: dcz.compress(perceptron(), path, threads=True), "threads is a whole number"),
    (lambda path: dcz.compress(perceptron(), path, threads="4"), "threads is a whole number"),
    (lambda path: dcz.load(path, max_bytes="much"), "'much' is no size"),
    (lambda path: dcz.decompress(path, path, max_bytes=-1), "0 or more bytes, not -1"),
])  # fmt: skip
def test_what_no_argument_can_be_is_refused_before_any_work(tmp_path, call, words):
    with pytest.raises(InvalidArgument, match=words):
        call(tmp_path / "net.dcz")
    assert not list(tmp_path.iterdir())


def test_a_ratio_to_check_is_a_number(tmp_path):
    dcz.compress(perceptron(), tmp_path / "net.dcz")
    with pytest.raises(InvalidArgument, match="min-ratio is a number"):
        dcz.check(tmp_path / "net.dcz", min_ratio="3")


@pytest.mark.parametrize("share, text", [(0.985, "98.5%"), (0.0, "0%"), (-0.0, "0%"), (-0.02, "-2%")])
def test_shares_for_people(share, text):
    from dcz.arguments import as_percent

    assert as_percent(share) == text
