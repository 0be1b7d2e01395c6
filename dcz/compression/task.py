"""What a worker does: where a tensor lies, and how it is to be compressed -> its record.

    encode_task(Task("fc1.weight", FLOAT32, (300, 784), 1, ("net.onnx.data", 4096, 940800), settings))   ->   Written

A task whose tensor lies in a file is a few hundred bytes, so that any executor, elsewhere too, can be given it.
"""

from dataclasses import dataclass

import numpy as np

from .. import arrays
from ..codec.candidates import Candidate, store
from ..codec.encode import encode, is_finite
from ..deflate import crc32
from ..errors import FileAccess
from ..files import mapped
from ..format import container, record
from ..parallel import map_over_parts
from ..plan import Settings
from ..tensor import Dtype, Tensor

MOST_LOST = 0.5  # of a tensor's weights, which rounding alone may make zero before the user is told


@dataclass(frozen=True, eq=False)
class Task:
    """A tensor to be encoded, and how.

    `data` is its bytes (uint8, flat), or where they lie (path, offset, length), so that workers are sent no weights.
    """

    name: str
    dtype: Dtype
    shape: tuple[int, ...]
    rows: int
    data: np.ndarray | tuple[str, int, int]
    settings: Settings

    def tensor(self) -> Tensor:
        """The tensor, its data mapped where it lies in a file. Raises FileAccess."""
        data = self.data
        if isinstance(data, tuple):
            try:
                data = np.frombuffer(mapped(*data), np.uint8)
            except (OSError, ValueError) as error:
                raise FileAccess(f"{data[0]}: the data of tensor {self.name!r} cannot be read: {error}") from error
        return Tensor(self.name, self.dtype, self.shape, data, self.rows)


def task(tensor, settings: Settings, where: tuple[str, int, int] | None = None) -> Task:
    """What is to be done with a site (model.Site), whose bytes lie `where`, if another process shall read them."""
    return Task(
        tensor.name, tensor.dtype, tensor.shape, tensor.rows, where or tensor.external or tensor.read(), settings
    )


def encode_task(task: Task, threads: int = 1) -> "Written":
    """The smallest record of the tensor that `task` describes. Executors of any kind can run it."""
    return encode_tensor(task.tensor(), task.settings, threads)


@dataclass(frozen=True)
class Written:
    """A tensor's record, ready for the file, and what the directory says of it."""

    record: bytes
    encoding: int
    tensor_crc: int
    warning: str = ""


def encode_tensor(tensor: Tensor, settings: Settings, threads: int = 1) -> Written:
    """The smallest record of `tensor` under `settings`, measured in bytes."""
    with map_over_parts(len(tensor.data) // max(1, tensor.dtype.bits // 8), threads) as map:
        best = _smallest(encode(tensor, settings, map), tensor)
    encoding = record.ENCODINGS.index(record.encoding_name(best.encoded))
    data, (crc, lost) = record.write(best.encoded), _compare(tensor, best)
    warning = ""
    if not settings.lossless and tensor.dtype.real and not is_finite(tensor):
        warning = f"{tensor.name}: holds infinities or NaN and stays exact; find out why before you ship the model"
    elif settings.sparsity is None and settings.threshold is None and lost > MOST_LOST:
        warning = f"{tensor.name}: {lost:.0%} of its weights became zero; ask for more quality"
    return Written(data, encoding, crc, warning)


def _smallest(candidates: list[Candidate], tensor: Tensor) -> Candidate:
    """The candidate whose record takes the fewest bytes, and may be as short as it is."""
    sizes = [sum(len(part) for _, part in record.parts(candidate.encoded)) for candidate in candidates]
    allowed = [number for number, size in enumerate(sizes) if container.may_expand(len(tensor.data), size)]
    if not allowed:  # only tensors that are zero almost everywhere; deflate stays within the format's limit
        return store(candidates[0].source, tensor.dtype)
    return candidates[min(allowed, key=lambda number: sizes[number])]


def _compare(tensor: Tensor, found: Candidate) -> tuple[int, float]:
    """The checksum of what `found` decodes to, and the share of weights that were not zero and are now."""
    crc = before = after = 0
    for part in arrays.blocks(len(found.source), arrays.WIDE_BLOCK):
        data = found.source[part]
        crc = crc32(data, crc)
        if tensor.dtype.real:  # slices of whole elements
            before += np.count_nonzero(tensor.data[part].view(tensor.dtype.pattern))
            after += np.count_nonzero(data.view(tensor.dtype.pattern))
    return crc, 1 - after / before if before else 0.0
