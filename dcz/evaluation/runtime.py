"""The only home of `import onnxruntime`: sessions, and runs.

run(session("a.onnx"), {"x": x})  ->  one array an output
"""

import contextlib
import ctypes
import os
import re
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import onnxruntime

from ..errors import FileAccess, InvalidArgument, UnsuitableModel
from ..files import mapped
from ..tensor import Dtype
from .casting import TYPES
from .libraries import check_whole
from .piped import read_through_pipe

if TYPE_CHECKING:
    from ..model import Loadable

__all__ = [
    "BATCH", "TYPES", "Inputs", "ModelInput", "Ops", "Session", "custom_ops", "declared_inputs", "give_back_memory",
    "is_numeric", "loaded", "reads_pipes", "run", "session", "session_of", "session_of_stream",
]  # fmt: skip
CPU = ["CPUExecutionProvider"]
BATCH = 32  # samples a run, where a model leaves its batch open
UNKNOWN_OPERATOR = ("is not a registered function/op", "No Op registered for")  # in what onnxruntime says
_NAMES = {"float32": "float", "float64": "double"}  # of element types, where onnxruntime has others

# A context, as what the libraries define must be known wherever a session is made, however deep in a command.
_ops: ContextVar[tuple[str, ...]] = ContextVar("ops", default=())

Ops: TypeAlias = Iterable[str | os.PathLike[str]]  # libraries of custom operators
Inputs = dict[str, np.ndarray]
Session: TypeAlias = onnxruntime.InferenceSession
ModelInput: TypeAlias = onnxruntime.NodeArg  # name, shape and type of an input


def session(
    path: str | os.PathLike[str] | bytes, threads: int = 0, name: str | os.PathLike[str] | None = None
) -> Session:
    """An onnxruntime session on the CPU; raises UnsuitableModel, which calls the model `name`, where it cannot load it.

    `path` may also be the model itself, as bytes. `threads`: 0 for all cores.
    """
    options = _options(threads)
    name = name or ("a piece of the model" if isinstance(path, bytes) else path)
    try:
        return onnxruntime.InferenceSession(os.fspath(path), options, providers=CPU)
    except Exception as error:  # onnxruntime's exceptions have no common base but Exception
        if (linked := None if isinstance(path, bytes) else _linked_session(path, options)) is not None:
            return linked
        raise UnsuitableModel(f"{name}: onnxruntime cannot load it: {_refusal(error)}") from error


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
    known, chosen = onnxruntime.get_available_providers(), list(providers or CPU)
    unknown = [each for each in chosen if (each if isinstance(each, str) else next(iter(each), None)) not in known]
    if unknown:
        raise InvalidArgument(f"onnxruntime has no provider {unknown[0]!r} here, but {', '.join(known)}")
    return _with_tensors(model, tensors, name, chosen, _completed(options, threads))


def _with_tensors(
    model: bytes,
    tensors: Mapping[str, tuple[Dtype, tuple[int, ...], np.ndarray]],
    name: str,
    providers: Sequence[Any],
    options: onnxruntime.SessionOptions,
) -> Session:
    """See session_of."""
    try:
        values = [_value(dtype, shape, data) for dtype, shape, data in tensors.values()]
        options.add_external_initializers(list(tensors), values)
        made = onnxruntime.InferenceSession(model, options, providers=list(providers))
    except Exception as error:  # onnxruntime's exceptions have no common base but Exception
        raise UnsuitableModel(f"{name}: onnxruntime cannot load it: {_refusal(error)}") from error
    made.dcz_tensors = values  # alive as long as the session: onnxruntime may refer to them, and does not own them
    give_back_memory()
    return made


def reads_pipes(providers: Sequence[Any] | None = None) -> bool:
    """Whether session_of_stream may be asked for a session with these providers.

    Only where pipes have paths; and where onnxruntime lets other threads of Python run while it reads a model, which
    it does from version 1.31 on. (With other providers it may try again, with fewer, and read the model once more.)
    """
    version = tuple(int(number) for number in re.findall(r"\d+", onnxruntime.__version__)[:2])
    is_alone = os.environ.get("ORT_LOAD_CONFIG_FROM_MODEL") != "1"  # else it reads the model in another way
    has_paths = sys.platform == "linux" and os.path.isdir("/dev/fd")
    return has_paths and version >= (1, 31) and list(providers or CPU) == CPU and is_alone


