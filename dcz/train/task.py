"""What a run of retraining works on: a network, settings for each tensor, data and a loss.

task = TrainingTask("net.onnx", {"x": images}, digits, recipe=Recipe(sparsity=0.97, bits=3))
task.settings["fc1.weight"]        Settings(sparsity=0.97, bits=3, codebook="float16")
task.groups                        which tensors are pruned by one threshold, and to which fraction
"""

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import __version__
from .. import plan as plans
from ..errors import InvalidArgument
from ..evaluation.given import BatchAxis
from ..model import Model, by_name, is_selector, open_dense
from ..plan import LOSSLESS, Plan, Settings
from .augmentation import Augmentation
from .batch_stream import BatchStream
from .batches import Batches, Labels
from .data import open_data
from .device import find_device, moved, placed
from .folding import Normalizations
from .images import Augmenter
from .loss_choice import OURS, check_fit, choose_loss
from .losses import Loss
from .network import Network
from .patterns import check_pattern
from .plans import BASE, plan_of
from .pruning import Group
from .pytorch import torch
from .recipe import HALF, Recipe
from .sample_checks import check_shapes, check_tokens
from .scaling import ScalableLayer, scalable
from .steps import Batch, in_steps
from .weight import Weight

if TYPE_CHECKING:
    from onnx import ModelProto

EPOCHS = 30  # of pruning, where the recipe does not say


