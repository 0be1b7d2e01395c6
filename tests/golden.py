"""One digest over what dcz makes: for changes that must change nothing.

    python -m tests.golden            compare with tests/golden.json, output by output; exit code 1 where any differs
    python -m tests.golden --write    record what is there now, in a commit that says why

Three kinds of things are recorded. `files`: SHA-256 of files that are the same bytes on every machine (with one version
of zlib). `advised`: of files that calibration or training made, which are reproducible on one machine with one version
of each library. `face`: what users see: the help of every command, `dcz.__all__`, the keys of every `--json`.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy comes: the order of sums in BLAS goes by its threads

import contextlib
import hashlib
import importlib.util
import io
import json
import platform
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

import dcz
from dcz import cli
from tests import models
from tests.networks import perceptron

ROOT = Path(__file__).resolve().parents[1]
RECORDED = Path(__file__).with_suffix(".json")
HAS_TORCH = importlib.util.find_spec("torch") is not None
COMMANDS = cli.COMMANDS

# -- models ------------------------------------------------------------------------------------------------------------


def layered() -> onnx.ModelProto:
    """Three dense layers, one of which repeats another's weights."""
    return models.dense(models.normal(96, 200), models.normal(200, 96, seed=1), models.normal(96, 200))


def tailed(dtype=np.float32) -> onnx.ModelProto:
    """Weights with a few outliers, empty rows and columns, and values that are shared already."""
    random = np.random.default_rng(5)
    outliers = models.normal(64, 128, dtype=dtype)
    outliers[::9, 5] *= dtype(4000)
    holes = (models.normal(128, 64, seed=2) * (random.random((128, 64)) < 0.1)).astype(dtype)
    holes[20:50], holes[:, 7:11] = 0, 0
    shared = random.choice(np.array([-0.5, 0, 0.25, 1], dtype), (64, 32))
    return models.bag(*(models.tensor(name, array) for name, array in zip("abc", (outliers, holes, shared))))


def convolutional() -> onnx.ModelProto:
    """Conv -> BatchNormalization -> Relu, a depthwise one, and a Gemm; 3 x 8 x 8 images, ten classes."""
    random = np.random.default_rng(3)
    shapes = {"w1": (16, 3, 3, 3), "w2": (16, 1, 3, 3), "w3": (16 * 64, 10)}
    tensors = [models.tensor(n, random.normal(0, 0.3, s).astype(np.float32)) for n, s in shapes.items()]
    nodes = []
    for number, (value, groups) in enumerate((("x", 1), ("r1", 16)), 1):
        vectors = ("scale", "shift", "mean", "var")
        names = [f"{each}{number}" for each in vectors]
        arrays = [
            random.uniform(0.5, 2, 16),
            random.normal(size=16),
            random.normal(size=16),
            random.uniform(0.5, 2, 16),
        ]
        tensors += [models.tensor(n, a.astype(np.float32)) for n, a in zip(names, arrays)]
        nodes += [
            helper.make_node("Conv", [value, f"w{number}"], [f"c{number}"], pads=[1] * 4, group=groups),
            helper.make_node("BatchNormalization", [f"c{number}", *names], [f"n{number}"]),
            helper.make_node("Relu", [f"n{number}"], [f"r{number}"]),
        ]
    nodes += [helper.make_node("Flatten", ["r2"], ["f"]), helper.make_node("Gemm", ["f", "w3"], ["y"])]
    return models.model(nodes, {"x": ["n", 3, 8, 8]}, {"y": ["n", 10]}, tensors)


