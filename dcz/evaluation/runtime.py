"""The only home of `import onnxruntime`: sessions, and runs.

run(session("a.onnx"), {"x": x})  ->  one array an output
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnxruntime

from ..errors import InvalidArgument, UnsuitableModel
from ..files import mapped
from ..tensor import Dtype
from .samples import Samples

BATCH = 32  # samples a run, where a model leaves its batch open
TYPES = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(int16)": np.int16, "tensor(int8)": np.int8,
    "tensor(uint64)": np.uint64, "tensor(uint32)": np.uint32, "tensor(uint16)": np.uint16, "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}  # fmt: skip

_NAMES = {"float32": "float", "float64": "double"}  # of element types, where onnxruntime has others

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
        if (linked := None if isinstance(path, bytes) else _linked_session(path, options)) is not None:
            return linked
        raise UnsuitableModel(f"{name}: onnxruntime cannot load it: {_first_line(error)}") from error


def session_of(
    model: bytes,
    tensors: Mapping[str, tuple[Dtype, tuple[int, ...], np.ndarray]],
    name: str,
    providers: Sequence[Any] | None = None,
    options: onnxruntime.SessionOptions | None = None,
    threads: int | None = None,
) -> Session:
    """A session of a serialized model some of whose initializers are external data: `tensors`, by name their type,
    shape and bytes (uint8, flat). `options` are changed: they get the tensors.

    They are given to onnxruntime before its optimizers run, which may read and replace them. (`add_initializer` would
    put them in at the end, in the place of what an optimizer has made under their names.) `name` is what messages call
    the model. Raises UnsuitableModel where onnxruntime refuses it, InvalidArgument for providers that it does not know.
    """
    known, chosen = onnxruntime.get_available_providers(), list(providers or ["CPUExecutionProvider"])
    unknown = [each for each in chosen if (each if isinstance(each, str) else next(iter(each), None)) not in known]
    if unknown:
        raise InvalidArgument(f"onnxruntime has no provider {unknown[0]!r} here, but {', '.join(known)}")
    if options is None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # refusals reach the caller as exceptions
        options.intra_op_num_threads = threads or 0
    try:
        values = [_value(dtype, shape, data) for dtype, shape, data in tensors.values()]
        options.add_external_initializers(list(tensors), values)
        made = onnxruntime.InferenceSession(model, options, providers=chosen)
    except Exception as error:  # onnxruntime's exceptions have no common base but Exception
        raise UnsuitableModel(f"{name}: onnxruntime cannot load it: {_first_line(error)}") from error
    made.dcz_tensors = values  # alive as long as the session: onnxruntime may refer to them, and does not own them
    return made


def is_numeric(dtype: Dtype) -> bool:
    """Whether tensors of a type can be handed to onnxruntime as arrays."""
    return f"tensor({_NAMES.get(dtype.name, dtype.name)})" in TYPES


def _value(dtype: Dtype, shape: tuple[int, ...], data: np.ndarray) -> onnxruntime.OrtValue:
    """A tensor's bytes for onnxruntime, without a copy."""
    return onnxruntime.OrtValue.ortvalue_from_numpy(data.view(np.dtype(dtype.name)).reshape(shape))


def _linked_session(path: str | os.PathLike[str], options: onnxruntime.SessionOptions) -> Session | None:
    """A session of a model whose external data is reached by links, which some versions of onnxruntime refuse.

    The files are handed to it, mapped. None where there are none, or that is no help.
    """
    from .. import model as onnx_model

    try:
        data = onnx_model.linked_data(path)
        contents = [mapped(real, 0, os.path.getsize(real)) for real in data.values()]
        if not data:
            return None
        options.add_external_initializers_from_files_in_memory(list(data), contents, [len(each) for each in contents])
        with open(path, "rb") as file:
            return onnxruntime.InferenceSession(file.read(), options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 (the first refusal is told)
        return None


def run(model: Session, inputs: Inputs) -> list[np.ndarray]:
    """The outputs for one batch; raises UnsuitableModel where the model refuses it."""
    try:
        return list(model.run(None, inputs))
    except Exception as error:  # as above
        raise UnsuitableModel(f"onnxruntime cannot run the model on these inputs: {_first_line(error)}") from error


def check_shape(path: str, model_input: ModelInput, samples: Samples) -> None:
    """Raise InvalidArgument where an array cannot be batches of what the model wants; [] is what it says for any
    shape."""
    array, shape = samples.arrays[model_input.name], model_input.shape
    fits = len(shape) == array.ndim and all(
        not isinstance(dim, int) or dim in (0, length) for dim, length in zip(shape[1:], array.shape[1:], strict=True)
    )
    if shape and not fits:
        dims = ", ".join("?" if dim is None else str(dim) for dim in shape)
        raise InvalidArgument(
            f"{samples.path}: input {model_input.name!r} of {path} wants the shape [{dims}], the file has "
            f"{list(array.shape)}; save it with the model's axes in their order"
        )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
