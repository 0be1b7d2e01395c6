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
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from ..arguments import as_percent, is_number, parse_share
from ..compression.compress import compress_known
from ..compression.foldable import noted
from ..compression.options import AnyPlan, Notes
from ..display import progress as display
from ..errors import InvalidArgument
from ..evaluation.given import Batch, Data, Labels
from ..file_kinds import check_onnx
from ..files import check_output, remove
from ..plan import LOSSLESS, Plan, Rule, Settings
from ..reading.written import OfFile, WrittenFile, written
from .recipe import Recipe
from .state import Epoch, Progress

# Modules that need PyTorch are imported by the functions that use them: dcz.retrain is there without it.
if TYPE_CHECKING:
    from onnx import ModelProto

    from .losses import Loss
    from .network import Network
    from .options import RecipeOptions
    from .outcome import Found
    from .task import TrainingTask
    from .training import Training


TrainingData: TypeAlias = Data | Callable[..., Iterable[Batch]]
TrainingLabels: TypeAlias = Labels | Mapping[str, Labels] | None


@dataclass(frozen=True, repr=False)
class Retrained(OfFile):
    """A finished run.

    (loss, error) on the validation samples: `before`; `pruned`, when the phase of pruning has ended; `after`, of what
    was written; and `decoded`, of the file, decoded. The error is a fraction, of `answers`; None without labels, and
    all are None without validation samples. `interval`: where the decoded file's error lies with 95 % confidence.
    `drop`: its error less that before. `is_plain`: compress does better at this size without training, and its file was
    taken. `sparsity` is that of the pruned tensors. `notes` say what did not go as planned. `file`: its tensors.
    """

    path: str
    file_bytes: int
    source_bytes: int
    sparsity: float
    before: tuple[float, float | None] | None
    after: tuple[float, float | None] | None
    epochs: tuple[Epoch, ...]
    notes: tuple[str, ...]
    pruned: tuple[float, float | None] | None = None
    decoded: tuple[float, float | None] | None = None
    answers: int = 0
    interval: tuple[float, float] | None = None
    max_drop: float | None = None
    is_plain: bool = False
    file: WrittenFile | None = None

    @property
    def drop(self) -> float | None:
        """The error of the decoded file less that before, a fraction; None without labels."""
        pair = [score[1] for score in (self.before, self.decoded) if score is not None and score[1] is not None]
        return pair[1] - pair[0] if len(pair) == 2 else None

    @property
    def holds(self) -> bool:
        """Whether the drop is no more than `max_drop`, where that was asked for."""
        return self.max_drop is None or (self.drop is not None and self.drop <= self.max_drop + 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "file"}
        own["epochs"] = tuple(asdict(epoch) for epoch in self.epochs)
        return own | {"drop": self.drop, "holds": self.holds}


