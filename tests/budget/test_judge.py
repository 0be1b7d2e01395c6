"""Figures that are measured another way, and verdicts at their limits."""

from pathlib import Path

import numpy as np
import onnx
import pytest

import dcz
from dcz.budget.config import Budgeted
from dcz.budget.judge import common_exit_code, judge_all
from dcz.budget.limits import parse
from dcz.errors import SEVERAL, FileAccess, InvalidArgument
from tests import models
from tests.networks import perceptron


def figure(*arguments, **limits) -> float:
    (budget,) = dcz.check(*arguments, **limits).budgets
    return budget.figure


def test_the_figures_are_those_of_the_file(folder):
    rows = {row.name: row.huffman for row in dcz.inspect("net.dcz").rows}
    assert figure("net.dcz", max_size=1) == Path("net.dcz").stat().st_size
    assert figure("net.dcz", max_tensor_size=1) == max(rows.values()) == rows["fc1.weight"]
    assert figure("net.dcz", min_ratio=1) == Path("net.onnx").stat().st_size / Path("net.dcz").stat().st_size
    exact = sum(row.original for row in dcz.inspect("net.dcz").rows if row.encoding == "stored")
    assert exact == 4 * 128  # the bias of fc1; that of fc2 is too small for a record, and lies in the graph
    assert figure("net.dcz", max_exact=1) == (exact + 4 * 10) / (4 * (64 * 128 + 128 * 10 + 128 + 10))
    assert figure("net.onnx", max_exact=1) == 1 and figure("net.onnx", max_size=1) == Path("net.onnx").stat().st_size


def test_memory_is_that_of_the_limit_of_decompress(folder):
    """The least limit that `load` accepts is the figure."""
    memory = int(figure("net.dcz", max_memory=1))
    dcz.load("net.dcz", max_bytes=memory)
    with pytest.raises(dcz.UnsuitableModel):
        dcz.load("net.dcz", max_bytes=memory - 1)


def test_a_record_that_is_used_twice_is_twice_in_memory(tmp_path):
    same = models.normal(96, 200)
    dcz.compress(models.dense(same, models.normal(200, 96, seed=1), same), tmp_path / "net.dcz", force=True)
    assert len(dcz.inspect(tmp_path / "net.dcz").rows) == 2
    assert figure(tmp_path / "net.dcz", max_memory=1) > 3 * 4 * 96 * 200


@pytest.mark.parametrize("path", ["net.dcz", "net.onnx"])
def test_budgets_hold_at_their_figures_and_not_below(folder, path):
    size = Path(path).stat().st_size
    assert dcz.check(path, max_size=size) and not dcz.check(path, max_size=size - 1)


def test_answers_are_those_of_evaluate(folder):
    dcz.compress("net.onnx", "coarse.dcz", dcz.Settings(bits=1), force=True)
    found = dcz.evaluate("coarse.dcz", "x.npz", labels="y", against="net.onnx")
    assert 0 < found.agreement < 0.99
    samples = {"against": "net.onnx", "data": "x.npz", "labels": "y"}
    verdict = dcz.check("coarse.dcz", min_agreement=found.agreement, min_top1="99%", **samples)
    agreement, top1 = verdict.budgets
    assert (agreement.figure, agreement.holds) == (found.agreement, True)
    assert (top1.figure, top1.holds) == (found.top1, False) and not verdict
    assert agreement.note == "by top class of 60"


@pytest.mark.parametrize("limits, words", [
    ({}, "no budget given"),
    ({"max_growth": "2%"}, "needs baseline"),
    ({"min_agreement": 0.9, "data": "x.npz"}, "needs against"),
    ({"min_agreement": 0.9, "against": "net.onnx"}, "needs data"),
    ({"min_top1": 0.9, "data": "x.npz"}, "needs labels"),
    ({"max_size": 3, "data": "x.npz"}, "data is for min-agreement and min-top1"),
    ({"max_size": "seven"}, "is no size"),
])  # fmt: skip
def test_what_a_limit_lacks_is_told_before_anything_is_read(tmp_path, limits, words):
    with pytest.raises(InvalidArgument, match=words):
        dcz.check(tmp_path / "none.dcz", **limits)


