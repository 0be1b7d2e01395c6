"""Models that answer samples of a data file: `.dcz` or `.onnx`, arrays cut into batches and cast to the inputs' dtypes.

with open_predictor("net.dcz", samples.open_samples("test.npz")) as net:
    net.answers(32, 64)           ->  float64 [32, classes]: the output's rows for these samples
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import files
from ..errors import InvalidArgument, UnsuitableModel
from ..format.container import is_dcz
from ..reading.decompress import decompress
from ..text import counted
from . import runtime
from .compare import graph_kinds
from .kinds import GraphKinds
from .metrics import Measure, answer_output, measure_of, row_per_sample
from .samples import Samples


@contextlib.contextmanager
def open_predictor(
    path: str | os.PathLike[str],
    samples: Samples,
    output: str | None,
    threads: int | None,
    max_bytes: float | str | None = None,
) -> Iterator["Predictor"]:
    """A `.dcz` or `.onnx` model, ready to answer; a `.dcz` is decoded into a temporary file, to `max_bytes` at most.

    Raises DczError.
    """
    with open_session(path, threads, max_bytes) as (session, kinds):
        yield Predictor(os.fspath(path), session, samples, output, kinds)


@contextlib.contextmanager
def open_session(
    path: str | os.PathLike[str], threads: int | None, max_bytes: float | str | None = None
) -> Iterator[tuple[runtime.Session, GraphKinds]]:
    """The same without samples: a session, and what the graph says of its outputs."""
    with files.temporary_folder("dcz-evaluate-") as folder:
        source: str | os.PathLike[str] = path
        if is_dcz(path):
            source = decompress(path, Path(folder, "model.onnx"), threads=threads, max_bytes=max_bytes)
        kinds = graph_kinds(source)  # first: it says of a file of another kind what it is
        yield runtime.session(source, threads or 0, path), kinds


class Predictor:
    """A session and the samples that feed it.

    `output`: the one looked at; where none was named, None until the first answers show which one has rows of classes.
    `kinds`: what the model's graph says of its outputs, None where it is not known. `fixed_batch`: the number of
    samples that the model insists on, or None. `samples`: the arrays of its inputs.
    """

    def __init__(
        self,
        path: str,
        session: runtime.Session,
        samples: Samples,
        output: str | None,
        kinds: GraphKinds | None = None,
    ):
        self.path, self.session, self.output, self.kinds = path, session, output, kinds
        outputs = [value.name for value in session.get_outputs()]
        if output is not None and output not in outputs:
            raise InvalidArgument(f"{path}: has no output {output!r}; it has {', '.join(map(repr, outputs))}")
        self._inputs = session.get_inputs()
        self.samples = samples.of(model_input.name for model_input in self._inputs)
        first_dims = [model_input.shape[0] for model_input in self._inputs if model_input.shape]
        fixed = {dim for dim in first_dims if isinstance(dim, int) and dim > 0}
        if len(fixed) > 1:
            raise UnsuitableModel(f"{path}: its inputs have fixed batches of {sorted(fixed)}, which no samples fill")
        self.fixed_batch: int | None = fixed.pop() if fixed else None
        for model_input in self._inputs:
            runtime.check_shape(path, model_input, self.samples)

    def answers(self, start: int, stop: int) -> np.ndarray:
        """The output for samples start to stop: float64 [stop - start, classes]. See `rows`."""
        return self.rows(np.arange(start, stop))

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """The output for the samples at `indices` (int64 [n]), in one run where the batch is free: float64 [n,
        classes].

        A fixed batch is filled up with the last sample, whose further answers are dropped. Raises InvalidArgument for
        values that the inputs cannot hold and outputs that are no rows of classes, UnsuitableModel where running fails.
        """
        size = self.fixed_batch or len(indices)
        return np.concatenate([self._run(indices[at : at + size], size) for at in range(0, len(indices), size)])

    def _run(self, indices: np.ndarray, size: int) -> np.ndarray:
        outputs = self._outputs(indices, size)
        names = list(outputs)
        if self.output is None:
            self.output = next((name for name in names if row_per_sample(outputs[name], size) is not None), None)
        rows = None if self.output is None else row_per_sample(outputs[self.output], size)
        if rows is None:
            which = "no output is" if self.output is None else f"output {self.output!r} is not"
            shapes = ", ".join(f"{name!r} {_dtype_and_shape(value)}" for name, value in outputs.items())
            raise InvalidArgument(
                f"{self.path}: {which} one row of two or more floats a sample; for {counted(size, 'sample')} it gives "
                f"{shapes}"
            )
        return rows[: len(indices)].astype(np.float64)

    def _outputs(self, indices: np.ndarray, size: int) -> dict[str, Any]:
        """All outputs of one run, by name."""
        names = [value.name for value in self.session.get_outputs()]
        try:
            return dict(zip(names, runtime.run(self.session, self.inputs_of(indices, size)), strict=True))
        except UnsuitableModel as error:
            raise UnsuitableModel(f"{self.path}: samples {indices[0]} to {indices[-1]}: {error}") from error

    def outputs(self, indices: np.ndarray) -> dict[str, Any]:
        """All outputs of one run for the samples at `indices`, by name, without what fills up a fixed batch."""
        size = self.fixed_batch or len(indices)
        found = self._outputs(indices, size)
        return {name: first_samples(output, len(indices), size) for name, output in found.items()}

    def measures(self, outputs: Sequence[object], samples: int | None) -> list[Measure]:
        """The measure of each output of one run, of so many samples."""
        if self.kinds is None:
            return [measure_of(output, samples) for output in outputs]
        return self.kinds.measures([value.name for value in self.session.get_outputs()], outputs, samples)

    def choose_output(self, size: int) -> Measure:
        """Set `output`, where none was named, to the one that holds the model's answers; how it is judged."""
        size = self.fixed_batch or size
        outputs = self._outputs(np.arange(min(size, self.samples.count)), size)
        measures = dict(zip(outputs, self.measures(list(outputs.values()), size), strict=True))
        if self.output is None:
            self.output = list(outputs)[answer_output(list(measures.values()))]
        return measures[self.output]

    def answer(self, indices: np.ndarray) -> list[object]:
        """`output` for the samples at `indices`, run by run, without what fills up a fixed batch."""
        assert self.output is not None  # choose_output has set it
        size = self.fixed_batch or len(indices)
        parts = [indices[at : at + size] for at in range(0, len(indices), size)]
        return [first_samples(self._outputs(part, size)[self.output], len(part), size) for part in parts]

    def inputs_of(self, indices: np.ndarray, size: int) -> runtime.Inputs:
        """The samples at `indices` (int64) in the dtypes of the inputs, filled up to `size` with the last one."""
        indices = np.append(indices, np.repeat(indices[-1:], size - len(indices)))
        arrays = {model_input.name: self.samples.arrays[model_input.name] for model_input in self._inputs}
        batch = {name: array[indices] if array.ndim else array for name, array in arrays.items()}
        return {
            model_input.name: _cast(batch[model_input.name], model_input, self.path, self.samples.path)
            for model_input in self._inputs
        }


