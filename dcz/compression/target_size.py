"""The best quality within a size.

    compress_to_size("net.onnx", "net.dcz", 1_500_000)      quality 31.27 dB: 1,496,112 bytes

Every trial measures a whole file, to the byte: see size_search for which. Where the size has steps, the best
is kept, and what it leaves of the budget is filled with tensors that stay exact: see exact_tensors.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ..arguments import check_flag, check_ratio, parse_limit, size_at_ratio
from ..codec.quality import DECIBELS_PER_BIT
from ..display.progress import Progress, shown
from ..errors import InvalidArgument
from ..file_kinds import check_onnx
from ..files import check_output
from ..parallel import BIG, helped, thread_count
from ..plan import BEST_QUALITY, DEFAULT, LOSSLESS, SAFE_QUALITY, SHARING, Plan
from ..reading.written import Compressed, OfFile, WrittenFile
from ..text import size
from .compress import write, write_checked
from .exact_tensors import fill
from .executors import WorkerPool, open_pool
from .jobs import has_float_weights
from .journal import records
from .measured_file import MeasuredFile, measured
from .options import AnyPlan, Notes, PlanOptions, as_plan
from .records import Packing
from .size_search import REMEDY, TOLERANCE, SizeTrial, at_quality, seek

if TYPE_CHECKING:
    from onnx import ModelProto

    from ..model import ModelTensor, SurveyedModel

MAY_BE_EXACT = 0.75  # of a model's bytes: in so many it may be kept exactly, which is tried before any quality


@dataclass(frozen=True, repr=False)
class CompressedToSize(OfFile, SizeTrial):
    """The trial that was kept, and the `file` that was written."""

    file: WrittenFile


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
    limit = _limit(max_bytes, ratio)
    searchable = _searchable(as_plan(plan, options))
    threads = thread_count(threads)
    from ..model import SurveyedModel

    with helped(BIG, threads):
        surveyed = SurveyedModel(model)
    budget = limit(surveyed.source_bytes)
    written: list[Compressed] = []

    def write_exact(plan: Plan) -> int:
        """Write the file of a plan, if it is within the budget; its bytes."""
        packing, notes, place = Packing(surveyed, plan), Notes(None), os.fspath(output)
        check_output(output, force, inputs=packing.files)
        with records(output, resume) as store:
            packed = packing.pack(store, place=place, pool=pool, progress=report, warn=notes)
            if packed.nbytes <= budget:
                write_checked(place, packed, threads, packing.check_unchanged)
                written.append(Compressed.of(output, tuple(notes.told)))
        return packed.nbytes

    with shown(progress, "searching") as report:
        with open_pool(threads, None, workers, cluster, Path(os.path.realpath(output)).parent) as pool:
            chosen, best = plan_for_size(
                surveyed, budget, searchable, pool, report, trial or (lambda trial: None), write_exact=write_exact
            )
        if not written:
            packing, notes = Packing(surveyed, chosen), Notes(warn)
            check_output(output, force, inputs=packing.files)
            write(packing, output, threads, None, workers, cluster, report, notes, resume=resume)
            written.append(Compressed.of(output, tuple(notes.told)))
        elif warn is not None:
            for note in written[0].notes:
                warn(note)
    file = replace(written[0].file, measured={"quality (dB)": best.quality if math.isfinite(best.quality) else "exact"})
    return CompressedToSize(best.quality, best.nbytes, file)


def plan_for_size(
    model: "SurveyedModel",
    max_bytes: float,
    plan: Plan,
    pool: WorkerPool,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    trial: Callable[[SizeTrial], None] = lambda trial: None,
    metadata: Mapping[str, str] | None = None,
    write_exact: Callable[[Plan], int] | None = None,
) -> tuple[Plan, SizeTrial]:
    """The plan that makes the file of the best quality within `max_bytes`, and that file's figures; for `metadata` see
    compress, for the rest compress_to_size. `write_exact`: what writes the file of a plan, where that fits, and returns
    its bytes; it is asked where a model takes no quality, so that its file is made once."""

    def measure(quality: float, plan: Plan) -> MeasuredFile:
        file = measured(model, plan, pool, progress, metadata)
        trial(SizeTrial(quality, file.nbytes))
        return file

    def measure_exact(plan: Plan) -> int:
        if write_exact is None:
            return measure(math.inf, plan).nbytes
        nbytes = write_exact(plan)
        trial(SizeTrial(math.inf, nbytes))
        return nbytes

    def measure_quality(quality: float) -> SizeTrial:
        return SizeTrial(quality, measure(quality, at_quality(plan, quality)).nbytes)

    packing = Packing(model, plan)
    tensors, plan, source_bytes = packing.tensors, packing.plan, packing.source_bytes
    del packing  # what is in memory is one model at a time
    if _takes_no_quality(tensors, plan):
        return _exact(measure_exact, plan, max_bytes)
    if not plan.default.prunes and max_bytes >= MAY_BE_EXACT * source_bytes:
        exact = replace(plan, default=LOSSLESS)
        nbytes = measure(math.inf, exact).nbytes
        if nbytes <= max_bytes:
            return exact, SizeTrial(math.inf, nbytes)
    best = seek(measure_quality, max_bytes, _first_quality(tensors, plan, max_bytes), _remedy(tensors, plan))
    if best.nbytes < (1 - TOLERANCE) * max_bytes:
        return fill(measure, plan, best, max_bytes)
    return at_quality(plan, best.quality), best


def _takes_no_quality(tensors: "Sequence[ModelTensor]", plan: Plan) -> bool:
    """Whether a model has no weights that a quality would change, and the plan names none and does not prune."""
    return not (plan.default.prunes or has_float_weights(tensors) or any(plan.names(tensor.name) for tensor in tensors))


def _exact(measure: Callable[[Plan], int], plan: Plan, max_bytes: float) -> tuple[Plan, SizeTrial]:
    """The model kept exactly, or else but for weights that it rounds itself, where that fits the budget; raises
    InvalidArgument."""
    smallest = math.inf
    for chosen in (replace(plan, default=LOSSLESS), replace(plan, default=DEFAULT)):
        nbytes = measure(chosen)
        if nbytes <= max_bytes:
            return chosen, SizeTrial(math.inf, nbytes)
        smallest = min(smallest, nbytes)
    raise InvalidArgument(
        f"no quality makes the file as small as {max_bytes:,.0f} bytes: the model has no floating-point weights to "
        f"round, and exactly it takes {smallest:,}; allow so many"
    )


def _remedy(tensors: "Sequence[ModelTensor]", plan: Plan) -> str:
    """What to do where no quality makes a file small enough: pruning changes nothing of what stays exact."""
    kept = sum(t.nbytes for t in tensors if not (t.dtype.real and _is_default(t, plan)))
    total = sum(t.nbytes for t in tensors)
    if 2 * kept < total:
        return REMEDY
    return f"{size(kept)} of the model's {size(total)} are whole numbers, or stay exact for other reasons: allow more"


def _is_default(tensor: "ModelTensor", plan: Plan) -> bool:
    """Whether a tensor is compressed as the plan's default says."""
    weights = tensor.nbytes * 8 // tensor.dtype.bits
    return plan.settings(tensor.name, tensor.is_weight, weights) is plan.default


