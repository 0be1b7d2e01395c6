"""Which weights are pruned while a network trains, and when (Deep Compression, section 2).

scores 9 1 4 4 7, keep 0.6   ->   mask 1 0 1 0 1      ties: the first ones are kept
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..codec.stages import prune
from ..errors import InvalidArgument
from . import patterns, tables
from .losses import Distillation, Loss
from .network import Network
from .pytorch import torch
from .recipe import Recipe
from .steps import backward
from .weight import Weight

DECAY = 0.999  # of the running mean of squared gradients: Adam's own
SAME_ANSWERS = 1e-6  # of distillation: the losses of networks that differ by rounding are below 1e-7
MIN_SCORE = 1e-45  # float32's least number above zero


@dataclass(frozen=True)
class Group:
    """Weights that are pruned together, by one threshold, until `target` (a fraction of them) is kept."""

    weights: tuple[Weight, ...]
    target: float


class Pruner:
    """Prunes groups of weights by a recipe's schedule. Call `observe` after each backward pass."""

    def __init__(self, groups: Sequence[Group], recipe: Recipe):
        self.groups, self.recipe = groups, recipe
        self.squares: dict[str, torch.Tensor] = {}  # mean squared gradient, by weight name
        for weight in self.weights:
            weight.regrow = recipe.regrow

    @property
    def weights(self) -> list[Weight]:
        """All weights that are pruned."""
        return [weight for group in self.groups for weight in group.weights]

    def observe(self) -> None:
        """Add the gradients of this batch to the running means of their squares."""
        if self.recipe.scored_by != "magnitude":
            self._observe()

    def _observe(self) -> None:
        for weight in self.weights:
            if (gradient := weight.values.grad) is not None:
                mean = self.squares.setdefault(weight.name, torch.zeros_like(gradient))
                mean.mul_(DECAY).addcmul_(gradient, gradient, value=1 - DECAY)

    def sample(self, network: Network, loss: Loss, batches: Iterable[tuple[Any, Any]]) -> None:
        """Add to these means the gradients of some batches, without a step; the network is in inference mode."""
        for inputs, labels in batches:
            value = backward(network, loss, inputs, labels)
            gradients = [weight.values.grad for weight in self.weights if weight.values.grad is not None]
            are_finite = math.isfinite(value) and all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
            if are_finite and tells(loss, value):
                self._observe()
        network.zero_grad(set_to_none=True)

    def importance(self, weight: Weight) -> torch.Tensor | None:
        """The running means of a tensor's squared gradients (flat), where there are some; in tables (see tables), of
        one row as of another."""
        squares = self.squares.get(weight.name)
        return squares if squares is None or not weight.is_table else tables.over_rows(squares, weight.shape)

    def prune(self, progress: float) -> None:
        """Prune every group to what the schedule keeps when `progress` (0 to 1) of the epochs is done."""
        self.prune_to(lambda target: self.recipe.kept(progress, target))

    def prune_to(self, kept: Callable[[float], float]) -> None:
        """Prune every group to the fraction `kept(target)`."""
        for group in self.groups:
            fraction = kept(group.target)
            scores = [self._scores(weight) for weight in group.weights]
            if self.recipe.pattern is None:
                masks = keep_largest(scores, fraction)
            else:
                layouts = [(weight.shape, weight.rows) for weight in group.weights]
                masks = patterns.keep_patterned(scores, layouts, self.recipe.pattern, fraction)
            for weight, mask in zip(group.weights, masks, strict=True):
                weight.prune(mask)

    def _scores(self, weight: Weight) -> np.ndarray:
        """float32, flat; zero for what is pruned already, else above zero, so that what is pruned goes first."""
        values = weight.values.detach()
        squares = self.importance(weight)
        score = self.recipe.scored_by
        if score == "magnitude" or (squares is None and not callable(score)):
            scores = values.abs()
        else:
            squares = torch.zeros_like(values) if squares is None else squares
            scores = score(values, squares) if callable(score) else values * values * squares
        try:
            scores = torch.as_tensor(scores).detach().to(torch.float32).reshape(-1)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InvalidArgument(f"{weight.name}: the score function gives no tensor: {error}") from error
        if len(scores) != weight.count or not bool((scores >= 0).all()):
            raise InvalidArgument(
                f"{weight.name}: the score function gives a number, 0 or more, for each of the weights"
            )
        scores = scores.clamp_min(MIN_SCORE)
        if weight.mask is not None and not weight.regrow:
            scores = torch.where(weight.mask, scores, 0)
        array: np.ndarray = scores.contiguous().cpu().numpy()
        return array


def tells(loss: Loss, value: float) -> bool:
    """Whether the gradients of a loss of this value are more than rounding: a network that is distilled begins with the
    very answers that it is to give, and what is pruned first goes by magnitude."""
    return not isinstance(loss, Distillation) or value > SAME_ANSWERS


def keep_largest(scores: Sequence[np.ndarray], share: float) -> list[np.ndarray]:
    """Masks (bool) of the largest of all `scores` (float, flat, not negative, one array for each tensor).

    `share` is the fraction of them that is kept.
    """
    mask = prune.by_sparsity(np.concatenate(scores), 1 - share)
    return np.split(mask, np.cumsum([len(part) for part in scores])[:-1])