def test_a_ratio_wants_a_file_that_knows_its_source(folder):
    with pytest.raises(InvalidArgument, match="how large its source was"):
        dcz.check("net.onnx", min_ratio=2)


def test_growth_against_an_older_model(folder):
    dcz.compress("net.onnx", "old.dcz", dcz.Settings(bits=2), force=True)
    old, new = Path("old.dcz").stat().st_size, Path("net.dcz").stat().st_size
    assert figure("net.dcz", max_growth="2%", baseline="old.dcz") == (new - old) / old
    assert figure("net.dcz", max_growth=10, baseline="old.dcz") == new - old
    verdict = dcz.check("net.dcz", max_growth="2%", baseline="old.dcz")
    (budget,) = verdict.budgets
    rows = [{row.name: row.huffman for row in dcz.inspect(path).rows} for path in ("net.dcz", "old.dcz")]
    changes = {reason.name: reason.change for reason in budget.reasons}
    assert changes == {name: rows[0][name] - rows[1][name] for name in ("fc1.weight", "fc2.weight")}
    assert list(changes) == ["fc1.weight", "fc2.weight"] and verdict.baseline_bytes == old
    assert dcz.check("old.dcz", max_growth=0, baseline="net.dcz")  # it shrank


def test_growth_of_the_graph_is_a_reason_too(folder):
    old = perceptron()
    new = perceptron()
    new.doc_string = "".join(chr(33 + (i * 7919) % 90) for i in range(9000))
    for name, proto in (("old", old), ("new", new)):
        onnx.save(proto, f"{name}.onnx")
        dcz.compress(f"{name}.onnx", f"{name}.dcz", force=True)
    (budget,) = dcz.check("new.dcz", max_growth=10, baseline="old.dcz").budgets
    (reason,) = budget.reasons
    assert reason.name == "graph and directory" and reason.change == budget.figure


def test_a_new_tensor_is_told_as_new(folder):
    onnx.save(models.dense(models.normal(64, 64)), "old.onnx")
    onnx.save(models.dense(models.normal(64, 64), models.normal(64, 64, seed=1)), "new.onnx")
    for name in ("old", "new"):
        dcz.compress(f"{name}.onnx", f"{name}.dcz", force=True)
    (budget,) = dcz.check("new.dcz", max_growth=0, baseline="old.dcz").budgets
    assert budget.reasons[0].limited_by.startswith("new: ") and budget.reasons[0].change > 1000


def test_models_without_tensors_are_judged(tmp_path):
    dcz.compress(models.bag(), tmp_path / "net.dcz", force=True)
    verdict = dcz.check(tmp_path / "net.dcz", max_exact=0, max_tensor_size=0, max_size="1MB")
    assert verdict and verdict.largest == ()
    dcz.compress(models.bag(models.tensor("a", np.zeros(3, np.float32))), tmp_path / "net.dcz", force=True)
    assert figure(tmp_path / "net.dcz", max_exact=0) == 1


# -- several -----------------------------------------------------------------------------------------------------------


def entry(path: str, **limits) -> Budgeted:
    return Budgeted(path, tuple(parse(name.replace("_", "-"), value) for name, value in limits.items()))


def test_one_file_that_fails_stops_none_of_the_others(folder):
    Path("bad.dcz").write_bytes(b"\x89DCZ\r\n\x1a\nxx")
    verdicts = judge_all([entry("*.dcz", max_size=1), entry("none.onnx", max_size=1), entry("x*.onnx", max_size=1)])
    assert [(verdict.path, verdict.status) for verdict in verdicts] == [
        ("bad.dcz", "error"), ("net.dcz", "missed"), ("none.onnx", "error"), ("x*.onnx", "error"),
    ]  # fmt: skip
    assert common_exit_code(verdicts) == SEVERAL and common_exit_code(verdicts[1:]) == FileAccess.exit_code
    assert common_exit_code(verdicts[1:2]) == 1 and common_exit_code([]) == 0


