"""Files held against budgets: a model that outgrows its budget fails the job, with the figure, the limit and the cause.

check("net.dcz", max_size="7MB", max_exact="20%")      ->   Verdict(holds=True, ...)
judge_all(entries)                                     ->   a verdict on each file, also where one cannot be read
"""

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ..display import html
from ..display.progress import Progress, shown
from ..errors import SEVERAL, DczError, InvalidArgument, exit_code, message
from ..reading.inspect import TensorReport, inspect
from ..reading.memory import Decoded, decoded
from . import answers, baseline, limits, reasons, remedies
from .baseline import Baseline, Weight
from .config import Budgeted, check_complete
from .evidence import Evidence
from .figures import figure
from .limits import FAIL, Limit
from .reasons import LARGEST, Reason
from .remedies import Remedy

if TYPE_CHECKING:
    from ..evaluation.evaluate import Evaluation
    from ..evaluation.given import Data, Labels


@dataclass(frozen=True)
class Budget:
    """One limit, the figure measured, and whether it holds.

    `unit`: what both are counted in: bytes, a share from 0 to 1, or a ratio. `level`: what a miss is, fail or warn.
    `figure` is None where there was nothing to measure it by; `note` says why, or what the figure is of. Where it does
    not hold, `reasons` are the tensors that weigh most in it, and `remedies` what would mend it.
    """

    name: str
    limit: float
    figure: float | None
    holds: bool
    unit: str = limits.BYTES
    level: str = FAIL
    note: str = ""
    reasons: tuple[Reason, ...] = ()
    remedies: tuple[Remedy, ...] = ()

    @property
    def fails(self) -> bool:
        """Whether it is missed and that is more than a warning."""
        return not self.holds and self.level == FAIL


