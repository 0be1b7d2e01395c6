"""What came of a run of retraining, by the file that it wrote: the values that `retrain` gives.

    outcome_of(task, training, model, made, "net.dcz", 0.01, warn).decoded    ->   (0.083, 0.021): loss and error

Where the file does worse than the model and compress makes a better one of its size, that one takes its place.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..arguments import as_percent
from ..files import replacing
from ..reading.written import OfFile, WrittenFile, written
from .state import Epoch

# Modules that need PyTorch are imported by the functions that use them: the class is there without it.
if TYPE_CHECKING:
    from onnx import ModelProto

    from .outcome import Found
    from .task import TrainingTask
    from .training import Training


@dataclass(frozen=True, repr=False)
class Retrained(OfFile):
    """A finished run.

    (loss, error) on the validation samples: `before`; `pruned`, when the phase of pruning has ended; `after`, of what
    was written; and `decoded`, of the file, decoded. The error is a fraction, of `answers`; None without labels, and
    all are None without validation samples. `interval`: where the decoded file's error lies with 95 % confidence.
    `drop`: its error less that before. `is_plain`: compress does better at this size without training, and its file was
    taken. `sparsity` is that of the pruned tensors. `notes` say what did not go as planned. `file`: its tensors.
    """

    path: str
    file_bytes: int
    source_bytes: int
    sparsity: float
    before: tuple[float, float | None] | None
    after: tuple[float, float | None] | None
    epochs: tuple[Epoch, ...]
    notes: tuple[str, ...]
    pruned: tuple[float, float | None] | None = None
    decoded: tuple[float, float | None] | None = None
    answers: int = 0
    interval: tuple[float, float] | None = None
    max_drop: float | None = None
    is_plain: bool = False
    file: WrittenFile | None = None

    @property
    def drop(self) -> float | None:
        """The error of the decoded file less that before, a fraction; None without labels."""
        pair = [score[1] for score in (self.before, self.decoded) if score is not None and score[1] is not None]
        return pair[1] - pair[0] if len(pair) == 2 else None

    @property
    def holds(self) -> bool:
        """Whether the drop is no more than `max_drop`, where that was asked for."""
        return self.max_drop is None or (self.drop is not None and self.drop <= self.max_drop + 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "file"}
        own["epochs"] = tuple(asdict(epoch) for epoch in self.epochs)
        return own | {"drop": self.drop, "holds": self.holds}


def outcome_of(
    task: "TrainingTask",
    training: "Training",
    model: "str | os.PathLike[str] | ModelProto",
    made: Path,
    output: str | os.PathLike[str],
    max_drop: float | None,
    warn: Callable[[str], None],
) -> Retrained:
    """What came of a run, by the file `made`, for which a better one of its size is taken where there is one. It takes
    the place of `output`, whole, when that is known."""
    from .outcome import is_worse, judge, plain_rival, told
    from .validation import wilson

    state, notes = training.state, list(training.state.notes)
    found, rival = judge(task, made), None
    if found is not None and is_worse(found, state.before):
        rival = plain_rival(task, model, made, found)
    if rival is not None and found is not None:
        notes.append(
            f"compress makes a file of this size with {told(rival[1])} without training, where training came to "
            f"{told(found)}: that one is kept"
        )
        warn(notes[-1])
        made, found = rival
    with made.open("rb") as source, replacing(output) as file:
        shutil.copyfileobj(source, file)
    result = Retrained(
        path=os.fspath(output),
        file_bytes=os.path.getsize(output),
        source_bytes=task.source.source_bytes,
        sparsity=training.sparsity,
        before=state.before,
        after=state.after,
        epochs=tuple(Epoch(**epoch) for epoch in state.history),
        notes=tuple(notes),
        pruned=state.pruned_result,
        decoded=None if found is None else found[:2],
        answers=0 if found is None else found[2],
        interval=None if found is None or found[1] is None else wilson(found[1], found[2]),
        max_drop=max_drop,
        is_plain=rival is not None,
        file=written(output, tuple(notes), _measured(state.before, found)),
    )
    return result if result.holds else _with_drop(result, warn)


def _measured(before: tuple[float, float | None] | None, found: "Found | None") -> dict[str, float | str]:
    """The figures of the decoded file, and of the model before, by name."""
    figures: dict[str, float | str] = {}
    for name, score in (("", found), (" before", before)):
        if score is not None:
            figures[f"loss{name}"] = score[0]
            figures |= {} if score[1] is None else {f"error{name}": as_percent(round(score[1], 4))}
    return figures


def _with_drop(result: Retrained, warn: Callable[[str], None]) -> Retrained:
    """The result with a note that it misses the drop that was allowed."""
    if result.drop is None:
        note = "nothing tells whether the drop is held: that takes validation samples with labels"
    else:
        note = (
            f"the error rose by {100 * result.drop:.2f} points, more than the {100 * (result.max_drop or 0):g} that "
            "are allowed: give more epochs, more samples, less sparsity or more bits"
        )
    warn(note)
    return replace(result, notes=(*result.notes, note))
