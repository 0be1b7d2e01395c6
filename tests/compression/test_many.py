"""Many models: where each goes, and that one that fails stops none of the others."""

from functools import partial
from pathlib import Path

import onnx
import pytest

import dcz
from dcz import errors
from dcz.compression import many
from dcz.files import several
from tests.networks import perceptron


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    """Two models of one name, a third, and a file that is none."""
    monkeypatch.chdir(tmp_path)
    for path in ("a/net.onnx", "b/net.onnx", "c.onnx"):
        Path(path).parent.mkdir(exist_ok=True)
        onnx.save(perceptron(), path)
    Path("text.onnx").write_text("no model\n" * 50)
    return tmp_path


@pytest.mark.parametrize("given, folder, expected", [
    (["x.onnx", "a/y.onnx"], "out", ["out/x.dcz", "out/y.dcz"]),
    (["a/net.onnx", "b/net.onnx", "c.onnx"], "out", ["out/a/net.dcz", "out/b/net.dcz", "out/c.dcz"]),
    (["a/1/m.onnx", "a/2/m.onnx"], "out", ["out/1/m.dcz", "out/2/m.dcz"]),
    (["a/1/m.onnx", "a/2/m.onnx", "b/1/m.onnx"], "out", ["out/a/1/m.dcz", "out/a/2/m.dcz", "out/b/1/m.dcz"]),
    (["m.onnx", "./m.onnx", "a/../m.onnx"], "out", ["out/m.dcz"]),  # one model, given three times
    (["a/Net.onnx", "b/net.onnx"], "out", ["out/a/Net.dcz", "out/b/net.dcz"]),  # one name where case does not count
    (["a/net.onnx", "b/net.onnx"], None, ["a/net.dcz", "b/net.dcz"]),
    (["v1.0.onnx", "v1.1.onnx"], None, ["v1.0.dcz", "v1.1.dcz"]),
])  # fmt: skip
def test_names_keep_the_folders_that_tell_them_apart(given, folder, expected):
    assert list(many.outputs(given, folder).values()) == [Path(path) for path in expected]


@pytest.mark.parametrize("folder", ["out", None])
def test_two_models_never_become_one_file(models, folder):
    Path("a/net.pb").write_bytes(Path("a/net.onnx").read_bytes())
    with pytest.raises(dcz.BadPlan, match=r"a/net.onnx and a/net.pb would both become"):
        dcz.compress_all(["a/net.onnx", "a/net.pb"], folder)
    assert not Path("out").exists() and not list(models.rglob("*.dcz"))


def test_one_that_fails_stops_none_of_the_others(models):
    told = []
    small = partial(dcz.compress, plan=dcz.PRESETS["small"])
    outcomes = dcz.compress_all(
        ["text.onnx", "a/net.onnx", "missing.onnx", "c.onnx"], "new/out", small, done=told.append
    )
    assert outcomes == told
    assert [outcome.exit_code for outcome in outcomes] == [3, 0, 6, 0]
    assert sorted(Path("new/out").iterdir()) == [Path("new/out/c.dcz"), Path("new/out/net.dcz")]
    made = outcomes[1]
    assert (made.before, made.after) == (Path("a/net.onnx").stat().st_size, made.output.stat().st_size)
    small("a/net.onnx", "alone.dcz")
    assert Path("alone.dcz").read_bytes() == made.output.read_bytes()


def test_settings_and_force_are_those_of_compress(models):
    (made,) = dcz.compress_all(["c.onnx"], "out", quality=20)
    dcz.compress("c.onnx", "alone.dcz", quality=20)
    assert made.output.read_bytes() == Path("alone.dcz").read_bytes()
    (refused,) = dcz.compress_all(["c.onnx"], "out")
    assert isinstance(refused.error, errors.FileAccess) and made.output.read_bytes() == Path("alone.dcz").read_bytes()
    (again,) = dcz.compress_all(["c.onnx"], "out", force=True)
    assert again.error is None and again.after != made.after


def test_any_error_is_an_outcome_but_an_interrupt():
    def fail(error, model, output):
        raise error

    def codes(error):
        return [outcome.exit_code for outcome in dcz.compress_all(["x.onnx", "y.onnx"], None, partial(fail, error))]

    assert codes(MemoryError()) == [errors.NO_MEMORY] * 2
    assert codes(ZeroDivisionError()) == [errors.INTERNAL] * 2
    for stop in (KeyboardInterrupt, BrokenPipeError):
        with pytest.raises(stop):
            codes(stop())


def test_an_interrupt_says_how_many_models_were_before_it(models):
    def compress(model, output):
        if model.name == "c.onnx":
            raise KeyboardInterrupt
        return dcz.compress(model, output)

    with pytest.raises(KeyboardInterrupt) as stop:
        dcz.compress_all(["text.onnx", "a/net.onnx", "c.onnx", "b/net.onnx"], "out", compress)
    assert stop.value.__notes__ == ["2 of 4 models were dealt with before it"]


def test_a_folder_that_cannot_be_made_is_refused_before_any_work(models):
    with pytest.raises(dcz.FileAccess, match="c.onnx"):
        dcz.compress_all(["a/net.onnx"], "c.onnx/out")


@pytest.mark.parametrize("failed, code", [((), 0), ((3,), 3), ((3, 3), 3), ((3, 6), errors.SEVERAL)])
def test_the_exit_code_is_that_of_failures_that_are_alike(failed, code):
    by_code = {3: dcz.UnsuitableModel("no"), 6: dcz.FileAccess("no")}
    outcomes = [several.Outcome(Path("a"), Path("b"), 2, 1)]
    outcomes += [several.Outcome(Path("a"), Path("b"), error=by_code[each]) for each in failed]
    assert several.common_exit_code(outcomes) == code