class TrainingTask:
    """The arguments are those of `retrain`. Raises DczError, before any training, where they do not fit."""

    def __init__(
        self,
        model: "str | os.PathLike[str] | ModelProto",
        data: Any,
        labels: Any = None,
        validation: Any = None,
        recipe: Recipe = Recipe(),
        plan: Plan | Settings | str | os.PathLike[str] | None = None,
        loss: str | Loss | type | None = None,
        batch_axis: BatchAxis | None = None,
    ):
        self.recipe = recipe
        self.plan = plan_of(plan, recipe)
        if any(map(is_selector, self.plan.patterns)):
            self.plan = by_name(self.plan, open_dense(model).tensors)
        device = find_device(recipe.device)
        self.normalizations = Normalizations(self.plan, self._is_frozen)
        self.network, self.source = self._open(model)
        self.network = placed(self.network, device)
        self.plan.check_names(tensor.name for tensor in self.source.tensors)
        self.folded = self._all_folded = 0  # normalizations of the model, and all, that its layers have taken up
        self._choose()
        check_pattern(recipe.pattern, [1 - group.target for group in self.groups])
        self.epochs = {"prune": self._prune_epochs(), "share": recipe.share_epochs if self.shares else 0}
        self.notes = self._notes()
        if not self.shares and not self.epochs["prune"]:
            why = "; ".join(self.notes) or "give a sparsity, bits or epochs, or a plan that has them"
            raise InvalidArgument(f"there is nothing to do: {why}")
        self.training, self.validation = open_data(self.network, recipe, data, labels, validation, batch_axis)
        self.network.layout = self.training.layout
        if self.validation is not None:  # what is given once here may be given for each sample there
            axes = {name: axis for name, axis in self.validation.layout.inputs.items() if axis is not None}
            self.network.layout = replace(self.training.layout, inputs={**self.training.layout.inputs, **axes})
        for batches in (self.training, self.validation):
            if isinstance(batches, Batches):
                check_tokens(self.network, batches)
        self._augmenter = (
            None if recipe.augment is None else Augmenter(self.network, Augmentation.parse(recipe.augment), recipe.seed)
        )
        self.loss = choose_loss(loss, self.network, lambda: self.another_network(model), recipe, self.training)
        self.stamp = self._stamp()
        for batches in (self.training, self.validation):
            if batches is not None:
                self._check(batches)
        if self._augmenter is not None:
            next(self.epoch(0))  # refuses labels that augmentation would have to change, too

    def epoch(self, number: int) -> Iterator[tuple[Any, Labels | None]]:
        """The training batches of an epoch, (inputs, labels), augmented as the recipe says."""
        return self.training.epoch(number) if self._augmenter is None else self._augmenter.epoch(self.training, number)

    def in_steps(self, batches: Iterable[Batch]) -> Iterator[list[Batch]]:
        """Training batches, as many together as a step of the optimizer takes. Those of the caller's own are a step
        each, samples of different shapes make smaller batches than the recipe's."""
        if not isinstance(self.training, Batches):
            return ([batch] for batch in batches)
        return in_steps(batches, self.network.layout, self.training.size)

    def another_network(self, model: "str | os.PathLike[str] | ModelProto") -> Network:
        """A network of another model, on the same device, that takes the same batches."""
        return placed(Network(model, layout=self.network.layout), self.network.device)

    def fold(self, later: Collection[str] = ()) -> int:
        """Change the network: fold the normalizations that were added, and those that the plan lets go, but for the
        layers of the weights in `later`; return how many. Its tensors, their settings and groups are others then."""
        count = self.normalizations.fold(self.network, later, self.recipe.bias_bits == HALF)
        if count:
            self._all_folded += count
            self.folded = self._all_folded - len(self.normalizations.added)
            self._choose()
        return count

    def _open(self, model: "str | os.PathLike[str] | ModelProto") -> tuple[Network, Model]:
        """The network, normalized for the time of training where the recipe wants that, and its source."""
        prunes = any(settings.sparsity for settings in (self.plan.default, *(r.settings for r in self.plan.rules)))
        if self.recipe.normalizes and (prunes if self.recipe.epochs is None else self.recipe.epochs):
            source = open_dense(model)
            if (proto := self.normalizations.add(source)) is not None:
                place = os.fspath(model) if isinstance(model, (str, os.PathLike)) else "the model"
                return Network(proto, self._is_frozen, place), source
        network = Network(model, self._is_frozen)
        return network, network.source

    def _choose(self) -> None:
        """Set what the plan and the recipe say of each of the network's tensors."""
        self.settings = {weight.name: self._settings(weight) for weight in self.network}
        self.groups = self._groups()

    @property
    def pruned(self) -> list[Weight]:
        """The tensors that are pruned."""
        return [weight for group in self.groups for weight in group.weights]

    @property
    def shares(self) -> bool:
        """Whether any tensor's weights are shared."""
        return any(map(self._is_shared, self.network))

    @property
    def on_grid(self) -> frozenset[str]:
        """The tensors (names) that are shared by levels of a grid, not by as many centroids as some bits number."""
        return frozenset(w.name for w in self.network if self._is_shared(w) and self.settings[w.name].bits is None)

    def scalable(self) -> list[ScalableLayer]:
        """The layers whose weights are shared beside their normalizations, if these may be folded in the end."""
        shared = {weight.name for weight in self.network if weight.is_weight and self._is_shared(weight)}
        return scalable(self.network, shared if self.plan.fold else shared & self.normalizations.added)

    def _is_shared(self, weight: Weight) -> bool:
        settings = self.settings[weight.name]
        return not settings.lossless and not settings.shares_nothing

    def _stamp(self) -> str:
        """The text that identifies this task in a checkpoint; the batches of a stream are not part of it."""
        weights = hashlib.sha256()  # the model's digest does not cover its external data
        for weight in self.network:
            weights.update(weight.numpy().tobytes())
        recipe = replace(self.recipe, threads=None)
        loss = getattr(self.loss, "__name__", type(self.loss).__name__)
        parts = [__version__, self.source.source_sha256, weights.hexdigest(), recipe, self.plan, loss]
        parts += [batches.fingerprint() for batches in (self.training, self.validation) if batches is not None]
        return " ".join(map(str, parts))

    def _is_frozen(self, name: str) -> bool:
        if name in self.normalizations.tensors:
            return False
        rule = self.plan.rule(name)
        return self.plan.excludes(name) or (rule is not None and rule.settings.lossless)

    def _settings(self, weight: Weight) -> Settings:
        if weight.name in self.normalizations.tensors:
            return LOSSLESS
        settings = self.plan.settings(weight.name, weight.is_weight, weight.count)
        if settings.threshold is not None:
            raise InvalidArgument(f"{weight.name}: retraining prunes to a sparsity, not to a threshold; give sparsity")
        bits = self.recipe.bias_bits
        is_bias = not weight.is_weight and settings is LOSSLESS
        if is_bias and bits is not None and bits < HALF and weight.count > 1 << bits:
            return plans.overlay(BASE, {"bits": bits})
        return settings

    def _groups(self) -> list[Group]:
        pruned = [weight for weight in self.network if self.settings[weight.name].sparsity]
        alone = [w for w in pruned if self.recipe.scope == "layer" or self.plan.rule(w.name) is not None]
        together = tuple(weight for weight in pruned if weight not in alone)
        if together and self.recipe.prune_biases:
            together += tuple(w for w in self.network if self._competes(w))
        groups = [Group((weight,), 1 - (self.settings[weight.name].sparsity or 0)) for weight in alone]
        return groups + ([Group(together, 1 - (self.plan.default.sparsity or 0))] if together else [])

    def _competes(self, weight: Weight) -> bool:
        """Whether a tensor is a bias that no rule names, and was in the model."""
        is_named = self.plan.rule(weight.name) is not None or weight.name in self.normalizations.tensors
        return not weight.is_weight and not is_named

    def _notes(self) -> list[str]:
        """What the plan's default sets for weights, and no tensor gets."""
        default = self.plan.default
        missed = []
        if default.sparsity and not self.groups:
            missed.append("pruned")
        if not default.lossless and not default.shares_nothing and not self.shares:
            missed.append("shared")
        if not missed:
            return []
        return [
            (
                f"no tensor is {' or '.join(missed)}: weights of fewer than {self.plan.min_weights} values are left as "
                "they are, as are those a plan excludes or has other rules for; name them in a plan's `include` or "
                "rules"
            )
        ]

    def _prune_epochs(self) -> int:
        if self.recipe.epochs is None:
            return EPOCHS if self.groups else 0
        if self.recipe.epochs == 0 and self.groups:
            raise InvalidArgument("pruning takes place while training: give it at least one epoch")
        return self.recipe.epochs

    # -- data and loss -------------------------------------------------------------------------------------------------

    def _check(self, batches: Batches | BatchStream) -> None:
        """Raise InvalidArgument for data, labels or a loss that do not fit, before training takes its time."""
        inputs, labels = next(iter(batches.epoch(0)), (None, None))
        if inputs is None:
            raise InvalidArgument("the data give no batches")
        tensors = self.network.as_inputs(inputs)
        with torch.no_grad():
            outputs = self.network(tensors)
        check_fit(self.network, self.loss, batches, tensors, outputs, labels)
        if isinstance(batches, Batches) and isinstance(self.loss, OURS):
            check_shapes(self.network, self.loss, batches)
        with torch.no_grad():
            loss = self.loss(outputs, tensors, moved(labels, self.network.device))
        if not torch.is_tensor(loss) or loss.numel() != 1:
            raise InvalidArgument("a loss is a function (outputs, inputs, labels) that gives a tensor of one number")
        if not bool(torch.isfinite(loss)):
            raise InvalidArgument("the loss is no number before any training: look for NaN or infinities in the data")
