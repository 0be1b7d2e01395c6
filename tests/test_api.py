"""The public functions as a user of Python meets them: what they take, what they return, what they show."""

import contextlib
import copy
import inspect
import io
import json
import pickle
import re
import sys
import types
import typing
from pathlib import Path

import numpy as np
import onnx
import pytest

import dcz
from dcz.display import html
from dcz.display import progress as display
from dcz.display import work as work_line
from dcz.errors import FileAccess, InvalidArgument
from dcz.evaluation.given import as_samples
from tests import models
from tests.networks import correlated, perceptron

X = models.normal(64, 64)
Y = models.run(perceptron(), x=X)[0].argmax(1)
FUNCTIONS = [name for name in dcz.__all__ if inspect.isfunction(getattr(dcz, name))]
TRAINS = pytest.mark.skipif("not __import__('importlib.util').util.find_spec('torch')")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(perceptron(), "net.onnx")


# -- signatures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures_tell_what_is_taken(name):
    """Every parameter has a type that says something, and no default is code."""
    for parameter in inspect.signature(getattr(dcz, name)).parameters.values():
        assert parameter.annotation not in (inspect.Parameter.empty, typing.Any, "Any"), parameter
        assert getattr(parameter.default, "__name__", "") != "<lambda>", parameter


def test_the_functions_are_those_of_the_package():
    assert {"compress", "compress_to_size", "evaluate", "retrain", "sensitivity", "tune", "verify"} <= set(FUNCTIONS)


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, plan",
    [
        ({"quality": 30}, dcz.Plan(dcz.Settings(quality=30))),
        ({"preset": "small"}, dcz.Plan(dcz.PRESETS["small"])),
        ({"preset": "lossless"}, dcz.Plan(dcz.PRESETS["lossless"])),
        ({"sparsity": "80%", "bits": 5}, dcz.Plan(dcz.Settings(sparsity=0.8, bits=5))),
        ({"sparsity": 0.8, "share": False}, dcz.Plan(dcz.Settings(sparsity=0.8, share=False))),
        ({"bits": 4, "exclude": "fc1.*"}, dcz.Plan(dcz.Settings(bits=4), exclude=("fc1.*",))),
        ({"bits": 4, "include": ["fc1.bias"], "min_weights": 9, "fold": False},
         dcz.Plan(dcz.Settings(bits=4), include=("fc1.bias",), min_weights=9, fold=False)),
        ({"plan": dcz.Settings(bits=4), "codebook": "float16"}, dcz.Plan(dcz.Settings(bits=4, codebook="float16"))),
        ({"plan": "plan.toml", "bits": 3}, dcz.Plan(dcz.Settings(bits=3), exclude=("fc2.*",))),
        ({"bits": None}, dcz.Plan()),
    ],
)  # fmt: skip
def test_keywords_change_the_plan_as_options_of_the_command_do(options, plan):
    Path("plan.toml").write_text('exclude = "fc2.*"\n[default]\nquality = 20')
    dcz.compress("net.onnx", "a.dcz", **options)
    dcz.compress("net.onnx", "b.dcz", plan)
    assert Path("a.dcz").read_bytes() == Path("b.dcz").read_bytes()


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({"quality": 30, "bits": 4}, InvalidArgument, "give one of bits, quality"),
        ({"preset": "tiny"}, InvalidArgument, "preset is one of lossless, safe, balanced, small"),
        ({"preset": "small", "bits": 4}, InvalidArgument, "leave one out"),
        ({"sparsity": "much"}, InvalidArgument, "'much' is no percentage"),
        ({"include": [1]}, InvalidArgument, "include is a pattern or several"),
        ({"qualty": 30}, TypeError, "unexpected keyword argument 'qualty'; settings are preset"),
    ],
)
def test_keywords_that_cannot_be_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        dcz.compress("net.onnx", "a.dcz", **options)
    assert not Path("a.dcz").exists()


