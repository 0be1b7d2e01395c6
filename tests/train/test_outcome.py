"""What a run says of itself: errors of every stage, of the file, their interval, and what may do better."""

import numpy as np
import pytest

import dcz
from tests.train.samples import clusters, perceptron

torch = pytest.importorskip("torch")

from dcz.errors import InvalidArgument
from dcz.train import Recipe, retrain
from dcz.train.validation import wilson

RECIPE = Recipe(sparsity=0.9, bits=3, epochs=3, share_epochs=1, batch=50, threads=1, learning_rate=0.01)


@pytest.mark.parametrize("error, count, expected", [
    (0.1, 100, (0.0552, 0.1744)),  # R: prop.test(10, 100, correct = FALSE)
    (0.0, 20, (0.0, 0.1611)),
    (1.0, 1, (0.2065, 1.0)),
])  # fmt: skip
def test_the_interval_of_an_error(error, count, expected):
    assert wilson(error, count) == pytest.approx(expected, abs=5e-5)


def trained(tmp_path, **options):
    x, y = clusters(600)
    np.savez(tmp_path / "held.npz", **dict(zip("xy", clusters(300, seed=1), strict=True)))
    options = {"recipe": RECIPE, "validation": (tmp_path / "held.npz", "y")} | options
    return retrain(options.pop("model", perceptron()), tmp_path / "net.dcz", x, labels=y, **options, force=True)


def test_it_tells_the_error_of_each_stage_and_of_the_decoded_file(tmp_path):
    found = trained(tmp_path)
    evaluated = dcz.evaluate(tmp_path / "net.dcz", tmp_path / "held.npz", "y")
    assert found.decoded[1] == evaluated.errors / 300 and found.answers == 300
    assert found.decoded == pytest.approx(found.after) and found.pruned[1] < found.before[1]
    assert found.interval == wilson(found.decoded[1], 300) and found.drop == found.decoded[1] - found.before[1] < 0
    assert found.holds and not found.is_plain and found.to_dict()["holds"] and found.to_dict()["drop"] == found.drop


def good(tmp_path):
    """A network without errors on these clusters."""
    dense = trained(tmp_path, recipe=Recipe(epochs=3, learning_rate=0.01, batch=50, threads=1))
    assert dense.decoded[1] < 0.01
    return dcz.load(tmp_path / "net.dcz")


def test_a_drop_beyond_what_is_allowed_is_told(tmp_path):
    model, told = good(tmp_path), []
    hard = Recipe(sparsity=0.999, bits=1, epochs=1, share_epochs=0, batch=50, threads=1, learning_rate=1e-4)
    found = trained(tmp_path, model=model, recipe=hard, max_drop=0.01, warn=told.append)
    assert not found.holds and found.drop > 0.01 and (tmp_path / "net.dcz").exists()
    assert found.notes[-1] == told[-1] and "points, more than the 1 that are allowed" in told[-1]
    assert trained(tmp_path, model=model, recipe=hard, max_drop=1.0).holds
    unlabelled = trained(tmp_path, max_drop=0.5, validation=(clusters(50)[0], None), loss="distill")
    assert not unlabelled.holds and "validation samples with labels" in unlabelled.notes[-1]
    with pytest.raises(InvalidArgument, match="fraction"):
        trained(tmp_path, max_drop=2)


def test_the_file_that_compress_makes_is_kept_where_it_does_better_at_this_size(tmp_path):
    model = good(tmp_path)
    spoiled = Recipe(bits=8, epochs=0, share_epochs=1, reassign=0.0, share_rate=1e-9, batch=50, threads=1)

    def noisy(outputs, inputs, labels):  # right answers are what it is trained away from, and what counts in the end
        loss = torch.nn.functional.cross_entropy(outputs["y"], labels)
        return -loss if loss.requires_grad else loss

    harmful = Recipe(sparsity=0.2, bits=8, epochs=2, share_epochs=0, batch=50, threads=1, learning_rate=0.03, ramp=1.0)
    found = trained(tmp_path, model=model, recipe=harmful, loss=noisy)
    assert found.is_plain and found.after[1] > 0.1 > found.decoded[1] and "without training" in found.notes[-1]
    assert found.decoded[1] == dcz.evaluate(tmp_path / "net.dcz", tmp_path / "held.npz", "y").errors / 300
    assert found.file_bytes == (tmp_path / "net.dcz").stat().st_size
    kept = trained(tmp_path, model=model, recipe=spoiled)
    assert not kept.is_plain
