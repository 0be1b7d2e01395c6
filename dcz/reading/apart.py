"""A decoded model whose big tensors lie beside it in memory: for runtimes that take them so.

    load_apart("net.dcz", lambda dtype: True)    ->   Apart(the model, {"fc1.weight": (float32, (300, 784), bytes)})

Nothing is serialized, copied or written to a disk for them: the model itself is a few kilobytes, however many gigabytes
its weights have.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..arguments import parse_limit
from ..format.container import Archive
from ..format.sources import Source
from ..tensor import Dtype
from .decompress import decode_all, skeleton_within

if TYPE_CHECKING:
    from onnx import ModelProto

LOCATION = "in-memory"  # what the model says of where its tensors are


@dataclass(frozen=True, eq=False)
class Apart:
    """A model, the initializers of its main graph that it says are external data, and what messages call it.

    `tensors`: by name their type, shape and bytes (uint8, flat). Several may share their bytes.
    """

    proto: "ModelProto"
    tensors: dict[str, tuple[Dtype, tuple[int, ...], np.ndarray]]
    label: str


def load_apart(
    file: Source,
    takes: Callable[[Dtype], bool],
    threads: int | None = None,
    max_bytes: float | str | None = None,
) -> Apart:
    """Decode the model in a `.dcz` file (its path, its bytes, or the file opened in binary), tensor by tensor.

    Only tensors of types that `takes` agrees to come apart, and only initializers of the main graph, which is where
    runtimes look; others are in the model. For the rest see dcz.load.
    """
    from .. import model

    parse_limit(max_bytes)  # raises where it is none
    with Archive(file) as archive:
        proto, references, _ = skeleton_within(archive, max_bytes)
        main = {id(tensor) for tensor in proto.graph.initializer}
        tensors: dict[str, tuple[Dtype, tuple[int, ...], np.ndarray]] = {}
        number = 0
        for entry, data in decode_all(archive, threads):
            for reference in references[number]:
                slot = reference.slot
                if id(slot.proto) in main and isinstance(slot.name, str) and takes(entry.dtype):
                    tensors[slot.name] = entry.dtype, tuple(slot.proto.dims), reference.data(data)
                    model.make_external(reference, LOCATION, 0, entry.nbytes)
                else:
                    model.restore_data(reference, data)
            del data  # before the next one is made
            number += 1  # noqa: SIM113 (enumerate would hold on to the tensor)
    return Apart(proto, tensors, archive.path)