@dataclass(frozen=True, repr=False)
class Verdict:
    """All budgets of a file; `largest` are its largest tensors, as they lie in the file.

    `error` is what stopped the file from being read or judged. `config` and `line`: where the budget is written.
    """

    path: str
    budgets: tuple[Budget, ...]
    largest: tuple[TensorReport, ...]
    file_bytes: int | None = None
    memory_bytes: int | None = None
    baseline_bytes: int | None = None
    weight: Weight | None = None
    error: Exception | None = None
    config: str | None = None
    line: int = 1

    @property
    def holds(self) -> bool:
        """Whether no budget fails; warnings do not count."""
        return self.error is None and not any(budget.fails for budget in self.budgets)

    def __bool__(self) -> bool:
        return self.holds

    @property
    def missed(self) -> tuple[Budget, ...]:
        """The budgets that do not hold, warnings among them."""
        return tuple(budget for budget in self.budgets if not budget.holds)

    @property
    def status(self) -> str:
        """holds, warning, missed or error: the worst of its budgets."""
        if self.error is not None:
            return "error"
        if not self.holds:
            return "missed"
        return "warning" if self.missed else "holds"

    def __repr__(self) -> str:
        from .formats import words

        missed = "".join(f"; {budget.name} {words.sentence(budget)}" for budget in self.missed)
        return f"<{words.title(self)}{missed}>"

    def _repr_html_(self) -> str:
        from .formats import words

        rows = [
            [each.name, words.status(each), words.figure(each), words.limit(each), each.note] for each in self.budgets
        ]
        why = [("" if n else each.name, line) for each in self.missed for n, line in enumerate(words.why(each))]
        return html.page(words.title(self), why, ["budget", "", "figure", "limit", ""], rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        largest = [{"name": row.name, "shape": row.shape, "bytes": row.huffman} for row in self.largest]
        return {
            "path": self.path,
            "holds": self.holds,
            "status": self.status,
            "error": None if self.error is None else message(self.error),
            "file_bytes": self.file_bytes,
            "memory_bytes": self.memory_bytes,
            "baseline_bytes": self.baseline_bytes,
            "budgets": [asdict(budget) for budget in self.budgets],
            "largest": largest,
        }


def check(
    path: str | os.PathLike[str],
    *,
    max_size: int | str | None = None,
    min_ratio: float | None = None,
    max_tensor_size: int | str | None = None,
    max_growth: int | str | None = None,
    baseline: str | os.PathLike[str] | None = None,
    max_memory: int | str | None = None,
    max_exact: float | str | None = None,
    min_agreement: float | str | None = None,
    against: str | os.PathLike[str] | None = None,
    data: "Data | None" = None,
    min_top1: float | str | None = None,
    labels: "Labels | None" = None,
    threads: int | None = None,
    progress: Progress = None,
) -> Verdict:
    """Hold a `.dcz` or `.onnx` file (its external data included) against budgets; raises DczError.

    Sizes are in bytes, or text such as "7MB" or "1.5 MiB"; shares are numbers from 0 to 1, or text such as "98%".
    `max_size`: of the file; `max_tensor_size`: of any tensor in it; `max_memory`: of the model once it is decoded;
    `min_ratio`: how many times smaller than its source a `.dcz` file must be; `max_exact`: the share of the tensors'
    bytes that pruning and sharing have not touched; `max_growth`: bytes, or a percentage, more than in `baseline`, a
    JSON of `dcz check --update-baseline` or an older model. `min_agreement`: the share of equal answers with the model
    `against` on the samples `data`; `min_top1`: of right ones by `labels`. Samples, labels and `progress` are as
    `evaluate` takes them.
    """
    given = {
        "max-size": max_size, "min-ratio": min_ratio, "max-tensor-size": max_tensor_size, "max-growth": max_growth,
        "max-memory": max_memory, "max-exact": max_exact, "min-agreement": min_agreement, "min-top1": min_top1,
    }  # fmt: skip
    asked = tuple(limits.parse(name, value) for name, value in given.items() if value is not None)
    if not asked:
        raise InvalidArgument("no budget given: use --max-size, --min-ratio or another limit")
    other, old = (None if place is None else os.fspath(place) for place in (against, baseline))
    entry = Budgeted(os.fspath(path), asked, old, other, data, labels)
    check_complete(entry)
    with shown(progress, "evaluating") as report:
        return judge(os.fspath(path), entry, None, threads, report)


def judge(
    path: str, entry: Budgeted, old: Baseline | None = None, threads: int | None = None, progress: Progress = None
) -> Verdict:
    """Hold one file against the limits of an entry; `old`: its baseline, read where it is None. Raises DczError."""
    asks_growth = any(limit.name == "max-growth" for limit in entry.limits)
    if old is None and asks_growth and entry.baseline is not None:
        old = baseline.read(entry.baseline)
    before = old.of(path) if old is not None else None
    report = inspect(path)
    memory = decoded(path) if report.kind == "dcz" else Decoded(report.file_bytes)
    evidence = Evidence(path, entry, report, memory, before)
    evaluation = answers.evaluated(path, entry, threads, progress)
    budgets = tuple(_budget(limit, evidence, evaluation) for limit in entry.limits)
    largest = sorted(report.rows, key=lambda row: -row.huffman)[:LARGEST]
    return Verdict(
        path, budgets, tuple(largest), report.file_bytes, evidence.memory, before.bytes if before else None,
        baseline.weigh(path, report, evidence.memory), None, entry.config, entry.line,
    )  # fmt: skip


def judge_all(entries: Iterable[Budgeted], threads: int | None = None, progress: Progress = None) -> list[Verdict]:
    """The verdict on each file that the entries name; one that cannot be read, or judged, stops none of the others."""
    verdicts: list[Verdict] = []
    baselines: dict[str, Baseline | None] = {}
    for entry in entries:
        try:
            files = entry.files()
        except DczError as error:
            verdicts.append(_failed(entry.path, entry, error))
            continue
        for path in files:
            try:
                old = _baseline(entry, baselines)
                verdicts.append(judge(path, entry, old, threads, progress))
            except BrokenPipeError:  # of a progress display whose reader has gone
                raise
            except Exception as error:  # noqa: BLE001 (a bug of dcz, too, stops one file only)
                verdicts.append(_failed(path, entry, error))
    return verdicts


def _baseline(entry: Budgeted, known: dict[str, Baseline | None]) -> Baseline | None:
    """The baseline of an entry, read once for all files."""
    if entry.baseline is None:
        return None
    if entry.baseline not in known:
        known[entry.baseline] = baseline.read(entry.baseline)
    return known[entry.baseline]


def _failed(path: str, entry: Budgeted, error: Exception) -> Verdict:
    return Verdict(path, (), (), error=error, config=entry.config, line=entry.line)


def common_exit_code(verdicts: Iterable[Verdict]) -> int:
    """0 where all budgets hold, 1 where one is missed; that of the errors where a file could not be judged, SEVERAL
    where these differ."""
    verdicts = list(verdicts)
    codes = {exit_code(verdict.error) for verdict in verdicts if verdict.error is not None}
    if codes:
        return codes.pop() if len(codes) == 1 else SEVERAL
    return 0 if all(verdict.holds for verdict in verdicts) else 1


def _budget(limit: Limit, evidence: Evidence, evaluation: "Evaluation | None") -> Budget:
    value, note = figure(limit, evidence, evaluation)
    holds = value is not None and limit.holds(value)
    budget = Budget(limit.name, limit.value, value, holds, limit.unit, limit.level, note)
    if holds:
        return budget
    why = reasons.reasons(limit, evidence) if value is not None else ()
    return replace(budget, reasons=why, remedies=remedies.remedies(limit, evidence))
