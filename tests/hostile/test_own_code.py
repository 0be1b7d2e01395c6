"""Code of the user's own that options name, and libraries of custom operators: whatever they raise or give is told."""

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.linalg import _umath_linalg

import dcz
from dcz.cli.hooks import load
from dcz.evaluation.libraries import check_whole
from tests.hostile.limits import QUICK, run_commands_limited
from tests.networks import INPUTS, perceptron

LIBRARY = Path(_umath_linalg.__file__)  # some library
BODIES = {  # of functions: what a refusal says
    "sys.exit(0)": "SystemExit: 0", "raise BaseException('base')": "BaseException: base",
    "raise GeneratorExit": "GeneratorExit", "raise NoText": "NoText", "raise StopIteration": "StopIteration",
    "raise ValueError('\\x1b[31m\\n::error::x')": "ValueError: \\x1b[31m\\n::error::x",
    "raise ValueError('x' * 10**7)": "ValueError: xxx", "raise ValueError('\\ud800')": "ValueError: \\ud800",
    "return f()": "RecursionError", "return None": "nan", "return '1.0'": "no real numbers", "return 1j": "no real",
    "return np.ones(10**7)": "10,000,000 numbers", "return 10**400": "too large", "return object()": "object",
    "return NoText()": "gives a NoText", "return iter(int, 1)": "callable_iterator",
    "return np.zeros(8, 'M8[s]')": "no real", "return np.zeros(8, [('a', 'f4')])": "no real",
    "return {1.0}": "set", "return [[1], [1, 2]]": "sequence",
    "l = []; l.append(l); return l": "sequence", "return -0.5": "1 number from -0.5", "return [np.inf] * 8": "inf",
}  # fmt: skip
MODULES = {  # what they do when they are imported
    "sys.exit(0)": "SystemExit: 0", "raise BaseException('b')": "BaseException: b", "def (": "SyntaxError",
    "raise NoText": "NoText", "\0": "null bytes", "__getattr__ = lambda name: sys.exit(0)": "cannot be had",
}  # fmt: skip
START = "import sys\nimport numpy as np\nclass NoText(Exception):\n    def __str__(self): raise KeyError\n"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What `dcz verify` made of each measure and module."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "net.onnx").write_bytes(perceptron().SerializeToString())
    dcz.compress(perceptron(), folder / "net.dcz")
    np.savez(folder / "x.npz", x=np.ones((8, INPUTS), np.float32))
    functions = [f"def f{n or ''}(*a): {body}\n" for n, body in enumerate(BODIES)]
    (folder / "own.py").write_text(START + "".join(functions).replace("return f()", "return f8()"))
    for n, text in enumerate(MODULES):
        (folder / f"own{n}.py").write_text(START + text)
    names = [f"own:f{n or ''}" for n in range(len(BODIES))] + [f"own{n}.py:f" for n in range(len(MODULES))]
    verify = ["verify", "net.dcz", "--against", "net.onnx", "--data", "x.npz", "--measure"]
    return dict(
        zip([*BODIES, *MODULES], run_commands_limited([[*verify, name] for name in names], folder), strict=True)
    )


@pytest.mark.parametrize("body, words", [*BODIES.items(), *MODULES.items()])
def test_what_it_raises_or_gives_is_told(body, words, found):
    used = found[body]
    assert used.code == 2 and words in used.err and used.seconds < QUICK
    assert len(used.err.splitlines()) == 1 and len(used.err) < 5000 and "Traceback" not in used.err


def test_the_name_of_a_measure_is_shown_and_not_obeyed(tmp_path):
    def measure(wanted, found):
        return 1.0

    measure.__name__ = "\x1b[31mred"
    (tmp_path / "net.onnx").write_bytes(perceptron().SerializeToString())
    packed, x = dcz.compress(tmp_path / "net.onnx", tmp_path / "net.dcz"), np.ones((8, INPUTS), np.float32)
    shown = str(dcz.verify(packed, against=tmp_path / "net.onnx", inputs=x, measure=measure))
    assert "[31mred" in shown and "\x1b" not in shown