def retrain(
    model: "str | os.PathLike[str] | ModelProto",
    output: str | os.PathLike[str],
    data: TrainingData,
    *,
    labels: TrainingLabels = None,
    validation: TrainingData | tuple[TrainingData, TrainingLabels] | None = None,
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

    `data`: the path of an .npz or .npy file, or of a folder of images; arrays by input name, or one array; an iterable
    of batches that can be iterated again, such as a DataLoader, or a function that gives one, of the epoch's number or
    of nothing (see batches.BatchStream). `labels`: an array, the name of one in the data, or a path; "class" for the
    subfolders of a folder of images; a dict of these by output name, where several outputs have labels. They are whole
    numbers, the classes; shares of the classes (soft labels); or any numbers of the output's shape. Batches bring their
    own. `validation`: more data of the same kinds, or (data, labels); without it, the recipe's `holdout` of the
    samples, or the training loss where the data is an iterable.

    Keywords are fields of the recipe (`sparsity="90%"`, `bits=3`, `epochs=5`) or change the plan (`exclude="fc2.*"`).
    `plan` sets what happens to single tensors, as for compress; the recipe's sparsity and bits are its defaults.
    Tensors that it excludes or keeps lossless are not trained at all. `loss`: "cross-entropy", "mse", "cosine",
    "distill", a function, or a class that is made of the network and its original (see losses); default: what fits the
    labels of each output (cross-entropy, or mse for numbers that are no shares), and distillation where there are none.
    `checkpoint` names a file that is written after each epoch, continued from where it exists, and removed at the end.

    What was written is decoded and measured. If it does worse than the model, and compress makes a file of that size
    that does better, without training, that file is taken. `max_drop`: the most that the error may rise, a fraction of
    the answers, or text in percent ("1%"); where it rises more, the file is written all the same, and a note says so.
    `progress` is called with the state of the run after each batch; True shows a bar.

    Raises DczError (MissingBackend without PyTorch); an older `output` stays as it was.
    """
    from .pytorch import torch_threads
    from .task import TrainingTask

    max_drop = parse_share(max_drop, bare_is_percent=True) if isinstance(max_drop, str) else max_drop
    if max_drop is not None and not is_number(max_drop, 0, 1):
        raise InvalidArgument(f"max_drop is a fraction from 0 to 1, not {max_drop!r}")
    if not isinstance(recipe, Recipe):
        raise InvalidArgument(f"a recipe is a dcz.Recipe, not {type(recipe).__name__}")
    recipe, plan = _with_options(recipe, plan, options)
    warn = Notes(warn)
    validation_parts = validation if isinstance(validation, tuple) else (validation,)
    check_onnx(model)
    _check_outputs(output, checkpoint, force, _existing_files(model, data, labels, plan, *validation_parts))
    with torch_threads(recipe.threads), _shown(progress) as report:
        task = TrainingTask(model, data, labels, validation, recipe, plan, loss)
        external = [tensor.external[0] for tensor in task.source.tensors if tensor.external]
        _check_outputs(output, checkpoint, force, external)
        training = _training(task, checkpoint, report, warn)
        training.run()
    metadata = {
        "settings": str(replace(recipe, threads=None)),
        "source-sha256": task.source.source_sha256,
        "source-bytes": str(task.source.source_bytes),
    }
    metadata = noted(metadata, task.folded)
    path = save_network(task.network, output, metadata, task.settings, threads=recipe.threads, warn=warn, force=force)
    if checkpoint is not None:
        remove(checkpoint)
    with torch_threads(recipe.threads):
        return _outcome(task, training, model, path, max_drop, warn)


def _with_options(recipe: Recipe, plan: AnyPlan, options: Mapping[str, Any]) -> tuple[Recipe, AnyPlan]:
    """See options.with_options; without options both are as they were, a path too."""
    from .options import with_options
    from .task import base_plan

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


def _outcome(
    task: "TrainingTask",
    training: "Training",
    model: "str | os.PathLike[str] | ModelProto",
    path: Path,
    max_drop: float | None,
    warn: Callable[[str], None],
) -> Retrained:
    """What came of a run, by the file at `path`, for which a better one of its size is taken where there is one."""
    from .outcome import is_worse, judge, plain_rival, told
    from .validation import wilson

    state, notes = training.state, list(training.state.notes)
    found, rival = judge(task, path), None
    if found is not None and is_worse(found, state.before):
        rival = plain_rival(task, model, path, found)
    if rival is not None and found is not None:
        notes.append(
            f"compress makes a file of this size with {told(rival)} without training, where training came to "
            f"{told(found)}: that one is kept"
        )
        warn(notes[-1])
        found = rival
    result = Retrained(
        path=os.fspath(path),
        file_bytes=os.path.getsize(path),
        source_bytes=task.source.source_bytes,
        sparsity=training.sparsity,
        before=state.before,
        after=state.after,
        epochs=tuple(Epoch(**epoch) for epoch in state.history),
        notes=tuple(notes),
        pruned=state.pruned_result,
        decoded=None if found is None else found[:2],
        answers=0 if found is None else found[2],
        interval=None if found is None or found[1] is None else wilson(found[1], found[2]),
        max_drop=max_drop,
        is_plain=rival is not None,
        file=written(path, tuple(notes), _measured(state.before, found)),
    )
    return result if result.holds else _with_drop(result, warn)


def _measured(before: tuple[float, float | None] | None, found: "Found | None") -> dict[str, float | str]:
    """The figures of the decoded file, and of the model before, by name."""
    figures: dict[str, float | str] = {}
    for name, score in (("", found), (" before", before)):
        if score is not None:
            figures[f"loss{name}"] = score[0]
            figures |= {} if score[1] is None else {f"error{name}": as_percent(score[1])}
    return figures


def _with_drop(result: Retrained, warn: Callable[[str], None]) -> Retrained:
    """The result with a note that it misses the drop that was allowed."""
    if result.drop is None:
        note = "nothing tells whether the drop is held: that takes validation samples with labels"
    else:
        note = (
            f"the error rose by {100 * result.drop:.2f} points, more than the {100 * (result.max_drop or 0):g} that "
            "are allowed: give more epochs, more samples, less sparsity or more bits"
        )
    warn(note)
    return replace(result, notes=(*result.notes, note))


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


def save_network(
    network: "Network",
    output: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    settings: Mapping[str, Settings] | None = None,
    **options: Any,
) -> Path:
    """Write a network as it is (pruned, shared or neither) into a .dcz file, every value exactly.

    Its metadata is that of the model that the network was made from, updated by `metadata`. Of `settings`, by tensor
    name, only the index bits are used. `options` are those of compress. Raises DczError.
    """
    source = network.source
    origin = {"source-sha256": source.source_sha256, "source-bytes": str(source.source_bytes)}
    index_bits = {name: each.index_bits for name, each in (settings or {}).items()}
    grids = {weight.name: grid for weight in network if (grid := weight.grid()) is not None}
    compressed = [weight.name for weight in network if weight.shared or weight.mask is not None]
    rules = tuple(Rule((name,), Settings(index_bits=index_bits.get(name))) for name in compressed)
    plan = Plan(LOSSLESS, rules, fold=False)
    made = compress_known(network.to_proto(), output, plan, grids, metadata=origin | dict(metadata or {}), **options)
    return made.path


def _existing_files(*arguments: Any) -> list[str | os.PathLike[str]]:
    """Those arguments that are the paths of files."""
    return [each for each in arguments if isinstance(each, (str, os.PathLike)) and os.path.exists(each)]


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
