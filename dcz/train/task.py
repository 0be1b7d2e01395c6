"""What a run of retraining works on: a network, settings for each tensor, data and a loss.

task = TrainingTask("net.onnx", {"x": images}, digits, recipe=Recipe(sparsity=0.97, bits=3))
task.settings["fc1.weight"]        Settings(sparsity=0.97, bits=3, codebook="float16")
task.groups                        which tensors are pruned by one threshold, and to which fraction
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from .. import plan as plans
from ..errors import InvalidArgument
from ..evaluation.samples import open_samples, read_labels
from ..plan import LOSSLESS, Plan, Settings
from .augmentation import Augmentation
from .batches import Batches, BatchStream
from .images import Augmenter
from .losses import CrossEntropy, Distillation, Loss, Tensors, class_rows
from .network import Network
from .pruning import Group
from .pytorch import Tensor, torch
from .recipe import HALF, Recipe
from .weight import Weight

if TYPE_CHECKING:
    from onnx import ModelProto

EPOCHS = 30  # of pruning, where the recipe does not say
# Trained centroids lose nothing in float16, and do best from a linear start (Deep Compression, section 3.2).
BASE = Settings(codebook="float16", init="linear")


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
    ):
        self.recipe = recipe
        self.plan = _plan(plan, recipe)
        self.network = Network(model, frozen=self._is_frozen)
        self.plan.check_names(tensor.name for tensor in self.network.source.tensors)
        self.settings = {weight.name: self._settings(weight) for weight in self.network}
        self.groups = self._groups()
        self.epochs = {"prune": self._prune_epochs(), "share": recipe.share_epochs if self.shares else 0}
        self.notes = self._notes()
        if not self.shares and not self.epochs["prune"]:
            why = "; ".join(self.notes) or "give a sparsity, bits or epochs, or a plan that has them"
            raise InvalidArgument(f"there is nothing to do: {why}")
        self.training, self.validation = self._data(data, labels, validation)
        self._augmenter = (
            None if recipe.augment is None else Augmenter(self.network, Augmentation.parse(recipe.augment), recipe.seed)
        )
        self.loss = self._loss(loss, model)
        self.stamp = self._stamp()
        for batches in (self.training, self.validation):
            if batches is not None:
                self._check(batches)
        if self._augmenter is not None:
            next(self.epoch(0))  # refuses labels that augmentation would have to change, too

    def epoch(self, number: int) -> Iterator[tuple[Any, Tensor | None]]:
        """The training batches of an epoch, (inputs, labels), augmented as the recipe says."""
        return self.training.epoch(number) if self._augmenter is None else self._augmenter.epoch(self.training, number)

    @property
    def pruned(self) -> list[Weight]:
        """The tensors that are pruned."""
        return [weight for group in self.groups for weight in group.weights]

    @property
    def shares(self) -> bool:
        """Whether any tensor's weights are shared."""
        return any(not settings.lossless and not settings.shares_nothing for settings in self.settings.values())

    def _stamp(self) -> str:
        """The text that identifies this task in a checkpoint; the batches of a stream are not part of it."""
        weights = hashlib.sha256()  # the model's digest does not cover its external data
        for weight in self.network:
            weights.update(weight.numpy().tobytes())
        recipe = replace(self.recipe, threads=None)
        loss = getattr(self.loss, "__name__", type(self.loss).__name__)
        parts = [__version__, self.network.source.source_sha256, weights.hexdigest(), recipe, self.plan, loss]
        parts += [batches.fingerprint() for batches in (self.training, self.validation) if batches is not None]
        return " ".join(map(str, parts))

    def _is_frozen(self, name: str) -> bool:
        rule = self.plan.rule(name)
        return self.plan.excludes(name) or (rule is not None and rule.settings.lossless)

    def _settings(self, weight: Weight) -> Settings:
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
            together += tuple(w for w in self.network if not w.is_weight and self.plan.rule(w.name) is None)
        groups = [Group((weight,), 1 - (self.settings[weight.name].sparsity or 0)) for weight in alone]
        return groups + ([Group(together, 1 - (self.plan.default.sparsity or 0))] if together else [])

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

    def _data(
        self, data: Any, labels: Any, validation: Any
    ) -> tuple[Batches | BatchStream, Batches | BatchStream | None]:
        training = self._batches(data, labels)
        if validation is None:
            return training.split(self.recipe.holdout) if isinstance(training, Batches) else (training, None)
        if not isinstance(validation, tuple):
            validation = (validation, self._own_labels(validation, labels))
        elif len(validation) != 2:
            raise InvalidArgument("validation is data, or (data, labels)")
        return training, self._batches(validation[0], validation[1], shuffle=False)

    def _own_labels(self, validation: Any, labels: Any) -> Any:
        """The labels of validation data that were not given: those of the same name in its file."""
        if isinstance(labels, (str, os.PathLike)) and isinstance(validation, (str, os.PathLike)):
            if os.fspath(labels) in open_samples(validation).arrays:
                return labels
        elif labels is None or not isinstance(validation, (str, os.PathLike, np.ndarray, Mapping, torch.Tensor)):
            return None
        raise InvalidArgument(
            "the validation samples want labels of their own: give both, as validation and its labels"
        )

    def _batches(self, data: Any, labels: Any, shuffle: bool = True) -> Batches | BatchStream:
        names = [declared.name for declared in self.network.program.inputs]
        if isinstance(data, (str, os.PathLike)):
            samples = open_samples(data)
            data = samples.of(names)
            if isinstance(labels, (str, os.PathLike)):
                labels = read_labels(labels, samples, data.count)
            data = data.arrays
        elif isinstance(labels, (str, os.PathLike)):
            raise InvalidArgument("labels are an array where the data are arrays; only a data file has them by name")
        if isinstance(data, np.ndarray) or torch.is_tensor(data):
            data = {names[0]: data}
        if isinstance(data, Mapping):
            if missing := set(names) - set(data):
                raise InvalidArgument(
                    f"the data lacks the input {sorted(missing)[0]!r}; the model wants {', '.join(names)}"
                )
            arrays = {name: np.asanyarray(data[name]) for name in names}
            labels = None if labels is None else np.asarray(labels)
            return Batches(arrays, labels, size=self.recipe.batch, seed=self.recipe.seed, shuffle=shuffle)
        if labels is not None:
            raise InvalidArgument("an iterable of batches brings its labels itself: let it give (inputs, labels)")
        return BatchStream(data)

    def _loss(self, loss: str | Loss | type | None, model: "str | os.PathLike[str] | ModelProto") -> Loss:
        if loss is None:
            _, labels = next(iter(self.training.epoch(0)), (None, None))
            loss = "distill" if labels is None else "cross-entropy"
        if loss in ("cross-entropy", CrossEntropy):
            return CrossEntropy(self.network)
        if loss == "distill":
            return Distillation(self.network, Network(model), self.recipe.temperature, 1 - self.recipe.label_share)
        if isinstance(loss, str) or not callable(loss):
            raise InvalidArgument(f"a loss is cross-entropy, distill or a function, not {loss!r}")
        if isinstance(loss, type):
            made: Loss = loss(self.network, Network(model))
            return made
        return loss

    def _check(self, batches: Batches | BatchStream) -> None:
        """Raise InvalidArgument for data, labels or a loss that do not fit, before training takes its time."""
        inputs, labels = next(iter(batches.epoch(0)), (None, None))
        if inputs is None:
            raise InvalidArgument("the data give no batches")
        tensors = self.network.as_inputs(inputs)
        with torch.no_grad():
            outputs = self.network(tensors)
        if isinstance(self.loss, (CrossEntropy, Distillation)):
            self._check_outputs(batches, tensors, outputs, labels)
        with torch.no_grad():
            loss = self.loss(outputs, tensors, labels)
        if not torch.is_tensor(loss) or loss.numel() != 1:
            raise InvalidArgument("a loss is a function (outputs, inputs, labels) that gives a tensor of one number")
        if not bool(torch.isfinite(loss)):
            raise InvalidArgument("the loss is no number before any training: look for NaN or infinities in the inputs")

    def _check_outputs(
        self, batches: Batches | BatchStream, inputs: Tensors, outputs: Tensors, labels: torch.Tensor | None
    ) -> None:
        """Raise InvalidArgument for outputs that are not one or more rows for each sample, and for labels that are no
        class.

        All labels are checked where they are an array.
        """
        name = self.network.outputs[0]
        rows = max((len(tensor) for tensor in inputs.values() if tensor.dim()), default=1)
        if outputs[name].dim() == 0 or len(outputs[name]) % rows:
            raise InvalidArgument(
                f"the output {name!r} is {list(outputs[name].shape)} for a batch of {rows}: where the model is made "
                "for batches of one size, give that as the recipe's batch, or export it with an open batch axis"
            )
        if labels is None or labels.is_floating_point() or not isinstance(batches, Batches) or batches.labels is None:
            return
        classes = class_rows(outputs[name]).shape[1]
        if classes < 2:
            raise InvalidArgument(
                f"the output {name!r} is {list(outputs[name].shape)}, which has no classes to label; leave the labels "
                "out, or call dcz.retrain with a loss of your own"
            )
        wrong = (batches.labels < 0) | (batches.labels >= classes)
        if wrong.any():
            place = tuple(int(axis) for axis in np.argwhere(wrong)[0])
            raise InvalidArgument(
                f"label {batches.labels[place]} of sample {place[0]} is no class: "
                f"the output {name!r} has the classes 0 to {classes - 1}"
            )


def _plan(plan: Plan | Settings | str | os.PathLike[str] | None, recipe: Recipe) -> Plan:
    """The plan, with the recipe's sparsity and bits as its defaults."""
    if isinstance(plan, (str, os.PathLike)):
        plan = plans.load(os.fspath(plan), BASE)
    elif plan is None or isinstance(plan, Settings):
        plan = Plan(BASE if plan is None else plan)
    elif not isinstance(plan, Plan):
        raise InvalidArgument(f"a plan is a dcz.Plan or dcz.Settings, not {type(plan).__name__}")
    changes = {name: getattr(recipe, name) for name in ("sparsity", "bits") if getattr(recipe, name) is not None}
    return replace(plan, default=plans.overlay(plan.default, changes))
