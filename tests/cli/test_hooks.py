"""Functions of the user's own, named by options."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest

from dcz.cli.hooks import load
from dcz.errors import InvalidArgument
from tests.networks import perceptron

MINE = """
import numpy as np

CALLS = []


def batches(epoch):
    data = np.load("train.npz")
    CALLS.append(epoch)
    return [(data["x"][i : i + 50], data["y"][i : i + 50]) for i in range(0, 300, 50)]


def loss(outputs, inputs, labels):
    import torch

    return torch.nn.functional.cross_entropy(outputs["y"], labels)


def fails(*arguments):
    raise KeyError("nothing")


class Loss:
    def __init__(self, network, original):
        self.original = original

    def __call__(self, outputs, inputs, labels):
        return ((outputs["y"] - self.original(inputs)["y"].detach()) ** 2).mean()


numbers = [1, 2]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with mine.py, a module of the user's; what it imports is forgotten again."""
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "broken"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    Path("mine.py").write_text(MINE)
    Path("broken.py").write_text("import nowhere_to_be_found\n")
    yield tmp_path
    for name in ("mine", "broken"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("text", ["mine:numbers", "mine.py:numbers", "./mine.py:numbers"])
def test_a_module_of_the_folder_or_a_file_is_taken(text, folder):
    before = list(sys.path)
    assert load(text, "--batches") == [1, 2] and sys.path == before


@pytest.mark.parametrize("text, words", [
    ("mine", "--batches is MODULE:FUNCTION or FILE.py:FUNCTION, not 'mine'"),
    ("mine:", "not 'mine:'"), (":batches", "not ':batches'"), ("mine:a b", "not 'mine:a b'"),
    ("mine:nothing", "mine has no nothing"),
    ("yours:batches", "yours cannot be imported: ModuleNotFoundError: No module named 'yours'"),
    ("yours.py:batches", "yours.py: there is no such file"),
    ("broken:batches", "broken cannot be imported: .* 'nowhere_to_be_found'"),
])  # fmt: skip
def test_what_cannot_be_had_is_told(text, words, folder):
    with pytest.raises(InvalidArgument, match=words):
        load(text, "--batches")


def test_what_a_function_raises_is_told_as_the_users(folder):
    with pytest.raises(InvalidArgument, match="mine:fails fails: KeyError: 'nothing'"):
        load("mine:fails", "--loss")(1)


# -- in a command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def retrain(run, folder):
    """Run `dcz retrain` on net.onnx and train.npz (x, y, and others)."""
    pytest.importorskip("torch")
    from tests.train.samples import clusters

    onnx.save(perceptron(), "net.onnx")
    x, y = clusters(300)
    soft = np.eye(10, dtype=np.float32)[y]
    np.savez("train.npz", x=x, y=y, soft=soft, size=x[:, :10])
    asked = ["--sparsity", "0.9", "--bits", "3", "--epochs", "1", "--share-epochs", "1", "--threads", "1", "-q", "-f"]
    return partial(run, "retrain", "net.onnx", *asked)


def test_batches_and_a_loss_of_ones_own_are_trained_with(retrain):
    code, out, _ = retrain("--batches", "mine:batches", "--loss", "mine:loss", "--validation", "mine:batches")
    assert code == 0 and "error" in out
    assert {0, 1} <= set(sys.modules["mine"].CALLS)
    assert retrain("--data", "train.npz", "--loss", "mine.py:Loss")[0] == 0


@pytest.mark.parametrize("arguments", [
    ["--labels", "soft"], ["--labels", "size"], ["--labels", "size", "--loss", "cosine"], ["--labels", "y=soft"],
    ["--loss", "distill"], ["--loss", "mse"], ["--distill", "--loss", "distill", "--temperature", "2"],
    ["--output-weights", "y=2"],
])  # fmt: skip
def test_labels_and_losses_by_name(arguments, retrain):
    code, _, err = retrain("--data", "train.npz", "--learning-rate", "0.01", *arguments)
    assert code == 0, err


@pytest.mark.parametrize("arguments, words", [
    ([], "give --data, or --batches of your own"),
    (["--data", "train.npz", "--batches", "mine:batches"], "not both"),
    (["--batches", "mine:batches", "--labels", "y"], "--batches give .inputs, labels. themselves"),
    (["--batches", "mine:fails"], "mine:fails fails: KeyError"),
    (["--batches", "mine:numbers"], "input 'x' is"),
    (["--data", "train.npz", "--loss", "hinge"], "cross-entropy, mse, cosine, distill or a function, not 'hinge'"),
    (["--data", "train.npz", "--distill", "--loss", "mse"], "give it or --loss mse, not both"),
    (["--data", "train.npz", "--labels", "z=y"], "labels for 'z', which is no output; the model has y"),
    (["--data", "train.npz", "--augment", "flip"], "takes x .n, 64.: leave it out"),
    (["--data", "train.npz", "--pixels", "0..1"], "takes none: leave pixels out"),
    (["--data", "train.npz", "--device", "tpu"], "device is one of auto, cpu, cuda, mps, not 'tpu'"),
])  # fmt: skip
def test_every_failure_says_why(arguments, words, retrain):
    import re

    code, _, err = retrain(*arguments)
    assert code == 2 and re.search(words, err) and "Traceback" not in err
