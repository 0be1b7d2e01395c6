"""Tables that are added to what the network computes and go on to layers: embeddings, of positions, say."""

import math
from typing import TYPE_CHECKING

import numpy as np

from .flows import Read, Value
from .operators import PLACES, SHAPES
from .uses import TensorUses
from .walks import find_destinations

if TYPE_CHECKING:
    from .tensors import ModelTensor

# Numbers that are looked up together: an embedding has more of them than boxes, points or ids.
MIN_EMBEDDING = 32
MIN_ADDED, MIN_PLACES = 1 << 14, 16  # elements of a table that is added, and places: of fewer it is a bias
SUMS = frozenset(["Add", "Sum", "Resize"])


class AddedTables:
    """Which tensors are tables that are added to what the network computes."""

    def __init__(self, uses: TensorUses):
        self._uses = uses
        self._reads_of = uses.reached(lambda read: [] if read.moves or read.operator in SHAPES else [read])
        self._destinations = find_destinations(uses, {"Softmax": "softmax", "LogSoftmax": "softmax"})

    def holds(self, value: Value, tensor: "ModelTensor") -> bool:
        """Whether a tensor is such a table, whose values lie around zero.

        Not one that a Softmax gets, whose large numbers are no errors to scale: masks, slopes by distance.
        """
        size, width = math.prod(tensor.shape), max(tensor.shape[-1:], default=0)
        if not tensor.dtype.real or width < MIN_EMBEDDING or size < max(MIN_ADDED, MIN_PLACES * width):
            return False
        reads = self._reads_of(value)
        if not reads or not all(self._is_sum(read) for read in reads):
            return False
        ends = {end for read in reads for output in read.outputs for end in self._destinations.of(output)}
        if "layer" not in ends or not ends <= {"layer", "output"}:
            return False
        values = tensor.values()
        with np.errstate(invalid="ignore", over="ignore"):  # infinities: no such table
            return bool(abs(values.mean(dtype=np.float64)) <= values.std(dtype=np.float64))

    def _is_sum(self, read: Read) -> bool:
        """Whether a node adds a value to one that is computed, or resizes it before."""
        operands = [read.scope.resolve(name) for name in read.node.input if name]
        computed = read.operator == "Resize" or not all(map(self._uses.is_constant, operands))
        return read.operator in SUMS and read.operand not in PLACES.get(read.operator, ()) and computed