def integers() -> onnx.ModelProto:
    """Tensors that stay exact: of whole numbers, of half bytes, of floats in typed fields, of text."""
    return models.bag(
        models.tensor("ids", np.arange(4000) // 7),
        models.nibbles("nibbles", [60, 50], [-8, 7, 0, 1, 1] * 600),
        models.typed("doubles", models.normal(40, 50, dtype=np.float64)),
        helper.make_tensor("words", TensorProto.STRING, [2], [b"a", b"b"]),
    )


def samples(folder: Path, count: int = 64) -> dict[str, Path]:
    """Inputs for `perceptron` and for `convolutional`, with the original's own answers, one of them wrong, as `y`."""
    made = {}
    for name, proto, shape in (("dense", perceptron(), (64,)), ("conv", convolutional(), (3, 8, 8))):
        x = np.random.default_rng(7).normal(size=(count, *shape)).astype(np.float32)
        y = models.run(proto, x=x)[0].argmax(1)
        y[3] = (y[3] + 1) % 10
        made[name] = folder / f"{name}.npz"
        np.savez(made[name], x=x, y=y)
        onnx.save(proto, folder / f"{name}.onnx")
    return made


# -- what is made ------------------------------------------------------------------------------------------------------

SETTINGS = {
    "default": dcz.Settings(quality=34.0),
    "bits": dcz.Settings(bits=4),
    "forgy": dcz.Settings(bits=3, init="forgy", seed=1),
    "sparsity": dcz.Settings(sparsity=0.8, bits=5),
    "pruned-only": dcz.Settings(sparsity=0.7, share=False),
    "gaps-of-4-bits": dcz.Settings(sparsity=0.9, bits=3, index_bits=4),
    "threshold": dcz.Settings(threshold=1.0, bits=4, init="linear", codebook="float16"),
    "rate": dcz.Settings(rate=3.0),
    "step": dcz.Settings(step=0.2),
    "coarse": dcz.Settings(quality=12.0),
    "fine": dcz.Settings(quality=44.0),
    "lossless": dcz.Settings(lossless=True),
}


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Files that are the same bytes everywhere, under what made them."""
    output = folder / "made.dcz"

    def compressed(model, plan=None, **options) -> bytes:
        return dcz.compress(model, output, plan, **{"threads": 1} | options, force=True).read_bytes()

    for name, settings in SETTINGS.items():
        yield f"layered, {name}", compressed(layered(), settings)
    for name in ("default", "sparsity", "lossless"):
        yield f"tailed, {name}", compressed(tailed(), dcz.Plan(SETTINGS[name], include=("*",)))
    for dtype in (np.float16, np.float64):
        yield f"tailed {np.dtype(dtype)}", compressed(tailed(dtype), dcz.Plan(include=("*",)))
    yield "everything", compressed(models.everything())
    yield "everything, pruned", compressed(models.everything(), SETTINGS["sparsity"])
    for name in models.PLACES:
        yield f"place {name}", compressed(models.place(name))
    yield "folded", compressed(convolutional())
    yield "not folded", compressed(convolutional(), dcz.Plan(fold=False))
    yield "integers", compressed(integers())
    plan = folder / "plan.toml"
    plan.write_text(
        'exclude = ["fc2.bias"]\ninclude = ["fc1.bias"]\n[default]\npreset = "balanced"\n[[rule]]\nmatch = "fc1.*"\n'
        'sparsity = 0.8\nbits = 4\n[[rule]]\nmatch = ["fc2.weight"]\nrate = 5\ncodebook = "float16"\n'
    )
    yield "plan.toml", compressed(perceptron(), plan)

    big = models.dense(models.normal(1024, 4200))  # more than parallel.BIG: its parts are spread over threads
    yield "big, one thread", compressed(big, SETTINGS["sparsity"])
    yield "big, four threads", compressed(big, SETTINGS["sparsity"], threads=4)
    yield "big, default, four threads", compressed(big, threads=4)
    outside = models.save(layered(), folder / "outside.onnx", location="outside.data")
    yield "external data", compressed(outside)
    yield "external data, two workers", compressed(outside, threads=2, workers=2)
    yield "resumed", _resumed(outside, folder / "resumed.dcz")
    yield "to a size", _to_size(layered(), output)

    dcz.compress(models.everything(), output, threads=1, force=True)
    yield "decompressed", dcz.decompress(output, folder / "back.onnx", force=True).read_bytes()
    dcz.compress(outside, output, threads=1, force=True)
    back = dcz.decompress(output, folder / "back.onnx", external_data="always", force=True)
    yield "decompressed to external data", back.read_bytes() + next(folder.glob("back.onnx.*.data")).read_bytes()


def _resumed(model: Path, output: Path) -> bytes:
    """What becomes of a run that is interrupted after its first tensor, and then goes on."""

    def interrupt(name: str, done: int, total: int) -> None:
        if done < total:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        dcz.compress(model, output, threads=1, resume=True, progress=interrupt, force=True)
    assert Path(f"{output}.partial").exists() and not output.exists()
    return dcz.compress(model, output, threads=1, resume=True, force=True).read_bytes()


def _to_size(model, output: Path) -> bytes:
    dcz.compress_to_size(model, output, 30_000, threads=1, force=True)
    return output.read_bytes()


def advised(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Files that samples had a part in, under what made them."""
    data, output = samples(folder), folder / "made.dcz"

    def tuned(name: str, **goal) -> bytes:
        dcz.tune(folder / f"{name}.onnx", output, data[name], threads=1, **goal, force=True)
        return output.read_bytes()

    yield "tuned to a size", tuned("dense", max_bytes=6000)
    yield "tuned to a ratio, folded", tuned("conv", ratio=6)
    yield "tuned to a drop", tuned("conv", max_drop=0.2)
    yield "tuned to a drop of accuracy", tuned("dense", max_drop=0.2, labels="y")
    yield "tuned beyond its bits", tuned("dense", max_bytes=38_000)
    command("sensitivity", "conv.onnx", "--calibrate", "conv.npz", "--plan", "plan.toml", "-f", folder=folder)
    yield "sensitivity's plan", (folder / "plan.toml").read_bytes()
    if HAS_TORCH:
        yield "distilled", tuned("dense", ratio=12, distill=True)
        recipe = dcz.Recipe(sparsity=0.7, bits=3, epochs=3, share_epochs=2, threads=1, learning_rate=3e-3)
        dcz.retrain(folder / "dense.onnx", output, data["dense"], labels="y", recipe=recipe, force=True)
        yield "retrained", output.read_bytes()


# -- what users see ----------------------------------------------------------------------------------------------------


def command(*arguments: str, folder: Path) -> str:
    """What a command prints on stdout, in `folder`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    run = [sys.executable, "-m", "dcz", *arguments]
    return subprocess.run(run, cwd=folder, env=environment, capture_output=True, text=True).stdout


def face(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Help, names and the keys of JSON, under where they are seen."""
    yield "dcz.__all__", "\n".join(sorted(dcz.__all__)).encode()
    for name in ("", *COMMANDS):
        yield f"dcz {name} --help".replace("  ", " "), command(*name.split(), "--help", folder=folder).encode()
    samples(folder)
    few = ["--threads", "1", "--json"]
    runs = {
        "compress": ["compress", "dense.onnx", "-o", "dense.dcz", "-f"],
        "compress, several": ["compress", "dense.onnx", "conv.onnx", "--output-dir", "packed", "-f"],
        "decompress": ["decompress", "dense.dcz", "-o", "back.onnx", "-f"],
        "inspect": ["inspect", "dense.dcz"],
        "inspect, ONNX": ["inspect", "dense.onnx"],
        "verify": ["verify", "dense.dcz", "--against", "dense.onnx", "--deep"],
        "evaluate": ["evaluate", "dense.dcz", "--data", "dense.npz", "--labels", "y", "--against", "dense.onnx"],
        "sensitivity": ["sensitivity", "dense.onnx", "--calibrate", "dense.npz"],
        "check": ["check", "dense.dcz", "--max-size", "1kB", "--min-ratio", "2"],
        "diff": ["diff", "dense.onnx", "dense.dcz", "--data", "dense.npz"],
    }
    if HAS_TORCH:
        fast = ["--epochs", "1", "--share-epochs", "1", "--sparsity", "0.5", "--bits", "4", "-f", "-o", "trained.dcz"]
        runs["retrain"] = ["retrain", "dense.onnx", "--data", "dense.npz", "--labels", "y", *fast]
    for name, arguments in runs.items():
        without_threads = arguments[0] in ("inspect", "check")
        printed = command(*arguments, *(few[2:] if without_threads else few), folder=folder)
        yield f"keys of {name} --json", "\n".join(sorted(_keys(json.loads(printed or "{}")))).encode()


def _keys(value, path: str = "") -> set[str]:
    """The paths of all keys in plain values from JSON; those of a list's items are joined."""
    if isinstance(value, dict):
        return {f"{path}.{key}" for key in value}.union(*(_keys(v, f"{path}.{k}") for k, v in value.items()))
    if isinstance(value, list):
        return set().union(*(_keys(item, f"{path}[]") for item in value))
    return set()


# -- comparing ---------------------------------------------------------------------------------------------------------

KINDS: dict[str, Callable[[Path], Iterator[tuple[str, bytes]]]] = {"files": files, "advised": advised, "face": face}
# What a kind depends on beside dcz: where any of these differs from what is recorded, nothing can be said of it.
DEPENDS = {
    "files": ("zlib",),
    "advised": ("zlib", "numpy", "onnxruntime", "torch", "machine"),
    "face": ("click", "torch"),
}


def conditions() -> dict[str, str]:
    """The versions, and the machine, on which some of the digests depend."""
    found = {name: version(name) for name in ("click", "numpy", "onnxruntime")}
    found["torch"] = version("torch") if HAS_TORCH else "none"
    machine = f"{platform.machine()} {_processor()} {os.environ.get('OPENBLAS_CORETYPE', '')}".strip()
    return found | {"zlib": zlib.ZLIB_RUNTIME_VERSION, "machine": machine}


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":")[1].strip()
    return platform.processor()


