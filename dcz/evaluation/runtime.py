"""The only home of `import onnxruntime`: run models, and compare what they answer.

inputs = random_inputs(session("a.onnx"))
compare("a.onnx", "b.onnx", inputs)  ->  one Difference an output
"""

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from ..errors import BadPlan, UnsuitableModel
from .samples import NAMELESS, open_samples

BATCH = 32  # samples a run, where a model leaves its batch open
_SIZES = (1, 8, 32, 64, 224, 512)  # tried for dims that a model leaves open, other than the batch
TYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(int16)": np.int16, "tensor(int8)": np.int8,
    "tensor(uint64)": np.uint64, "tensor(uint32)": np.uint32, "tensor(uint16)": np.uint16, "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}  # fmt: skip

Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class Difference:
    """How one output of two models differs over all samples.

    `decibels`: the mean square of the first over that of the difference; inf where equal, nan where there was nothing
    to compare. `agreement`: the share of samples (places along all but the last axis) with the same largest entry; None
    for outputs of one entry. Outputs that are no numbers, or differ in shape, agree where they are equal.
    """

    output: str
    decibels: float
    largest: float
    agreement: float | None
    samples: int


def session(
    path: str | os.PathLike | bytes, threads: int = 0, name: str | os.PathLike | None = None
) -> onnxruntime.InferenceSession:
    """An onnxruntime session on the CPU; raises UnsuitableModel, which calls the model `name`, where it cannot load it.

    `path` may also be the model itself, as bytes. `threads`: 0 for all cores.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # refusals reach the caller as exceptions
    options.intra_op_num_threads = threads
    name = name or ("a piece of the model" if isinstance(path, bytes) else path)
    try:
        return onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no common base but Exception
        raise UnsuitableModel(f"{name}: onnxruntime cannot load it: {_first_line(error)}") from error


def run(model: onnxruntime.InferenceSession, inputs: Inputs) -> list[np.ndarray]:
    """The outputs for one batch; raises UnsuitableModel where the model refuses it."""
    try:
        return model.run(None, inputs)
    except Exception as error:  # as above
        raise UnsuitableModel(f"onnxruntime cannot run the model on these inputs: {_first_line(error)}") from error


def load_inputs(path: str | os.PathLike) -> Inputs:
    """The arrays of an .npz file, by input name, mapped where they can be; raises FileAccess or BadPlan."""
    arrays = open_samples(path).arrays
    if NAMELESS in arrays:
        raise BadPlan(f"{path}: not an .npz file of plain arrays, one for each input, by name")
    return dict(arrays)


def random_inputs(model: onnxruntime.InferenceSession, seed: int = 0) -> Inputs:
    """Seeded inputs of shapes that the model accepts, found by trying; raises UnsuitableModel where none is."""
    for batch, size in itertools.product((BATCH, 1), _SIZES):
        random = np.random.default_rng(seed)
        inputs = {}
        for wanted in model.get_inputs():
            if wanted.type not in TYPES:
                raise UnsuitableModel(f"no random values of {wanted.type} for input {wanted.name!r}: give --data")
            dims = [
                d if isinstance(d, int) and d > 0 else (batch if axis == 0 else size)
                for axis, d in enumerate(wanted.shape)
            ]
            inputs[wanted.name] = _random(random, dims, np.dtype(TYPES[wanted.type]))
        try:
            run(model, inputs)
            return inputs
        except UnsuitableModel as error:
            refusal = error
    raise UnsuitableModel(f"no random inputs fit the model ({refusal}): give --data")


def _random(random: np.random.Generator, dims: list[int], dtype: np.dtype) -> np.ndarray:
    if dtype.kind == "f":
        return random.standard_normal(dims).astype(dtype)
    return random.integers(0, 2, dims).astype(dtype)  # 0 and 1 are indices into almost anything


def compare(first: str | os.PathLike, second: str | os.PathLike, inputs: Inputs | None = None) -> list[Difference]:
    """Run two models with the same signature on the same inputs (random ones where None)."""
    a, b = session(first), session(second)
    names = [output.name for output in a.get_outputs()]
    if names != [output.name for output in b.get_outputs()]:
        raise UnsuitableModel(f"{Path(first).name} and {Path(second).name} have different outputs")
    inputs = random_inputs(a) if inputs is None else inputs
    sums = [DifferenceSums() for _ in names]
    for batch in batches(a, inputs):
        for total, x, y in zip(sums, run(a, batch), run(b, batch)):
            total.add(x, y)
    return [total.difference(name) for name, total in zip(names, sums)]


def batches(model: onnxruntime.InferenceSession, inputs: Inputs) -> Iterator[Inputs]:
    """Cut inputs along their first axis into runs that the model takes; raises BadPlan where they do not fit."""
    wanted = {value.name: value for value in model.get_inputs()}
    if missing := wanted.keys() - inputs.keys():
        raise BadPlan(f"the inputs lack {sorted(missing)[0]!r}; the model wants {', '.join(wanted)}")
    chosen = {name: inputs[name] for name in wanted}
    lengths = {len(array) for array in chosen.values() if array.ndim}
    fixed = {v.shape[0] for v in wanted.values() if v.shape and isinstance(v.shape[0], int)}
    length, size = max(lengths, default=1), min(fixed, default=BATCH)
    if len(lengths) != 1 or len(fixed) > 1 or (fixed and length == size) or size < 1:
        yield {name: np.array(array) for name, array in chosen.items()}  # inputs without a batch axis belong together
        return
    if fixed and length % size:
        raise BadPlan(f"{length} samples do not fill the model's batches of {size}")
    for start in range(0, length, size):
        cut = slice(start, start + size)  # copied: arrays of a file lie at odd addresses
        yield {name: np.array(array[cut] if array.ndim else array) for name, array in chosen.items()}


class DifferenceSums:
    """What `compare` adds up over the batches of one output."""

    def __init__(self):
        self.signal = self.error = self.largest = 0.0
        self.same = self.samples = 0
        self.wide = False

    def add(self, x, y) -> None:
        """Outputs of both models for one batch: arrays of any type, or the sequences and maps that some models give."""
        if not isinstance(x, np.ndarray) or x.dtype.kind not in "fiub" or x.shape != np.shape(y):
            self._add_whole(x, y)
        elif x.size:
            self._add_numbers(x.astype(np.float64), y.astype(np.float64))

    def _add_numbers(self, x: np.ndarray, y: np.ndarray) -> None:
        equal = (x == y) | (np.isnan(x) & np.isnan(y))
        off = np.zeros(x.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            off[~equal] = np.abs(x[~equal] - y[~equal])
            off[np.isnan(off)] = np.inf  # a number on one side, none on the other
            self.signal += float(np.square(x[np.isfinite(x)]).sum())
            self.error += float(np.square(off).sum())
        self.largest = max(self.largest, float(off.max()))
        found = rows(x)
        self.wide |= found.shape[1] > 1
        self.same += int((found.argmax(1) == y.reshape(found.shape).argmax(1)).sum())
        self.samples += len(found)

    def _add_whole(self, x, y) -> None:
        """What is no array of numbers, or differs in shape, is equal or not."""
        equal = np.shape(x) == np.shape(y) and bool(np.all(np.asarray(x, object) == np.asarray(y, object)))
        self.wide = True
        self.same += equal
        self.samples += bool(np.size(x) or np.size(y))
        if not equal:
            self.error = self.largest = np.inf

    def difference(self, name: str) -> Difference:
        """What was added up, as figures."""
        if not self.samples:
            return Difference(name, np.nan, np.nan, None, 0)
        with np.errstate(divide="ignore"):
            ratio = np.inf if self.error == 0 else self.signal / self.error
            decibels = float(10 * np.log10(ratio))
        return Difference(name, decibels, self.largest, self.same / self.samples if self.wide else None, self.samples)


def rows(outputs: np.ndarray) -> np.ndarray:
    """Outputs as one row of classes a sample: trailing axes of length 1 are set aside, as of [n, 1000, 1, 1]."""
    shape = list(outputs.shape)
    while len(shape) > 2 and shape[-1] == 1:
        shape.pop()
    return outputs.reshape(-1, shape[-1]) if len(shape) > 1 else outputs.reshape(1, -1)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
