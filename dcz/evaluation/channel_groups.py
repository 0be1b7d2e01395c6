"""How far off each kind of numbers is in an output that holds several: coordinates in pixels beside scores of 0 to 1.

    sums.add(outputs, distances); sums.worst()   ->   ChannelGroup(axis=1, channels=(4, ..., 21), decibels=23.3)

The error of the output as a whole is that of its largest numbers alone.
"""

from dataclasses import dataclass

import numpy as np

from .metrics import sqnr

MAX_CHANNELS = 256  # along an axis; a longer one numbers places
MIN_GAP = 10.0  # between the root mean squares of two groups: numbers of one kind lie nearer to each other


@dataclass(frozen=True)
class ChannelGroup:
    """The channels (indices along `axis` of an output) of one group, and their signal to error in decibels."""

    axis: int
    channels: tuple[int, ...]
    decibels: float

    def describe(self) -> str:
        """The channels in words, such as `entries 4 to 21 of axis 1`."""
        first, last = self.channels[0], self.channels[-1]
        if len(self.channels) == 1:
            return f"entry {first} of axis {self.axis}"
        if last - first + 1 == len(self.channels):
            return f"entries {first} to {last} of axis {self.axis}"
        return f"{len(self.channels)} entries of axis {self.axis} ({first}, {self.channels[1]}, ...)"


class ChannelSums:
    """Adds up, batch by batch, the squares of an output and of its error along its channels.

    Channels are the shorter of axis 1 and the last axis (axis 0 numbers samples). Nothing is added up where that axis
    has more than MAX_CHANNELS entries, or not the same number in each batch.
    """

    def __init__(self) -> None:
        self._axis: int | None = None
        self._sums: np.ndarray | None = None  # float64 [2, channels]: of the output, of its error
        self._is_open = False

    def add(self, x: np.ndarray, distance: np.ndarray) -> None:
        """Add one batch: the output, and how far each of its entries is off, float64 of one shape."""
        if x.ndim < 2 or self._is_open:
            return
        axis = 1 if x.shape[1] <= x.shape[-1] else x.ndim - 1
        if x.shape[axis] > MAX_CHANNELS:
            return
        others = tuple(number for number in range(x.ndim) if number != axis)
        with np.errstate(over="ignore", invalid="ignore"):
            signal = np.square(np.where(np.isfinite(x), x, 0)).sum(others)
            sums = np.stack([signal, np.square(distance).sum(others)])
        if self._sums is None:
            self._axis, self._sums = axis, sums
        elif self._axis == axis and self._sums.shape == sums.shape:
            self._sums += sums
        else:
            self._is_open, self._sums = True, None

    def worst(self) -> ChannelGroup | None:
        """The group that is furthest off; None where all channels are of one group, are not known, or equal.

        Groups are cut where the root mean squares of the channels, in order, differ by MIN_GAP. Channels that are zero
        in the original belong to none.
        """
        if self._sums is None or self._axis is None:
            return None
        order = np.argsort(self._sums[0], kind="stable")
        order = order[self._sums[0][order] > 0]
        if not len(order) or not np.isfinite(self._sums).all():
            return None
        squares = self._sums[0][order]
        cuts = np.flatnonzero(squares[1:] >= MIN_GAP**2 * squares[:-1]) + 1
        if not len(cuts):
            return None
        groups = [
            ChannelGroup(self._axis, tuple(sorted(group.tolist())), sqnr(*self._sums[:, group].sum(1)))
            for group in np.split(order, cuts)
        ]
        worst = min(groups, key=lambda group: group.decibels)
        return worst if np.isfinite(worst.decibels) else None