def measured() -> dict[str, dict[str, str]]:
    """The SHA-256 of everything, by kind and name."""
    found: dict[str, dict[str, str]] = {}
    for kind, make in KINDS.items():
        with tempfile.TemporaryDirectory(prefix="dcz-golden-") as folder, contextlib.redirect_stderr(io.StringIO()):
            found[kind] = {name: hashlib.sha256(data).hexdigest() for name, data in make(Path(folder))}
    return found


def differences(recorded: dict, found: dict[str, dict[str, str]], here: dict[str, str]) -> tuple[list[str], list[str]]:
    """What differs from what is recorded, and what could not be compared, and why."""
    wrong, skipped = [], []
    for kind, digests in found.items():
        changed = [name for name in DEPENDS[kind] if recorded["conditions"].get(name) != here[name]]
        if changed:
            was = ", ".join(f"{name} {recorded['conditions'].get(name)}, here {here[name]}" for name in changed)
            skipped.append(f"{kind}: recorded with {was}")
            continue
        names = recorded[kind].keys() | digests.keys()
        wrong += [f"{kind}: {name}" for name in sorted(names) if recorded[kind].get(name) != digests.get(name)]
    return wrong, skipped


def digest(found: dict[str, dict[str, str]]) -> str:
    """One SHA-256 over all of them."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def main() -> None:
    """Compare or record; prints the digest over everything."""
    found, here = measured(), conditions()
    print(digest(found), f"over {sum(map(len, found.values()))} outputs")
    if "--write" in sys.argv:
        RECORDED.write_text(json.dumps({"conditions": here, **found}, indent=1, ensure_ascii=False) + "\n")
        return
    wrong, skipped = differences(json.loads(RECORDED.read_text()), found, here)
    for line in skipped:
        print("not compared:", line)
    for line in wrong:
        print("differs:", line)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