def _first_quality(tensors: "Sequence[ModelTensor]", plan: Plan, max_bytes: float) -> float:
    """The quality to begin with: from the bits a weight that the budget leaves when all else stays exact."""
    sizes = [(tensor, tensor.nbytes * 8 // tensor.dtype.bits) for tensor in tensors if tensor.dtype.real]
    weights = sum(size for tensor, size in sizes if plan.settings(tensor.name, tensor.is_weight, size) is plan.default)
    return DECIBELS_PER_BIT * (8 * max_bytes / weights) - 1.5 if weights else BEST_QUALITY


def _limit(max_bytes: float | str | None, ratio: float | None) -> Callable[[int], float]:
    """The bytes that the file of a model of so many bytes may take; raises InvalidArgument."""
    limit = parse_limit(max_bytes)
    check_ratio(ratio)
    if limit is not None and ratio is None:
        return lambda nbytes: limit
    if limit is None and ratio is not None:
        return lambda nbytes: size_at_ratio(nbytes, ratio)
    raise InvalidArgument("give a size or a ratio, and not both")


def _searchable(plan: Plan) -> Plan:
    """The plan, if its default leaves the quality to the search; raises InvalidArgument."""
    default = plan.default
    given = [name for name in SHARING if getattr(default, name) is not None and name != "quality"]
    given += [] if default.quality in (None, SAFE_QUALITY) else ["quality"]
    given += ["lossless"] if default.lossless else [] if default.share else ["share = false"]
    if given:
        raise InvalidArgument(f"a size decides how finely weights are shared: leave {given[0]} out")
    return plan
