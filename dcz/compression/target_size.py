"""The best quality within a size.

    compress_to_size("net.onnx", "net.dcz", 1_500_000)      quality 31.27 dB: 1,496,112 bytes

Every trial measures a whole file, to the byte. 6 dB take about one bit a weight: that gives the first trial, and regula
falsi on the logarithm of the size takes four or five more. Where the size has steps, the best trial is kept, and what
it leaves of the budget is filled with tensors that stay exact.
"""

import glob
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, BinaryIO, Unpack

from ..arguments import check_flag, check_ratio, parse_limit, size_at_ratio
from ..codec.quality import DECIBELS_PER_BIT
from ..display.progress import Progress, shown
from ..encoded import Record, RecordInfo
from ..errors import InvalidArgument
from ..file_kinds import check_onnx
from ..files import check_output
from ..parallel import thread_count
from ..plan import BEST_QUALITY, DEFAULT, LOSSLESS, SAFE_QUALITY, SHARING, WORST_QUALITY, Plan, Settings, overlay
from ..reading.written import OfFile, WrittenFile
from ..tensor import Tensor, ValueGrid
from .compress import compress
from .executors import WorkerPool, open_pool
from .jobs import has_float_weights
from .options import AnyPlan, PlanOptions, as_plan
from .records import Packing
from .task import encode_task

if TYPE_CHECKING:
    from onnx import ModelProto

    from ..model import ModelTensor

TOLERANCE = 0.01  # of the budget, which may be left unused
MAX_TRIALS = 20
MIN_DIFFERENCE = 1e-3  # decibels: nearer qualities are taken for the same
MAY_BE_EXACT = 0.75  # of a model's bytes: in so many it may be kept exactly, which is tried before any quality
MAX_FILL_ROUNDS = 4  # in which exact tensors are added
DECIBELS_PER_E = 16.0  # for e times the bytes, at 3 bits a weight: only a first step


@dataclass(frozen=True)
class SizeTrial:
    """A quality (decibels) and the bytes of its file."""

    quality: float
    nbytes: int


@dataclass(frozen=True, repr=False)
class CompressedToSize(OfFile, SizeTrial):
    """The trial that was kept, and the `file` that was written."""

    file: WrittenFile


@dataclass(frozen=True)
class MeasuredFile:
    """The bytes of a file, and of each of its records, by tensor."""

    nbytes: int
    tensor_bytes: dict[str, int]


class NoRecords:
    """Takes the place of journal.Records where only the bytes of a file are wanted: it keeps nothing."""

    def begin(self, fingerprint: bytes, nbytes: int, count: int) -> list[tuple[RecordInfo, str]]:
        """Nothing is there yet."""
        return []

    def add(self, record: Record) -> None:
        """Forget a record."""

    def copy(self, target: BinaryIO) -> None:
        """Nothing could be written."""
        raise ValueError("records that were not kept cannot be written")


def compress_to_size(
    model: "str | os.PathLike[str] | ModelProto",
    output: str | os.PathLike[str],
    max_bytes: float | str | None = None,
    plan: AnyPlan = None,
    *,
    ratio: float | None = None,
    threads: int | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Progress = None,
    trial: Callable[[SizeTrial], None] | None = None,
    warn: Callable[[str], None] | None = None,
    force: bool = False,
    resume: bool | None = None,
    **options: Unpack[PlanOptions],
) -> CompressedToSize:
    """Compress `model` into the file `output` of at most `max_bytes`, within one percent of it where the model allows.

    Sizes may be text, such as "1.5MB". `ratio` gives the size as a share instead: how many times smaller than the
    model.

    The plan's default quality is what is searched for: its default may prune, but not share in another way; tensors
    that its rules name are compressed as these say. Where more than a percent is left, because the best quality takes
    no more or sizes have steps, the model is kept exactly if that fits, or else as many of its tensors as do. `trial`
    is called with each trial. For the rest, keywords among it, see dcz.compress. Raises InvalidArgument where no
    quality meets the budget, with the size of the smallest file; an older `output` stays as it was.
    """
    is_file = isinstance(model, (str, os.PathLike)) and os.path.exists(model)
    check_onnx(model)
    check_output(output, force, inputs=[model] if is_file else [])
    check_flag(resume, "resume")
    budget = _budget(model, parse_limit(max_bytes), ratio)
    searchable = _searchable(as_plan(plan, options))
    threads = thread_count(threads)
    with shown(progress, "searching") as report:
        with open_pool(threads, None, workers, cluster, Path(os.path.realpath(output)).parent) as pool:
            chosen, best = plan_for_size(model, budget, searchable, pool, report, trial or (lambda trial: None))
        made = compress(
            model, output, chosen, threads=threads, workers=workers, cluster=cluster, progress=report, warn=warn,
            force=force, resume=resume,
        )  # fmt: skip
    file = replace(made.file, measured={"quality (dB)": best.quality if math.isfinite(best.quality) else "exact"})
    return CompressedToSize(best.quality, best.nbytes, file)


