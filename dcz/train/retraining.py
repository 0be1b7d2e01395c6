"""The training half of Deep Compression: prune while training, share, train the centroids, write the file.

    retrain("net.onnx", "net.dcz", {"x": images}, labels=digits, recipe=Recipe(sparsity=0.97, bits=3))

    phase "prune"   batches -> loss -> Adam; every few batches the lowest scores are pruned   -> dead units go too
    phase "share"   kept weights -> centroids and codes; batches -> loss -> Adam on centroids -> file

After each epoch the validation loss is measured. The best state with all pruning done is kept. A checkpoint holds the
whole state, so that a run that was killed and continued writes the same file as one that was not.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from ..arguments import is_number, parse_share
from ..compression.foldable import noted
from ..compression.options import AnyPlan, Notes
from ..display import progress as display
from ..errors import FileAccess, InvalidArgument
from ..evaluation.given import Batch, BatchAxis, Data, Labels, existing_files
from ..file_kinds import check_onnx
from ..files import check_output, remove, temporary_folder
from .backend import check_installed
from .plans import base_plan, plan_of
from .recipe import Recipe
from .retrained import Retrained, outcome_of
from .saving import save_network
from .state import Progress

# Modules that need PyTorch are imported by the functions that use them: dcz.retrain is there without it.
if TYPE_CHECKING:
    from onnx import ModelProto

    from .losses import Loss
    from .options import RecipeOptions
    from .task import TrainingTask
    from .training import Training


TrainingData: TypeAlias = Data | Callable[..., Iterable[Batch]]
TrainingLabels: TypeAlias = Labels | Mapping[str, Labels] | None


def retrain(
    model: "str | os.PathLike[str] | ModelProto",
    output: str | os.PathLike[str],
    data: TrainingData,
    *,
    labels: TrainingLabels = None,
    validation: TrainingData | tuple[TrainingData, TrainingLabels] | None = None,
    batch_axis: BatchAxis | None = None,
    recipe: Recipe = Recipe(),
    plan: AnyPlan = None,
    loss: "str | Loss | None" = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: bool | Callable[[Progress], None] | None = None,
    warn: Callable[[str], None] | None = None,
    force: bool = False,
    max_drop: float | str | None = None,
    **options: "Unpack[RecipeOptions]",
) -> Retrained:
    """Prune, share and train `model` (the path of an ONNX file, or a ModelProto) into the .dcz file `output`.

    `data`: samples as tune and evaluate take them: the path of an .npz or .npy file, or of a folder of these, a sample
    or a batch each; a dict of arrays, or of lists of samples of different lengths, or one array; a list of dicts or a
    Dataset of a sample each, which is read once. Samples of different shapes never share a batch; what is the same for
    all may be given once. Or the path of a folder of images; or batches that come as they are: an iterable of them that
    can be iterated again, such as a DataLoader, or a function that gives one, of the epoch's number or of nothing (see
    train.batch_stream). `batch_axis`: the axis of samples in some inputs, {"h0": 1}, or None: the same for all;
    default: as the model's shapes tell. `labels`: an array, or a list where they differ in length, the name of one in
    the data, or a path; "class" for the subfolders of a folder of images; a dict of these by output name, where several
    outputs have labels. They are whole numbers, the classes; shares of the classes (soft labels); or any numbers of the
    output's shape, samples first. Batches, and pairs in a list, bring their own. `validation`: more data of the same
    kinds, or (data, labels); without it, the recipe's `holdout` of the samples, or the training loss where batches come
    as they are.

    Keywords are fields of the recipe (`sparsity="90%"`, `bits=3`, `epochs=5`) or change the plan (`exclude="fc2.*"`).
    `plan` sets what happens to single tensors, as for compress; the recipe's sparsity and bits are its defaults.
    Tensors that it excludes or keeps lossless are not trained at all. `loss`: "cross-entropy", "mse", "cosine",
    "distill", a function, or a class that is made of the network and its original (see losses); default: what fits the
    labels of each output (cross-entropy, or mse for numbers that are no shares), and distillation where there are none.
    `checkpoint` names a file that is written after each epoch, continued from where it exists, and removed at the end.

    What was made is decoded and measured before it takes the place of `output`. If it does worse than the model, and
    compress makes a file of that size that does better, without training, that file is taken. `max_drop`: the most that
    the error may rise, a fraction of the answers, or text in percent ("1%"); where it rises more, the file is written
    all the same, and a note says so.
    `progress` is called with the state of the run after each batch; True shows a bar.

    Raises DczError (MissingBackend without PyTorch); an older `output` stays as it was.
    """
    check_installed()
    max_drop = parse_share(max_drop, bare_is_percent=True) if isinstance(max_drop, str) else max_drop
    if max_drop is not None and not is_number(max_drop, 0, 1):
        raise InvalidArgument(f"max_drop is a fraction from 0 to 1, not {max_drop!r}")
    if not isinstance(recipe, Recipe):
        raise InvalidArgument(f"a recipe is a dcz.Recipe, not {type(recipe).__name__}")
    recipe, plan = _with_options(recipe, plan, options)
    warn = Notes(warn)
    validation_parts = validation if isinstance(validation, tuple) else (validation,)
    check_onnx(model)
    _check_outputs(output, checkpoint, force, existing_files(model, data, labels, plan, *validation_parts))
    plan_of(plan, recipe)
    _check_readable(model, data, labels, validation_parts)
    from .pytorch import torch_threads  # only now: that takes seconds
    from .task import TrainingTask

    with torch_threads(recipe.threads), _shown(progress) as report:
        task = TrainingTask(model, data, labels, validation, recipe, plan, loss, batch_axis)
        _check_outputs(output, checkpoint, force, task.source.outside)
        training = _training(task, checkpoint, report, warn)
        training.run()
    metadata = {
        "settings": str(replace(recipe, threads=None)),
        "source-sha256": task.source.source_sha256,
        "source-bytes": str(task.source.source_bytes),
    }
    metadata = noted(metadata, task.folded)
    with temporary_folder("dcz-retrain-") as folder:  # until it is known which file is the better one
        made = save_network(
            task.network, Path(folder, "made.dcz"), metadata, task.settings, threads=recipe.threads, warn=warn
        )
        with torch_threads(recipe.threads):
            result = outcome_of(task, training, model, made, output, max_drop, warn)
    if checkpoint is not None:
        try:
            remove(checkpoint)
        except FileAccess as error:  # the next run would go on from the end of this one, to the same file
            warn(str(error))
    return result


def _with_options(recipe: Recipe, plan: AnyPlan, options: Mapping[str, Any]) -> tuple[Recipe, AnyPlan]:
    """See options.with_options; without options both are as they were, a path too."""
    from .options import with_options

    if not options:
        return recipe, plan
    return with_options(recipe, base_plan(plan), options)


@contextlib.contextmanager
def _shown(progress: bool | Callable[[Progress], None] | None) -> Iterator[Callable[[Progress], None]]:
    """What to call with the state of a run: the caller's function, or what draws a bar."""
    if callable(progress):
        yield progress
        return
    with display.shown(progress, "training") as report:

        def on_state(state: Progress) -> None:
            batches = max(1, state.batches)
            done = state.epoch * batches + (0 if state.is_end else state.batch)
            error = "" if state.error is None else f", error {state.error:.2%}"
            report(f"{state.phase} {state.epoch}/{state.epochs}{error}", done, state.epochs * batches)

        yield on_state


