"""One walk that serves all trials."""

import numpy as np
import pytest

from dcz import calibrate
from dcz.calibrate import schedule
from dcz.calibrate.hessian import InputStatistics
from dcz.calibrate.survey import KeptStatistics
from dcz.model import WorkingCopy, with_values
from tests.calibrate.cases import STEPS, batches, network
from tests.models import run


@pytest.fixture(scope="module")
def found():
    net = network()
    with calibrate.survey(net, batches(), ["w0", "w1", "w2"]) as each:
        yield net, each


def test_rounding_by_what_was_kept_keeps_outputs_better_than_rounding_to_the_nearest(found):
    net, seen = found
    x = np.concatenate([batch["x"] for batch in batches(32)])
    (y,) = run(net.proto, x=x)
    weights = {tensor.name: tensor.values() for tensor in net.tensors}
    plain = {name: np.rint(weights[name] / step) * step for name, step in STEPS.items()}
    errors = [np.square(run(with_values(net, new), x=x)[0] - y).mean() for new in (seen.round(STEPS), plain)]
    assert errors[0] < 0.6 * errors[1]


def test_rounding_again_runs_nothing(found, monkeypatch):
    monkeypatch.setattr(schedule.runtime, "session", lambda *_: pytest.fail("a session"))
    one, other = (found[1].round(STEPS) for _ in range(2))
    assert one.keys() == {"w0", "b0", "w1", "w2", "b2"}
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_each_layer_is_tried_alone_at_steps_of_its_own(found):
    curves = found[1].curves
    assert set(curves) == {"w0", "w1", "w2"}
    for curve in curves.values():
        assert (np.diff(curve.bits) <= 0).all() and (np.diff(curve.distortion) > 0).all()
        assert curve.bits_at(curve.steps[3]) == curve.bits[3] and curve.bits_at(1e9) == curve.bits[-1]


def test_batches_for_the_trials_can_be_others():
    """Where none are given, all four batches together have no more samples than it takes."""
    net = network()
    for others, same in ((batches(), True), (batches()[3:], False)):
        with calibrate.survey(net, batches(), ["w2"], trials=others) as seen:
            with calibrate.survey(net, batches(), ["w2"]) as other:
                distortions = [each.curves["w2"].distortion for each in (seen, other)]
        assert np.allclose(*distortions, rtol=1e-6, atol=0) == same


def test_layers_that_read_the_same_share_their_statistics():
    kept = KeptStatistics()
    statistics = InputStatistics(2, 1, 5, np.ones((1, 2)), np.eye(2)[None], None, None)
    kept.add({"q": statistics, "k": statistics})
    assert kept["q"].count == 5 and np.array_equal(kept["k"].products, kept["q"].products)
    assert kept._spool.nbytes == 8 * 6
    kept.close()


def test_a_working_copy_takes_values_and_gives_them_back():
    net = network()
    copy, zeros = WorkingCopy(net), {"w2": np.zeros((32, 10))}
    copy.put(zeros)
    assert copy.proto == with_values(net, zeros) != net.proto
    copy.restore(zeros)
    assert copy.proto == net.proto
