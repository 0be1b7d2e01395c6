"""What the parts of a run of retraining share: its task, its state, and how it tells where it is."""

import math
from collections.abc import Callable

from .normalization import estimate_statistics
from .pruning import Pruner
from .pytorch import torch
from .range_test import BATCHES, MAX_RUNS, first_batches
from .state import Progress, State
from .steps import make_optimizer
from .task import TrainingTask
from .validation import validate

SAMPLED = 16  # batches that tell enough of a network on its way: of its statistics, and of squared gradients


class Run:
    """A run of `task` at its beginning. `progress` takes what each batch and epoch came to, `warn` a sentence."""

    def __init__(self, task: TrainingTask, progress: Callable[[Progress], None], warn: Callable[[str], None]):
        self.task, self.recipe, self.network = task, task.recipe, task.network
        self.progress, self.warn = progress, warn
        self.pruner = Pruner(task.groups, task.recipe)
        self.state = State(pruned=not task.groups)

    @property
    def sparsity(self) -> float:
        """The fraction of zeros among the weights of all tensors that are pruned."""
        weights = self.task.pruned
        return 1 - sum(w.kept for w in weights) / sum(w.count for w in weights) if weights else 0.0

    @property
    def optimizer_name(self) -> str:
        """Adam for centroids: the gradient of each is a sum over its weights, and so of a size of its own."""
        return self.recipe.optimizer if self.state.phase == "prune" else "adam"

    def new_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer of the phase, for the parameters as they are now, at the rate of the state."""
        name, rate = self.optimizer_name, self.state.rate
        return make_optimizer(self.network, name, rate, self.recipe.momentum, self.task.on_grid)

    # -- validation ----------------------------------------------------------------------------------------------------

    def validate(self) -> tuple[float, float | None] | None:
        """Loss and error on the validation samples; None without any."""
        return validate(self.network, self.task.loss, self.task.validation)

    def estimate_roughly(self) -> None:
        """Estimate the statistics of normalizations from the first SAMPLED batches."""
        estimate_statistics(self.network, first_batches(self.task, SAMPLED))

    def estimate(self) -> None:
        """The same from all training data."""
        estimate_statistics(self.network, self.task.training.epoch(0))

    def validation_loss(self) -> float:
        """That of the network as it is, with statistics of its own; infinite without validation samples."""
        self.estimate_roughly()
        scores = self.validate()
        return math.inf if scores is None else scores[0]

    def keep_if_best(self, score: float) -> None:
        """Keep the weights as they are where no score of this phase was lower."""
        state = self.state
        if score < state.best:
            state.best, state.best_weights, state.stale = score, self.network.state(), 0
        else:
            state.stale += 1

    def restore_best(self) -> None:
        """Go back to the best weights of the phase, where some were kept."""
        if self.state.best_weights is not None:
            self.network.restore(self.state.best_weights)

    # -- telling -------------------------------------------------------------------------------------------------------

    def note(self, sentence: str) -> None:
        """Warn, and keep the sentence for the result."""
        self.state.notes.append(sentence)
        self.warn(sentence)

    def report(self, batch: int, batches: int, loss: float, is_end: bool) -> None:
        """See epoch.Report."""
        state = self.state
        last = state.history[-1] if state.history else {}
        last_results = {name: last.get(name) for name in ("validation", "error", "bytes")}
        epochs = self.task.epochs[state.phase]
        self.progress(
            Progress(state.phase, state.epoch, epochs, batch, batches, is_end, loss, self.sparsity, **last_results)
        )

    def report_rate(self, run: int, batch: int, loss: float) -> None:
        """Of a short run that tries a rate: its own phase, of as many epochs as there are such runs at most."""
        self.progress(Progress("rate", run, MAX_RUNS, batch, BATCHES, False, loss, self.sparsity))
