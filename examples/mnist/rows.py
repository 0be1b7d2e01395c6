"""One row of the results: dense network -> .dcz -> what its decoded answers are worth.

bench = Bench(Path("build/mnist"))
rows.make(recipes.ROWS[0], bench, Path("out"))  ->  Result
"""

import functools
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnx

import dcz
from dcz import train

from . import data, networks, recipes
from .augment import Copies
from .networks import ARCHITECTURES, Architecture

QUICK = (600, 300)  # digits to train on, and to validate


@dataclass(frozen=True)
class Bench:
    """Where things are made: `work` holds what can be made again. `judge` is "test", or "validation" while recipes are
    being chosen; `quick` takes a few digits and epochs."""

    work: Path
    judge: str = "test"
    quick: bool = False

    def digits(self) -> tuple[data.Digits, data.Digits]:
        """Those to train on, and those to choose by."""
        training, validation = _digits()
        return (training[: QUICK[0]], validation[: QUICK[1]]) if self.quick else (training, validation)

    def samples(self, kind: str, shape: tuple[int, ...]) -> Path:
        """An .npz with the "validation" or "test" digits as a network takes them, x, and their labels, y."""
        path = self.work / f"{kind}-{'x'.join(map(str, shape))}.npz"
        digits = data.test() if kind == "test" else self.digits()[1]
        self.work.mkdir(parents=True, exist_ok=True)
        np.savez(path, x=digits.inputs(shape), y=digits.labels)
        return path

    def dense(self, network: str) -> Path:
        """Where a trained dense network is."""
        return self.work / f"{network}.onnx"


@functools.lru_cache(1)
def _digits():
    return data.training_and_validation()


@dataclass(frozen=True)
class Result:
    """A row, measured. Errors are counts of `samples` digits of the kind `judge`, seconds of wall-clock time;
    `chosen_by` are the errors, shares, of the dense and of the compressed network on the validation digits."""

    network: str
    file: str
    judge: str
    samples: int
    dense_errors: int
    errors: int
    chosen_by: tuple[float, float]
    bytes: int
    dense_bytes: int
    parameters: int
    dense_seconds: float
    seconds: float
    seed: int
    dense_recipe: str
    recipe: str
    notes: tuple[str, ...] = ()


def make(row: recipes.Row, bench: Bench, out: Path) -> Result:
    """Train and compress a network into out / row.file, and measure the decoded file."""
    network = ARCHITECTURES[row.network]
    dense_seconds = train_dense(network, bench)
    dense, path = bench.dense(network.name), out / row.file
    phase = row.compress.quick() if bench.quick else row.compress
    out.mkdir(parents=True, exist_ok=True)
    note = compress(row, phase, bench)
    shutil.copyfile(bench.work / row.file, path)
    samples = bench.samples(bench.judge, network.shape)  # the first look at them, and the only one
    before, after = (dcz.evaluate(model, samples, "y", batch_size=500, threads=1) for model in (dense, path))
    return Result(
        network.name, row.file, bench.judge, after.samples, before.errors, after.errors,
        tuple(note["chosen_by"]), os.path.getsize(path), os.path.getsize(dense), network.parameters,
        dense_seconds, note["seconds"], phase.recipe.seed, str(_dense_phase(network, bench)), str(phase),
        tuple(note["notes"]),
    )  # fmt: skip


def compress(row: recipes.Row, phase: recipes.Phase, bench: Bench) -> dict:
    """Retrain a dense network into bench.work / row.file, and return what there is to say of it.

    One that the same recipes have made on the same digits stays as it is: what was chosen by the validation digits is
    not trained again for the test digits.
    """
    network, path = ARCHITECTURES[row.network], bench.work / row.file
    dense_phase = _dense_phase(network, bench)
    made_by = {"phase": repr(phase), "dense": repr(dense_phase), "digits": len(bench.digits()[0])}
    if (known := _note(path, made_by)) is not None:
        return known
    began = time.perf_counter()
    done = _retrain(network, bench.dense(network.name), path, phase, bench, row.file, "distill")
    found = {"chosen_by": (done.before[1], done.after[1]), "notes": done.notes}
    found |= {"seconds": time.perf_counter() - began}
    _note_of(path).write_text(json.dumps(made_by | found, indent=1))
    return found


