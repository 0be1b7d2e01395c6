"""The training half of Deep Compression: prune while training, share, train the centroids, write the file.

    retrain("net.onnx", "net.dcz", {"x": images}, labels=digits, recipe=Recipe(sparsity=0.97, bits=3))

    phase "prune"   batches -> loss -> Adam; now and then the weights of least score go      -> idle weights go too
    phase "share"   kept weights -> centroids and codes; batches -> loss -> Adam on centroids -> file

After each epoch the validation loss is taken, and the best state with all that was to be pruned is kept. A checkpoint
holds everything, so that a run that was killed ends with the same file as one that was not.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch

from ..compression.compress import compress
from ..errors import BadPlan
from ..files import check_output, remove
from ..plan import LOSSLESS, Plan, Rule, Settings
from . import checkpoint as checkpoints
from .losses import Loss
from .network import Network
from .recipe import Recipe
from .state import Epoch, Progress
from .task import TrainingTask
from .training import Training


@dataclass(frozen=True)
class Retrained:
    """A finished run. `before` and `after` are (loss, error) on the validation samples, error None where there are no
    labels, both None where there are no such samples; `sparsity` is that of the tensors that were pruned. `notes` say
    what did not go as planned."""

    path: str
    file_bytes: int
    source_bytes: int
    sparsity: float
    before: tuple[float, float | None] | None
    after: tuple[float, float | None] | None
    epochs: tuple[Epoch, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def retrain(
    model,
    output: str | os.PathLike,
    data,
    *,
    labels=None,
    validation=None,
    recipe: Recipe = Recipe(),
    plan: Plan | Settings | str | os.PathLike | None = None,
    loss: str | Loss | None = None,
    checkpoint: str | os.PathLike | None = None,
    progress: Callable[[Progress], None] = lambda state: None,
    warn: Callable[[str], None] = lambda message: None,
    force: bool = True,
) -> Retrained:
    """Prune, share and train `model` (the path of an ONNX file, or a ModelProto) into the .dcz file `output`.

    `data`: the path of an .npz or .npy file, arrays by input name, one array, an iterable of batches that can be
    iterated again, or a function from the epoch's number to one (see batches.Stream). `labels`: the name of an array in
    the data file, a path, or an array. `validation`: more data of the same kinds, or (data, labels); without it, the
    recipe's `holdout` of the samples, or the training loss where the data is an iterable.

    `plan` says what becomes of single tensors, as for compress; the recipe's sparsity and bits are its defaults.
    Tensors that it excludes or keeps lossless are not trained at all. `loss`: "cross-entropy", "distill", a function,
    or a class that is made of the network and its original (see losses); default: cross-entropy where there are labels,
    else distillation. `checkpoint` names a file that is written after each epoch, continued from where it exists, and
    removed at the end.

    Raises DczError; an older `output` stays as it was.
    """
    if not isinstance(recipe, Recipe):
        raise BadPlan(f"a recipe is a dcz.Recipe, not {type(recipe).__name__}")
    held = validation if isinstance(validation, tuple) else (validation,)
    _check_outputs(output, checkpoint, force, _files(model, data, labels, plan, *held))
    with torch_threads(recipe.threads):
        task = TrainingTask(model, data, labels, validation, recipe, plan, loss)
        _check_outputs(output, checkpoint, force, [s.external[0] for s in task.network.source.tensors if s.external])
        state = checkpoints.read(checkpoint, task.stamp) if checkpoint is not None else None
        save = (lambda state: checkpoints.write(checkpoint, task.stamp, state)) if checkpoint is not None else None
        with checkpoints.restoring(checkpoint) if state is not None else contextlib.nullcontext():
            training = Training(task, state, save or (lambda state: None), progress, warn)
        training.run()
    metadata = {"settings": str(replace(recipe, threads=None))}
    path = save_network(task.network, output, metadata, task.settings, threads=recipe.threads, warn=warn, force=force)
    if checkpoint is not None:
        remove(checkpoint)
    state = training.state
    return Retrained(
        os.fspath(path),
        os.path.getsize(path),
        task.network.source.source_bytes,
        training.sparsity,
        state.before,
        state.after,
        tuple(Epoch(**epoch) for epoch in state.history),
        tuple(state.notes),
    )


def save_network(
    network: Network,
    output: str | os.PathLike,
    metadata: Mapping[str, str] | None = None,
    settings: Mapping[str, Settings] | None = None,
    **options,
) -> os.PathLike:
    """Write a network as it is, pruned or shared or neither, into a .dcz file, every value exactly.

    Its metadata is that of the model that the network was made from, but for what `metadata` says. Of `settings`, by
    tensor name, only the index bits count. `options` are those of compress. Raises DczError.
    """
    source = network.source
    known = {"source-sha256": source.source_sha256, "source-bytes": str(source.source_bytes)}
    index_bits = {name: each.index_bits for name, each in (settings or {}).items()}
    compressed = [weight.name for weight in network if weight.shared or weight.mask is not None]
    rules = tuple(Rule((name,), Settings(index_bits=index_bits.get(name))) for name in compressed)
    metadata = known | dict(metadata or {})
    plan = Plan(LOSSLESS, rules, fold=False)
    return compress(network.to_proto(), output, plan, metadata=metadata, **options)


def _files(*given) -> list[str | os.PathLike]:
    """Those arguments that are the paths of files."""
    return [each for each in given if isinstance(each, (str, os.PathLike)) and os.path.exists(each)]


def _check_outputs(output, checkpoint, force: bool, inputs: list) -> None:
    """Raise FileAccess or BadPlan where a file cannot be written, or is one of the inputs."""
    check_output(output, force, inputs)
    if checkpoint is None:
        return
    check_output(checkpoint, inputs=inputs)
    if os.path.realpath(checkpoint) == os.path.realpath(output):
        raise BadPlan(f"{output}: the checkpoint must be another file than the output")


@contextlib.contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Torch with so many threads, and with random numbers of its own; afterwards as it was."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)