def session_of_stream(
    pieces: Generator[bytes | memoryview, None, None],
    name: str,
    options: onnxruntime.SessionOptions | None = None,
    threads: int | None = None,
) -> Session:
    """A session, on the CPU, of a serialized model that comes in pieces.

    onnxruntime gets each tensor when it reads it, keeps it once, and gives it up where an operator has packed it; of
    tensors that it is given in memory it makes copies beside them. `name` is what messages call the model. Raises what
    `pieces` does, and UnsuitableModel where onnxruntime refuses the model.
    """
    chosen = _completed(options, threads)

    def read(path: str) -> Session:
        try:
            return onnxruntime.InferenceSession(path, chosen, providers=CPU, enable_fallback=0)
        except Exception as error:  # as above
            refusal = _refusal(error).replace(path, name)
            raise UnsuitableModel(f"{name}: onnxruntime cannot load it: {refusal}") from error

    made = read_through_pipe(pieces, read)
    made._model_path = name  # the pipe's may be another file's by now
    give_back_memory()
    return made


@dataclass(eq=False)
class Declared:
    """An input of a model: its name, shape and type, as a ModelInput has them, which keeps its session alive."""

    name: str
    shape: Sequence[int | str | None]
    type: str


def declared_inputs(session: Session) -> list[Declared]:
    """The inputs of a session, which may go."""
    return [Declared(each.name, list(each.shape), each.type) for each in session.get_inputs()]


def loaded(model: "Loadable", name: str | os.PathLike[str], threads: int = 0) -> Session:
    """A session of a model whose large tensors are mapped, for `name` and what is raised see session_of. Its memory is
    that of onnxruntime's own copy, and what a run needs: plans of that, which are for speed, take twice as much."""
    options = _options(threads)
    options.enable_mem_pattern = False
    made = _with_tensors(model.message, model.tensors, os.fspath(name), ["CPUExecutionProvider"], options)
    model.unload()
    return made


@contextlib.contextmanager
def custom_ops(paths: Ops) -> Iterator[None]:
    """Have all sessions that are made meanwhile, in this thread, know the custom operators of these libraries.

    The code of a library is run when it is loaded. Raises FileAccess where there is none, InvalidArgument for one that
    onnxruntime cannot load.
    """
    if isinstance(paths, (str, os.PathLike)):
        paths = (paths,)
    found = [os.path.abspath(path) for path in paths]  # of a mere name the system would search its own folders
    for path in found:
        if not os.path.isfile(path):
            raise FileAccess(f"{path}: cannot be read: there is no such library of custom operators")
        check_whole(path)
    token = _ops.set((*_ops.get(), *found))
    try:
        if found:
            _add_ops(onnxruntime.SessionOptions())
        yield
    finally:
        _ops.reset(token)


def _completed(options: onnxruntime.SessionOptions | None, threads: int | None) -> onnxruntime.SessionOptions:
    """Options of ours, or change those that are given: they have the custom operators."""
    if options is None:
        return _options(threads or 0)
    _add_ops(options)
    return options


def give_back_memory() -> None:
    """Have the C library give the system what is free of its memory: weights that have been packed, above all.

    glibc keeps it where something lies above it, which may be as much as the weights.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # refusals reach the caller as exceptions
    options.intra_op_num_threads = threads
    _add_ops(options)
    return options


def _add_ops(options: onnxruntime.SessionOptions) -> None:
    """Change `options`: sessions get the custom operators that custom_ops names."""
    for path in _ops.get():
        try:
            options.register_custom_ops_library(path)
        except Exception as error:  # as above
            raise InvalidArgument(
                f"{path}: onnxruntime {onnxruntime.__version__} cannot load it as a library of custom operators: "
                f"{_first_line(error)}; give one that is built for this system and this version"
            ) from error


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
            return onnxruntime.InferenceSession(file.read(), options, providers=CPU)
    except Exception:  # noqa: BLE001 (the first refusal is told)
        return None


def run(model: Session, inputs: Inputs) -> list[np.ndarray]:
    """The outputs for one batch; raises UnsuitableModel where the model refuses it."""
    try:
        return list(model.run(None, inputs))
    except Exception as error:  # as above
        raise UnsuitableModel(f"onnxruntime cannot run the model on these inputs: {_first_line(error)}") from error


def _refusal(error: Exception) -> str:
    """Why a model is refused, and what helps where it has operators that are not known."""
    text = _first_line(error)
    is_unknown = any(words in text for words in UNKNOWN_OPERATOR)
    return f"{text}; of custom operators give the library, --ops LIB.so (ops=)" if is_unknown else text


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
