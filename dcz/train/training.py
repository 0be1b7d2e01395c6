"""A run of retraining: its two phases, and what is done before, between and behind them; see `retrain`."""

import math
from collections.abc import Callable
from typing import Any

from ..errors import InvalidArgument
from . import folding, scaling, sharing, tables
from .dead_units import drop_dead_units
from .device import on_cpu
from .first_look import doubts
from .phase import Phase
from .pruning import Pruner
from .pytorch import torch
from .range_test import LONG_RUN, first_batches, fitting_rate
from .recipe import HALF
from .run import SAMPLED, Run
from .state import Progress, State
from .task import TrainingTask


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
        self.task, self.recipe, self.network, self.save = task, task.recipe, task.network, save
        self._run = Run(task, progress, warn)
        self._optimizer: torch.optim.Optimizer | None = None
        self._is_folded, self._scalable = False, list[scaling.ScalableLayer]()
        if saved is None:
            torch.manual_seed(self.recipe.seed)
        else:
            self._restore(**saved)

    @property
    def state(self) -> State:
        """Where the run is."""
        return self._run.state

    @property
    def sparsity(self) -> float:
        """See Run."""
        return self._run.sparsity

    def run(self) -> None:
        """Both phases, or the rest of them."""
        state = self.state
        if state.phase == "prune":
            if state.epoch == 0:
                for note in self.task.notes:
                    self._run.note(note)
                self._validate_before()
                self._start_pruning()
            self._train_phase()
            self._finish_pruning()
            self._start_sharing()
        self._train_phase()
        self._run.restore_best()
        sharing.bind_rest(self.network, self.recipe.seed)
        if state.epoch or self._scalable:
            self._run.estimate()
        self._fold_rest()
        sharing.round_network(self.network, self.task.settings, self.recipe.bias_bits == HALF)
        state.after = self._run.validate()

    def _train_phase(self) -> None:
        Phase(self._run, self._save_checkpoint).train(self._optimizer)

    # -- between the phases --------------------------------------------------------------------------------------------

    def _start_pruning(self) -> None:
        """Set the rate, and with one that is found, what it depends on: normalizations, and which weights matter."""
        state, recipe, task = self.state, self.recipe, self.task
        folding.start(self.network, task.normalizations.added, task.training.epoch(0))
        state.rate = recipe.learning_rate or 0.0
        if recipe.learning_rate is None and task.epochs["prune"]:
            if recipe.scored_by != "magnitude":
                self._run.pruner.sample(self.network, task.loss, first_batches(task, SAMPLED))
            before = self.network.state()
            self._run.pruner.prune_to(math.sqrt)  # half of the way, in factors: what the rate has to mend
            state.rate = fitting_rate(task, self._run.optimizer_name, recipe.momentum, LONG_RUN, self._run.report_rate)
            self.network.restore(before)

    def _finish_pruning(self) -> None:
        state, recipe = self.state, self.recipe
        self._run.restore_best()
        if state.epoch:
            self._run.estimate()
        self._fold_before_sharing()
        if state.halted and not state.pruned:
            self._run.note(f"the weights are {self.sparsity:.2%} zero, less than was asked for")
        if recipe.drop_idle and not recipe.regrow and self.task.groups:
            self._drop_dead_units()
        state.pruned_result = self._run.validate()

    def _fold_before_sharing(self) -> None:
        """Fold the normalizations that may be, but those that stay for sharing. What is pruned, and by which scores, is
        anew then."""
        self._scalable = self.task.scalable()
        self._is_folded = bool(self.task.fold(later={layer.weight.name for layer in self._scalable}))
        if self._is_folded:
            self._run.pruner = Pruner(self.task.groups, self.recipe)
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
            self._run.note(
                f"{kept - left:,} of the {kept:,} weights kept changed no output on the training samples, and are zero "
                "too; give more samples, or keep idle weights (drop_idle=False, --keep-idle)"
            )

    def _start_sharing(self) -> None:
        state, movable = self.state, self.recipe.price is not None or len(self.recipe.bound_fractions) > 1
        scaling.fix(self._scalable)
        if self._scalable:  # rows of one size matter alike, and what few batches tell beyond that does harm
            self._run.pruner.squares.clear()
        elif self.task.shares and (self._is_folded or self.recipe.finds_rate):  # the gradients are others
            self._run.pruner.sample(self.network, self.task.loss, first_batches(self.task, SAMPLED))
        trained = self.task.settings.keys() - {each.name for layer in self._scalable for each in layer.others}
        settings = {name: self.task.settings[name] for name in trained}
        tables.scale_rows(self.network, self.task.settings, self.task.training.epoch(0))
        importance = {w.name: found for w in self.network if (found := self._run.pruner.importance(w)) is not None}
        sharing.share_network(self.network, settings, movable, importance, self.recipe.price)
        state.phase, state.epoch, state.stale = "share", 0, 0
        state.best, state.best_weights = math.inf, None
        self._optimizer = None
        self._run.estimate_roughly()
        if (score := self._run.validate()) is not None:  # training must improve on what it starts from
            self._run.keep_if_best(score[0])
        if (rate := self.recipe.rate_of_sharing) is None and self.task.epochs["share"]:
            rate = fitting_rate(self.task, self._run.optimizer_name, self.recipe.momentum, report=self._run.report_rate)
        state.rate = rate or 0.0

    def _validate_before(self) -> None:
        """Validate the network before training; where nothing is pruned, training must improve on it."""
        state = self.state
        state.before = self._run.validate()
        for doubt in doubts(self.network, self.task.training):
            self._run.note(doubt)
        if state.before is None:
            return
        if not math.isfinite(state.before[0]):
            raise InvalidArgument("the loss is no number before any training: look for NaN or infinities in the data")
        state.reference = state.before[0]
        if state.pruned:
            self._run.keep_if_best(state.before[0])

    # -- checkpoints ---------------------------------------------------------------------------------------------------

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
        self._run.state = State.from_checkpoint(state)
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
        self._run.pruner.squares = {name: mean.to(self.network.device) for name, mean in squares.items()}
        self._optimizer = made = self._run.new_optimizer()
        made.load_state_dict(optimizer)
        for parameter, moments in made.state.items():
            if any(m is not None and m.shape not in ((), parameter.shape) for m in moments.values()):
                raise ValueError("moments of another size")
        torch.set_rng_state(random)

    def _save_checkpoint(self, optimizer: torch.optim.Optimizer) -> None:
        self.save(
            {
                "state": self.state.to_checkpoint(),
                "weights": self.network.state(),
                "squares": self._run.pruner.squares,
                "optimizer": optimizer.state_dict(),
                "random": torch.get_rng_state(),
            }
        )
