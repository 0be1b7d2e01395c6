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

from .. import arrays, shell
from ..codec import quality
from ..codec.encode import can_round
from ..codec.stages import prune
from ..errors import InvalidArgument
from ..plan import ANY_SIZE, BEST_QUALITY, DEFAULT, LOSSLESS, NEGLIGIBLE, WORST_QUALITY, Plan, Settings
from ..tensor import values
from . import tied

if TYPE_CHECKING:
    from ..model import ModelTensor

SAMPLED = 1 << 16  # weights of a tensor by which its scale is estimated
READ = 1 << 22  # bytes of a tensor at a time: all of a large one would lie in memory, or in a copy
# Of a model's bytes: tensors that stay exact and have more, all together, are worth a sentence; and of these tensors'
# bytes, those that stay exact for one reason are.
MENTIONED = 0.05
MAX_REASONS = 3  # that it names
MAX_INCLUDED = 3  # tensors that it names


class ExactNote(str):
    """The sentence that warns of what stays exact: a caller that shows it in a place of its own can tell it."""


@dataclass(frozen=True, eq=False)
class Job:
    """A record to make: the tensors that share it (same content, same settings), the first of which is encoded.

    `transposed`: those of them that are the first one's transpose.
    """

    tensors: tuple["ModelTensor", ...]
    settings: Settings
    transposed: frozenset["ModelTensor"] = frozenset()

    @property
    def first(self) -> "ModelTensor":
        """The tensor that is encoded."""
        return self.tensors[0]

    @property
    def prunes(self) -> bool:
        """Whether weights are pruned."""
        return self.settings.prunes


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
            same[_digest(tensor) if len(group) > 1 else b""].append((number, tensor))
        numbered += [
            (members[0][0], Job(tuple(tensor for _, tensor in members), settings)) for members in same.values()
        ]
    ordered = tied.join([job for _, job in sorted(numbered, key=lambda pair: pair[0])], plan)
    _warn_of_exact(ordered, plan, warn)
    return ordered


def _digest(tensor: "ModelTensor") -> bytes:
    digest = hashlib.sha256()
    for part in arrays.blocks(tensor.nbytes, READ):
        digest.update(tensor.read_part(part).data)
    return digest.digest()