def plan_for_size(
    model: "str | os.PathLike[str] | ModelProto",
    max_bytes: float,
    plan: Plan,
    pool: WorkerPool,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    trial: Callable[[SizeTrial], None] = lambda trial: None,
    metadata: Mapping[str, str] | None = None,
) -> tuple[Plan, SizeTrial]:
    """The plan that makes the file of the best quality within `max_bytes`, and that file's figures; for `metadata` see
    compress, for the rest compress_to_size."""

    def measure(quality: float, plan: Plan) -> MeasuredFile:
        file = measured(model, plan, pool, progress, metadata)
        trial(SizeTrial(quality, file.nbytes))
        return file

    def measure_quality(quality: float) -> SizeTrial:
        return SizeTrial(quality, measure(quality, at_quality(plan, quality)).nbytes)

    packing = Packing(model, plan)
    tensors, plan, source_bytes = packing.tensors, packing.plan, packing.source_bytes
    del packing  # what is in memory is one model at a time
    if _takes_no_quality(tensors, plan):
        return _exact(measure, plan, max_bytes)
    prunes = plan.default.sparsity is not None or plan.default.threshold is not None
    if not prunes and max_bytes >= MAY_BE_EXACT * source_bytes:
        exact = replace(plan, default=LOSSLESS)
        nbytes = measure(math.inf, exact).nbytes
        if nbytes <= max_bytes:
            return exact, SizeTrial(math.inf, nbytes)
    best = seek(measure_quality, max_bytes, _first_quality(tensors, plan, max_bytes))
    if best.nbytes < (1 - TOLERANCE) * max_bytes:
        return _fill(measure, plan, best, max_bytes)
    return at_quality(plan, best.quality), best


def _takes_no_quality(tensors: "Sequence[ModelTensor]", plan: Plan) -> bool:
    """Whether a model has no weights that a quality would change, and the plan names none and does not prune."""
    prunes = plan.default.sparsity is not None or plan.default.threshold is not None
    return not (prunes or has_float_weights(tensors) or any(plan.names(tensor.name) for tensor in tensors))


def _exact(measure: Callable[[float, Plan], MeasuredFile], plan: Plan, max_bytes: float) -> tuple[Plan, SizeTrial]:
    """The model kept exactly, or else but for weights that it rounds itself, where that fits the budget; raises
    InvalidArgument."""
    smallest = math.inf
    for chosen in (replace(plan, default=LOSSLESS), replace(plan, default=DEFAULT)):
        nbytes = measure(math.inf, chosen).nbytes
        if nbytes <= max_bytes:
            return chosen, SizeTrial(math.inf, nbytes)
        smallest = min(smallest, nbytes)
    raise InvalidArgument(
        f"no quality makes the file as small as {max_bytes:,} bytes: the model has no floating-point weights to round, "
        f"and exactly it takes {smallest:,}; allow so many"
    )


def seek(
    measure: Callable[[float], SizeTrial], max_bytes: float, first: float = (WORST_QUALITY + BEST_QUALITY) / 2
) -> SizeTrial:
    """The trial of the most bytes within `max_bytes`, of qualities between WORST_QUALITY and BEST_QUALITY.

    `first` is a guess. Raises InvalidArgument, with the smallest size, where none fits.
    """
    low, high = _bracket(measure, max_bytes, min(BEST_QUALITY, max(WORST_QUALITY, first)))
    if high is None:
        return low
    goal = math.log(max_bytes * (1 - TOLERANCE / 3))
    side = 0
    weight_low = weight_high = 1.0
    for _ in range(MAX_TRIALS):
        if low.nbytes >= (1 - TOLERANCE) * max_bytes or high.quality - low.quality < MIN_DIFFERENCE:
            break
        # Regula falsi in the Illinois variant (Dowell and Jarratt, 1971): the end that stays is given half the weight.
        below, above = weight_low * (goal - math.log(low.nbytes)), weight_high * (math.log(high.nbytes) - goal)
        fraction = below / (below + above) if below + above > 0 else 0.5
        fraction = min(0.95, max(0.05, fraction))
        middle = measure(round(low.quality + fraction * (high.quality - low.quality), 5))
        if middle.nbytes <= max_bytes:
            low, weight_low, weight_high = middle, 1.0, weight_high / 2 if side < 0 else 1.0
            side = -1
        else:
            high, weight_high, weight_low = middle, 1.0, weight_low / 2 if side > 0 else 1.0
            side = 1
    return low


def _bracket(
    measure: Callable[[float], SizeTrial], max_bytes: float, quality: float
) -> tuple[SizeTrial, SizeTrial | None]:
    """Two trials, one that fits and one that does not; where BEST_QUALITY fits, that one and None."""
    last, step = measure(quality), 0.0
    while True:
        fits = last.nbytes <= max_bytes
        close = fits and last.nbytes >= (1 - TOLERANCE) * max_bytes
        if close or (fits and last.quality == BEST_QUALITY):
            return last, None
        if not fits and last.quality == WORST_QUALITY:
            raise InvalidArgument(
                f"no quality makes the file as small as {max_bytes:,} bytes: at {WORST_QUALITY:g} dB it has "
                f"{last.nbytes:,}; prune it too (--sparsity), retrain it (dcz retrain), or allow more"
            )
        # 6 dB a bit: what is missing, a little more so that the goal comes between, and more each time.
        step = max(2 * step, 1.5 + 1.2 * abs(DECIBELS_PER_E * math.log(max(1, max_bytes) / last.nbytes)))
        next_quality = last.quality + step if fits else last.quality - step
        before, last = last, measure(min(BEST_QUALITY, max(WORST_QUALITY, next_quality)))
        if fits != (last.nbytes <= max_bytes):
            return (before, last) if fits else (last, before)


