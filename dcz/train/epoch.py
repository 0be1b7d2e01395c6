"""One epoch of training: a step a batch, and now and then fewer weights or other codes.

loss = EpochOfTraining(task, state, pruner, report).train(optimizer)
"""

import math
from collections.abc import Callable

import numpy as np

from ..errors import InvalidArgument
from . import sharing
from .pruning import Pruner, tells
from .pytorch import torch
from .recipe import MIN_UPDATES
from .state import State
from .steps import backward_all, decay, is_finite, set_rate
from .task import TrainingTask

Report = Callable[[int, int, float, bool], None]  # batches done, of how many, the loss, and whether the epoch has ended


class EpochOfTraining:
    """The epoch that a run's `state` is at. It changes the network, `state` and `pruner`."""

    def __init__(self, task: TrainingTask, state: State, pruner: Pruner, report: Report):
        self.task, self.recipe, self.network = task, task.recipe, task.network
        self.state, self.pruner, self.report = state, pruner, report
        self.epochs = task.epochs[state.phase]

    def train(self, optimizer: torch.optim.Optimizer) -> float | None:
        """Train on each batch once; return the mean loss, or None where it, or a weight, is not finite."""
        self.network.train()
        try:
            return self._train(optimizer)
        finally:
            self.network.eval()

    def finish(self) -> None:
        """After an epoch, which `state` counts by now: do what is due at its end."""
        state, done = self.state, self.state.epoch / self.epochs
        if state.phase == "prune" and not state.pruned and self.recipe.has_reached_target(done):
            self._prune(done)
        if state.phase == "share" and state.epoch == self.epochs:
            self._bind_due(1.0)

    def _train(self, optimizer: torch.optim.Optimizer) -> float | None:
        state, training, network = self.state, self.task.training, self.network
        total, count = 0.0, 0
        batches = len(training) or state.batches
        every = self.recipe.prune_every
        if batches:
            every = min(every, max(1, int(self.recipe.ramp * self.epochs * batches / MIN_UPDATES)))
        for count, together in enumerate(self.task.in_steps(self.task.epoch(state.epoch)), 1):
            done = min(1.0, (state.epoch + ((count - 1) / batches if batches else 0)) / self.epochs)
            rate = self.recipe.rate(state.rate, done)
            set_rate(optimizer, rate)
            if state.phase == "share":
                self._bind_due(done)
            value = backward_all(network, self.task.loss, together)
            if not math.isfinite(value):
                return None
            if state.phase == "prune" and tells(self.task.loss, value):
                self.pruner.observe()
            decay(network, rate * self.recipe.weight_decay)
            optimizer.step()
            total += value
            if count % every == 0:
                if not is_finite(network):
                    return None
                self._update_masks_or_codes(done)
            self.report(count, batches, value, False)
        if count == 0:
            raise InvalidArgument(f"the data give no batches in epoch {state.epoch}")
        state.batches = count
        return total / count if is_finite(network) else None

    def _update_masks_or_codes(self, done: float) -> None:
        """Every few batches: prune more weights, or give the shared ones other codes."""
        if self.state.phase == "prune" and (self.recipe.regrow or not self.state.pruned):
            self._prune(done)
        elif self.state.phase == "share" and self.recipe.price is not None:
            sharing.reassign_all(self.network, self.recipe.price, self.task.on_grid)

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
