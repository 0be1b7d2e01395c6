"""The only home of `import onnxruntime`: run models, and compare what they answer.

inputs = random_inputs(session("a.onnx"))
compare("a.onnx", "b.onnx", inputs)  ->  one OutputDifference an output
"""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import onnxruntime

from ..errors import InvalidArgument, UnsuitableModel
from .metrics import DifferenceSums, OutputDifference
from .samples import NAMELESS, open_samples

BATCH = 32  # samples a run, where a model leaves its batch open
OPEN_DIM_SIZES = (1, 8, 32, 64, 224, 512)  # tried for dims that a model leaves open, other than the batch
TYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(int16)": np.int16, "tensor(int8)": np.int8,
    "tensor(uint64)": np.uint64, "tensor(uint32)": np.uint32, "tensor(uint16)": np.uint16, "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}  # fmt: skip

Inputs = dict[str, np.ndarray]
Session: TypeAlias = onnxruntime.InferenceSession
ModelInput: TypeAlias = onnxruntime.NodeArg  # name, shape and type of an input


def session(
    path: str | os.PathLike[str] | bytes, threads: int = 0, name: str | os.PathLike[str] | None = None
) -> Session:
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


def run(model: Session, inputs: Inputs) -> list[np.ndarray]:
    """The outputs for one batch; raises UnsuitableModel where the model refuses it."""
    try:
        return list(model.run(None, inputs))
    except Exception as error:  # as above
        raise UnsuitableModel(f"onnxruntime cannot run the model on these inputs: {_first_line(error)}") from error


def load_inputs(path: str | os.PathLike[str]) -> Inputs:
    """The arrays of an .npz file, by input name, mapped where they can be; raises FileAccess or InvalidArgument."""
    arrays = open_samples(path).arrays
    if NAMELESS in arrays:
        raise InvalidArgument(f"{path}: not an .npz file of plain arrays, one for each input, by name")
    return dict(arrays)


def random_inputs(model: Session, seed: int = 0) -> Inputs:
    """Seeded inputs of shapes that the model accepts, found by trying; raises UnsuitableModel where none is."""
    for batch, size in itertools.product((BATCH, 1), OPEN_DIM_SIZES):
        inputs = _random_inputs(model, np.random.default_rng(seed), batch, size)
        try:
            run(model, inputs)
            return inputs
        except UnsuitableModel as error:
            refusal = error
    raise UnsuitableModel(f"no random inputs fit the model ({refusal}): give --data")


def _random_inputs(model: Session, random: np.random.Generator, batch: int, size: int) -> Inputs:
    """Inputs of `batch` samples, other open dims being of this `size`; raises UnsuitableModel for types of no numbers.

    Integers are 0 and 1, which are indices into almost anything.
    """
    inputs = {}
    for model_input in model.get_inputs():
        if model_input.type not in TYPES:
            raise UnsuitableModel(f"no random values of {model_input.type} for input {model_input.name!r}: give --data")
        dims = [
            dim if isinstance(dim, int) and dim > 0 else (batch if axis == 0 else size)
            for axis, dim in enumerate(model_input.shape)
        ]
        dtype = np.dtype(TYPES[model_input.type])
        numbers = random.standard_normal(dims) if dtype.kind == "f" else random.integers(0, 2, dims)
        inputs[model_input.name] = numbers.astype(dtype)
    return inputs


def compare(
    first: str | os.PathLike[str], second: str | os.PathLike[str], inputs: Inputs | None = None
) -> list[OutputDifference]:
    """Run two models with the same signature on the same inputs (random ones where None).

    Raises UnsuitableModel for models that cannot run, or have different outputs; InvalidArgument as `batches` does.
    """
    first_session, second_session = session(first), session(second)
    names = [output.name for output in first_session.get_outputs()]
    if names != [output.name for output in second_session.get_outputs()]:
        raise UnsuitableModel(f"{Path(first).name} and {Path(second).name} have different outputs")
    inputs = random_inputs(first_session) if inputs is None else inputs
    sums = [DifferenceSums() for _ in names]
    for batch in batches(first_session, inputs):
        outputs = run(first_session, batch), run(second_session, batch)
        for output_sums, x, y in zip(sums, *outputs, strict=True):
            output_sums.add(x, y)
    return [output_sums.difference(name) for name, output_sums in zip(names, sums, strict=True)]


def batches(model: Session, inputs: Inputs) -> Iterator[Inputs]:
    """Cut inputs along their first axis into runs that the model takes; raises InvalidArgument where they do not
    fit."""
    model_inputs = {model_input.name: model_input for model_input in model.get_inputs()}
    if missing := model_inputs.keys() - inputs.keys():
        raise InvalidArgument(f"the inputs lack {min(missing)!r}; the model wants {', '.join(model_inputs)}")
    arrays = {name: inputs[name] for name in model_inputs}
    lengths = {len(array) for array in arrays.values() if array.ndim}
    first_dims = [model_input.shape[0] for model_input in model_inputs.values() if model_input.shape]
    fixed = {dim for dim in first_dims if isinstance(dim, int)}
    length, size = max(lengths, default=1), min(fixed, default=BATCH)
    if len(lengths) != 1 or len(fixed) > 1 or (fixed and length == size) or size < 1:
        yield {name: np.array(array) for name, array in arrays.items()}  # inputs without a batch axis belong together
        return
    if fixed and length % size:
        raise InvalidArgument(f"{length} samples do not fill the model's batches of {size}")
    for start in range(0, length, size):
        part = slice(start, start + size)  # copied: arrays of a file lie at odd addresses
        yield {name: np.array(array[part] if array.ndim else array) for name, array in arrays.items()}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
