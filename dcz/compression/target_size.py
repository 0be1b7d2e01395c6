"""The most quality for a budget of bytes.

    compress_to_size("net.onnx", "net.dcz", 1_500_000)      quality 31.27 dB: 1,496,112 bytes

Every trial is the size of a whole file, to the byte. 6 dB take about one bit a weight: that says where to begin, and a
secant on the size's logarithm does the rest in four or five trials. Where the size has steps, the best trial so far is
kept; what it leaves of the budget is filled with tensors that are kept exactly.
"""

import glob
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..arguments import check_flag, check_ratio, optional_size, size_at_ratio
from ..errors import BadPlan
from ..files import check_output
from ..parallel import thread_count
from ..plan import BEST_QUALITY, LOSSLESS, SAFE_QUALITY, SHARING, WORST_QUALITY, Plan, Settings, overlay
from .compress import as_plan, compress
from .executors import WorkerPool, open_pool
from .journal import Kept
from .records import pack

TOLERANCE = 0.01  # of the budget, which may be left unused
TRIALS = 20
FINEST = 1e-3  # decibels: nearer qualities are not told apart
DECIBELS_PER_BIT = 20 * math.log10(2)
FILLINGS = 4  # rounds in which exact tensors are added
RISE = 16.0  # decibels for e times the bytes, at 3 bits a weight: only a first step


@dataclass(frozen=True)
class SizeTrial:
    """A quality (decibels) and the bytes of its file."""

    quality: float
    nbytes: int


@dataclass(frozen=True)
class File:
    """The bytes of a file, and of each of its records, by tensor."""

    nbytes: int
    records: dict[str, int]


class Sink:
    """Takes the place of journal.Records: it counts the records' bytes, and keeps nothing."""

    def __init__(self):
        self.nbytes = 0

    def begin(self, fingerprint: bytes, nbytes: int) -> list:
        """Nothing is there yet."""
        return []

    def add(self, kept: Kept, record: bytes) -> None:
        """Count a record."""
        self.nbytes += len(record)


def compress_to_size(
    model,
    output: str | os.PathLike,
    max_bytes: float | str | None = None,
    plan: Plan | Settings | str | os.PathLike | None = None,
    *,
    ratio: float | None = None,
    threads: int | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    trial: Callable[[SizeTrial], None] = lambda trial: None,
    warn: Callable[[str], None] = lambda message: None,
    force: bool = True,
    resume: bool | None = None,
) -> SizeTrial:
    """Compress `model` into the file `output` of at most `max_bytes`, within one percent of it where the model allows.

    Sizes may be text, such as "1.5MB". `ratio` says the same as a share: the model is to become so many times smaller.

    The plan's default quality is what is sought: its default may prune, but not share in another way; tensors that its
    rules name are compressed as these say. Where more than a percent is left, be it that the best quality takes no more
    or that sizes have steps, the model is kept exactly if that fits, or else as many of its tensors as do. `trial` is
    told of each trial. For the rest see dcz.compress. Raises BadPlan where no quality meets the budget, saying
    which is the smallest file; an older `output` stays as it was.
    """
    given = isinstance(model, (str, os.PathLike)) and os.path.exists(model)
    check_output(output, force, inputs=[model] if given else [])
    check_flag(resume, "resume")
    max_bytes = _budget(model, optional_size(max_bytes, minimum=1), ratio)
    plan = _sought(as_plan(plan))
    threads = thread_count(threads)

    def file(quality: float, plan: Plan) -> File:
        found = measured(model, plan, pool, progress)
        trial(SizeTrial(quality, found.nbytes))
        return found

    def measure(quality: float) -> SizeTrial:
        return SizeTrial(quality, file(quality, at(plan, quality)).nbytes)

    with open_pool(threads, None, workers, cluster, Path(os.path.realpath(output)).parent) as pool:
        best = seek(measure, max_bytes, _begin(_load(model).tensors, plan, max_bytes))
        chosen = at(plan, best.quality)
        if best.nbytes < (1 - TOLERANCE) * max_bytes:
            chosen, best = _fill(file, plan, best, max_bytes)
    more = {"threads": threads, "workers": workers, "cluster": cluster, "force": force, "resume": resume}
    more |= {"progress": progress, "warn": warn}
    compress(model, output, chosen, **more)
    return best


def seek(
    measure: Callable[[float], SizeTrial], max_bytes: int, begin: float = (WORST_QUALITY + BEST_QUALITY) / 2
) -> SizeTrial:
    """The trial of the most bytes within `max_bytes`, qualities between WORST_QUALITY and BEST_QUALITY being tried.

    `begin` is a guess. Raises BadPlan, which says the smallest size, where none fits.
    """
    low, high = _bracket(measure, max_bytes, min(BEST_QUALITY, max(WORST_QUALITY, begin)))
    if high is None:
        return low
    aim = math.log(max_bytes * (1 - TOLERANCE / 3))
    side = 0
    weight_low = weight_high = 1.0
    for _ in range(TRIALS):
        if low.nbytes >= (1 - TOLERANCE) * max_bytes or high.quality - low.quality < FINEST:
            break
        # Regula falsi, the end that stays put being given less weight (Illinois), within the middle nine tenths.
        below, above = weight_low * (aim - math.log(low.nbytes)), weight_high * (math.log(high.nbytes) - aim)
        share = below / (below + above) if below + above > 0 else 0.5
        share = min(0.95, max(0.05, share))
        found = measure(round(low.quality + share * (high.quality - low.quality), 5))
        if found.nbytes <= max_bytes:
            low, weight_low, weight_high = found, 1.0, weight_high / 2 if side < 0 else 1.0
            side = -1
        else:
            high, weight_high, weight_low = found, 1.0, weight_low / 2 if side > 0 else 1.0
            side = 1
    return low


