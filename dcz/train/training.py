"""The two phases of a run, epoch by epoch; see `retrain`."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from ..errors import BadPlan
from . import sharing
from .idle import drop_idle
from .losses import class_rows, output_of
from .pruning import Pruner
from .recipe import HALF, TURNS
from .task import Task


@dataclass(frozen=True)
class Progress:
    """Where a run is: `epoch` epochs of a phase are done, and `batch` of `batches` (0: not known) of the next one; or,
    with `is_end`, an epoch has just ended. `loss` is the batch's, at the end the epoch's mean; `validation`, `error` and
    `bytes` are those of the last whole epoch, None before it."""

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
    """What one epoch came to: mean training loss, validation loss and error (a share of samples), sparsity of the tensors
    that are pruned, and about how many bytes the tensors would take in a file."""

    phase: str
    number: int
    loss: float
    validation: float | None
    error: float | None
    sparsity: float
    bytes: int


@dataclass
class State:
    """How far a run is. `settled`: all that is to be pruned is. `best` is the least score (validation loss, or training
    loss) of a settled epoch of this phase, `best_weights` the weights that had it, `stale` the epochs since."""

    phase: str = "prune"
    epoch: int = 0
    batches: int = 0
    settled: bool = False
    halted: bool = False
    best: float = math.inf
    best_weights: dict[str, Any] | None = None
    stale: int = 0
    before: Any = None
    after: Any = None
    history: list = field(default_factory=list)
    notes: list = field(default_factory=list)


class Training:
    """One run: `saved` is the state of a checkpoint, or None; `save` takes such a state after each epoch."""

    def __init__(
        self,
        task: Task,
        saved: dict[str, Any] | None,
        save: Callable[[dict[str, Any]], None],
        progress: Callable[[Progress], None],
        warn: Callable[[str], None],
    ):
        self.task, self.recipe, self.network = task, task.recipe, task.network
        self.save, self.progress, self.warn = save, progress, warn
        self.pruner = Pruner(task.groups, task.recipe)
        self.state = State(settled=not task.groups)
        self._optimizer_state = None
        if saved is not None:
            self.state = State(**saved["state"])
            self._put(saved["weights"])
            self.pruner.squares = saved["squares"]
            self._optimizer_state = saved["optimizer"]
            torch.set_rng_state(saved["random"])
        else:
            torch.manual_seed(self.recipe.seed)

    @property
    def sparsity(self) -> float:
        """The share of the weights of all tensors that are pruned which is zero."""
        weights = self.task.pruned
        return 1 - sum(w.kept for w in weights) / sum(w.count for w in weights) if weights else 0.0

    def run(self) -> None:
        """Both phases, or what is left of them."""
        state = self.state
        if state.phase == "prune":
            if state.epoch == 0:
                state.before = self._validate()
                self._check_finite(state.before)
            self._train(self.recipe.learning_rate)
            self._finish_pruning()
            self._share()
        self._train(self.recipe.share_rate)
        self._put_best()
        self._round()
        state.after = self._validate()

    # -- between the phases --------------------------------------------------------------------------------------------

    def _finish_pruning(self) -> None:
        state, recipe = self.state, self.recipe
        self._put_best()
        if state.halted and not state.settled:
            self._note(f"the weights are {self.sparsity:.2%} zero, less than was asked for")
        if recipe.drop_idle and not recipe.regrow and self.task.groups:
            names = {weight.name for weight in self.task.pruned}
            drop_idle(self.network, lambda: self.task.training.epoch(0), self.task.loss, names)

    def _share(self) -> None:
        state, movable = self.state, self.recipe.reassign is not None
        for weight in self.network:
            settings = self.task.settings[weight.name]
            if not settings.lossless and not settings.shares_nothing:
                sharing.share_weights(weight, settings, movable)
        state.phase, state.epoch, state.stale = "share", 0, 0
        state.best, state.best_weights = math.inf, None
        self._optimizer_state = None
        if (found := self._validate()) is not None:  # fine-tuning must beat what it starts from
            self._keep_if_best(found[0])

    def _round(self) -> None:
        """Centroids and biases as they will be in the file."""
        for weight in self.network:
            settings = self.task.settings[weight.name]
            is_half_bias = not weight.is_weight and settings.lossless and self.recipe.bias_bits == HALF
            if is_half_bias or (weight.shared and settings.codebook == "float16"):
                sharing.round_to_half(weight)

    # -- one phase -----------------------------------------------------------------------------------------------------

    def _train(self, rate: float) -> None:
        state, epochs = self.state, self.task.epochs[self.state.phase]
        optimizer = torch.optim.Adam(self.network.parameters(), rate)
        if self._optimizer_state is not None:
            optimizer.load_state_dict(self._optimizer_state)
        while state.epoch < epochs and not state.halted and not self._is_enough():
            last = self._take()
            loss = self._epoch(optimizer, rate, epochs)
            state.epoch += 1
            if loss is None:
                self._put(last)
                state.halted = True
                self._note(
                    f"the loss is no number in epoch {state.epoch} of phase {state.phase!r}: training ends there"
                )
            else:
                self._end_epoch(loss, epochs)
            self._save(optimizer)

    def _is_enough(self) -> bool:
        state, patience = self.state, self.recipe.patience
        return patience is not None and state.settled and state.stale >= patience

    def _epoch(self, optimizer, rate: float, epochs: int) -> float | None:
        """Train on each batch once; the mean loss, or None where it stops being a number."""
        state, training, network = self.state, self.task.training, self.network
        total, count = 0.0, 0
        batches = len(training) or state.batches
        every = min(self.recipe.prune_every, max(1, int(self.recipe.ramp * epochs * batches / TURNS)))
        for count, (inputs, labels) in enumerate(training.epoch(state.epoch), 1):
            done = min(1.0, (state.epoch + ((count - 1) / batches if batches else 0)) / epochs)
            for group in optimizer.param_groups:
                group["lr"] = self.recipe.rate(rate, done)
            optimizer.zero_grad(set_to_none=True)
            loss = self.task.loss(network(inputs), network.as_inputs(inputs), labels)
            if not math.isfinite(value := float(loss.detach())):
                return None
            loss.backward()
            if state.phase == "prune":
                self.pruner.observe()
            optimizer.step()
            total += value
            if count % every == 0:
                self._turn(done)
            self._tell(count, batches, value, is_end=False)
        state.batches = count
        return total / count if count else None

    def _turn(self, done: float) -> None:
        """What happens between batches now and then: weights go, or change their codes."""
        if self.state.phase == "prune" and (self.recipe.regrow or not self.state.settled):
            self._prune(done)
        elif self.state.phase == "share" and self.recipe.reassign is not None:
            for weight in self.network:
                if weight.latent is not None:
                    sharing.reassign(weight, self.recipe.reassign)

    def _prune(self, done: float) -> None:
        self.pruner.prune(done)
        self.state.settled = self.state.settled or self.recipe.is_settled(done)

    def _end_epoch(self, loss: float, epochs: int) -> None:
        state = self.state
        done = state.epoch / epochs
        if state.phase == "prune" and not state.settled and self.recipe.is_settled(done):
            self._prune(done)
        found = self._validate()
        size = sharing.projected_bytes(self.network, self.task.settings)
        validation, error = found or (None, None)
        state.history.append(asdict(Epoch(state.phase, state.epoch, loss, validation, error, self.sparsity, size)))
        if state.settled:
            self._keep_if_best(loss if found is None else validation)
        self._tell(state.batches, state.batches, loss, is_end=True)

    def _keep_if_best(self, score: float) -> None:
        state = self.state
        if score < state.best:
            state.best, state.best_weights, state.stale = score, self._take(), 0
        else:
            state.stale += 1

    def _validate(self) -> tuple[float, float | None] | None:
        """Mean loss and share of wrong top classes on the validation samples; error None without labels."""
        if self.task.validation is None:
            return None
        total = wrong = rows = count = 0
        with torch.no_grad():
            for inputs, labels in self.task.validation.epoch(0):
                outputs = self.network(inputs)
                size = len(next(iter(outputs.values())))
                total += size * float(self.task.loss(outputs, self.network.as_inputs(inputs), labels))
                count += size
                if labels is not None:
                    answers = class_rows(outputs[output_of(self.network, None)[0]]).argmax(1)
                    rows += len(answers)
                    wrong += int((answers != labels.reshape(-1)).sum())
        return total / max(count, 1), wrong / rows if rows else None

    # -- state ---------------------------------------------------------------------------------------------------------

    def _take(self) -> dict[str, Any]:
        return {weight.name: weight.state() for weight in self.network}

    def _put(self, weights: dict[str, Any]) -> None:
        for weight in self.network:
            weight.restore(weights[weight.name])

    def _put_best(self) -> None:
        if self.state.best_weights is not None:
            self._put(self.state.best_weights)

    def _save(self, optimizer) -> None:
        self.save(
            {
                "state": dict(vars(self.state)),
                "weights": self._take(),
                "squares": self.pruner.squares,
                "optimizer": optimizer.state_dict(),
                "random": torch.get_rng_state(),
            }
        )

    def _tell(self, batch: int, batches: int, loss: float, is_end: bool) -> None:
        state = self.state
        last = state.history[-1] if state.history else {}
        known = {name: last.get(name) for name in ("validation", "error", "bytes")}
        epochs = self.task.epochs[state.phase]
        self.progress(Progress(state.phase, state.epoch, epochs, batch, batches, is_end, loss, self.sparsity, **known))

    def _note(self, message: str) -> None:
        self.state.notes.append(message)
        self.warn(message)

    def _check_finite(self, found) -> None:
        if found is not None and not math.isfinite(found[0]):
            raise BadPlan("the loss is no number before any training: look for NaN or infinities in the inputs")