def test_a_fault_of_dcz_stops_one_file_only(folder, monkeypatch):
    def fail(path):
        raise ZeroDivisionError

    monkeypatch.setattr("dcz.budget.judge.inspect", fail)
    (verdict,) = judge_all([entry("net.dcz", max_size=1)])
    assert "internal error" in verdict.to_dict()["error"] and common_exit_code([verdict]) == 70


def test_warnings_hold(folder):
    limits = (parse("max-size", 1, "warn"), parse("max-size", "1MB"))
    (verdict,) = judge_all([Budgeted("net.dcz", limits)])
    assert verdict and verdict.status == "warning" and [budget.holds for budget in verdict.budgets] == [False, True]
    assert verdict.budgets[0].reasons and common_exit_code([verdict]) == 0


def test_to_dict_has_the_old_keys_and_is_plain(folder):
    import json

    plain = dcz.check("net.dcz", max_size=1, min_ratio=100).to_dict()
    assert {"path", "holds", "budgets", "largest"} <= plain.keys()
    assert {"name", "limit", "figure", "holds"} <= plain["budgets"][0].keys()
    assert plain["largest"][0].keys() == {"name", "shape", "bytes"}
    json.dumps(plain)


def test_a_renamed_tensor_did_not_grow(folder):
    weights = models.normal(64, 64), models.normal(48, 64, seed=1)
    for name, names in (("old", ("a", "b")), ("new", ("a", "c"))):
        tensors = [models.tensor(n, array * (1 + (n == "a" and name == "new"))) for n, array in zip(names, weights)]
        onnx.save(models.bag(*tensors, models.tensor("more", models.normal(8, 200))), f"{name}.onnx")
    onnx.save(models.bag(*tensors, models.tensor("more", models.normal(9, 200))), "new.onnx")
    (budget,) = dcz.check("new.onnx", max_growth=1, baseline="old.onnx").budgets
    assert [reason.name for reason in budget.reasons] == ["more"] and budget.reasons[0].change == 800


def test_a_verdict_prints_itself_shortly_and_as_html(folder):
    size = Path("net.dcz").stat().st_size
    verdict = dcz.check("net.dcz", max_size=5000, min_ratio=2)
    over = f"{size - 5000:,} bytes over the limit of 5,000 bytes"
    assert repr(verdict) == f"<net.dcz: MISSED; max-size {size:,} bytes, {over}>"
    page = verdict._repr_html_()
    assert page.count("<td") >= 8 and "min-ratio" in page and "dcz compress" in page
    evil = "<script>\x1b"
    onnx.save(models.bag(models.tensor(evil, models.normal(20, 20))), "evil.onnx")
    page = dcz.check("evil.onnx", max_exact=0)._repr_html_()
    assert "<script>" not in page and "&lt;script&gt;" in page and "\x1b" not in page


def test_samples_may_be_arrays(folder):
    samples = dict(np.load("x.npz"))
    dcz.compress("net.onnx", "coarse.dcz", dcz.Settings(bits=1))
    given = {"min_agreement": 1, "against": "net.onnx", "min_top1": 1}
    expected = dcz.check("coarse.dcz", data="x.npz", labels="y", **given).budgets
    calls = []
    found = dcz.check(
        "coarse.dcz", data={"x": samples["x"]}, labels=samples["y"], progress=lambda *c: calls.append(c), **given
    )
    assert [budget.figure for budget in found.budgets] == [budget.figure for budget in expected] and calls[-1][1] == 60
    assert "--calibrate SAMPLES.npz --labels LABELS.npy" in found.budgets[1].remedies[0].command
