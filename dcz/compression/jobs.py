"""Which records a model's file will have: its tensors, those of equal content together, and what the plan says of each.

jobs(loaded.tensors, Plan(), warn)   ->   [Job([fc1.weight], Settings(quality=35.2)), Job([fc1.bias], LOSSLESS), ...]
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..codec import quality
from ..codec.stages import prune
from ..plan import ANY_SIZE, BEST_QUALITY, LOSSLESS, SHARED_QUALITY, WORST_QUALITY, Plan, Settings
from ..tensor import values

if TYPE_CHECKING:
    from ..model import ModelTensor

SAMPLED = 1 << 16  # weights of a tensor by which its scale is estimated
FEW = 4096  # weights of a tensor, up to which it may be finer than a codebook makes it: its bytes do not count
LARGE = 0.05  # of a model's bytes: a tensor that stays exact and has more is worth a warning


@dataclass(frozen=True, eq=False)
class Job:
    """A record to make: the tensors that share it (same content, same settings), the first of which is encoded."""

    tensors: tuple["ModelTensor", ...]
    settings: Settings

    @property
    def first(self) -> "ModelTensor":
        """The tensor that is encoded."""
        return self.tensors[0]

    @property
    def prunes(self) -> bool:
        """Whether weights are pruned."""
        return self.settings.sparsity is not None or self.settings.threshold is not None


def jobs(tensors: Sequence["ModelTensor"], plan: Plan, warn: Callable[[str], None]) -> list[Job]:
    """The records to write, in the order of their first tensors."""
    from ..model import INLINE_BYTES

    alike: dict[tuple, list[tuple[int, ModelTensor]]] = defaultdict(list)
    for number, (tensor, settings) in enumerate(zip(tensors, settings_of(tensors, plan), strict=True)):
        if tensor.nbytes and (tensor.nbytes >= INLINE_BYTES or not settings.lossless):
            alike[tensor.dtype, tensor.shape, settings].append((number, tensor))
    numbered = []
    for (_, _, settings), group in alike.items():
        same: dict[bytes, list[tuple[int, ModelTensor]]] = defaultdict(list)
        for number, tensor in group:  # most tensors differ from all others in shape: only the rest is worth a digest
            same[hashlib.sha256(tensor.read().data).digest() if len(group) > 1 else b""].append((number, tensor))
        numbered += [
            (members[0][0], Job(tuple(tensor for _, tensor in members), settings)) for members in same.values()
        ]
    ordered = [job for _, job in sorted(numbered, key=lambda pair: pair[0])]
    _warn_of_exact(ordered, plan, warn)
    return ordered


def settings_of(tensors: Sequence["ModelTensor"], plan: Plan) -> list[Settings]:
    """What to do with each tensor; a quality for the whole model is spread over its tensors (codec.quality)."""
    elements = [tensor.nbytes * 8 // tensor.dtype.bits for tensor in tensors]
    chosen = [
        plan.settings(tensor.name, tensor.is_weight, size) if tensor.dtype.real and size else LOSSLESS
        for tensor, size in zip(tensors, elements, strict=True)
    ]
    if plan.default.quality is None:
        return chosen
    by_default = [n for n, tensor in enumerate(tensors) if chosen[n] is plan.default and plan.rule(tensor.name) is None]
    squares = [mean_square(tensors[number]) for number in by_default]
    qualities = quality.by_size([elements[number] for number in by_default], squares, plan.default.quality)
    for number, decibels in zip(by_default, qualities, strict=True):
        highest = BEST_QUALITY if elements[number] <= FEW else max(SHARED_QUALITY, plan.default.quality)
        chosen[number] = replace(plan.default, quality=min(highest, max(WORST_QUALITY, decibels)))
    return chosen


def mean_square(tensor: "ModelTensor") -> float:
    """The mean square of a tensor's weights, from some of them: a rough scale is enough.

    0 where float64 does not hold it: such a tensor stays exact.
    """
    patterns = tensor.read().view(tensor.dtype.pattern)
    every = max(1, len(patterns) // SAMPLED)
    sample = values(patterns[::every], tensor.dtype).astype(np.float64)
    with np.errstate(over="ignore"):
        square = prune.typical_square(sample[np.isfinite(sample)])
    return square if math.isfinite(square) else 0.0


def _warn_of_exact(jobs: Sequence[Job], plan: Plan, warn: Callable[[str], None]) -> None:
    """Say which large tensors stay exact though the plan does not ask for it, and why."""
    total = sum(job.first.nbytes for job in jobs)
    for job in jobs:
        tensor = job.first
        exact = job.settings.lossless and tensor.dtype.real and not plan.default.lossless
        if exact and tensor.nbytes > LARGE * total and not plan.settings(tensor.name, True, ANY_SIZE).lossless:
            users = ", ".join(sorted({operator for operator, _ in tensor.uses})) or "no operator"
            why = f"fewer than {plan.min_weights} weights" if tensor.is_weight else f"used by {users}"
            warn(
                f"{tensor.name}: {tensor.nbytes} bytes stay exact, being {why}; --include '{tensor.name}' compresses it"
            )