def at_quality(plan: Plan, quality: float) -> Plan:
    """`plan` with this default quality."""
    return replace(plan, default=overlay(plan.default, {"quality": quality}))


def _first_quality(tensors: "Sequence[ModelTensor]", plan: Plan, max_bytes: float) -> float:
    """The quality to begin with: from the bits a weight that the budget leaves when all else stays exact."""
    sizes = [(tensor, tensor.nbytes * 8 // tensor.dtype.bits) for tensor in tensors if tensor.dtype.real]
    weights = sum(size for tensor, size in sizes if plan.settings(tensor.name, tensor.is_weight, size) is plan.default)
    return DECIBELS_PER_BIT * (8 * max_bytes / weights) - 1.5 if weights else BEST_QUALITY


def _fill(
    measure: Callable[[float, Plan], MeasuredFile], plan: Plan, best: SizeTrial, max_bytes: float
) -> tuple[Plan, SizeTrial]:
    """The model kept exactly; or the best trial with exact tensors, the largest first, as far as the budget goes."""
    exact = replace(plan, default=LOSSLESS)
    whole = measure(math.inf, exact)
    if whole.nbytes <= max_bytes:
        return exact, SizeTrial(math.inf, whole.nbytes)
    chosen = at_quality(plan, best.quality)
    file = measure(best.quality, chosen)
    kept: tuple[str, ...] = ()
    for _ in range(MAX_FILL_ROUNDS):
        more = fitting(whole, file, max_bytes) if file.nbytes < (1 - TOLERANCE) * max_bytes else ()
        while more:  # the graph and other tensors may change a little with them: the last may not fit after all
            filled = measure(best.quality, _keeping(chosen, plan, kept + more))
            if file.nbytes < filled.nbytes <= max_bytes:
                kept, file = kept + more, filled
                break
            more = more[:-1]
        if not more:
            break
    return _keeping(chosen, plan, kept) if kept else chosen, SizeTrial(best.quality, file.nbytes)


def _keeping(chosen: Plan, plan: Plan, names: tuple[str, ...]) -> Plan:
    """`chosen`, which excludes what `plan` does, with the tensors of these names excluded too."""
    return replace(chosen, exclude=(*plan.exclude, *map(glob.escape, names)))


def fitting(whole: MeasuredFile, file: MeasuredFile, max_bytes: float) -> tuple[str, ...]:
    """The tensors that can be as in the exact file `whole` and not as in `file`, the largest first; none that were
    folded away, as these come back with the weights that they belong to."""
    costs = {
        name: nbytes - file.tensor_bytes[name]
        for name, nbytes in whole.tensor_bytes.items()
        if name in file.tensor_bytes
    }
    chosen: tuple[str, ...] = ()
    spare = max_bytes - file.nbytes
    for name in sorted((name for name in costs if costs[name] > 0), key=lambda name: (-costs[name], name)):
        if costs[name] <= spare:
            chosen, spare = (*chosen, name), spare - costs[name]
    return chosen


def _budget(model: "str | os.PathLike[str] | ModelProto", max_bytes: float | None, ratio: float | None) -> float:
    """The bytes that the file may take."""
    if max_bytes is not None and ratio is None:
        return max_bytes
    if max_bytes is not None or ratio is None:
        raise InvalidArgument("give a size or a ratio, and not both")
    check_ratio(ratio)
    from ..model import open_model

    return size_at_ratio(open_model(model).source_bytes, ratio)


def _searchable(plan: Plan) -> Plan:
    """The plan, if its default leaves the quality to the search; raises InvalidArgument."""
    default = plan.default
    given = [name for name in SHARING if getattr(default, name) is not None and name != "quality"]
    given += [] if default.quality in (None, SAFE_QUALITY) else ["quality"]
    given += ["lossless"] if default.lossless else [] if default.share else ["share = false"]
    if given:
        raise InvalidArgument(f"a size decides how finely weights are shared: leave {given[0]} out")
    return plan


def measured(
    model: "str | os.PathLike[str] | ModelProto",
    plan: Plan,
    pool: WorkerPool,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    metadata: Mapping[str, str] | None = None,
    grids: Mapping[str, ValueGrid] = MappingProxyType({}),
    try_whole: bool = True,
    encode: Callable[[Tensor, Settings, int], Record] = encode_task,
) -> MeasuredFile:
    """The file that `plan` makes of a model, which is not written; for the rest see Packing and Packing.pack."""
    packed = Packing(model, plan, grids, encode).pack(
        NoRecords(), place="the file", pool=pool, progress=progress, metadata=metadata, try_whole=try_whole
    )
    return MeasuredFile(packed.nbytes, packed.tensor_bytes)