def settings_of(tensors: Sequence["ModelTensor"], plan: Plan) -> list[Settings]:
    """What to do with each tensor; a quality for the whole model is spread over its tensors (codec.quality)."""
    elements = [tensor.nbytes * 8 // tensor.dtype.bits for tensor in tensors]
    chosen = [
        plan.settings(tensor.name, tensor.is_weight, size) if tensor.dtype.real and size else LOSSLESS
        for tensor, size in zip(tensors, elements, strict=True)
    ]
    chosen = [
        settings if settings is plan.default or not settings.adapt else adapted(settings, tensors)
        for settings in chosen
    ]
    for number, tensor in enumerate(tensors):
        if tensor.is_bound and _only_quality(chosen[number]):  # the grid says how exact it is
            chosen[number] = LOSSLESS
    if plan.default.quality is None:
        return chosen
    by_default = [n for n, tensor in enumerate(tensors) if chosen[n] is plan.default and plan.rule(tensor.name) is None]
    lossy = [tensor for tensor, settings in zip(tensors, chosen, strict=True) if not settings.lossless]
    is_negligible = sum(tensor.nbytes for tensor in lossy) < NEGLIGIBLE * sum(tensor.nbytes for tensor in tensors)
    if plan.default == DEFAULT and is_negligible and not any(plan.names(tensor.name) for tensor in lossy):
        return [LOSSLESS] * len(tensors)
    squares = [mean_square(tensors[number]) for number in by_default]
    default = adapted(plan.default, tensors)
    assert default.quality is not None, "adapting changes a quality"
    qualities = quality.by_size([elements[number] for number in by_default], squares, default.quality)
    for number, decibels in zip(by_default, qualities, strict=True):
        chosen[number] = replace(default, quality=min(BEST_QUALITY, max(WORST_QUALITY, decibels)))
    return chosen


def adapted(settings: Settings, tensors: Sequence["ModelTensor"]) -> Settings:
    """A plan's default, its quality made to fit the network of these tensors where it adapts: see quality.margin.

    All weights of a real type count, whatever a plan says of them: they make a network small or not.
    """
    if not settings.adapt or settings.quality is None:
        return settings
    weights = [tensor for tensor in tensors if tensor.is_weight and tensor.dtype.real]
    sizes = [math.prod(tensor.shape) for tensor in weights]
    known = sum(size for size, tensor in zip(sizes, weights, strict=True) if tensor.inputs is not None)
    margin = quality.margin([tensor.shape for tensor in weights], known / max(1, sum(sizes)))
    return replace(settings, quality=round(min(BEST_QUALITY, settings.quality + margin), 2), adapt=False)


def _only_quality(settings: Settings) -> bool:
    """Whether settings say how exact the weights are to be, and no more."""
    return settings.quality is not None and not settings.prunes


def mean_square(tensor: "ModelTensor") -> float:
    """The mean square of a tensor's weights, from some of them: a rough scale is enough.

    0 where float64 does not hold it: such a tensor stays exact.
    """
    itemsize = np.dtype(tensor.dtype.pattern).itemsize
    every = max(1, tensor.nbytes // itemsize // SAMPLED)
    parts = [
        tensor.read_part(part).view(tensor.dtype.pattern)[-(part.start // itemsize) % every :: every]
        for part in arrays.blocks(tensor.nbytes, READ)
    ]
    with np.errstate(over="ignore", invalid="ignore"):
        sample = values(np.concatenate(parts), tensor.dtype).astype(np.float64)
        square = prune.typical_square(sample[np.isfinite(sample)])
    return square if math.isfinite(square) else 0.0


def check_lossy(tensors: Sequence["ModelTensor"], plan: Plan) -> None:
    """Raise InvalidArgument where `plan` asks for a lossy result in its own way and no tensor is there to act on."""
    if plan.default == DEFAULT or plan.default.lossless or (plan.default.shares_nothing and not plan.default.prunes):
        return
    if not has_float_weights(tensors) and not any(plan.names(tensor.name) for tensor in tensors):
        floats = [tensor for tensor in tensors if tensor.dtype.real]
        largest = max(floats, key=lambda tensor: tensor.nbytes).name if floats else ""
        raise InvalidArgument(
            f"{plan.default} acts on floating-point weights, and layers of this model have none: leave the option out, "
            "and it is compressed exactly"
            + (f"; or {shell.include(largest)} makes a weight of that" if largest else "")
        )


def has_float_weights(tensors: Sequence["ModelTensor"]) -> bool:
    """Whether a model has weights of a real type."""
    return any(tensor.is_weight and tensor.dtype.real and tensor.nbytes for tensor in tensors)


def _warn_of_exact(jobs: Sequence[Job], plan: Plan, warn: Callable[[str], None]) -> None:
    """Say in one sentence what stays exact though the plan does not ask for it, why, and what would compress it."""
    total = sum(job.first.nbytes for job in jobs)
    if plan.default.lossless:
        return
    reasons: dict[str, list[ModelTensor]] = defaultdict(list)
    for job in jobs:
        if job.settings.lossless and _stays_unasked(job.first, plan):
            reasons[_why_exact(job.first, plan)].append(job.first)
    sizes = {reason: sum(tensor.nbytes for tensor in tensors) for reason, tensors in reasons.items()}
    if sum(sizes.values()) <= MENTIONED * total:
        return
    # Reasons for a small part of it, such as biases, are left out: their tensors are not worth an option either.
    main = sorted((r for r in sizes if sizes[r] > MENTIONED * sum(sizes.values())), key=lambda r: (-sizes[r], r))
    exact = sorted((tensor for reason in main for tensor in reasons[reason]), key=lambda tensor: -tensor.nbytes)
    included = [tensor.name for tensor in exact if tensor.dtype.real and can_round(tensor.tensor())]
    remedy = f"; {_include(included, [job.first.name for job in jobs])}" if included else ""
    if len(exact) == 1:
        warn(ExactNote(f"{exact[0].name}: {exact[0].nbytes} bytes stay exact, being {main[0]}{remedy}"))
        return
    parts = [f"{reason} ({len(reasons[reason])})" for reason in main[:MAX_REASONS]]
    parts += ["others"] if len(main) > MAX_REASONS else []
    nbytes = sum(tensor.nbytes for tensor in exact)
    head = f"{len(exact)} tensors, {nbytes / total:.0%} of the bytes, stay exact"
    warn(ExactNote(f"{head}: {', '.join(parts)}{remedy}"))


def _stays_unasked(tensor: "ModelTensor", plan: Plan) -> bool:
    """Whether no pattern of the plan keeps a tensor exact that is kept so, nor the grid that it is on."""
    return not tensor.is_bound and not plan.settings(tensor.name, True, ANY_SIZE).lossless


def _why_exact(tensor: "ModelTensor", plan: Plan) -> str:
    users = ", ".join(sorted({operator for operator, _ in tensor.uses})) or "no operator"
    if not tensor.dtype.real:
        return f"{tensor.dtype.name}, used by {users}"
    if tensor.is_weight:
        is_small = math.prod(tensor.shape) < plan.min_weights
        return f"fewer than {plan.min_weights} weights" if is_small else "less than 1% of the bytes"
    return tensor.exact_because or f"used by {users}"


def _include(names: Sequence[str], all_names: Sequence[str]) -> str:
    """The options that compress tensors all the same; where these are many, those for the largest."""
    if len(names) > MAX_INCLUDED:
        start, end = _common_start(names), _common_start([name[::-1] for name in names])[::-1]
        matched = {name for name in all_names if _is_between(name, start, end)}  # fnmatch takes minutes for long names
        if matched == set(names) and not set("*?[") & set(start + end):
            return f"{shell.option('--include', f'{start}*{end}')} compresses them"
    options = " ".join(map(shell.include, names[:MAX_INCLUDED]))
    what = "it" if len(names) == 1 else "them" if len(names) <= MAX_INCLUDED else f"the {MAX_INCLUDED} largest"
    return f"{options} compresses {what}"


def _is_between(name: str, start: str, end: str) -> bool:
    return len(name) >= len(start) + len(end) and name.startswith(start) and name.endswith(end)


def _common_start(names: Sequence[str]) -> str:
    """The characters with which all names begin."""
    first, last = min(names), max(names)
    same = (n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    return first[: next(same, min(len(first), len(last)))]
