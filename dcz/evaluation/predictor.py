"""Models that answer samples of a data file: `.dcz` or `.onnx`, arrays cast and cut to what the inputs want.

with open_predictor("net.dcz", samples.open_samples("test.npz")) as net:
    net.answers(32, 64)           ->  float64 [32, classes]: the output's rows for these samples
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .. import files
from ..errors import BadPlan, UnsuitableModel
from ..format.container import is_dcz
from ..reading.decompress import decompress
from . import runtime
from .samples import Samples


@contextlib.contextmanager
def open_predictor(
    path: str | os.PathLike, samples: Samples, output: str | None, threads: int | None
) -> Iterator["Predictor"]:
    """A `.dcz` or `.onnx` model, ready to answer; a `.dcz` is decoded into a temporary file. Raises DczError."""
    with files.temporary_folder("dcz-evaluate-") as folder:
        source = path
        if is_dcz(path):
            source = decompress(path, Path(folder, "model.onnx"), threads=threads)
        yield Predictor(os.fspath(path), runtime.session(source, threads or 0, path), samples, output)


class Predictor:
    """A session and the samples that feed it.

    `output`: the one looked at; where none was named, None until the first answers show which one has rows of classes.
    `fixed`: the batch that the model insists on, or None. `samples`: the arrays of its inputs.
    """

    def __init__(self, path: str, session, samples: Samples, output: str | None):
        self.path, self.session, self.output = path, session, output
        outputs = [value.name for value in session.get_outputs()]
        if output is not None and output not in outputs:
            raise BadPlan(f"{path}: has no output {output!r}; it has {', '.join(map(repr, outputs))}")
        self.inputs = session.get_inputs()
        self.samples = samples.of(wanted.name for wanted in self.inputs)
        fixed = {w.shape[0] for w in self.inputs if w.shape and isinstance(w.shape[0], int) and w.shape[0] > 0}
        if len(fixed) > 1:
            raise UnsuitableModel(f"{path}: its inputs have fixed batches of {sorted(fixed)}, which no samples fill")
        self.fixed = fixed.pop() if fixed else None
        for wanted in self.inputs:
            _check_shape(path, wanted, self.samples)

    def answers(self, start: int, stop: int) -> np.ndarray:
        """The output for samples start to stop: float64 [stop - start, classes]. See `rows`."""
        return self.rows(np.arange(start, stop))

    def rows(self, chosen: np.ndarray) -> np.ndarray:
        """The output for the chosen samples (int64), in one run where the batch is free: float64 [chosen, classes].

        A fixed batch is filled up with the last sample, whose further answers are dropped. Raises BadPlan for values
        that the inputs cannot hold and outputs that are no rows of classes, UnsuitableModel where running fails.
        """
        size = self.fixed or len(chosen)
        return np.concatenate([self._run(chosen[at : at + size], size) for at in range(0, len(chosen), size)])

    def _run(self, chosen: np.ndarray, size: int) -> np.ndarray:
        batch = self.batch(chosen, size)
        try:
            found = dict(zip((o.name for o in self.session.get_outputs()), runtime.run(self.session, batch)))
        except UnsuitableModel as error:
            raise UnsuitableModel(f"{self.path}: samples {chosen[0]} to {chosen[-1]}: {error}") from error
        if self.output is None:
            self.output = next((name for name, value in found.items() if _rows(value, size) is not None), None)
        rows = None if self.output is None else _rows(found[self.output], size)
        if rows is None:
            which = "no output is" if self.output is None else f"output {self.output!r} is not"
            shapes = ", ".join(f"{name!r} {_described(value)}" for name, value in found.items())
            raise BadPlan(
                f"{self.path}: {which} one row of two or more floats a sample; for {size} samples it gives {shapes}"
            )
        return rows[: len(chosen)].astype(np.float64)

    def batch(self, chosen: np.ndarray, size: int) -> runtime.Inputs:
        """The chosen samples (int64) as the inputs want them, filled up to `size` with the last one."""
        chosen = np.append(chosen, np.repeat(chosen[-1:], size - len(chosen)))
        arrays = {wanted.name: self.samples.arrays[wanted.name] for wanted in self.inputs}
        cut = {name: array[chosen] if array.ndim else array for name, array in arrays.items()}
        return {wanted.name: _cast(cut[wanted.name], wanted, self.path, self.samples.path) for wanted in self.inputs}


def _check_shape(path: str, wanted, samples: Samples) -> None:
    """Raise BadPlan where an array cannot be batches of what the model wants; [] is what it says for any shape."""
    array = samples.arrays[wanted.name]
    fits = len(wanted.shape) == array.ndim and all(
        not isinstance(dim, int) or dim in (0, length) for dim, length in zip(wanted.shape[1:], array.shape[1:])
    )
    if wanted.shape and not fits:
        dims = ", ".join("?" if dim is None else str(dim) for dim in wanted.shape)
        raise BadPlan(
            f"{samples.path}: input {wanted.name!r} of {path} wants the shape [{dims}], the file has "
            f"{list(array.shape)}; save it with the model's axes in their order"
        )


def _cast(array: np.ndarray, wanted, path: str, data_path: str) -> np.ndarray:
    """A copy as the input's dtype: to floats from any number, to integers from integers that stay what they are."""
    dtype = np.dtype(runtime.TYPES.get(wanted.type, np.void))
    text = wanted.type == "tensor(string)" and array.dtype.kind == "U"
    if text or (array.dtype.kind in "fiub" and dtype.kind == "f"):
        with np.errstate(over="ignore"):
            made = np.array(array, None if text else dtype)
        if not text and (np.isinf(made) & np.isfinite(array)).any():
            raise BadPlan(f"{data_path}: input {wanted.name!r} of {path} wants {dtype}, which some values overflow")
        return made
    if array.dtype.kind in "iub" and dtype.kind in "iub":
        made = np.array(array, dtype)
        if np.array_equal(made, array):
            return made
        raise BadPlan(f"{data_path}: input {wanted.name!r} of {path} wants {dtype}, which does not hold all values")
    raise BadPlan(f"{data_path}: input {wanted.name!r} of {path} wants {wanted.type}, the file has {array.dtype}")


def _rows(outputs, samples: int) -> np.ndarray | None:
    """An output as [samples, classes], without axes of length 1, as of [n, 1000, 1, 1]; None for no such rows."""
    if not isinstance(outputs, np.ndarray) or outputs.dtype.kind != "f" or outputs.shape[:1] != (samples,):
        return None
    classes = [dim for dim in outputs.shape[1:] if dim != 1]
    return outputs.reshape(samples, classes[0]) if len(classes) == 1 and classes[0] else None


def _described(value) -> str:
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
