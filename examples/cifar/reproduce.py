"""Prune, share and retrain a pretrained ResNet-32 on 8,000 images of CIFAR-10, and measure the files.

    python -m examples.cifar.reproduce                    both rows (make reproduce-retrain)
    python -m examples.cifar.reproduce --only "90 %"      one of them

Needs PyTorch, and the network and images, which are looked for in $DCZ_DATA, then in ../shared/data beside the
repository: nets/cifar10_resnet32.onnx, cifar/train8000.npz and cifar/test2000.npz (`x` uint8 [n, 32, 32, 3], `y`).
No learning rate is given: dcz finds one. A tenth of the training images chooses the best epoch; the test images judge
the decoded file, once a row. It writes RESULTS.md and results.json beside this file.
"""

import argparse
import json
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import dcz

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DATA = Path(os.environ.get("DCZ_DATA", ROOT.parent / "shared" / "data"))
WORK = ROOT / "build" / "cifar"  # git ignores it
PIXELS = "imagenet"  # the range that the network takes for pixels of 0 to 255
COMMON = {
    "bits": 4, "share_epochs": 2, "pixels": PIXELS, "augment": "flip,shift=4", "drop_idle": False, "threads": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A file to make: its recipe, and the error and ratio that were hoped for."""

    name: str
    recipe: dict[str, Any]
    error: float
    ratio: float


ROWS = (
    Row("80 % zeros, 4 bits", {**COMMON, "sparsity": 0.8, "epochs": 9, "reassign": 0.005}, 0.19, 24),
    Row("90 % zeros, 3 bits", {**COMMON, "sparsity": 0.9, "bits": 3, "epochs": 10}, 0.20, 40),
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 1 with a sentence where it cannot."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=[row.name[:4] for row in ROWS], help="one row")
    parser.add_argument("--out", type=Path, default=HERE, metavar="FOLDER", help="default: examples/cifar")
    given = parser.parse_args(arguments)
    network, train, test = (
        DATA / name for name in ("nets/cifar10_resnet32.onnx", "cifar/train8000.npz", "cifar/test2000.npz")
    )
    missing = [path for path in (network, train, test) if not path.exists()]
    if missing:
        print(f"reproduce: {missing[0]} is not there: set DCZ_DATA to the folder that has it", file=sys.stderr)
        return 1
    results = given.out / "results.json"
    known = json.loads(results.read_text()) if results.exists() else {}
    before = error_of(network, test)
    for row in ROWS:
        if given.only in (None, row.name[:4]):
            known[row.name] = measured(row, network, train, test)
            results.write_text(json.dumps(known, indent=1) + "\n")
    (given.out / "RESULTS.md").write_text(page(before, known))
    return 0


def measured(row: Row, network: Path, train: Path, test: Path) -> dict[str, Any]:
    """Make the file of a row, and measure it."""
    WORK.mkdir(parents=True, exist_ok=True)
    path, images, began = WORK / f"{row.name[:2]}.dcz", np.load(train), time.process_time()
    result = dcz.retrain(
        network, path, {"data": images["x"]}, labels=images["y"].astype(np.int64), loss="distill",
        recipe=dcz.Recipe(**row.recipe),
        checkpoint=path.with_suffix(".checkpoint"), warn=lambda message: print(message, file=sys.stderr), force=True,
    )  # fmt: skip
    dcz.decompress(path, path.with_suffix(".onnx"), force=True)
    error, count = error_of(path.with_suffix(".onnx"), test), len(np.load(test)["y"])
    assert result.before is not None and result.pruned is not None and result.decoded is not None
    return {
        "bytes": path.stat().st_size,
        "ratio": network.stat().st_size / path.stat().st_size,
        "validation": [result.before[1], result.pruned[1], result.decoded[1]],
        "test": error,
        "interval": wilson(error, count),
        "minutes": round((time.process_time() - began) / 60),
        "notes": list(result.notes),
    }


def error_of(network: Path, test: Path) -> float:
    """The error of a network on the test images, by onnxruntime."""
    import onnxruntime

    images = np.load(test)
    x = images["x"].astype(np.float32) / 255
    x = (x - np.array([0.485, 0.456, 0.406], np.float32)) / np.array([0.229, 0.224, 0.225], np.float32)
    session = onnxruntime.InferenceSession(str(network), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"data": np.ascontiguousarray(x.transpose(0, 3, 1, 2))})
    return float((logits.argmax(1) != images["y"]).mean())


def wilson(share: float, count: int, deviations: float = 1.96) -> tuple[float, float]:
    """The interval of 95 % confidence of a share of `count` (Wilson, "Probable inference", 1927)."""
    square = deviations**2 / count
    middle, half = share + square / 2, deviations * math.sqrt(share * (1 - share) / count + square / (4 * count))
    return (middle - half) / (1 + square), (middle + half) / (1 + square)


def page(before: float, known: dict[str, Any]) -> str:
    """RESULTS.md."""
    lines = [
        "# ResNet-32 on 8,000 images of CIFAR-10",
        "",
        "What `make reproduce-retrain` makes, seed 0. Validation errors are of 800 of the training images: before,",
        f"pruned, and of the file; the network was trained on them. Of 2,000 test images it errs on {before:.2%}.",
        "",
        "The same by hand, and how what is below was made, with the images as `data`:",
        "`dcz retrain cifar10_resnet32.onnx --data train.npz --labels y --distill --pixels imagenet --keep-idle",
        "--threads 1 --augment flip,shift=4` with",
        "`--sparsity 80% --bits 4 --epochs 9 --share-epochs 2 --reassign 0.005` or",
        "`--sparsity 90% --bits 3 --epochs 10 --share-epochs 2`.",
        "",
        "| | validation | test | of the file (95 %) | bytes | ratio | hoped for | processor minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        if row.name in known:
            found = known[row.name]
            validation = ", ".join(f"{error:.2%}" for error in found["validation"])
            low, high = found["interval"]
            lines.append(
                f"| {row.name} | {validation} | {found['test']:.2%} | {low:.1%} to {high:.1%} | {found['bytes']:,} | "
                f"{found['ratio']:.1f} | {row.error:.0%} at {row.ratio}x | {found.get('minutes', '-')} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
