"""What of dcz is there without PyTorch, and what says how to install it."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from dcz import train
from tests import ROOT
from tests.networks import INPUTS, perceptron

MISSING = "import sys; sys.modules['torch'] = None\n"
SENTENCE = "dcz.errors.MissingBackend: training needs PyTorch, which is not installed: pip install 'dcz[train]'"
HAS_TORCH = importlib.util.find_spec("torch") is not None
FREE = {
    "BASE",
    "Augmentation",
    "Pixels",
    "keep_patterned",
    "Recipe",
    "Epoch",
    "Progress",
    "Retrained",
    "retrain",
    "save_network",
}  # these need no PyTorch to be there


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("torch", ["there", "missing"])
@pytest.mark.parametrize("code, word", [
    ("import dcz; help(dcz)", "retrain(model"),
    ("from dcz import *; print(retrain.__name__, Recipe(bits=3))", "retrain bits=3"),
    ("import dcz, inspect; print(dict(inspect.getmembers(dcz))['retrain'].__module__)", "dcz.train.retraining"),
    ("import dcz; print(sorted(vars(dcz.Recipe(sparsity=0.5)))[0], callable(dcz.retrain))", "augment True"),
    ("import dcz.train; print(dir(dcz.train) == sorted(dcz.train.__all__))", "True"),
])  # fmt: skip
def test_the_package_can_be_looked_at(code, word, torch):
    if torch == "there" and not HAS_TORCH:
        pytest.skip("PyTorch is not installed")
    done = run(code if torch == "there" else MISSING + code)
    assert (done.returncode, done.stderr) == (0, "") and word in done.stdout


def test_neither_the_recipe_nor_the_name_of_retrain_loads_torch():
    done = run("import sys, dcz; dcz.Recipe, dcz.retrain, dcz.train; print('torch' in sys.modules)")
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.parametrize("code", [
    "import dcz; dcz.retrain('net.onnx', 'net.dcz', {})",
    "import dcz; dcz.retrain('net.onnx', 'net.dcz', {}, recipe='no recipe')",
    "from dcz.train import *",
    "from dcz.train import network",
    "import dcz.train.operators",
])  # fmt: skip
def test_what_needs_torch_says_how_to_install_it(code):
    done = run(MISSING + code)
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == SENTENCE


def test_every_name_that_needs_torch_says_so():
    names = sorted(set(train.__all__) - FREE)
    code = f"""
import dcz.train
for name in {names}:
    try:
        getattr(dcz.train, name)
    except dcz.MissingBackend as error:
        print(name, error)
"""
    sentence = SENTENCE.split(": ", 1)[1]
    assert run(MISSING + code).stdout.splitlines() == [f"{name} {sentence}" for name in names]


def test_what_needs_no_torch_is_there_without_it():
    names = ", ".join(f"dcz.train.{name}" for name in sorted(FREE))
    assert run(f"{MISSING}import dcz.train; {names}").stderr == ""


def test_a_name_that_is_not_there_is_named():
    with pytest.raises(AttributeError, match="'dcz.train' has no attribute 'nothing'"):
        train.nothing


def test_modules_are_attributes_of_the_package_once_it_is_imported():
    pytest.importorskip("torch")
    done = run("import dcz.train; print(dcz.train.distill.__name__, dcz.train.MissingBackend, dcz.train.losses.Loss)")
    assert done.stdout.startswith("dcz.train.distill <class 'dcz.errors.MissingBackend'>")


def test_earlier_names_still_work():
    recipe = train.Recipe(sparsity=0.9)
    assert recipe.stages_of_sharing == recipe.bound_fractions
    assert [recipe.is_settled(done) for done in (0.1, 1.0)] == [False, True]
    pytest.importorskip("torch")
    assert train.settle is train.bind_to_centroids


BEFORE_TORCH = {  # of a command line: what it is told, before PyTorch is imported
    "missing.onnx --data x.npz --bits 3": "missing.onnx",
    "text.onnx --data x.npz --bits 3": "not an ONNX model but text",
    "cut.onnx --data x.npz --bits 3": "cut off or damaged",
    "net.onnx --bits 3": "give --data",
    "net.onnx --data missing.npz --bits 3": "missing.npz",
    "net.onnx --data text.npz --bits 3": "text.npz",
    "net.onnx --data x.npz --labels z --bits 3": "has no array 'z'",
    "net.onnx --data x.npz --validation missing.npz --bits 3": "missing.npz",
    "net.onnx --data x.npz --bits 33": "bits is a whole number",
    "net.onnx --data x.npz --plan text.onnx": "text.onnx",
    "net.onnx --data x.npz --bits 3 --strict": "--strict",
    "net.onnx --data x.npz --bits 3 -o net.onnx": "net.onnx",
    "net.onnx --data x.npz --bits 3 -o nowhere/net.dcz": "nowhere",
    "net.onnx --batches mine:nothing --bits 3": "mine cannot be imported",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files to retrain, and a torch that ends the command with exit code 1."""
    folder = tmp_path_factory.mktemp("files")
    data = perceptron().SerializeToString()
    for name, content in (("net.onnx", data), ("cut.onnx", data[:-9]), ("text.onnx", b"text"), ("text.npz", b"text")):
        (folder / name).write_bytes(content)
    np.savez(folder / "x.npz", x=np.zeros((8, INPUTS), np.float32), y=np.zeros(8, np.int64))
    (folder / "fake").mkdir()
    (folder / "fake" / "torch.py").write_text("raise SystemExit(1)\n")
    return folder


TRY_ALL = """
import contextlib, io, json, sys
from dcz.cli import main
outcomes = {}
for line in json.load(sys.stdin):
    sys.argv, told = ["dcz", "retrain", *line.split()], io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            code = main()
    except SystemExit as error:
        code = error.code
    outcomes[line] = code, told.getvalue()
print(json.dumps(outcomes))
"""
RIGHT = "net.onnx --data x.npz --labels y --bits 3"


@pytest.fixture(scope="module")
def outcomes(folder) -> dict[str, tuple[int, str]]:
    """The exit code and the messages of each line, by one process, in which the right one comes last."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder / "fake"), str(ROOT)])}
    lines = json.dumps([*BEFORE_TORCH, RIGHT])
    done = subprocess.run(
        [sys.executable, "-c", TRY_ALL], input=lines, cwd=folder, env=environment, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.parametrize("line, words", BEFORE_TORCH.items())
def test_wrong_usage_and_unreadable_files_are_told_before_torch_is_imported(line, words, outcomes):
    code, told = outcomes[line]
    assert code in (2, 3, 6) and words in told


def test_what_is_right_imports_torch(outcomes):
    assert outcomes[RIGHT][0] == 1
