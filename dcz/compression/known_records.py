"""Records that were made before, for a search that writes the same tensors again and again.

encode = KnownRecords(max_bytes=50_000_000)
Packing(model, plan, encode=encode)                 a tensor whose like has a record is not encoded again
"""

import hashlib
from collections import OrderedDict

import numpy as np

from ..encoded import Record
from ..plan import Settings
from ..tensor import Tensor
from .task import encode_task


class KnownRecords:
    """`encode_task`, which keeps the latest records, of `max_bytes` together. Threads may share it."""

    def __init__(self, max_bytes: int):
        self._records: OrderedDict[bytes, Record] = OrderedDict()
        self._max_bytes, self._nbytes = max_bytes, 0

    def __call__(self, tensor: Tensor, settings: Settings, threads: int = 1) -> Record:
        """The record of `tensor`; see task.encode_task."""
        digest = _digest(tensor, settings)
        record = self._records.pop(digest, None)
        if record is None:
            record = encode_task(tensor, settings, threads)
            self._nbytes += record.info.length
        self._records[digest] = record  # the latest
        while self._nbytes > self._max_bytes and len(self._records) > 1:
            _, oldest = self._records.popitem(last=False)
            self._nbytes -= oldest.info.length
        return record


def _digest(tensor: Tensor, settings: Settings) -> bytes:
    """Of all that a record depends on."""
    grid, known = tensor.grid, None
    inputs = None if tensor.inputs is None else (tensor.inputs.shape, tensor.inputs.tobytes())
    if grid is not None:
        known = (grid.axis, grid.scales.tobytes(), None if grid.steps is None else grid.steps.tobytes(), grid.binds)
    described = (tensor.name, tensor.dtype.code, tensor.shape, tensor.rows, settings, known, inputs)
    digest = hashlib.sha256(repr(described).encode())
    digest.update(np.ascontiguousarray(tensor.data).data)
    return digest.digest()