def test_searches_take_them_too():
    made = dcz.compress_to_size("net.onnx", "a.dcz", "9kB", exclude="fc2.weight")
    assert made.nbytes <= 9000
    with dcz.open("a.dcz") as tensors:
        np.testing.assert_array_equal(tensors["fc2.weight"], models.arrays(perceptron())["fc2.weight"])
    with pytest.raises(InvalidArgument, match="a size decides"):
        dcz.compress_to_size("net.onnx", "b.dcz", 9000, bits=4)


def test_a_drop_is_a_share_a_percentage_or_a_preset(monkeypatch):
    monkeypatch.setattr("dcz.tuning.drop_search.MAX_WALKS", 3)
    for number, goal in enumerate(({"max_drop": 0.05}, {"max_drop": "5%"}, {"preset": "small"})):
        dcz.tune("net.onnx", f"{number}.dcz", X[:32], **goal)
    first, *others = (Path(f"{number}.dcz").read_bytes() for number in range(3))
    assert all(other == first for other in others)
    for goal in ({"preset": "small", "ratio": 4}, {"preset": "lossless"}, {"max_drop": "150%"}):
        with pytest.raises(InvalidArgument):
            dcz.tune("net.onnx", "x.dcz", X, **goal)


@TRAINS
def test_training_takes_the_fields_of_its_recipe():
    from dcz.train import BASE

    recipe = dcz.Recipe(sparsity=0.5, bits=3, epochs=1, share_epochs=1)
    dcz.retrain("net.onnx", "a.dcz", X, labels=Y, recipe=recipe, plan=dcz.Plan(BASE, exclude=("fc2.*",)))
    made = dcz.retrain(
        "net.onnx", "b.dcz", X, labels=Y, sparsity="50%", bits=3, epochs=1, share_epochs=1, exclude="fc2.*"
    )
    with dcz.open("a.dcz") as a, dcz.open("b.dcz") as b:
        assert all(np.array_equal(a[name], b[name]) for name in a)
    assert re.match(r"<b.dcz: [\d,]+ bytes, .* times smaller, loss .*, error .*%", repr(made))
    assert json.loads(json.dumps(made.to_dict()))["file_bytes"] == made.file_bytes == made.file.file_bytes
    with pytest.raises(TypeError, match="unexpected keyword argument 'bit'"):
        dcz.retrain("net.onnx", "c.dcz", X, labels=Y, bit=3)


# -- overwriting -------------------------------------------------------------------------------------------------------

