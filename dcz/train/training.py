"""The two phases of a run of retraining, epoch by epoch; see `retrain`."""

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from ..errors import InvalidArgument
from . import sharing
from .dead_units import drop_dead_units
from .device import mixed_outputs, moved, on_cpu
from .first_look import doubts
from .pruning import Pruner
from .pytorch import torch
from .recipe import HALF, MIN_UPDATES
from .state import Epoch, Progress, State
from .task import TrainingTask
from .validation import validate


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
        self._optimizer: torch.optim.Adam | None = None
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
        if self.state.best_weights is not None:  # tried now: it is needed only at the end
            self.network.restore(self.state.best_weights)
        self.network.restore(weights)
        sizes = {weight.name: weight.count for weight in self.network}
        if any(mean.shape != (sizes[name],) for name, mean in squares.items()):
            raise ValueError("squared gradients of another size")
        self.pruner.squares = {name: mean.to(self.network.device) for name, mean in squares.items()}
        self._optimizer = adam = torch.optim.Adam(self.network.parameters())
        adam.load_state_dict(optimizer)
        for parameter, moments in adam.state.items():
            if any(moment.shape not in ((), parameter.shape) for moment in moments.values()):
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
            self._train_phase(self.recipe.learning_rate)
            self._finish_pruning()
            self._start_sharing()
        self._train_phase(self.recipe.share_rate)
        self._restore_best()
        self._bind_rest()
        self._round_values()
        state.after = self._validate()

    # -- between the phases --------------------------------------------------------------------------------------------

    def _finish_pruning(self) -> None:
        state, recipe = self.state, self.recipe
        self._restore_best()
        if state.halted and not state.pruned:
            self._add_note(f"the weights are {self.sparsity:.2%} zero, less than was asked for")
        if recipe.drop_idle and not recipe.regrow and self.task.groups:
            self._drop_dead_units()

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
        state, movable = self.state, self.recipe.reassign is not None or len(self.recipe.bound_fractions) > 1
        for weight in self.network:
            settings = self.task.settings[weight.name]
            if not settings.lossless and not settings.shares_nothing:
                sharing.share_weights(weight, settings, movable, self.pruner.squares.get(weight.name))
        state.phase, state.epoch, state.stale = "share", 0, 0
        state.best, state.best_weights = math.inf, None
        self._optimizer = None
        if (score := self._validate()) is not None:  # training must improve on what it starts from
            self._keep_if_best(score[0])

    def _bind_rest(self) -> None:
        """Bind the weights that are not bound yet, as where training halted between two steps."""
        for weight in self.network:
            if weight.free is not None and bool(weight.free.any()):
                sharing.bind_to_centroids(weight, 1.0, np.random.default_rng(self.recipe.seed))

    def _round_values(self) -> None:
        """Round centroids, biases, and tensors of 16-bit types to what the file will hold."""
        for weight in self.network:
            settings = self.task.settings[weight.name]
            is_half_bias = not weight.is_weight and settings.lossless and self.recipe.bias_bits == HALF
            if is_half_bias or (weight.shared and settings.codebook == "float16"):
                sharing.round_to_half(weight)
            sharing.round_to_type(weight)

    # -- one phase -----------------------------------------------------------------------------------------------------

    def _train_phase(self, rate: float) -> None:
        state, epochs = self.state, self.task.epochs[self.state.phase]
        optimizer = self._optimizer or torch.optim.Adam(self.network.parameters(), rate)
        while state.epoch < epochs and not state.halted and not self._is_out_of_patience():
            last, squares = self.network.state(), {name: mean.clone() for name, mean in self.pruner.squares.items()}
            loss = self._train_epoch(optimizer, rate, epochs)
            state.epoch += 1
            if loss is None:
                self._halt(last, squares)
            else:
                self._end_epoch(loss, epochs)
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

    def _train_epoch(self, optimizer: torch.optim.Optimizer, rate: float, epochs: int) -> float | None:
        """Train on each batch once; return the mean loss, or None where it, or a weight, is not finite."""
        state, training, network = self.state, self.task.training, self.network
        total, count = 0.0, 0
        batches = len(training) or state.batches
        every = self.recipe.prune_every
        if batches:
            every = min(every, max(1, int(self.recipe.ramp * epochs * batches / MIN_UPDATES)))
        for count, (inputs, labels) in enumerate(self.task.epoch(state.epoch), 1):
            done = min(1.0, (state.epoch + ((count - 1) / batches if batches else 0)) / epochs)
            for group in optimizer.param_groups:
                group["lr"] = self.recipe.rate(rate, done)
            if state.phase == "share":
                self._bind_due(done)
            optimizer.zero_grad(set_to_none=True)
            tensors = network.as_inputs(inputs)
            loss = self.task.loss(mixed_outputs(network, tensors), tensors, moved(labels, network.device))
            if not loss.requires_grad:
                raise InvalidArgument(
                    "the loss has no gradient: it depends on no trained weight, or only by way of whole numbers, such "
                    "as ArgMax gives; give a model that ends before them, or another loss"
                )
            if not math.isfinite(value := float(loss.detach())):
                return None
            torch.autograd.backward(loss)
            if state.phase == "prune":
                self.pruner.observe()
            optimizer.step()
            total += value
            if count % every == 0:
                if not self._is_finite():
                    return None
                self._update_masks_or_codes(done)
            self._report(count, batches, value, is_end=False)
        if count == 0:
            raise InvalidArgument(f"the data give no batches in epoch {state.epoch}")
        state.batches = count
        return total / count if self._is_finite() else None

    def _update_masks_or_codes(self, done: float) -> None:
        """Every few batches: prune more weights, or give the shared ones other codes."""
        if self.state.phase == "prune" and (self.recipe.regrow or not self.state.pruned):
            self._prune(done)
        elif self.state.phase == "share" and self.recipe.reassign is not None:
            for weight in self.network:
                if weight.latent is not None:
                    sharing.reassign(weight, self.recipe.reassign)

    def _bind_due(self, done: float) -> None:
        """Bind weights to centroids, step by step: several steps at once where there are few batches."""
        fractions = self.recipe.bound_fractions
        while 1 < len(fractions) > self.state.bind_step <= done * len(fractions):
            random = np.random.default_rng([self.recipe.seed, self.state.bind_step])
            for weight in self.network:
                if weight.latent is not None:
                    sharing.bind_to_centroids(weight, fractions[self.state.bind_step], random)
            self.state.bind_step += 1

    def _prune(self, done: float) -> None:
        self.pruner.prune(done)
        self.state.pruned = self.state.pruned or self.recipe.has_reached_target(done)

    def _end_epoch(self, loss: float, epochs: int) -> None:
        state = self.state
        done = state.epoch / epochs
        if state.phase == "prune" and not state.pruned and self.recipe.has_reached_target(done):
            self._prune(done)
        if state.phase == "share" and state.epoch == epochs:
            self._bind_due(1.0)
        scores = self._validate()
        size = sharing.projected_bytes(self.network, self.task.settings)
        validation, error = scores or (None, None)
        state.history.append(asdict(Epoch(state.phase, state.epoch, loss, validation, error, self.sparsity, size)))
        if state.pruned and (state.phase == "prune" or state.bind_step in (0, len(self.recipe.bound_fractions))):
            self._keep_if_best(loss if validation is None else validation)

    def _keep_if_best(self, score: float) -> None:
        state = self.state
        if score < state.best:
            state.best, state.best_weights, state.stale = score, self.network.state(), 0
        else:
            state.stale += 1

    def _validate(self) -> tuple[float, float | None] | None:
        return validate(self.network, self.task.loss, self.task.validation)

    def _is_finite(self) -> bool:
        return all(bool(torch.isfinite(values).all()) for values in self.network.parameters())

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
        if state.pruned:
            self._keep_if_best(state.before[0])
