"""From a `.dcz` file straight into onnxruntime.

dcz.session("net.dcz").run(None, {"x": x})
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..arguments import parse_limit
from ..format.container import Archive
from ..parallel import thread_count
from ..reading.apart import load_apart
from ..reading.stream import stream

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions

    from ..format.sources import Source
    from .runtime import Ops


def session(
    file: "Source",
    *,
    providers: Sequence[Any] | None = None,
    options: "SessionOptions | None" = None,
    ops: "Ops" = (),
    threads: int | None = None,
    max_bytes: float | str | None = None,
) -> "InferenceSession":
    """An onnxruntime session of the model in a `.dcz` file: its path, its bytes, or the file opened in binary.

    It is decoded in memory, tensor by tensor, and each goes to onnxruntime as it is: no file is written, and models of
    more than 2 GB are none too large. On Linux and on the CPU, onnxruntime from version 1.31 on reads smaller ones from
    a pipe, and keeps the only copy of the weights; else those that were decoded stay beside its own. `providers`: as
    onnxruntime has them; default: the CPU. `options`: a SessionOptions for this session alone: it is changed, and may
    keep the weights. `ops`: libraries of custom operators, whose code is run. `threads`: that decode, and, without
    `options`, run the model; default: all cores. `max_bytes`: what the file may decode to, see dcz.load. Raises
    DczError.
    """
    from .. import model
    from . import runtime

    thread_count(threads)  # raises where it is none
    parse_limit(max_bytes)  # likewise
    if runtime.reads_pipes(providers):
        with Archive(file) as archive:
            pieces = stream(archive, threads, max_bytes)
            if pieces is not None:
                with runtime.custom_ops(ops):
                    return runtime.session_of_stream(pieces, archive.path, options, threads)
    apart = load_apart(file, runtime.is_numeric, threads, max_bytes)
    data = model.serialize(apart.proto, apart.label)
    with runtime.custom_ops(ops):
        return runtime.session_of(data, apart.tensors, apart.label, providers, options, threads)
