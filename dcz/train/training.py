"""The two phases of a run of retraining, epoch by epoch; see `retrain`."""

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ..errors import InvalidArgument
from . import folding, scaling, sharing, tables
from .dead_units import drop_dead_units
from .device import on_cpu
from .epoch import EpochOfTraining
from .first_look import doubts
from .guard import is_spoiled
from .normalization import estimate_statistics
from .pruning import Pruner
from .pytorch import torch
from .range_test import BATCHES, LONG_RUN, MAX_RUNS, first_batches, fitting_rate
from .recipe import HALF
from .state import Epoch, Progress, State
from .steps import make_optimizer
from .task import TrainingTask
from .validation import validate

SAMPLED = 16  # batches that tell enough of a network on its way: of its statistics, and of squared gradients
MAX_HALVINGS = 6  # of a rate that was found


class Training:
    """One run: `saved` is the state of a checkpoint, or None; `save` takes such a state after each epoch."""

    def __init__(
        self,
        task: TrainingTask,
        saved: dict[str, Any] | None,
        save: Callable[[dict[str, Any]], None],
        progress: Callable[[Progress], None],
        warn: Callable[[str], None],
    ):
        self.task, self.recipe, self.network = task, task.recipe, task.network
        self.save, self.progress, self.warn = save, progress, warn
        self.pruner = Pruner(task.groups, task.recipe)
        self.state = State(pruned=not task.groups)
        self._optimizer: torch.optim.Optimizer | None = None
        self._is_folded, self._scalable = False, list[scaling.ScalableLayer]()
        if saved is None:
            torch.manual_seed(self.recipe.seed)
        else:
            self._restore(**saved)

    def _restore(
        self,
        state: dict[str, Any],
        weights: dict[str, Any],
        squares: dict[str, torch.Tensor],
        optimizer: dict[str, Any],
        random: torch.Tensor,
    ) -> None:
        """Continue from what `_save_checkpoint` wrote. Raises ValueError and the like where it does not fit: see
        checkpoint.restoring."""
        self.state = State.from_checkpoint(state)
        if self.state.phase not in self.task.epochs:
            raise ValueError(f"no phase {self.state.phase!r}")
        if self.state.phase == "share":
            self._fold_before_sharing()
        if self.state.best_weights is not None:  # tried now: it is needed only at the end
            self.network.restore(self.state.best_weights)
        self.network.restore(weights)
        sizes = {weight.name: weight.count for weight in self.network}
        if any(mean.shape != (sizes[name],) for name, mean in squares.items()):
            raise ValueError("squared gradients of another size")
        self.pruner.squares = {name: mean.to(self.network.device) for name, mean in squares.items()}
        self._optimizer = made = self._new_optimizer()
        made.load_state_dict(optimizer)
        for parameter, moments in made.state.items():
            if any(m is not None and m.shape not in ((), parameter.shape) for m in moments.values()):
                raise ValueError("moments of another size")
        torch.set_rng_state(random)

    @property
    def sparsity(self) -> float:
        """The fraction of zeros among the weights of all tensors that are pruned."""
        weights = self.task.pruned
        return 1 - sum(w.kept for w in weights) / sum(w.count for w in weights) if weights else 0.0

    def run(self) -> None:
        """Both phases, or the rest of them."""
        state = self.state
        if state.phase == "prune":
            if state.epoch == 0:
                for note in self.task.notes:
                    self._add_note(note)
                self._validate_before()
                self._start_pruning()
            self._train_phase()
            self._finish_pruning()
            self._start_sharing()
        self._train_phase()
        self._restore_best()
        sharing.bind_rest(self.network, self.recipe.seed)
        if state.epoch or self._scalable:
            estimate_statistics(self.network, self.task.training.epoch(0))
        self._fold_rest()
        sharing.round_network(self.network, self.task.settings, self.recipe.bias_bits == HALF)
        state.after = self._validate()

    # -- between the phases --------------------------------------------------------------------------------------------

    def _start_pruning(self) -> None:
        """Set the rate, and with one that is found, what it depends on: normalizations, and which weights matter."""
        state, recipe, task = self.state, self.recipe, self.task
        folding.start(self.network, task.normalizations.added, task.training.epoch(0))
        state.rate = recipe.learning_rate or 0.0
        if recipe.learning_rate is None and task.epochs["prune"]:
            if recipe.scored_by != "magnitude":
                self.pruner.sample(self.network, task.loss, first_batches(task, SAMPLED))
            before = self.network.state()
            self.pruner.prune_to(math.sqrt)  # half of the way, in factors: what the rate has to mend
            state.rate = fitting_rate(task, self._optimizer_name, recipe.momentum, LONG_RUN, self._report_run)
            self.network.restore(before)

    def _finish_pruning(self) -> None:
        state, recipe = self.state, self.recipe
        self._restore_best()
        if state.epoch:
            estimate_statistics(self.network, self.task.training.epoch(0))
        self._fold_before_sharing()
        if state.halted and not state.pruned:
            self._add_note(f"the weights are {self.sparsity:.2%} zero, less than was asked for")
        if recipe.drop_idle and not recipe.regrow and self.task.groups:
            self._drop_dead_units()
        state.pruned_result = self._validate()

    def _fold_before_sharing(self) -> None:
        """Fold the normalizations that may be, but those that stay for sharing. What is pruned, and by which scores, is
        anew then."""
        self._scalable = self.task.scalable()
        self._is_folded = bool(self.task.fold(later={layer.weight.name for layer in self._scalable}))
        if self._is_folded:
            self.pruner = Pruner(self.task.groups, self.recipe)
            self._scalable = self.task.scalable()  # of the weights that are there now

    def _fold_rest(self) -> None:
        """Fold the others, and share biases that have come by it."""
        if self._scalable and self.task.fold():
            sharing.share_network(self.network, self.task.settings, False, {})

    def _drop_dead_units(self) -> None:
        kept = sum(weight.kept for weight in self.task.pruned)
        with on_cpu(self.network):
            names = {weight.name for weight in self.task.pruned}
            drop_dead_units(self.network, lambda: self.task.training.epoch(0), names)
        left = sum(weight.kept for weight in self.task.pruned)
        if left < kept / 2:  # a trained network has a few dead units: not worth a note
            self._add_note(
                f"{kept - left:,} of the {kept:,} weights kept changed no output on the training samples, and are zero "
                "too; give more samples, or keep idle weights (drop_idle=False, --keep-idle)"
            )

    def _start_sharing(self) -> None:
        state, movable = self.state, self.recipe.price is not None or len(self.recipe.bound_fractions) > 1
        scaling.fix(self._scalable)
        if self._scalable:  # rows of one size matter alike, and what few batches tell beyond that does harm
            self.pruner.squares.clear()
        elif self.task.shares and (self._is_folded or self.recipe.finds_rate):  # the gradients are others
            self.pruner.sample(self.network, self.task.loss, first_batches(self.task, SAMPLED))
        trained = self.task.settings.keys() - {each.name for layer in self._scalable for each in layer.others}
        settings = {name: self.task.settings[name] for name in trained}
        tables.scale_rows(self.network, self.task.settings, self.task.training.epoch(0))
        importance = {w.name: found for w in self.network if (found := self.pruner.importance(w)) is not None}
        sharing.share_network(self.network, settings, movable, importance, self.recipe.price)
        state.phase, state.epoch, state.stale = "share", 0, 0
        state.best, state.best_weights = math.inf, None
        self._optimizer = None
        estimate_statistics(self.network, first_batches(self.task, SAMPLED))
        if (score := self._validate()) is not None:  # training must improve on what it starts from
            self._keep_if_best(score[0])
        if (rate := self.recipe.rate_of_sharing) is None and self.task.epochs["share"]:
            rate = fitting_rate(self.task, self._optimizer_name, self.recipe.momentum, report=self._report_run)
        state.rate = rate or 0.0

    # -- one phase -----------------------------------------------------------------------------------------------------

    @property
    def _optimizer_name(self) -> str:
        """Adam for centroids: the gradient of each is a sum over its weights, and so of a size of its own."""
        return self.recipe.optimizer if self.state.phase == "prune" else "adam"

    def _new_optimizer(self) -> torch.optim.Optimizer:
        name, rate = self._optimizer_name, self.state.rate
        return make_optimizer(self.network, name, rate, self.recipe.momentum, self.task.on_grid)

    def _train_phase(self) -> None:
        state, epochs = self.state, self.task.epochs[self.state.phase]
        if epochs and not len(self.task.training) and not state.batches:
            # What does not tell its length is gone through once: else the first epoch would stay at its first rate.
            state.batches = sum(1 for _ in self.task.training.epoch(0))
        optimizer = self._optimizer or self._new_optimizer()
        while state.epoch < epochs and not state.halted and not self._is_out_of_patience():
            last, squares = self.network.state(), {name: mean.clone() for name, mean in self.pruner.squares.items()}
            loss = self._epoch().train(optimizer)
            state.epoch += 1
            if loss is None:
                self._halt(last, squares)
            else:
                is_undone, moments = self._end_epoch(loss, epochs, last), optimizer.state_dict()
                optimizer = self._new_optimizer()  # of the parameters as they are now: restoring makes others
                if is_undone:
                    self.pruner.squares = squares
                else:
                    optimizer.load_state_dict(moments)
            self._save_checkpoint(optimizer)
            if loss is not None:  # after the checkpoint: the callback may stop the run
                self._report(state.batches, state.batches, loss, is_end=True)

    def _halt(self, last: dict[str, Any], squares: dict[str, torch.Tensor]) -> None:
        """End training with the weights, and the means of squared gradients, from before the epoch."""
        state = self.state
        self.network.restore(last)
        self.pruner.squares = squares
        state.halted = True
        kept = "the best one before it" if state.best_weights is not None else "what there was before it"
        self._add_note(f"the loss is no number in epoch {state.epoch} of phase {state.phase!r}: {kept} is kept")

    def _is_out_of_patience(self) -> bool:
        state, patience = self.state, self.recipe.patience
        return patience is not None and state.pruned and state.stale >= patience

    def _epoch(self) -> EpochOfTraining:
        return EpochOfTraining(self.task, self.state, self.pruner, self._report)

    def _end_epoch(self, loss: float, epochs: int, last: dict[str, Any]) -> bool:
        """Prune what is due, validate, and keep the best; return whether the epoch was undone."""
        state = self.state
        self._epoch().finish()
        estimate_statistics(self.network, first_batches(self.task, SAMPLED))
        scores = self._validate()
        if scores is not None and state.epoch < epochs and self._undo_if_spoiled(scores[0], last):
            return True
        state.reference = state.reference if scores is None else scores[0]
        size = sharing.projected_bytes(self.network, self.task.settings)
        validation, error = scores or (None, None)
        state.history.append(asdict(Epoch(state.phase, state.epoch, loss, validation, error, self.sparsity, size)))
        if state.pruned and (state.phase == "prune" or state.bind_step in (0, len(self.recipe.bound_fractions))):
            self._keep_if_best(loss if validation is None else validation)
        return False

    def _undo_if_spoiled(self, loss: float, last: dict[str, Any]) -> bool:
        """Where an epoch at a rate that was found has done more harm than its pruning explains, go back to where it
        began, halve the rate, and return True."""
        state = self.state
        if state.phase != "prune" or not self.recipe.finds_rate or state.halvings == MAX_HALVINGS:
            return False
        if not is_spoiled(self.network, last, state.reference, loss, self._validation_loss):
            return False
        self.network.restore(last)
        state.rate, state.halvings, state.pruned = state.rate / 2, state.halvings + 1, state.best_weights is not None
        self._add_note(
            f"epoch {state.epoch} raised the validation loss from {state.reference:.3g} to {loss:.3g}, more than "
            f"pruning explains: it is undone, and the learning rate halved, to {state.rate:.2g}"
        )
        return True

    def _validation_loss(self) -> float:
        estimate_statistics(self.network, first_batches(self.task, SAMPLED))
        scores = self._validate()
        return math.inf if scores is None else scores[0]

    def _keep_if_best(self, score: float) -> None:
        state = self.state
        if score < state.best:
            state.best, state.best_weights, state.stale = score, self.network.state(), 0
        else:
            state.stale += 1

    def _validate(self) -> tuple[float, float | None] | None:
        return validate(self.network, self.task.loss, self.task.validation)

    # -- state ---------------------------------------------------------------------------------------------------------

    def _restore_best(self) -> None:
        if self.state.best_weights is not None:
            self.network.restore(self.state.best_weights)

    def _save_checkpoint(self, optimizer: torch.optim.Optimizer) -> None:
        self.save(
            {
                "state": self.state.to_checkpoint(),
                "weights": self.network.state(),
                "squares": self.pruner.squares,
                "optimizer": optimizer.state_dict(),
                "random": torch.get_rng_state(),
            }
        )

    def _report(self, batch: int, batches: int, loss: float, is_end: bool) -> None:
        state = self.state
        last = state.history[-1] if state.history else {}
        last_results = {name: last.get(name) for name in ("validation", "error", "bytes")}
        epochs = self.task.epochs[state.phase]
        self.progress(
            Progress(state.phase, state.epoch, epochs, batch, batches, is_end, loss, self.sparsity, **last_results)
        )

    def _report_run(self, run: int, batch: int, loss: float) -> None:
        """Of a run that tries a rate: its own phase, of as many epochs as there are runs at most."""
        self.progress(Progress("rate", run, MAX_RUNS, batch, BATCHES, False, loss, self.sparsity))

    def _add_note(self, message: str) -> None:
        self.state.notes.append(message)
        self.warn(message)

    def _validate_before(self) -> None:
        """Validate the network before training; where nothing is pruned, training must improve on it."""
        state = self.state
        state.before = self._validate()
        for doubt in doubts(self.network, self.task.training):
            self._add_note(doubt)
        if state.before is None:
            return
        if not math.isfinite(state.before[0]):
            raise InvalidArgument("the loss is no number before any training: look for NaN or infinities in the inputs")
        state.reference = state.before[0]
        if state.pruned:
            self._keep_if_best(state.before[0])