def _note_of(path: Path) -> Path:
    """The file beside a network that says what made it."""
    return path.with_suffix(path.suffix + ".json")


def _note(path: Path, made_by: dict) -> dict | None:
    """What is known of a network, if it was made by just this."""
    if not path.exists() or not _note_of(path).exists():
        return None
    known = json.loads(_note_of(path).read_text())
    return known if {key: known.get(key) for key in made_by} == made_by else None


def train_dense(network: Architecture, bench: Bench) -> float:
    """Train a dense network into bench.dense(name), and return the seconds that it took.

    One that the same recipe has made on the same digits stays as it is.
    """
    phase, path = _dense_phase(network, bench), bench.dense(network.name)
    made_by = {"phase": repr(phase), "digits": len(bench.digits()[0])}
    if (known := _note(path, made_by)) is not None:
        return known["seconds"]
    bench.work.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    packed = path.with_suffix(".dense.dcz")
    start = network.make(phase.recipe.seed)
    model = networks.masked(start) if phase.dropout else start
    _retrain(network, model, packed, phase, bench, f"{network.name}, dense", "cross-entropy")
    onnx.save(networks.filled(start, dcz.load(packed)), path)
    packed.unlink()
    seconds = time.perf_counter() - began
    _note_of(path).write_text(json.dumps(made_by | {"seconds": seconds}, indent=1))
    return seconds


def _dense_phase(network: Architecture, bench: Bench) -> recipes.Phase:
    phase = recipes.DENSE[network.name]
    return phase.quick() if bench.quick else phase


def _retrain(network: Architecture, model, output: Path, phase: recipes.Phase, bench: Bench, title: str, loss: str):
    training, validation = bench.digits()
    recipe = phase.recipe
    held, mask = {"x": validation.inputs(network.shape)}, None
    if phase.dropout:
        units = model.graph.input[1].type.tensor_type.shape.dim[1].dim_value
        held["m"], mask = np.ones((len(validation), units), np.float32), (units, phase.dropout)
    copies = Copies(
        training,
        network.shape,
        strengths=phase.strengths,
        clean=phase.clean,
        batch=recipe.batch,
        seed=recipe.seed,
        mask=mask,
    )
    return train.retrain(
        model,
        output,
        copies,
        validation=(held, validation.labels),
        recipe=recipe,
        plan=dcz.Plan(train.BASE, exclude=network.frozen),
        loss=loss,
        progress=functools.partial(_tell, title),
        warn=functools.partial(print, f"{title}:", flush=True),
        force=True,
    )


def _tell(title: str, state: train.Progress) -> None:
    if state.is_end:
        error = "" if state.error is None else f"  validation error {state.error:.2%}"
        zero = f"  zero {state.sparsity:.2%}" if state.sparsity else ""
        print(
            f"{title}: {state.phase} {state.epoch}/{state.epochs}  loss {state.loss:.4f}{error}{zero}"
            f"  about {state.bytes:,} bytes",
            flush=True,
        )


def write_results(results: list[Result], path: Path) -> list[Result]:
    """Put results among those of `path` (JSON), in the recipes' order, and return them all."""
    known = read_results(path) | {result.file: result for result in results}
    order = [row.file for row in recipes.ROWS]
    merged = [known[file] for file in order if file in known]
    path.write_text(json.dumps([asdict(result) for result in merged], indent=1) + "\n")
    return merged


def read_results(path: Path) -> dict[str, Result]:
    """Results by file name; none where there is no such file."""
    if not path.exists():
        return {}
    plain = [Result(**each) for each in json.loads(path.read_text())]
    return {each.file: replace(each, chosen_by=tuple(each.chosen_by), notes=tuple(each.notes)) for each in plain}
