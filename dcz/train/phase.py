"""One phase of a run of retraining, epoch by epoch: what an epoch spoils is undone, the best one is kept.

Phase(run, save).train(optimizer)
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from . import sharing
from .epoch import EpochOfTraining
from .guard import is_spoiled
from .pytorch import torch
from .run import Run
from .state import Epoch

MAX_HALVINGS = 6  # of a rate that was found


class Phase:
    """The phase that `run` is in, from the epoch that it is at; `save` takes the optimizer after each epoch."""

    def __init__(self, run: Run, save: Callable[[torch.optim.Optimizer], None]):
        self.run, self.save = run, save
        self.task, self.recipe, self.network, self.state = run.task, run.recipe, run.network, run.state
        self.epochs = run.task.epochs[run.state.phase]

    def train(self, optimizer: torch.optim.Optimizer | None) -> None:
        """Train until the last epoch, or one that ends the phase before; without an `optimizer`, with a new one."""
        state, pruner = self.state, self.run.pruner
        if self.epochs and not len(self.task.training) and not state.batches:
            # What does not tell its length is gone through once: else the first epoch would stay at its first rate.
            state.batches = sum(1 for _ in self.task.training.epoch(0))
        optimizer = optimizer or self.run.new_optimizer()
        while state.epoch < self.epochs and not state.halted and not self._is_out_of_patience():
            last, squares = self.network.state(), {name: mean.clone() for name, mean in pruner.squares.items()}
            loss = self._epoch().train(optimizer)
            state.epoch += 1
            if loss is None:
                self._halt(last, squares)
            else:
                is_undone, moments = self._end_epoch(loss, last), optimizer.state_dict()
                optimizer = self.run.new_optimizer()  # of the parameters as they are now: restoring makes others
                if is_undone:
                    pruner.squares = squares
                else:
                    optimizer.load_state_dict(moments)
            self.save(optimizer)
            if loss is not None:  # after the checkpoint: the callback may stop the run
                self.run.report(state.batches, state.batches, loss, is_end=True)

    def _epoch(self) -> EpochOfTraining:
        return EpochOfTraining(self.task, self.state, self.run.pruner, self.run.report)

    def _halt(self, last: dict[str, Any], squares: dict[str, torch.Tensor]) -> None:
        """End training with the weights, and the means of squared gradients, from before the epoch."""
        state = self.state
        self.network.restore(last)
        self.run.pruner.squares = squares
        state.halted = True
        kept = "the best one before it" if state.best_weights is not None else "what there was before it"
        self.run.note(f"the loss is no number in epoch {state.epoch} of phase {state.phase!r}: {kept} is kept")

    def _is_out_of_patience(self) -> bool:
        state, patience = self.state, self.recipe.patience
        return patience is not None and state.pruned and state.stale >= patience

    def _end_epoch(self, loss: float, last: dict[str, Any]) -> bool:
        """Prune what is due, validate, and keep the best; return whether the epoch was undone."""
        state, run = self.state, self.run
        self._epoch().finish()
        run.estimate_roughly()
        scores = run.validate()
        if scores is not None and state.epoch < self.epochs and self._undo_if_spoiled(scores[0], last):
            return True
        state.reference = state.reference if scores is None else scores[0]
        size = sharing.projected_bytes(self.network, self.task.settings)
        validation, error = scores or (None, None)
        state.history.append(asdict(Epoch(state.phase, state.epoch, loss, validation, error, run.sparsity, size)))
        if state.pruned and (state.phase == "prune" or state.bind_step in (0, len(self.recipe.bound_fractions))):
            run.keep_if_best(loss if validation is None else validation)
        return False

    def _undo_if_spoiled(self, loss: float, last: dict[str, Any]) -> bool:
        """Where an epoch at a rate that was found has done more harm than its pruning explains, go back to where it
        began, halve the rate, and return True."""
        state = self.state
        if state.phase != "prune" or not self.recipe.finds_rate or state.halvings == MAX_HALVINGS:
            return False
        if not is_spoiled(self.network, last, state.reference, loss, self.run.validation_loss):
            return False
        self.network.restore(last)
        state.rate, state.halvings, state.pruned = state.rate / 2, state.halvings + 1, state.best_weights is not None
        self.run.note(
            f"epoch {state.epoch} raised the validation loss from {state.reference:.3g} to {loss:.3g}, more than "
            f"pruning explains: it is undone, and the learning rate halved, to {state.rate:.2g}"
        )
        return True
