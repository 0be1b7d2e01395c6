"""Which samples tell something of a network: those that it answers with numbers."""

import numpy as np
import pytest
from onnx import helper

from dcz.evaluation.batches import SampleBatches
from dcz.evaluation.given import as_samples
from dcz.evaluation.predictor import Predictor
from dcz.evaluation.runtime import session
from dcz.tuning.usable import find_unusable
from tests import models

X = np.ones((20, 4), np.float32)


def unusable(nodes, x, outputs=None, inputs=None):
    proto = models.model(nodes, inputs or {"x": ["n", 4]}, outputs or {"y": ["n", 4]})
    predictor = Predictor("net.onnx", session(proto.SerializeToString()), as_samples({"x": x}, None), None)
    return find_unusable(predictor, SampleBatches(predictor, np.arange(predictor.count), 8)).tolist()


def with_rows(numbers, value):
    x = X.copy()
    x[numbers] = value
    return x


LOG = [helper.make_node("Log", ["x"], ["y"])]


@pytest.mark.parametrize("value, found", [(-1.0, [3, 12]), (np.inf, [3, 12]), (0.0, []), (2.0, [])])
def test_nan_and_infinity_are_no_answers_and_the_logarithm_of_zero_is_one(value, found):
    assert unusable(LOG, with_rows([3, 12], value)) == found


def test_an_infinite_input_tells_nothing_though_its_answer_is_a_number():
    assert unusable([helper.make_node("Sigmoid", ["x"], ["y"])], with_rows([7], np.inf)) == [7]


def test_an_input_may_be_a_mask_of_minus_infinity():
    assert unusable([helper.make_node("Softmax", ["x"], ["y"])], np.where(np.eye(20, 4) > 0, -np.inf, X)) == []


def test_where_most_answers_are_infinite_that_is_how_the_network_answers():
    assert unusable(LOG, with_rows(slice(0, 10), -1.0)) == list(range(10))
    assert unusable(LOG, with_rows(slice(0, 11), -1.0)) == []


def test_outputs_without_an_axis_of_samples_are_looked_at_sample_by_sample():
    nodes = [helper.make_node("Log", ["x"], ["l"]), helper.make_node("ReduceSum", ["l"], ["y"], keepdims=0)]
    assert unusable(nodes, with_rows([9], -1.0), {"y": []}) == [9]


def test_samples_along_another_axis():
    nodes = [helper.make_node("Log", ["x"], ["y"])]
    proto = models.model(nodes, {"x": [4, "n"]}, {"y": [4, "n"]})
    samples = as_samples({"x": with_rows([2], -1.0).T.copy()}, {"x": 1})
    predictor = Predictor("net.onnx", session(proto.SerializeToString()), samples, None)
    assert find_unusable(predictor, SampleBatches(predictor, np.arange(20), 8)).tolist() == [2]