def _training(
    task: "TrainingTask",
    checkpoint: str | os.PathLike[str] | None,
    progress: Callable[[Progress], None],
    warn: Callable[[str], None],
) -> "Training":
    """A run that writes the checkpoint, if one is named, and starts where it ends if it is there."""
    from . import checkpoint as checkpoints
    from .training import Training

    saved = checkpoints.read(checkpoint, task.stamp) if checkpoint is not None else None

    def save(state: dict[str, Any]) -> None:
        if checkpoint is not None:
            checkpoints.write(checkpoint, task.stamp, state)

    with checkpoints.restoring(checkpoint) if saved is not None else contextlib.nullcontext():
        return Training(task, saved, save, progress, warn)


def _check_readable(
    model: "str | os.PathLike[str] | ModelProto", data: TrainingData, labels: TrainingLabels, validation: Sequence[Any]
) -> None:
    """Raise DczError for files that cannot be read, or lack the labels that are named. What folders have to hold, the
    model says."""
    from ..evaluation.samples import find_labels, open_samples
    from ..model import open_dense

    if isinstance(model, (str, os.PathLike)):
        open_dense(model, apart=True, lists=True)
    for given, targets in ((data, labels), (*validation, None, None)[:2]):
        if isinstance(given, (str, os.PathLike)) and not os.path.isdir(given):
            samples = open_samples(given)
            for each in targets.values() if isinstance(targets, Mapping) else [targets]:
                if isinstance(each, (str, os.PathLike)):
                    find_labels(each, samples)


def _check_outputs(
    output: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str] | None,
    force: bool,
    inputs: Sequence[str | os.PathLike[str]],
) -> None:
    """Raise FileAccess or InvalidArgument where a file cannot be written, or is one of the inputs."""
    check_output(output, force, inputs)
    if checkpoint is None:
        return
    check_output(checkpoint, inputs=inputs)
    if os.path.realpath(checkpoint) == os.path.realpath(output):
        raise InvalidArgument(f"{output}: the checkpoint must be another file than the output")
