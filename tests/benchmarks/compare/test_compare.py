"""Ways and results of the comparison, on a small network."""

import json

import numpy as np
import onnx
import pytest

pytest.importorskip("PIL")
from tests import ROOT
from tests.benchmarks.compare import tables
from tests.benchmarks.compare.measuring import Judge, Result, measure
from tests.benchmarks.compare.networks import Network, stacked
from tests.benchmarks.compare.ways import WAYS, Way
from tests.benchmarks.corpus import measures
from tests.benchmarks.corpus.packages import Missing
from tests.benchmarks.corpus.subject import SCORING, Sample, Task
from tests.networks import perceptron

RESULTS = json.loads((ROOT / "tests/benchmarks/compare/results.json").read_text())


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Network:
    path = tmp_path_factory.mktemp("network") / "model.onnx"
    onnx.save(perceptron(), path)

    def samples(seed: int) -> list[Sample]:
        random = np.random.default_rng(seed)
        return [Sample({"x": random.normal(size=(1, 64)).astype(np.float32)}, truth=0) for _ in range(20)]

    task = Task(samples, lambda outputs, sample: int(outputs[0].argmax()), measures.CLASS)
    return Network("perceptron", "20 samples", lambda: path, lambda: task)


@pytest.mark.parametrize(
    "name", ["original", "original + xz -9e", "onnxruntime dynamic uint8", "dcz --lossless", "dcz"]
)
def test_a_way_gives_a_file_and_a_model_that_answers(network, name):
    result = measure(network, WAYS[name], Judge(network))
    size = network.model().stat().st_size
    assert not result.missing
    assert result.alike == 1 if name in ("original", "original + xz -9e", "dcz --lossless") else result.alike > 0.8
    assert result.bytes == size if name == "original" else result.bytes < size
    assert result.as_it_is == (name in ("original", "onnxruntime dynamic uint8"))
    assert 0 <= result.right <= 1 and result.load > 0 and result.run > 0


def test_other_answers_are_seen(network, tmp_path):
    """A network of other weights does not agree."""

    def other(model, folder, calibration):
        onnx.save(perceptron(seed=1), folder / "made.onnx")
        return folder / "made.onnx"

    assert measure(network, Way("other", other), Judge(network)).alike < 0.5


def test_what_fails_is_told(network):
    def missing(model, folder, calibration):
        raise Missing("this is not installed")

    def broken(model, folder, calibration):
        raise ValueError("of no use\nat all")

    judge = Judge(network)
    assert measure(network, Way("missing", missing), judge) == Result(missing="this is not installed")
    assert measure(network, Way("broken", broken), judge) == Result(missing="ValueError: of no use")


def test_shorter_samples_are_padded():
    feeds = [{"ids": np.array([[1, 2]])}, {"ids": np.array([[3]])}]
    assert stacked(feeds)["ids"].tolist() == [[1, 2], [3, 0]]


def test_calibration_has_no_scored_sample(network):
    scored = {sample.feeds["x"].tobytes() for sample in network.task().samples(SCORING)}
    assert not scored & {feeds["x"].tobytes() for feeds in network.calibration()}


def test_the_page_is_made_of_the_results():
    assert (ROOT / "tests/benchmarks/compare/RESULTS.md").read_text() == tables.page(RESULTS)