def first_samples(output: Any, count: int, size: int) -> Any:
    """The answers to the first `count` of `size` samples; all where an output has no axis of samples."""
    if not hasattr(output, "__len__") or getattr(output, "ndim", 1) == 0 or isinstance(output, dict):
        return output
    return output[: len(output) // size * count] if len(output) % size == 0 else output


def _cast(array: np.ndarray, model_input: runtime.ModelInput, path: str, samples_path: str) -> np.ndarray:
    """A copy in the input's dtype: to floats from any number, to integers from integers that keep their values."""
    dtype = np.dtype(runtime.TYPES.get(model_input.type, np.void))
    where = f"{samples_path}: input {model_input.name!r} of {path}"
    is_text = model_input.type == "tensor(string)" and array.dtype.kind == "U"
    if is_text or (array.dtype.kind in "fiub" and dtype.kind == "f"):
        with np.errstate(over="ignore"):
            cast = np.array(array, None if is_text else dtype)
        if not is_text and (np.isinf(cast) & np.isfinite(array)).any():
            raise InvalidArgument(f"{where} wants {dtype}, which some values overflow")
        return cast
    if array.dtype.kind in "iub" and dtype.kind in "iub":
        cast = np.array(array, dtype)
        if np.array_equal(cast, array):
            return cast
        raise InvalidArgument(f"{where} wants {dtype}, which does not hold all values")
    raise InvalidArgument(f"{where} wants {model_input.type}, the file has {array.dtype}")


def _dtype_and_shape(value: object) -> str:
    return f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
