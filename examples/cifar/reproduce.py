"""Prune, share and retrain a pretrained ResNet-32 on 8,000 images of CIFAR-10, and measure the files.

    python -m examples.cifar.reproduce                    all rows (make reproduce-retrain)
    python -m examples.cifar.reproduce --only "90 % zeros"  one of them

Needs PyTorch, and the network and images, which are looked for in $DCZ_DATA, then in ../shared/data beside the
repository: nets/cifar10_resnet32.onnx, cifar/train8000.npz and cifar/test2000.npz (`x` uint8 [n, 32, 32, 3], `y`).
The learning rate of pruning is not given: dcz finds one. A tenth of the training images chooses the best epoch; the
test images judge the decoded file, once a row. It writes RESULTS.md and results.json beside this file.
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
import onnx

import dcz
from dcz import model as onnx_model

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DATA = Path(os.environ.get("DCZ_DATA", ROOT.parent / "shared" / "data"))
WORK = ROOT / "build" / "cifar"  # git ignores it
PIXELS = "imagenet"  # the range that the network takes for pixels of 0 to 255
COMMON = {
    "bits": 4, "share_rate": 0.001, "pixels": PIXELS, "augment": "flip,shift=4", "drop_idle": False, "threads": 1,
}  # fmt: skip
OPTIONS = ("sparsity", "bits", "epochs", "share_epochs", "share_rate", "reassign")  # that a row's command is told by


@dataclass(frozen=True)
class Row:
    """A file to make: its recipe, and the error and ratio that were hoped for. `is_folded`: of the network whose
    normalizations are folded away; `is_labelled`: whether labels train it, or the network's own answers alone."""

    name: str
    recipe: dict[str, Any]
    error: float
    ratio: float
    is_folded: bool = False
    is_labelled: bool = True

    @property
    def options(self) -> str:
        """Its own options of the command."""
        pairs = [(name, self.recipe[name]) for name in OPTIONS if name in self.recipe]
        return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in pairs)


ROWS = (
    Row("80 % zeros", {**COMMON, "sparsity": 0.8, "epochs": 8, "share_epochs": 3}, 0.19, 24),
    Row("90 % zeros", {**COMMON, "sparsity": 0.9, "epochs": 14, "share_epochs": 4}, 0.20, 40),
    Row("95 % zeros", {**COMMON, "sparsity": 0.95, "epochs": 16, "share_epochs": 6, "reassign": 0.012}, 0.22, 65),
    Row("80 % zeros, folded", {**COMMON, "sparsity": 0.8, "epochs": 8, "share_epochs": 3}, 0.195, 24, is_folded=True),
    Row(
        "80 % zeros, no labels",
        {**COMMON, "sparsity": 0.8, "epochs": 8, "share_epochs": 3},
        0.195,
        24,
        is_labelled=False,
    ),
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 1 with a sentence where it cannot."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=[row.name for row in ROWS], help="one row")
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
        if given.only in (None, row.name):
            known[row.name] = measured(row, network, train, test)
            results.write_text(json.dumps(known, indent=1) + "\n")
    (given.out / "RESULTS.md").write_text(page(before, known))
    return 0


def measured(row: Row, network: Path, train: Path, test: Path) -> dict[str, Any]:
    """Make the file of a row, and measure it."""
    WORK.mkdir(parents=True, exist_ok=True)
    name = row.name.replace(" % zeros", "").replace(", ", "-")
    path, images, began = WORK / f"{name}.dcz", np.load(train), time.process_time()
    given = folded(network, WORK / "folded.onnx") if row.is_folded else network
    labels = images["y"].astype(np.int64) if row.is_labelled else None
    result = dcz.retrain(
        given, path, {"data": images["x"]}, labels=labels, loss="distill",
        recipe=dcz.Recipe(**row.recipe),
        checkpoint=path.with_suffix(".checkpoint"), warn=lambda message: print(message, file=sys.stderr), force=True,
    )  # fmt: skip
    dcz.decompress(path, path.with_suffix(".onnx"), force=True)
    error, count = error_of(path.with_suffix(".onnx"), test), len(np.load(test)["y"])
    assert result.before is not None and result.pruned is not None and result.decoded is not None
    return {
        "bytes": path.stat().st_size,
        "ratio": given.stat().st_size / path.stat().st_size,
        "validation": [result.before[1], result.pruned[1], result.decoded[1]],
        "test": error,
        "interval": wilson(error, count),
        "minutes": round((time.process_time() - began) / 60),
        "notes": list(result.notes),
    }


def folded(network: Path, path: Path) -> Path:
    """The network with its normalizations folded away, as most exporters write it."""
    model = onnx_model.from_proto(onnx.load(network))
    onnx_model.fold_batchnorms(model)
    onnx.save(model.proto, path)
    return path


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
        "The same by hand, with the images as `data` (a row without minutes was made by the same training, but in",
        "steps and from a checkpoint, beside other work):",
        "`dcz retrain cifar10_resnet32.onnx --data train.npz --labels y --distill --pixels imagenet --keep-idle",
        "--threads 1 --augment flip,shift=4`, with the options of the row.",
        "",
        "The test images were looked at once a row, when its recipe was chosen by validation. Of 95 % zeros, two ways",
        "to share were tried on one pruned network: four epochs at 0.015 a bit came to 20.25 % in validation.",
        "",
        "The images are a JPEG copy, on which the network, trained on the originals, errs more. Labels teach it the",
        "copy, which its own answers do not. Without labels (no `--labels y`) there is no error to validate by.",
        "",
        "| | validation | test | of the file (95 %) | bytes | ratio | hoped for | processor minutes | options |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        if row.name in known:
            found = known[row.name]
            validation = ", ".join("-" if error is None else f"{error:.2%}" for error in found["validation"])
            low, high = found["interval"]
            lines.append(
                f"| {row.name} | {validation} | {found['test']:.2%} | {low:.1%} to {high:.1%} | {found['bytes']:,} | "
                f"{found['ratio']:.1f} | {100 * row.error:g} % at {row.ratio}x | {found.get('minutes', '-')} | "
                f"`{row.options}` |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
