"""The rows of weights, whose errors cancel in each of them (see balance), and the means of what these read.

panel = RowIndex((40, 300), 1).panel(slice(0, 600))        of two rows whole, in a matrix [2, 300]
panel.add(errors, sums)                                    the sum of each row
"""

import math
from dataclasses import dataclass

import numpy as np

from ... import arrays


@dataclass(frozen=True, eq=False)
class Panel:
    """The rows of the weights of a block: numbered (int64) one by one, or, where the block is whole rows and columns
    of a matrix, [outer, inner] of `shape`, by the number of the first one and the `axis` that they are along."""

    numbers: np.ndarray | None
    first: int = 0
    shape: tuple[int, int] = (0, 0)
    axis: int = 0

    def shaped(self, values: np.ndarray) -> np.ndarray:
        """Values of the weights of the block in its `shape`, if it has one."""
        return values if self.numbers is not None else values.reshape(self.shape)

    def spread(self, of_rows: np.ndarray) -> np.ndarray:
        """What belongs to each row, for each weight of the block, or to be broadcast to these in `shape`."""
        if self.numbers is not None:
            taken: np.ndarray = of_rows.take(self.numbers)
            return taken
        own = of_rows[self.first : self.first + self.shape[self.axis]]
        return own[:, None] if self.axis == 0 else own[None, :]

    def add(self, terms: np.ndarray, sums: np.ndarray) -> None:
        """Add the terms (float64, one a weight) of each row to its sum, in place."""
        if self.numbers is not None:
            sums += np.bincount(self.numbers, terms, len(sums))
        else:
            sums[self.first : self.first + self.shape[self.axis]] += terms.reshape(self.shape).sum(axis=1 - self.axis)

    def rows_of(self, places: np.ndarray) -> np.ndarray:
        """The rows (int64) of some places of the block."""
        if self.numbers is not None:
            rows: np.ndarray = self.numbers[places]
        else:
            rows = self.first + (places // self.shape[1] if self.axis == 0 else places % self.shape[1])
        return rows


class RowIndex:
    """The row of each weight, and the mean of its input (see Tensor.rows, Tensor.inputs).

    `positions` (integers, flat, or arrays.KeptPositions) are those of the weights in the tensor, None for all of it.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        rows: int,
        positions: np.ndarray | arrays.KeptPositions | None = None,
        inputs: np.ndarray | None = None,
    ):
        self._positions = positions
        self._inputs = None if inputs is None else _relative(inputs)
        self._last_axis = rows < 0  # the last axis numbers the rows
        self._kernel = math.prod(shape[2:]) if rows == 1 and math.prod(shape[1:2]) > 1 else 1
        self.count = shape[-1] if rows < 0 else math.prod(shape[:rows])
        self._inner = self.count if rows < 0 else math.prod(shape[rows:])
        self._length = math.prod(shape[:-1]) if rows < 0 else self._inner

    @property
    def block_size(self) -> int:
        """About how many weights to look at together: whole rows of a matrix, where it has all of its weights."""
        inner = self._inner if self._positions is None else 1
        return arrays.BLOCK // inner * inner or arrays.BLOCK

    def panel(self, block: slice) -> Panel:
        """The rows of the weights of a block."""
        if self._positions is not None:
            positions: np.ndarray = self._positions[block]
            return Panel(positions % self._inner if self._last_axis else positions // self._inner)
        shape = (block.stop - block.start) // self._inner, self._inner
        if block.start % self._inner == 0 and math.prod(shape) == block.stop - block.start:
            return Panel(None, 0 if self._last_axis else block.start // self._inner, shape, int(self._last_axis))
        matrix, axis = ((1, self._inner), 1) if self._last_axis else ((self.count, self._inner), 0)
        return Panel(arrays.places(matrix, axis, block))

    @property
    def length(self) -> int | None:
        """The number of weights in each row; None where these differ."""
        return None if self._positions is not None else self._length

    @property
    def kernel(self) -> int:
        """How many weights, one after another, meet neighbouring places of one of several channels (1: none do, or not
        all of them are there)."""
        return self._kernel if self._positions is None else 1

    @property
    def has_inputs(self) -> bool:
        """Whether the means of the inputs are known."""
        return self._inputs is not None

    def factors(self, block: slice) -> np.ndarray | None:
        """The mean of each weight's input (float64), in units of the mean magnitude of its row's; None where it is not
        known."""
        if self._inputs is None:
            return None
        positions = np.arange(block.start, block.stop) if self._positions is None else self._positions[block]
        groups, channels = self._inputs.shape
        if self._last_axis:
            column = positions // self._inner
            factors: np.ndarray = self._inputs[0].take(column)
            return factors
        row, column = np.divmod(positions, self._inner)
        column //= self._inner // channels
        column += row // (self.count // groups) * channels
        return self._inputs.ravel().take(column)


def _relative(inputs: np.ndarray) -> np.ndarray:
    """The means of each group in units of their mean magnitude; all 0 where that is 0."""
    sizes = np.array([[math.fsum(row) / len(row)] for row in np.abs(inputs).tolist()])  # fsum: exact in any order
    relative: np.ndarray = np.divide(inputs, sizes, out=np.zeros_like(inputs), where=sizes > 0)
    return relative
