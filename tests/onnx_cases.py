"""Every test case that ONNX has of its operators, through dcz and back: `python -m tests.onnx_cases`, five minutes.

Some 1,900 models, most of one node. Each as it is, with all inputs but the first as initializers, and with all of them:
compressed exactly it comes back to the byte; by default, onnxruntime gives about the same answers; and with
every real tensor shared, however small, what `--as gather` and `--as qdq` write answers as the dense model does.
Faults are listed; with any, the exit code is 1.
"""

import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
from onnx import numpy_helper

import dcz
from dcz.evaluation import runtime

NEAR, EQUAL = 0.1, 1e-5  # of the largest value of an output
INPUTS_LEFT = {"as it is": None, "one input": 1, "no input": 0}  # how many inputs stay inputs
SHARED = {
    "bits": dcz.Plan(min_weights=1, default=dcz.Settings(bits=4)),
    "sparse": dcz.Plan(min_weights=1, default=dcz.Settings(sparsity=0.3, bits=8)),
}

Answers = list[object]  # of onnxruntime: arrays, lists of them, or None


def models() -> Iterator[tuple[str, onnx.ModelProto, dict[str, object]]]:
    """Names, models and the inputs to run these on."""
    with warnings.catch_warnings(action="ignore"):  # of numpy, in the cases' own arithmetic
        from onnx.backend.test.case.node import collect_testcases

        cases = collect_testcases(None)
    for case in cases:
        inputs, _ = case.data_sets[0]
        for way, kept in INPUTS_LEFT.items():
            given = dict(zip((entry.name for entry in case.model.graph.input), inputs, strict=False))
            model = _with_initializers(case.model, given, kept)
            if model is not None:
                yield f"{case.name}, {way}", model, {name: given[name] for name in _inputs(model)}


def _inputs(model: onnx.ModelProto) -> list[str]:
    return [entry.name for entry in model.graph.input]


def _with_initializers(model: onnx.ModelProto, given: dict[str, object], kept: int | None) -> onnx.ModelProto | None:
    """A copy in which all inputs but the first `kept` are initializers; None where one of these is no tensor."""
    names = _inputs(model)[kept:] if kept is not None else []
    if not all(isinstance(given.get(name), np.ndarray) for name in names) or (kept is not None and not names):
        return None
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for name in names:
        copy.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(given[name]), name))
    left = [entry for entry in copy.graph.input if entry.name not in names]
    del copy.graph.input[:]
    copy.graph.input.extend(left)
    return copy


def _answers(path: Path, inputs: dict[str, object]) -> Answers | None:
    """What onnxruntime gives; None where it has no such operator, or refuses the model."""
    try:
        return runtime.session(path, threads=1).run(None, inputs)
    except Exception:  # onnxruntime's errors have no common class
        return None


def _are_alike(expected: object, found: object, tolerance: float) -> bool:
    """Whether two answers are alike: floats within `tolerance` of the largest, anything else the same."""
    if isinstance(expected, list):
        alike = [_are_alike(one, other, tolerance) for one, other in zip(expected, found, strict=True)]
        return all(alike)
    if not isinstance(expected, np.ndarray):
        return repr(expected) == repr(found)
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return False
    if expected.dtype.kind != "f":
        return expected.tolist() == found.tolist()
    finite = np.abs(expected[np.isfinite(expected)])
    largest = float(finite.max()) if finite.size else 0.0
    return np.allclose(expected, found, rtol=tolerance, atol=tolerance * largest, equal_nan=True)


def exactly(model: onnx.ModelProto, folder: Path) -> str:
    """What is wrong with the model compressed exactly; empty where it comes back to the byte."""
    dcz.compress(model, folder / "net.dcz", lossless=True, force=True, threads=1)
    dcz.verify(folder / "net.dcz")
    back = dcz.load(folder / "net.dcz").SerializeToString(deterministic=True)
    return "" if back == model.SerializeToString(deterministic=True) else "is another model"


def by_default(model: onnx.ModelProto, inputs: dict[str, object], folder: Path) -> str | None:
    """What is wrong with the model compressed by default; None where onnxruntime does not run the original."""
    onnx.save(model, folder / "net.onnx")
    expected = _answers(folder / "net.onnx", inputs)
    dcz.compress(folder / "net.onnx", folder / "net.dcz", force=True, threads=1)
    dcz.decompress(folder / "net.dcz", folder / "back.onnx", force=True)
    if expected is None:
        return None
    found = _answers(folder / "back.onnx", inputs)
    if found is None:
        return "does not run"
    return "" if _are_alike(expected, found, NEAR) else "has other answers"


def in_forms(model: onnx.ModelProto, inputs: dict[str, object], plan: dcz.Plan, folder: Path) -> str | None:
    """What is wrong with the forms of the model compressed by `plan`; None where nothing is to be shared, or run."""
    with mock.patch("dcz.model.tensors.INLINE_BYTES", 0), mock.patch("dcz.model.INLINE_BYTES", 0):
        try:
            dcz.compress(model, folder / "net.dcz", plan, force=True, threads=1)
        except dcz.InvalidArgument:  # there are no weights for that plan
            return None
    dcz.decompress(folder / "net.dcz", folder / "back.onnx", force=True)
    expected = _answers(folder / "back.onnx", inputs)
    for form in ("gather", "qdq") if expected is not None else ():
        dcz.decompress(folder / "net.dcz", folder / "form.onnx", form=form, force=True)
        found = _answers(folder / "form.onnx", inputs)
        if found is None or not _are_alike(expected, found, EQUAL):
            return f"as {form} {'does not run' if found is None else 'has other answers'}"
    return None if expected is None else ""


def main(names: Sequence[str]) -> int:
    """Of all cases, or those whose names have one of `names` in them."""
    counts: dict[str, Counter[str]] = {}
    failed = 0
    with tempfile.TemporaryDirectory() as created:
        folder = Path(created)
        for name, model, inputs in models():
            if names and not any(part in name for part in names):
                continue
            checks = {"exactly": lambda m=model: exactly(m, folder)}
            checks["by default"] = lambda m=model, x=inputs: by_default(m, x, folder)
            for kind, plan in SHARED.items():
                checks[f"forms, {kind}"] = lambda m=model, x=inputs, p=plan: in_forms(m, x, p, folder)
            for check, run in checks.items():
                try:
                    wrong = run()
                except Exception as error:
                    wrong = f"{type(error).__name__}: {error}"
                if wrong:
                    print(f"{name}: {check}: {wrong}", flush=True)
                    failed += 1
                told = "not to be run" if wrong is None else "wrong" if wrong else "right"
                counts.setdefault(check, Counter())[told] += 1
    for check, count in counts.items():
        print(f"{check}: {', '.join(f'{number:,} {told}' for told, number in sorted(count.items()))}")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
