"""Padding that a mask leaves out does not count in what layers see."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from dcz import calibrate
from dcz.calibrate import padding
from dcz.calibrate.gathering import gather_statistics
from dcz.calibrate.layers import find_layers
from dcz.calibrate.padding import Layout
from dcz.calibrate.rate_distortion import Comparison
from dcz.calibrate.schedule import ActivationCache
from dcz.model import WorkingCopy, from_proto, read_program, with_values
from tests import models
from tests.models import constant, normal, tensor

INT64 = TensorProto.INT64
LENGTHS = (9, 4, 6, 12)
PLACES = [("x", -1), ("h", -1), ("z", -1)]  # what has a place for each token: two inputs of layers, and an output


def attention(flat=False, time_first=False, heeds=True, shape=("n", "t")):
    """One head of attention, a dense layer on each place, and a classifier of the first one.

    `flat`: the dense layer's input is [n * t, k]. `time_first`: it is [t, n, k]. `heeds`: whether the mask is used.
    """
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["x"]),
        helper.make_node("MatMul", ["x", "wq"], ["q"]),
        helper.make_node("MatMul", ["x", "wk"], ["k"]),
        helper.make_node("MatMul", ["x", "wv"], ["v"]),
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["scores"]),
        helper.make_node("Cast", ["attention_mask"], ["m"], to=1),
        helper.make_node("Sub", ["one", "m"], ["hidden"]),
        helper.make_node("Mul", ["hidden", "low"], ["lowered"]),
        helper.make_node("Unsqueeze", ["lowered", "axis"], ["bias"]),
        helper.make_node("Add", ["scores", "bias"] if heeds else ["scores", "zero"], ["masked"]),
        helper.make_node("Softmax", ["masked"], ["a"], axis=-1),
        helper.make_node("MatMul", ["a", "v"], ["h0"]),
        helper.make_node("Add", ["h0", "x"], ["h1"]),
    ]
    shapes = {"flat": [constant("s", np.array([-1, 24])), helper.make_node("Reshape", ["h1", "s"], ["h"])],
              "time": [helper.make_node("Transpose", ["h1"], ["h"], perm=[1, 0, 2])],
              "": [helper.make_node("Identity", ["h1"], ["h"])]}  # fmt: skip
    nodes += shapes["flat" if flat else "time" if time_first else ""]
    nodes += [
        helper.make_node("MatMul", ["h", "wo"], ["z"]),
        helper.make_node("Gather", ["h1", "first"], ["c"], axis=1),
        helper.make_node("MatMul", ["c", "wc"], ["y"]),
    ]
    matrices = {"wq": (24, 24), "wk": (24, 24), "wv": (24, 24), "wo": (24, 8), "wc": (24, 5)}
    initializers = [tensor(name, 20 * normal(*shape, seed=i)) for i, (name, shape) in enumerate(matrices.items())]
    initializers += [tensor("table", 20 * normal(50, 24, seed=9)), tensor("one", np.float32(1)),
                     tensor("zero", np.float32(0)), tensor("low", np.float32(-10000)), tensor("axis", np.array([1])),
                     tensor("first", np.array(0))]  # fmt: skip
    proto = models.model(nodes, {"ids": list(shape), "attention_mask": list(shape)}, {"z": None, "y": None},
                         initializers)  # fmt: skip
    for info in proto.graph.input:
        info.type.tensor_type.elem_type = INT64
    return from_proto(proto)


def batch_of(lengths=LENGTHS, width=12, left=False, seed=0):
    random = np.random.default_rng(seed)
    mask = np.array([[1] * n + [0] * (width - n) for n in lengths])
    mask = mask[:, ::-1].copy() if left else mask
    return {"ids": np.where(mask == 1, random.integers(1, 50, mask.shape), 0), "attention_mask": mask}


def found_in(model, batch=None):
    found = padding.find_padding(model, batch or batch_of())
    return {} if found is None else dict(found.layouts)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("options, expected", [
    ({}, dict.fromkeys(PLACES, Layout((0, 1)))),
    ({"flat": True}, dict.fromkeys(PLACES, Layout((0,))) | {("x", -1): Layout((0, 1))}),
    ({"time_first": True}, dict.fromkeys(PLACES, Layout((0, 1), samples_first=False)) | {("x", -1): Layout((0, 1))}),
    ({"heeds": False}, {("x", -1): Layout((0, 1))}),  # what the mask does not hide is seen everywhere
])  # fmt: skip
def test_places_are_found_however_they_are_laid_out(options, expected, left):
    assert found_in(attention(**options), batch_of(left=left)) == expected


def test_a_fixed_length_is_no_hindrance():
    assert found_in(attention(shape=(4, 12))) == dict.fromkeys(PLACES, Layout((0, 1)))


def test_as_many_samples_as_places_are_told_apart():
    lengths = (3, 1, 4, 2)
    assert found_in(attention(), batch_of(lengths, 4)) == dict.fromkeys(PLACES, Layout((0, 1)))


def test_samples_may_be_all_padding():
    assert found_in(attention(), batch_of((3, 0, 4, 2))) == dict.fromkeys(PLACES, Layout((0, 1)))
    assert found_in(attention(), batch_of((0, 0))) == {}


def test_what_two_layouts_explain_is_left_alone():
    mask = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]])  # which is its own transpose
    batch = {"ids": mask * np.arange(1, 10).reshape(3, 3), "attention_mask": mask}
    assert found_in(attention(), batch) == {}


@pytest.mark.parametrize("batch", [
    batch_of((12, 12, 12, 12)),
    {"ids": batch_of()["ids"], "attention_mask": 3 * batch_of()["attention_mask"]},
    {"attention_mask": batch_of()["attention_mask"]},
], ids=["nothing padded", "no mask", "nothing to put there"])  # fmt: skip
def test_without_padding_there_is_nothing_to_find(batch):
    assert padding.find_padding(attention(), batch) is None


@pytest.mark.parametrize("names, found", [
    (["attention_mask", "other_mask"], "attention_mask"),
    (["Input.Mask"], "Input.Mask"),
    (["a_mask", "b_mask"], None),
    (["bask"], None),
])  # fmt: skip
def test_the_mask_is_known_by_its_name(names, found):
    mask = batch_of()["attention_mask"]
    assert padding.find_mask({"ids": mask + 1, **dict.fromkeys(names, mask)}) == found


def statistics(model, batches, with_padding):
    layers = find_layers(read_program(model, "net.onnx"))
    found = padding.find_padding(model, batches[0]) if with_padding else None
    with ActivationCache(batches) as cache, ActivationCache(batches) as original:
        masks = [] if found is None else found.masks(cache)
        values = tuple(dict.fromkeys(value for layer in layers for value, _ in layer.uses))
        plain = WorkingCopy(model)
        return {
            tensor: (each.count, each.hessian(centered=False), each.mean)
            for tensor, each in gather_statistics(
                layers, cache.compute(plain, values), original.compute(plain, values), cache.samples, found, masks
            ).items()
        }


@pytest.mark.parametrize("options", [{}, {"flat": True}, {"time_first": True}])
def test_statistics_are_those_of_the_samples_without_padding(options):
    model, padded = attention(**options), batch_of()
    apart = [{name: array[n : n + 1, :length] for name, array in padded.items()} for n, length in enumerate(LENGTHS)]
    expected, found = statistics(model, apart, False), statistics(model, [padded], True)
    unheeding = statistics(model, [padded], False)
    assert expected.keys() == found.keys() == {"wq", "wk", "wv", "wo", "wc"}
    for name, (count, hessian, mean) in found.items():
        assert count == expected[name][0] == (4 if name == "wc" else sum(LENGTHS))
        np.testing.assert_allclose(hessian, expected[name][1], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(mean, expected[name][2], rtol=1e-4, atol=1e-4)
        if name != "wc":  # the mask does make a difference
            assert unheeding[name][0] == 48 and not np.allclose(hessian, unheeding[name][1], rtol=1e-2)


def test_batches_of_other_lengths_are_laid_out_likewise():
    model = attention(flat=True)
    batches = [batch_of(), batch_of((5, 7), 7, seed=1), batch_of((3, 3), 3, seed=2)]
    assert statistics(model, batches, True)["wo"][0] == sum(LENGTHS) + 12 + 6


def test_many_places_are_thinned_out_as_those_of_others_are():
    model, lengths = attention(), tuple(range(1, 65))
    (layer,) = (each for each in find_layers(read_program(model, "net.onnx")) if each.tensor == "wo")
    batch = {name: np.repeat(array, 8, 0) for name, array in batch_of(lengths, 64).items()}
    found = padding.find_padding(model, batch)
    with ActivationCache([batch]) as cache:
        (values,) = cache.compute(WorkingCopy(model), ("h",))
        made = gather_statistics([layer], [values], None, 16384 * 64, found, found.masks(cache))["wo"]
    assert 0.5 * 16 * 512 < made.count <= 16 * 512


@pytest.mark.parametrize("options", [{}, {"time_first": True}])
def test_answers_to_padding_do_not_count(options):
    model, batch = attention(**options), batch_of()
    new = {"wo": 20 * normal(24, 8, seed=7)}
    moved = []
    for found in (padding.find_padding(model, batch), None):
        with ActivationCache([batch]) as cache:
            comparison = Comparison(cache, WorkingCopy(model), ["z"], padding=found)
            moved.append(comparison.divergence(WorkingCopy(model), new))
    before, after = (models.run(with_values(model, values), **batch)[0] for values in ({}, new))
    is_real = batch["attention_mask"] == 1
    real = is_real.T if options else is_real
    expected = [np.square(x - y).mean() / x.var() for x, y in ((before[real], after[real]), (before, after))]
    assert moved == pytest.approx(expected, rel=1e-4) and abs(expected[0] / expected[1] - 1) > 1e-2


def test_rounding_heeds_the_padding():
    """The error on real places is smaller than where padding counts as much as they do."""
    model = attention()
    others = [batch_of((2, 3, 12, 4), seed=seed) for seed in range(100, 120)]
    errors = {True: 0.0, False: 0.0}
    for first in range(0, 32, 8):
        batches = [batch_of((2, 3, 12, 4), seed=first + seed) for seed in range(8)]
        found = padding.find_padding(model, batches[0])
        for is_known in errors:
            nearest = calibrate.Options(rate_weight=0.0)  # as bits count for more where errors are taken for larger
            new = calibrate.quantize_layers(model, batches, {"wo": 0.6}, nearest, padding=found if is_known else None)
            for batch in others:
                z, y = (models.run(with_values(model, values), **batch)[0] for values in ({}, new))
                errors[is_known] += float(np.square(z - y)[batch["attention_mask"] == 1].sum())
    assert errors[True] < 0.95 * errors[False]
