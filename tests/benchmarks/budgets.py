"""Sizes asked for, and sizes given: `dcz compress --max-size` on five networks, ten budgets each.

    python tests/benchmarks/budgets.py

Budgets go from a thirtieth of the model to a third of it, in equal ratios. Undershoot is the share of the budget that
stays unused; where it is above one percent, the best quality takes no more, or the file's size has steps (see the
note).
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from agreement import DATA
from subjects import Missing, ocr_models, package

import dcz
from dcz.compression.size_search import TOLERANCE
from dcz.errors import BadPlan

BUDGETS = 10
LARGEST, SMALLEST = 3, 30  # times smaller than the model


def networks() -> list[Path]:
    """The models at hand."""
    places = [
        lambda: DATA / "nets" / "squeezenet_v1.1.onnx",
        lambda: next((package("magika") / "models").glob("*/model.onnx")),
        lambda: ocr_models() / "ch_PP-OCRv4_rec_infer.onnx",
        lambda: ocr_models() / "ch_PP-OCRv4_det_infer.onnx",
        lambda: ocr_models() / "ch_ppocr_mobile_v2.0_cls_infer.onnx",
    ]
    found = []
    for place in places:
        try:
            found += [path] if (path := place()).is_file() else []
        except Missing as missing:
            print(f"left out: {missing} is not at hand")
    return found


def row(path: Path, budget: int, packed: Path) -> str:
    """A row of the table."""
    tried, began = [], time.perf_counter()
    packed.unlink(missing_ok=True)
    label = f"| {path.stem} | {budget:,} "
    try:
        dcz.compress_to_size(path, packed, budget, trial=tried.append, force=True)
    except BadPlan as refusal:
        return label + f"| - | refused | | {len(tried)} | {time.perf_counter() - began:.1f} | {refusal} |"
    nbytes, seconds = packed.stat().st_size, time.perf_counter() - began
    unused = 1 - nbytes / budget
    met = "yes" if unused <= TOLERANCE else "short" if unused > 0 else "NO"
    assert nbytes <= budget, f"{path.name}: {nbytes} bytes for a budget of {budget}"
    chosen = max(tried, key=lambda trial: (trial.nbytes <= budget, trial.nbytes))
    return (
        label
        + f"| {nbytes:,} | {met} | {100 * unused:.2f} % | {len(tried)} | {seconds:.1f} | {chosen.quality:.2f} dB |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path)
    print("| model | budget | file | met | unused | trials | s | |\n|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for path in parser.parse_args().models or networks():
            for ratio in np.geomspace(SMALLEST, LARGEST, BUDGETS):
                print(row(path, int(path.stat().st_size / ratio), Path(folder, "net.dcz")), flush=True)


if __name__ == "__main__":
    main()