def _bracket(
    measure: Callable[[float], SizeTrial], max_bytes: int, quality: float
) -> tuple[SizeTrial, SizeTrial | None]:
    """Two trials, one that fits and one that does not; where BEST_QUALITY fits, that one and None."""
    found, step = measure(quality), 0.0
    while True:
        fits = found.nbytes <= max_bytes
        close = fits and found.nbytes >= (1 - TOLERANCE) * max_bytes
        if close or (fits and found.quality == BEST_QUALITY):
            return found, None
        if not fits and found.quality == WORST_QUALITY:
            raise BadPlan(
                f"no quality makes the file as small as {max_bytes:,} bytes: at {WORST_QUALITY:g} dB it has "
                f"{found.nbytes:,}; prune it too (--sparsity), retrain it (dcz retrain), or allow more"
            )
        # 6 dB a bit: what is missing, a little more so that the goal comes between, and more each time.
        step = max(2 * step, 1.5 + 1.2 * abs(RISE * math.log(max_bytes / found.nbytes)))
        before, at = found, found.quality + step if fits else found.quality - step
        found = measure(min(BEST_QUALITY, max(WORST_QUALITY, at)))
        if fits != (found.nbytes <= max_bytes):
            return (before, found) if fits else (found, before)


def at(plan: Plan, quality: float) -> Plan:
    """`plan` with this default quality."""
    return replace(plan, default=overlay(plan.default, {"quality": quality}))


def _begin(tensors: list, plan: Plan, max_bytes: int) -> float:
    """The quality to begin with: from the bits a weight that the budget leaves when all else stays exact."""
    sizes = [(tensor, tensor.nbytes * 8 // tensor.dtype.bits) for tensor in tensors if tensor.dtype.real]
    weights = sum(size for tensor, size in sizes if plan.settings(tensor.name, tensor.is_weight, size) is plan.default)
    return DECIBELS_PER_BIT * (8 * max_bytes / weights) - 1.5 if weights else BEST_QUALITY


def _fill(file: Callable[[float, Plan], File], plan: Plan, best: SizeTrial, max_bytes: int) -> tuple[Plan, SizeTrial]:
    """The model kept exactly; or the best trial with exact tensors, the largest first, as far as the budget goes."""
    exact = replace(plan, default=LOSSLESS)
    whole = file(math.inf, exact)
    if whole.nbytes <= max_bytes:
        return exact, SizeTrial(math.inf, whole.nbytes)
    chosen, kept = at(plan, best.quality), ()
    found = file(best.quality, chosen)
    for _ in range(FILLINGS):
        more = fitting(whole, found, max_bytes) if found.nbytes < (1 - TOLERANCE) * max_bytes else ()
        while more:  # the graph and other tensors may change a little with them: the last may not fit after all
            filled = replace(chosen, exclude=(*plan.exclude, *map(glob.escape, kept + more)))
            trial = file(best.quality, filled)
            if found.nbytes < trial.nbytes <= max_bytes:
                kept, found = kept + more, trial
                break
            more = more[:-1]
        if not more:
            break
    if kept:
        chosen = replace(chosen, exclude=(*plan.exclude, *map(glob.escape, kept)))
    return chosen, SizeTrial(best.quality, found.nbytes)


def fitting(whole: File, found: File, max_bytes: int) -> tuple[str, ...]:
    """The tensors that can be as in the exact file `whole` and not as in `found`, the largest first; none that were
    folded away, as these come back with the weights that they belong to."""
    costs = {name: nbytes - found.records[name] for name, nbytes in whole.records.items() if name in found.records}
    chosen, room = (), max_bytes - found.nbytes
    for name in sorted((name for name in costs if costs[name] > 0), key=lambda name: (-costs[name], name)):
        if costs[name] <= room:
            chosen, room = (*chosen, name), room - costs[name]
    return chosen


def _budget(model, max_bytes: int | None, ratio: float | None) -> int:
    """The bytes that the file may take."""
    if (max_bytes is None) == (ratio is None):
        raise BadPlan("give a size or a ratio, and not both")
    check_ratio(ratio)
    return max_bytes if ratio is None else size_at_ratio(_load(model).source_bytes, ratio)


def _load(model):
    from .. import model as onnx_model

    return onnx_model.load(model) if isinstance(model, (str, os.PathLike)) else onnx_model.from_proto(model)


def _sought(plan: Plan) -> Plan:
    default = plan.default
    given = [name for name in SHARING if getattr(default, name) is not None and name != "quality"]
    given += [] if default.quality in (None, SAFE_QUALITY) else ["quality"]
    given += ["lossless"] if default.lossless else [] if default.share else ["share = false"]
    if given:
        raise BadPlan(f"a size decides how finely weights are shared: leave {given[0]} out")
    return plan


def measured(
    model,
    plan: Plan,
    pool: WorkerPool,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    metadata: Mapping[str, str] | None = None,
) -> File:
    """The file that `plan` makes of a model, which is not written; for the rest see records.pack."""
    sink, records = Sink(), {}

    def note(name: str, done: int, total: int) -> None:
        records[name] = sink.nbytes - sum(records.values())
        progress(name, done, total)

    loaded = _load(model)  # packing uses it up
    options = {"place": "the file", "pool": pool, "progress": note, "metadata": metadata}
    packed = pack(model, loaded, plan, sink, **options)
    return File(packed.nbytes, records)
