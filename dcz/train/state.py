"""The state of a run of retraining: what progress callbacks get, and what a checkpoint holds."""

import math
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Progress:
    """Where a run is: in the phase "prune" or "share", `epoch` epochs are done, and `batch` of `batches` (0: not known)
    of the next one; or, with `is_end`, an epoch has just ended. `loss` is that of the batch, at the end the mean of the
    epoch; `validation`, `error` and `bytes` are those of the last whole epoch, None before it. In the phase "rate",
    `epoch` counts the short runs that find a learning rate, of which there are `epochs` at most.
    """

    phase: str
    epoch: int
    epochs: int
    batch: int
    batches: int
    is_end: bool
    loss: float
    sparsity: float
    validation: float | None = None
    error: float | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Epoch:
    """The results of one epoch: mean training loss, validation loss and error (a fraction of the samples), sparsity of
    the tensors that are pruned, and an estimate of the bytes that the tensors would take in a file."""

    phase: str
    number: int
    loss: float
    validation: float | None
    error: float | None
    sparsity: float
    bytes: int


# What checkpoints call these fields of State.
CHECKPOINT_NAMES = {"pruned": "settled", "bind_step": "stage"}


@dataclass
class State:
    """The state of a run.

    `pruned`: the pruning has reached its targets. `halted`: the loss was not finite. `best` is the least score
    (validation loss, or training loss) of an epoch of this phase after pruning, `best_weights` the weights that had it,
    `stale` the epochs since, `bind_step` how many steps of binding weights to centroids are done, `rate` the learning
    rate of the phase, which was halved `halvings` times, `reference` the validation loss before this epoch. `history`
    holds an Epoch's values for each epoch. `before`, `pruned_result` and `after` are (loss, error) of these times.
    """

    phase: str = "prune"
    epoch: int = 0
    batches: int = 0
    pruned: bool = False
    halted: bool = False
    best: float = math.inf
    best_weights: dict[str, Any] | None = None
    stale: int = 0
    bind_step: int = 0
    rate: float = 0.0
    halvings: int = 0
    reference: float = math.inf
    before: Any = None
    pruned_result: Any = None
    after: Any = None
    history: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raise TypeError for values that no run has: a state may come from a file."""
        kinds = {"int": int, "bool": bool, "float": float, "str": str, "list": list}
        for each in fields(self):
            value, kind = getattr(self, each.name), kinds.get(getattr(each.type, "__name__", ""))
            if kind is not None and type(value) is not kind:
                raise TypeError(f"{each.name} is {kind.__name__}, not {value!r}")
        for epoch in self.history:
            Epoch(**epoch)
        if self.epoch < 0 or self.bind_step < 0 or not all(isinstance(note, str) for note in self.notes):
            raise TypeError("counts are 0 or more, notes are sentences")

    def to_checkpoint(self) -> dict[str, Any]:
        """The fields by their names in a checkpoint."""
        return {CHECKPOINT_NAMES.get(name, name): value for name, value in vars(self).items()}

    @classmethod
    def from_checkpoint(cls, saved: dict[str, Any]) -> "State":
        """The state of a checkpoint. Raises TypeError for names or values that no run has."""
        names = {saved_name: name for name, saved_name in CHECKPOINT_NAMES.items()}
        return cls(**{names.get(name, name): value for name, value in saved.items()})
