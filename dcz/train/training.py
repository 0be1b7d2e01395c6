"""The two phases of a run, epoch by epoch; see `retrain`."""

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from ..errors import BadPlan
from . import sharing
from .idle import drop_idle
from .pruning import Pruner
from .recipe import HALF, TURNS
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
        self.state = State(settled=not task.groups)
        self._optimizer = None
        if saved is None:
            torch.manual_seed(self.recipe.seed)
        else:
            self._restore(**saved)

    def _restore(self, state, weights, squares, optimizer, random) -> None:
        """Go on from what `_save` was given. Raises ValueError and the like where it does not fit: see
        checkpoint.restoring."""
        self.state = State(**state)
        if self.state.phase not in self.task.epochs:
            raise ValueError(f"no phase {self.state.phase!r}")
        if self.state.best_weights is not None:  # tried now, for it is wanted at the end
            self.network.restore(self.state.best_weights)
        self.network.restore(weights)
        sizes = {weight.name: weight.count for weight in self.network}
        if any(each.shape != (sizes[name],) for name, each in squares.items()):
            raise ValueError("squared gradients of another size")
        self.pruner.squares = squares
        self._optimizer = torch.optim.Adam(self.network.parameters())
        self._optimizer.load_state_dict(optimizer)
        for parameter, moments in self._optimizer.state.items():
            if any(each.shape not in ((), parameter.shape) for each in moments.values()):
                raise ValueError("moments of another size")
        torch.set_rng_state(random)

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
                for note in self.task.notes:
                    self._note(note)
                self._look_before()
            self._train(self.recipe.learning_rate)
            self._finish_pruning()
            self._share()
        self._train(self.recipe.share_rate)
        self._put_best()
        self._bind()
        self._round()
        state.after = self._validate()

    # -- between the phases --------------------------------------------------------------------------------------------

    def _finish_pruning(self) -> None:
        state, recipe = self.state, self.recipe
        self._put_best()
        if state.halted and not state.settled:
            self._note(f"the weights are {self.sparsity:.2%} zero, less than was asked for")
        if recipe.drop_idle and not recipe.regrow and self.task.groups:
            self._drop_idle()

    def _drop_idle(self) -> None:
        kept = sum(weight.kept for weight in self.task.pruned)
        drop_idle(self.network, lambda: self.task.training.epoch(0), {weight.name for weight in self.task.pruned})
        left = sum(weight.kept for weight in self.task.pruned)
        if left < kept / 2:  # of the few that are idle in a trained network, nobody needs to hear
            self._note(
                f"{kept - left:,} of the {kept:,} weights kept changed no output on the training samples, and are zero "
                "too; give more samples, or keep idle weights (drop_idle=False, --keep-idle)"
            )

    def _share(self) -> None:
        state, movable = self.state, self.recipe.reassign is not None or len(self.recipe.stages_of_sharing) > 1
        for weight in self.network:
            settings = self.task.settings[weight.name]
            if not settings.lossless and not settings.shares_nothing:
                sharing.share_weights(weight, settings, movable, self.pruner.squares.get(weight.name))
        state.phase, state.epoch, state.stale = "share", 0, 0
        state.best, state.best_weights = math.inf, None
        self._optimizer = None
        if (found := self._validate()) is not None:  # fine-tuning must beat what it starts from
            self._keep_if_best(found[0])

    def _bind(self) -> None:
        """Weights that are still free, as where training halted between stages, get their centroids."""
        for weight in self.network:
            if weight.free is not None and bool(weight.free.any()):
                sharing.settle(weight, 1.0, np.random.default_rng(self.recipe.seed))

    def _round(self) -> None:
        """Centroids and biases, and what the model has in few bits, as they will be in the file."""
        for weight in self.network:
            settings = self.task.settings[weight.name]
            is_half_bias = not weight.is_weight and settings.lossless and self.recipe.bias_bits == HALF
            if is_half_bias or (weight.shared and settings.codebook == "float16"):
                sharing.round_to_half(weight)
            sharing.round_to_type(weight)

    # -- one phase -----------------------------------------------------------------------------------------------------

    def _train(self, rate: float) -> None:
        state, epochs = self.state, self.task.epochs[self.state.phase]
        optimizer = self._optimizer or torch.optim.Adam(self.network.parameters(), rate)
        while state.epoch < epochs and not state.halted and not self._is_enough():
            last, squares = self.network.state(), {name: mean.clone() for name, mean in self.pruner.squares.items()}
            loss = self._epoch(optimizer, rate, epochs)
            state.epoch += 1
            if loss is None:
                self._halt(last, squares)
            else:
                self._end_epoch(loss, epochs)
            self._save(optimizer)
            if loss is not None:  # not before it is saved: whoever is told may stop the run
                self._tell(state.batches, state.batches, loss, is_end=True)

    def _halt(self, last: dict[str, Any], squares: dict[str, torch.Tensor]) -> None:
        """End training with the weights, and the means of squared gradients, that an epoch began with."""
        state = self.state
        self.network.restore(last)
        self.pruner.squares = squares
        state.halted = True
        kept = "the best one before it" if state.best_weights is not None else "what there was before it"
        self._note(f"the loss is no number in epoch {state.epoch} of phase {state.phase!r}: {kept} is kept")

    def _is_enough(self) -> bool:
        state, patience = self.state, self.recipe.patience
        return patience is not None and state.settled and state.stale >= patience

    def _epoch(self, optimizer, rate: float, epochs: int) -> float | None:
        """Train on each batch once; the mean loss, or None where it, or a weight, stops being a number."""
        state, training, network = self.state, self.task.training, self.network
        total, count = 0.0, 0
        batches = len(training) or state.batches
        every = self.recipe.prune_every
        if batches:
            every = min(every, max(1, int(self.recipe.ramp * epochs * batches / TURNS)))
        for count, (inputs, labels) in enumerate(training.epoch(state.epoch), 1):
            done = min(1.0, (state.epoch + ((count - 1) / batches if batches else 0)) / epochs)
            for group in optimizer.param_groups:
                group["lr"] = self.recipe.rate(rate, done)
            if state.phase == "share":
                self._settle(done)
            optimizer.zero_grad(set_to_none=True)
            given = network.as_inputs(inputs)
            loss = self.task.loss(network(given), given, labels)
            if not loss.requires_grad:
                raise BadPlan(
                    "the loss has no gradient: it depends on no trained weight, or only by way of whole numbers, such "
                    "as ArgMax gives; give a model that ends before them, or another loss"
                )
            if not math.isfinite(value := float(loss.detach())):
                return None
            loss.backward()
            if state.phase == "prune":
                self.pruner.observe()
            optimizer.step()
            total += value
            if count % every == 0:
                if not self._is_finite():
                    return None
                self._turn(done)
            self._tell(count, batches, value, is_end=False)
        if count == 0:
            raise BadPlan(f"the data give no batches in epoch {state.epoch}")
        state.batches = count
        return total / count if self._is_finite() else None

    def _turn(self, done: float) -> None:
        """What happens between batches now and then: weights go, or change their codes."""
        if self.state.phase == "prune" and (self.recipe.regrow or not self.state.settled):
            self._prune(done)
        elif self.state.phase == "share" and self.recipe.reassign is not None:
            for weight in self.network:
                if weight.latent is not None:
                    sharing.reassign(weight, self.recipe.reassign)

    def _settle(self, done: float) -> None:
        """Begin the stages of sharing for which it is time: several at once where there are few batches."""
        stages = self.recipe.stages_of_sharing
        while 1 < len(stages) > self.state.stage <= done * len(stages):
            random = np.random.default_rng([self.recipe.seed, self.state.stage])
            for weight in self.network:
                if weight.latent is not None:
                    sharing.settle(weight, stages[self.state.stage], random)
            self.state.stage += 1

    def _prune(self, done: float) -> None:
        self.pruner.prune(done)
        self.state.settled = self.state.settled or self.recipe.is_settled(done)

    def _end_epoch(self, loss: float, epochs: int) -> None:
        state = self.state
        done = state.epoch / epochs
        if state.phase == "prune" and not state.settled and self.recipe.is_settled(done):
            self._prune(done)
        if state.phase == "share" and state.epoch == epochs:
            self._settle(1.0)
        found = self._validate()
        size = sharing.projected_bytes(self.network, self.task.settings)
        validation, error = found or (None, None)
        state.history.append(asdict(Epoch(state.phase, state.epoch, loss, validation, error, self.sparsity, size)))
        if state.settled and (state.phase == "prune" or state.stage in (0, len(self.recipe.stages_of_sharing))):
            self._keep_if_best(loss if found is None else validation)

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

    def _put_best(self) -> None:
        if self.state.best_weights is not None:
            self.network.restore(self.state.best_weights)

    def _save(self, optimizer) -> None:
        self.save(
            {
                "state": dict(vars(self.state)),
                "weights": self.network.state(),
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

    def _look_before(self) -> None:
        """Validate what training starts from; where nothing is pruned, training must beat it."""
        state = self.state
        state.before = self._validate()
        if state.before is None:
            return
        if not math.isfinite(state.before[0]):
            raise BadPlan("the loss is no number before any training: look for NaN or infinities in the inputs")
        if state.settled:
            self._keep_if_best(state.before[0])
