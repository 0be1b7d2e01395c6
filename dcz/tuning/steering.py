"""Steps that bring a file to a size while its tensors are rounded, one after another.

    steering = SizeSteering(session, curves, steps, estimate, max_bytes)
    quantize_layers(..., steps, steering=steering)

What each tensor takes was estimated by a quick trial. What the tensors done so far take in truth says how far such
estimates are off, and what is left for the others: these get the steps of equal slope at which they take that.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from ..calibrate import allocate
from ..compression.measured_file import MeasuredFile
from ..compression.size_search import TOLERANCE
from .result_file import record_bytes
from .session import TuningSession

TRUST = 0.05  # of all bytes: where so many are done, their ratio to the estimate counts as much as that it is 1
MAX_CHANGE = 1.25  # of the bits of the tensors that are left, either way


class SizeSteering:
    """A calibrate.Steering to a file of `max_bytes`, from the `steps` of a quick trial whose file was `estimate`."""

    def __init__(
        self,
        session: TuningSession,
        curves: Mapping[str, allocate.Curve],
        steps: Mapping[str, float],
        estimate: MeasuredFile,
        max_bytes: float,
    ):
        self._session, self._curves, self._steps = session, curves, dict(steps)
        self._bits = {name: max(1.0, curves[name].bits_at(step)) for name, step in steps.items()}
        self._estimated = {name: float(estimate.tensor_bytes.get(name, 0)) for name in steps}
        self._besides = estimate.nbytes - sum(self._estimated.values())
        self._done: dict[str, float] = {}
        self._expected: dict[str, float] = {}  # of those done, at the steps that they had
        self._max_bytes = max_bytes
        self._scale(list(steps), self._room() / max(1.0, sum(self._estimated.values())))

    def steps(self, names: Iterable[str]) -> dict[str, float]:
        """See calibrate.Steering."""
        return {name: self._steps[name] for name in names}

    def measure(self, new: Mapping[str, np.ndarray], is_last: bool) -> bool:
        """Measure records, and set the steps of the tensors that are left; or, at the end, those of the last ones."""
        made = [name for name in new if name in self._steps]
        for name in made:
            self._done[name] = record_bytes(self._session, name, new[name])
            self._expected[name] = self._estimate(name)
        left = made if is_last else [name for name in self._steps if name not in self._done]
        room = self._room()
        if is_last:
            total = self._besides + sum(self._done.values())
            if (1 - TOLERANCE) * self._max_bytes <= total <= self._max_bytes:
                return False
            taken = sum(self._done[name] for name in made)
            factor = (room - sum(self._done.values()) + taken) / max(1.0, taken)
        else:
            expected = self._ratio() * sum(map(self._estimate, left))
            factor = (room - sum(self._done.values())) / max(1.0, expected)
        return self._scale(left, factor) and is_last

    def _room(self) -> float:
        """The bytes that the tensors together may take."""
        return self._max_bytes * (1 - TOLERANCE / 2) - self._besides

    def _ratio(self) -> float:
        """What tensors take for each byte that is expected of them."""
        trust = TRUST * sum(self._estimated.values())
        return (sum(self._done.values()) + trust) / (sum(self._expected.values()) + trust) if trust else 1.0

    def _estimate(self, name: str) -> float:
        """The bytes of a tensor at its present step."""
        return self._estimated[name] * self._curves[name].bits_at(self._steps[name]) / self._bits[name]

    def _scale(self, names: list[str], factor: float) -> bool:
        """Give tensors `factor` times the bits; whether that changes anything."""
        if not names:
            return False
        factor = min(MAX_CHANGE, max(1 / MAX_CHANGE, factor))
        curves = {name: self._curves[name] for name in names}
        bits = sum(curves[name].bits_at(self._steps[name]) for name in names)
        steps = allocate.steps_for_bits(curves, factor * bits)
        changed = steps != {name: self._steps[name] for name in names}
        self._steps |= steps
        return changed
