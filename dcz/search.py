"""The most quality for a budget of bytes.

    compress_to_size("net.onnx", "net.dcz", 1_500_000)      quality 31.27 dB: 1,496,112 bytes

Every trial is the size of a whole file, to the byte. 6 dB take about one bit a weight, so that a secant on the size's
logarithm needs four or five trials; where the size has steps, the best trial so far is kept.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

from . import packing, pipeline
from .errors import BadPlan
from .files import check_output
from .parallel import thread_count
from .plan import BEST_QUALITY, LOSSLESS, SAFE_QUALITY, SHARING, WORST_QUALITY, Plan, Settings, overlay

TOLERANCE = 0.01  # of the budget, which may be left unused
TRIALS = 20
FINEST = 1e-4  # decibels: nearer qualities are not told apart


@dataclass(frozen=True)
class Trial:
    """A quality (decibels) and the bytes of its file."""

    quality: float
    nbytes: int


class Sink:
    """A file that counts what is written to it, and keeps nothing."""

    def __init__(self):
        self.nbytes = 0

    def write(self, data) -> int:
        """Count `data`."""
        self.nbytes += len(data)
        return len(data)


def compress_to_size(
    model,
    output: str | os.PathLike,
    max_bytes: int | None = None,
    plan: Plan | Settings | str | os.PathLike | None = None,
    *,
    ratio: float | None = None,
    threads: int | None = None,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    trial: Callable[[Trial], None] = lambda trial: None,
    warn: Callable[[str], None] = lambda message: None,
    force: bool = True,
) -> Trial:
    """Compress `model` into the file `output` of at most `max_bytes`, within one percent of it where the model allows.

    `ratio` says the same as a share: the model is to become so many times smaller.

    The plan's default quality is what is sought: its default may prune, but not share in another way; tensors that its
    rules name are compressed as these say. A model that takes fewer bytes without any loss is kept exactly. `trial` is
    told of each trial. For the rest see pipeline.compress. Raises BadPlan where no quality meets the budget, saying
    which is the smallest file; an older `output` stays as it was.
    """
    check_output(output, force)
    max_bytes = _budget(model, max_bytes, ratio)
    plan = _sought(pipeline.as_plan(plan))
    threads = thread_count(threads)

    def measure(quality: float) -> Trial:
        found = Trial(quality, _measure(model, at(plan, quality), threads, progress))
        trial(found)
        return found

    best = seek(measure, max_bytes)
    chosen = at(plan, best.quality)
    if best.quality == BEST_QUALITY and best.nbytes < (1 - TOLERANCE) * max_bytes:
        exact = replace(plan, default=LOSSLESS)
        if (nbytes := _measure(model, exact, threads, progress)) <= max_bytes:
            chosen, best = exact, Trial(math.inf, nbytes)
    pipeline.compress(model, output, chosen, threads=threads, progress=progress, warn=warn, force=force)
    return best


def seek(measure: Callable[[float], Trial], max_bytes: int) -> Trial:
    """The trial of the most bytes within `max_bytes`, qualities between WORST_QUALITY and BEST_QUALITY being tried."""
    high = measure(BEST_QUALITY)
    if high.nbytes <= max_bytes:
        return high
    low = measure(WORST_QUALITY)
    if low.nbytes > max_bytes:
        raise BadPlan(
            f"no quality makes the file as small as {max_bytes:,} bytes: "
            f"at {WORST_QUALITY:g} dB it has {low.nbytes:,}; prune it too (--sparsity), retrain it (dcz retrain), or allow more"
        )
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


def at(plan: Plan, quality: float) -> Plan:
    """`plan` with this default quality."""
    return replace(plan, default=overlay(plan.default, {"quality": quality}))


def _budget(model, max_bytes: int | None, ratio: float | None) -> int:
    """The bytes that the file may take."""
    if (max_bytes is None) == (ratio is None):
        raise BadPlan("give a size or a ratio, and not both")
    if ratio is None:
        return max_bytes
    if not 0 < ratio < math.inf:
        raise BadPlan(f"a ratio is how many times smaller the file shall be, above 0, not {ratio!r}")
    return int(_load(model).source_bytes / ratio)


def _load(model):
    from . import model as onnx_model

    return onnx_model.load(model) if isinstance(model, (str, os.PathLike)) else onnx_model.from_proto(model)


def _sought(plan: Plan) -> Plan:
    default = plan.default
    given = [name for name in SHARING if getattr(default, name) is not None and name != "quality"]
    given += [] if default.quality in (None, SAFE_QUALITY) else ["quality"]
    given += ["lossless"] if default.lossless else [] if default.share else ["share = false"]
    if given:
        raise BadPlan(f"a size decides how finely weights are shared: leave {given[0]} out")
    return plan


def _measure(model, plan: Plan, threads: int, progress) -> int:
    """The bytes of the file that `plan` makes."""
    loaded = _load(model)  # packing uses it up
    return packing.pack(model, loaded, plan, Sink(), place="the file", threads=threads, progress=progress).nbytes