CALLS = {
    "compress": lambda **more: dcz.compress("net.onnx", "out", **more),
    "compress_to_size": lambda **more: dcz.compress_to_size("net.onnx", "out", 9000, **more),
    "decompress": lambda **more: dcz.decompress("old.dcz", "out", **more),
    "tune": lambda **more: dcz.tune("net.onnx", "out", X, ratio=4, **more),
    "sensitivity": lambda **more: dcz.sensitivity("net.onnx", X, bits=(3,), sparsities=(), output="out", **more),
    "retrain": lambda **more: dcz.retrain("net.onnx", "out", X, labels=Y, epochs=1, sparsity=0.5, **more),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_there_is_replaced_only_where_that_is_asked_for(name):
    if name == "retrain":
        pytest.importorskip("torch")
    dcz.compress("net.onnx", "old.dcz")
    Path("out").write_bytes(b"mine")
    with pytest.raises(FileAccess, match=r"out: exists already; give --force \(in Python force=True\)"):
        CALLS[name]()
    assert Path("out").read_bytes() == b"mine"
    CALLS[name](force=True)
    assert Path("out").read_bytes() != b"mine"


# -- results -----------------------------------------------------------------------------------------------------------


def test_what_compress_returns_is_a_file_with_its_figures_and_serves_as_its_path(tmp_path):
    made = dcz.compress("net.onnx", "net.dcz", quality=30)
    size, source = Path("net.dcz").stat().st_size, Path("net.onnx").stat().st_size
    assert (made.file_bytes, made.source_bytes, made.ratio) == (size, source, source / size)
    assert repr(made) == f"<net.dcz: {size:,} bytes, {source / size:.2f} times smaller>"
    assert made.settings == "quality=30" and {tensor.name for tensor in made.tensors} >= {"fc1.weight", "fc2.weight"}
    (fc1,) = [tensor for tensor in made.tensors if tensor.name == "fc1.weight"]
    assert (fc1.dtype, fc1.shape, fc1.nbytes, fc1.encoding) == ("float32", (64, 128), 32768, "shared")
    rows = {row.name: row for row in dcz.inspect(made).rows}
    assert fc1.file_bytes == rows["fc1.weight"].huffman
    assert json.loads(json.dumps(made.to_dict()))["tensors"][0]["shape"]
    # as a path
    assert made == Path("net.dcz") and Path("net.dcz") == made and len({made, Path("net.dcz")}) == 1
    assert str(made) == "net.dcz" and made.name == "net.dcz" and made.stat().st_size == size
    assert made.parent / "x" == Path("x") and made.with_suffix(".onnx") == Path("net.onnx")
    with open(made, "rb") as file:
        assert Path(made) == made.path and file.read() == made.read_bytes()
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made
    with pytest.raises(AttributeError):
        made.nothing


def test_a_notebook_shows_a_table_with_names_escaped():
    proto = perceptron()
    for node in proto.graph.node:
        node.input[:] = ["<script>alert(1)</script>" if name == "fc1.weight" else name for name in node.input]
    proto.graph.initializer[0].name = "<script>alert(1)</script>"
    page = dcz.compress(proto, "net.dcz")._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;alert(1)" in page
    assert (
        "fc2.weight" in page and "times smaller than" in page and page.count("<table>") == page.count("</table>") == 2
    )


def test_a_notebook_shows_no_more_than_ten_tensors():
    page = dcz.compress(
        models.dense(*[models.normal(16, 16, seed=n) for n in range(15)]), "net.dcz", bits=4
    )._repr_html_()
    assert page.count("<tr>") == 2 + 1 + 10 + 1 and "5 others" in page


RESULTS = {
    "inspect": lambda: dcz.inspect("net.dcz"),
    "inspect of an onnx": lambda: dcz.inspect("net.onnx"),
    "verify": lambda: dcz.verify("net.dcz", against="net.onnx", inputs=X),
    "verify alone": lambda: dcz.verify("net.dcz"),
    "evaluate": lambda: dcz.evaluate("net.dcz", X, labels=Y, against="net.onnx"),
    "sensitivity": lambda: dcz.sensitivity("net.onnx", X, bits=(3,), sparsities=()),
    "diff": lambda: dcz.diff("net.onnx", "net.dcz"),
    "check": lambda: dcz.check("net.dcz", max_size="1MB"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_is_a_line_and_a_small_page(name):
    dcz.compress("net.onnx", "net.dcz", force=True)
    made = RESULTS[name]()
    assert re.fullmatch(r"<net\.(dcz|onnx)[: ].{5,200}>", repr(made)), repr(made)
    page = made._repr_html_()
    assert page.startswith("<div><strong>") and page.count("<tr>") == page.count("</tr>") <= 20


def test_many_models_are_a_line_and_a_table_with_what_failed():
    Path("no<b>.onnx").write_bytes(b"nothing")
    made = dcz.compress_all(["net.onnx", "no<b>.onnx"], "packed", bits=5)
    assert made[0].error is None and made[0].model == Path("net.onnx") and len(made) == 2
    before, after = (Path(path).stat().st_size for path in ("net.onnx", "packed/net.dcz"))
    sizes = f"{before:,} bytes before, {after:,} after, {before / after:.2f} times smaller"
    assert repr(made) == f"<1 of 2 models compressed: {sizes}>"
    page = made._repr_html_()
    assert f">{after:,}<" in page and "no&lt;b&gt;.onnx: not an ONNX model" in page and "<b>" not in page
    Path("no<b>.onnx").unlink()
    assert repr(dcz.compress_all([], "packed")) == "<0 of 0 models compressed>"


def test_figures_in_a_notebook_are_not_broken_and_sentences_are():
    page = html.page("net.dcz", [], ["tensor", "bits", ""], [["fc 1", "32.00 > 4.16", "a sentence " * 9]])
    unbroken = re.findall(r"nowrap\">([^<]+)<", page)
    assert unbroken == ["bits", "32.00 > 4.16".replace(">", "&gt;")] and "a sentence " * 9 in page


def test_many_models_have_one_progress(monkeypatch, capsys):
    seen = []
    dcz.compress_all(["net.onnx"], "packed", force=True, progress=lambda *state: seen.append(state))
    assert seen[-1][1] == seen[-1][2] and all(0 <= done <= total for _, done, total in seen)
    assert not capsys.readouterr().err
    monkeypatch.setattr(work_line, "EVERY", 0.0)
    Path("other.onnx").write_bytes(Path("net.onnx").read_bytes())
    made = dcz.compress_all(["net.onnx", "none.onnx", "other.onnx"], "packed", force=True, progress=True)
    assert [each.error is None for each in made] == [True, False, True]
    told = [int(share) for share in re.findall(r"^compressing (\d+) %", capsys.readouterr().err, flags=re.M)]
    assert told == sorted(told) and 40 <= told[len(told) // 2 - 1] <= 60 and told[-1] == 100
    dcz.compress_all(["net.onnx"], "packed", lambda model, output: dcz.compress(model, output, force=True))
    with pytest.raises(InvalidArgument, match="progress is True, False or a function"):
        dcz.compress_all(["net.onnx"], "packed", progress="bar")


def test_shares_have_no_more_digits_than_they_are_worth():
    for name, figure in dcz.tune("net.onnx", "out.dcz", X[:24], ratio=4, force=True).measured.items():
        assert re.fullmatch(r"top class|-?\d{1,3}(\.\d{1,2})?%", figure), (name, figure)


def test_the_tensors_of_a_file_are_told_in_a_line():
    dcz.compress("net.onnx", "net.dcz", force=True)
    with dcz.open("net.dcz") as tensors:
        count = len(dcz.inspect("net.dcz").rows)
        assert repr(tensors) == f"<net.dcz: {count} tensors with a record>"
    assert repr(tensors).startswith("<net.dcz")  # closed, too


def test_why_a_budget_is_missed_is_told_under_its_name_once():
    dcz.compress("net.onnx", "net.dcz", force=True)
    page = dcz.check("net.dcz", max_size=10, max_tensor_size=10)._repr_html_()
    assert page.count('left">max-size<') == 2 and page.count('left">max-tensor-size<') == 2  # above, in the table
    assert "<table></table>" not in page + dcz.diff("net.onnx", "net.dcz")._repr_html_()


def test_results_say_what_matters():
    dcz.compress("net.onnx", "net.dcz", force=True)
    size = Path("net.dcz").stat().st_size
    assert f"{size:,} bytes" in repr(dcz.inspect("net.dcz")) and "times smaller" in repr(dcz.inspect("net.dcz"))
    assert "top class agrees in" in repr(dcz.verify("net.dcz", against="net.onnx", inputs=X))
    assert "top 1 100.00 %" in repr(dcz.evaluate("net.onnx", X, labels=Y))
    moved = dcz.sensitivity("net.onnx", X, bits=(2,), sparsities=())
    assert max(moved.rows, key=lambda row: row.by_bits[2]).name in repr(moved)


def test_what_was_told_is_in_the_result():
    heard = []
    made = dcz.compress(models.bag(models.tensor("big", models.WEIGHT)), "net.dcz", warn=heard.append)
    assert heard and made.notes == tuple(heard) and heard[0] in made._repr_html_().replace("&#x27;", "'")
    assert dcz.compress(models.bag(models.tensor("big", models.WEIGHT)), "b.dcz").notes == made.notes


def test_searches_return_what_they_returned_and_the_file():
    sized = dcz.compress_to_size("net.onnx", "a.dcz", ratio=5)
    assert sized.nbytes == sized.file.file_bytes == Path("a.dcz").stat().st_size and sized.file.path == Path("a.dcz")
    assert repr(sized).startswith(f"<a.dcz: {sized.nbytes:,} bytes") and f"{sized.quality:.5g}" in repr(sized)
    tuned = dcz.tune("net.onnx", "b.dcz", {"x": correlated(64)}, max_drop=0.15)
    assert tuned.path == "b.dcz" and tuned.kept.nbytes == tuned.file.file_bytes
    assert "agreement (top class)" in tuned.measured and "agreement" in repr(tuned) and "drop" in tuned._repr_html_()
    assert (
        tuned.ratio == tuned.file.ratio > 1 and tuned.tensors == tuned.file.tensors and tuned.settings == "calibrated"
    )


# -- samples -----------------------------------------------------------------------------------------------------------


def loader(batch=10):
    """What a DataLoader is: iterable anew each time, of pairs."""

    class Loader:
        def __iter__(self):
            return ((X[at : at + batch], Y[at : at + batch]) for at in range(0, len(X), batch))

    return Loader()


FORMS = {
    "npz": lambda: np.savez("x.npz", x=X, labels=Y) or "x.npz",
    "dict": lambda: {"x": X, "labels": Y},
    "dict of lists": lambda: {"x": X.tolist(), "labels": Y.tolist()},
    "loader": loader,
    "generator of pairs": lambda: iter(loader()),
    "generator of dicts": lambda: ({"x": x, "labels": y} for x, y in loader()),
    "generator of nested pairs": lambda: (({"x": x}, y) for x, y in loader()),
}


@pytest.mark.parametrize("form", FORMS)
def test_evaluate_takes_samples_in_every_form(form):
    found = dcz.evaluate("net.onnx", FORMS[form](), labels="labels")
    assert (found.samples, found.errors) == (64, 0)


def found_on(data):
    """What three commands find on samples, which `data` gives anew each time."""
    packed = dcz.compress("net.onnx", "net.dcz", quality=20, force=True)
    decibels = dcz.verify(packed, against="net.onnx", inputs=data()).outputs[0].decibels
    dcz.tune("net.onnx", "tuned.dcz", data(), ratio=6)
    return decibels, Path("tuned.dcz").read_bytes(), dcz.sensitivity("net.onnx", data(), bits=(2,), sparsities=()).rows


@pytest.fixture(scope="module")
def found_on_arrays(tmp_path_factory):
    """The same on arrays by name."""
    with contextlib.chdir(tmp_path_factory.mktemp("arrays")):
        models.save(perceptron(), Path("net.onnx"))
        return found_on(lambda: {"x": X})


@pytest.mark.parametrize("form", ["npz", "dict of lists", "loader", "generator of nested pairs"])
def test_verify_tune_and_sensitivity_do_as_well(form, found_on_arrays):
    decibels, tuned, measured = found_on(FORMS[form])
    assert decibels == pytest.approx(found_on_arrays[0])
    assert (tuned, measured) == found_on_arrays[1:]


def test_one_array_is_enough_for_one_input():
    for data in (X, iter([X[:40], X[40:]]), [(X[:40],), (X[40:],)]):
        assert dcz.evaluate("net.onnx", data, labels=Y).errors == 0
    wrong = Y.copy()
    wrong[:3] = (wrong[:3] + 1) % 10
    assert dcz.evaluate("net.onnx", X, labels=wrong).errors == 3
    assert dcz.verify(dcz.compress("net.onnx", "net.dcz"), against="net.onnx", inputs=X).outputs[0].samples == 64


def test_tensors_of_pytorch_are_arrays():
    torch = pytest.importorskip("torch")
    x, y = torch.tensor(X, requires_grad=True), torch.tensor(Y)
    assert dcz.evaluate("net.onnx", {"x": x}, labels=y).errors == 0
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x.detach(), y), batch_size=7)
    assert dcz.evaluate("net.onnx", batches, labels="labels").errors == 0


@pytest.mark.parametrize(
    "data, words",
    [
        (iter(()), "there are no samples"),
        ([X[:3], X[:3, :5]], "batch 1 of the samples: input 'x' of net.onnx wants .*, the samples have .3, 5."),
        ([{"x": X}, {"z": X}], "batch 1 of the samples has 'z', the first 'x'"),
        ([1, 2], "a batch of samples is an array, a dict .*, not a int"),
        (3, "samples are a path, arrays, or batches"),
        ([{"x": np.float32(3)}], "batch 0 of the samples: input 'x' of net.onnx wants .*, the samples have ..;"),
        ({"z": X}, "the samples: has no array for the input 'x'"),
    ],
)
def test_samples_that_are_none_are_refused(data, words):
    with pytest.raises(InvalidArgument, match=words):
        dcz.evaluate("net.onnx", data, labels=Y)


def test_batches_are_gathered_in_a_file_and_not_in_memory():
    samples = as_samples(iter(loader()))
    assert isinstance(samples.arrays[""], np.memmap)
    np.testing.assert_array_equal(samples.arrays[""], X)


# -- progress ----------------------------------------------------------------------------------------------------------


def work(**more):
    return {
        "compress": lambda: dcz.compress("net.onnx", "out.dcz", force=True, **more),
        "compress_to_size": lambda: dcz.compress_to_size("net.onnx", "out.dcz", 9000, force=True, **more),
        "tune": lambda: dcz.tune("net.onnx", "out.dcz", X[:8], ratio=4, force=True, **more),
        "evaluate": lambda: dcz.evaluate("net.onnx", X, labels=Y, **more),
        "verify": lambda: dcz.verify(
            dcz.compress("net.onnx", "in.dcz", force=True), against="net.onnx", inputs=X, **more
        ),
        "sensitivity": lambda: dcz.sensitivity("net.onnx", X, bits=(2,), sparsities=(), **more),
        "decompress": lambda: dcz.decompress(
            dcz.compress("net.onnx", "in.dcz", force=True), "out.onnx", force=True, **more
        ),
    }


@pytest.mark.parametrize("name", work())
def test_progress_is_none_a_function_or_a_bar(name, monkeypatch, capsys):
    work()[name]()
    work(progress=False)[name]()
    assert capsys.readouterr().err == ""
    seen = []
    work(progress=lambda *state: seen.append(state))[name]()
    assert seen and all(0 <= done <= total for _, done, total in seen) and seen[-1][1] == seen[-1][2]
    monkeypatch.setattr(work_line, "EVERY", 0.0)
    work(progress=True)[name]()
    assert re.search(r"^\w+ing \d+ %  ", capsys.readouterr().err, flags=re.M)
    with pytest.raises(InvalidArgument, match="progress is True, False or a function"):
        work(progress="bar")[name]()


def test_in_a_terminal_progress_is_a_bar_in_which_names_are_harmless(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with display.shown(True, "compressing") as report:
        report("\x1b]0;title[red]" + "n" * 100, 1, 2)
    drawn = terminal.getvalue()
    assert "compressing" in drawn and "\x1b]0;title" not in drawn and "n" * 100 not in drawn


class Notebook(types.ModuleType):
    """IPython as a kernel has it, as far as progress needs that: what is displayed, and what it becomes."""

    def __init__(self):
        super().__init__("IPython")
        self.shown: list[str] = []
        self.display = types.ModuleType("IPython.display")
        self.display.display = self._display
        self.update = self._update

    def get_ipython(self):
        return types.SimpleNamespace(kernel=object())

    def _display(self, data, *, raw, display_id):
        assert raw and display_id
        self.shown.append(data["text/plain"])
        return self

    def _update(self, data, *, raw):
        assert raw
        self.shown.append(data["text/plain"])


def test_in_a_notebook_progress_is_a_line_that_needs_no_widgets(monkeypatch, capsys):
    kernel = Notebook()
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    monkeypatch.setitem(sys.modules, "IPython.display", kernel.display)
    monkeypatch.setattr(work_line, "REDRAWN_EVERY", 0.0)
    with display.shown(True, "compressing") as report:
        report("fc1.weight", 1, 2)
    assert [line.split("%")[0][-4:] for line in kernel.shown[:-1]] == ["  0 ", " 50 "]
    assert kernel.shown[1].startswith("compressing ") and kernel.shown[1].endswith("fc1.weight")
    assert kernel.shown[-1] == "" and not capsys.readouterr().err


@TRAINS
def test_training_shows_a_bar_too(monkeypatch, capsys):
    monkeypatch.setattr(work_line, "EVERY", 0.0)
    dcz.retrain("net.onnx", "a.dcz", X, labels=Y, bits=3, share_epochs=1, progress=True)
    assert re.search(r"^training \d+ %  share 0/1", capsys.readouterr().err, flags=re.M)
