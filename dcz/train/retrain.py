"""The training half of Deep Compression: prune while training, share, train the centroids, write the file.

    retrain("net.onnx", "net.dcz", {"x": images}, labels=digits, recipe=Recipe(sparsity=0.97, bits=3))

    phase "prune"   batches -> loss -> Adam; now and then the weights of least score go      -> idle weights go too
    phase "share"   kept weights -> centroids and codes; batches -> loss -> Adam on centroids -> file

After each epoch the validation loss is taken, and the best state with all that was to be pruned is kept. A checkpoint
holds everything, so that a run that was killed ends with the same file as one that was not.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

from .. import pipeline
from ..files import check_output, remove
from ..plan import LOSSLESS, Plan, Rule, Settings
from . import checkpoint as checkpoints
from .losses import Loss
from .network import Network
from .recipe import Recipe
from .task import Task
from .training import Epoch, Progress, Training


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

    `plan` says what becomes of single tensors, as for compress; the recipe's sparsity and bits are its defaults. Tensors
    that it excludes or keeps lossless are not trained at all. `loss`: "cross-entropy", "distill", a function, or a class
    that is made of the network and its original (see losses); default: cross-entropy where there are labels, else
    distillation. `checkpoint` names a file that is written after each epoch, continued from where it exists, and removed
    at the end.

    Raises DczError; an older `output` stays as it was.
    """
    given = model if isinstance(model, (str, os.PathLike)) else None
    check_output(output, force, inputs=[given])
    if checkpoint is not None:
        check_output(checkpoint, inputs=[given, output if os.path.exists(output) else None])
    with _threads(recipe.threads):
        task = Task(model, data, labels, validation, recipe, plan, loss)
        state = checkpoints.read(checkpoint, task.stamp) if checkpoint is not None else None
        save = (lambda state: checkpoints.write(checkpoint, task.stamp, state)) if checkpoint is not None else None
        training = Training(task, state, save or (lambda state: None), progress, warn)
        training.run()
    path = save_network(task.network, output, {"settings": str(recipe)}, force=force)
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


def save_network(network: Network, output: str | os.PathLike, metadata: dict | None = None, **options) -> os.PathLike:
    """Write a network as it is, pruned or shared or neither, into a .dcz file, every value exactly.

    Its metadata is that of the model that the network was made from, but for what `metadata` says. `options` are those
    of compress.
    """
    source = network.source
    known = {"source-sha256": source.source_sha256, "source-bytes": str(source.source_bytes)}
    compressed = tuple(weight.name for weight in network if weight.shared or weight.mask is not None)
    plan = Plan(LOSSLESS, (Rule(compressed, Settings()),) if compressed else ())
    return pipeline.compress(network.to_proto(), output, plan, metadata=known | (metadata or {}), **options)


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