def test_a_file_that_has_the_name_of_a_library_does_not_take_its_place(tmp_path, monkeypatch):
    (tmp_path / "wave.py").write_text("def f(*a): return 1.0\n")
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    assert load(f"{tmp_path}/wave.py:f", "--measure")() == 1.0
    import wave

    assert wave.__file__ is not None and not wave.__file__.startswith(str(tmp_path))


@pytest.mark.parametrize("size", [4, 20, 64, 2_000, 100_000, -1])
def test_a_library_that_is_cut_off_is_refused_before_it_is_mapped(size, tmp_path):
    """Which would end the process by SIGBUS."""
    whole = LIBRARY.read_bytes()
    if not whole.startswith(b"\x7fELF\x02\x01"):
        pytest.skip("libraries here are of another kind")
    check_whole(str(LIBRARY))
    (tmp_path / "cut.so").write_bytes(whole[:size])
    np.savez(tmp_path / "x.npz", x=np.ones((8, INPUTS), np.float32))
    (tmp_path / "net.onnx").write_bytes(perceptron().SerializeToString())
    command = ["evaluate", "net.onnx", "--against", "net.onnx", "--data", "x.npz", "--ops", "cut.so"]
    (used,) = run_commands_limited([command], tmp_path)
    assert used.code == 2, used.err
    assert ("is cut off: it has" in used.err) == (size in (20, 64, 2_000, 100_000))


TRAINED = {  # batches and losses: what a refusal says
    "def own(e):\n    yield X, Y\n    sys.exit(0)": "the data fail in epoch 0: SystemExit: 0",
    "def own(e):\n    yield X, Y\n    raise BaseException('b')": "the data fail in epoch 0: BaseException: b",
    "def own(e): return 5": "no iterable of batches",
    "def own(e): return [None]": "no batches",
    "def own(e): return [(np.array([None] * 8, object), Y)]": "numbers is wanted",
    "def own(e): return [(X[:, :3], Y)]": "wants [n, 64]",
    "def own(o, i, l): sys.exit(0)": "SystemExit: 0",
    "def own(o, i, l): return 1.0": "a tensor of one number",
    "class own:\n    def __init__(self, n, o): sys.exit(0)": "the loss own cannot be made: SystemExit: 0",
    "class own:\n    def __init__(self, n, o): pass": "the loss own is no function",
    "class own:\n    def __init__(self, *a): pass\n    def __call__(self, *a): sys.exit(0)": "own fails: SystemExit: 0",
    "class own: pass": "the loss own cannot be made: TypeError",
}


def test_so_is_what_batches_and_losses_raise_or_give(tmp_path):
    """No exit code 0 without a file, above all."""
    pytest.importorskip("torch")
    (tmp_path / "net.onnx").write_bytes(perceptron().SerializeToString())
    start = START + "X, Y = np.zeros((8, 64), np.float32), np.zeros(8, np.int64)\ngood = [(X, Y)]\n"
    commands = []
    for number, body in enumerate(TRAINED):
        (tmp_path / f"own{number}.py").write_text(start + body)
        name = f"own{number}.py:"
        given = [f"{name}own"] if "(e)" in body else [f"{name}good", "--loss", f"{name}own"]
        commands.append(["retrain", "net.onnx", "--bits", "3", "--epochs", "1", "--no-checkpoint", "--batches", *given])
    for words, used in zip(TRAINED.values(), run_commands_limited(commands, tmp_path), strict=True):
        assert used.code == 2 and words in used.err.splitlines()[-1]
    assert not (tmp_path / "net.dcz").exists()


def test_batches_whose_length_cannot_be_told_have_none():
    pytest.importorskip("torch")
    from dcz.train.batch_stream import BatchStream

    class Odd(list):
        def __len__(self):
            raise KeyError

    assert len(BatchStream(Odd())) == 0 and len(BatchStream([1, 2])) == 2
