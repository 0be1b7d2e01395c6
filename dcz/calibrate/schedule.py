"""The order in which layers are calibrated, and the network's activations over all samples as far as that has come.

    layer_groups(program, layers)                    the layers in the order in which their inputs become known
    ActivationCache(batches).advance(model, names)   from the values of one group to those of the next, batch by batch

Each part of the network is run once. The values between groups lie in a temporary file: memory holds one batch.
Raises FileAccess where there is no room for that file.
"""

import contextvars
import operator
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ..errors import UnsuitableModel
from ..evaluation import runtime
from ..model import Program, WorkingCopy
from .layers import Layer
from .operands import find_operands
from .spool import Spool, StoredArray

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Batch = TypeVar("Batch")
SPARE_BYTES = 1 << 26  # of the file that may hold nothing any more, whatever it holds


@dataclass(frozen=True)
class LayerGroup:
    """Layers whose inputs are known together, the values (names) that all the rest of the network needs, and all that
    are `known` by then."""

    layers: tuple[Layer, ...]
    values: tuple[str, ...]
    known: frozenset[str] = frozenset()


def layer_groups(program: Program, layers: Iterable[Layer]) -> list[LayerGroup]:
    """Every layer once, in the group of its first use.

    Values that depend on constants alone are not held: they change with the tensors, and are computed where they are
    needed. Raises UnsuitableModel where the nodes are in no order in which they can run.
    """
    pending = {layer.tensor: layer for layer in layers}
    operands = find_operands(program)
    aliases, foldable = operands.aliases, operands.foldable
    groups = []
    while pending:
        known = {*foldable, *(value.name for value in program.inputs)}
        ready: dict[str, Layer] = {}
        needed: dict[str, None] = {}
        for node in program.nodes:
            if all(name in foldable for name in node.outputs if name):
                continue
            tensors = [aliases[name].tensor for name in node.inputs if name in aliases]
            runnable = all(name in known or not name for name in node.inputs)
            blocking = {tensor: pending[tensor] for tensor in tensors if tensor in pending}
            if runnable and not blocking:
                known.update(node.outputs)
                continue
            needed.update(dict.fromkeys(name for name in node.inputs if name in known))
            if runnable:
                ready.update(blocking)
        if not ready:
            raise UnsuitableModel(f"{program.place}: its nodes are in no order in which they can run: export it anew")
        needed.update(dict.fromkeys(name for name in program.outputs if name in known))
        values = tuple(name for name in needed if name and name not in foldable)
        groups.append(LayerGroup(tuple(ready.values()), values, frozenset(known)))
        pending = {tensor: layer for tensor, layer in pending.items() if tensor not in ready}
    return groups


class ActivationCache:
    """Values of all samples, batch by batch, in a temporary file that goes with the object."""

    def __init__(self, batches: Iterable[runtime.Inputs], folder: str | None = None, threads: int = 0):
        self._folder, self._threads = folder, threads
        count = operator.length_hint(batches)
        self._file, self._batches = _spool((dict(batch) for batch in batches), count, folder)

    def close(self) -> None:
        """Delete the file."""
        self._file.close()

    def __enter__(self) -> "ActivationCache":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[runtime.Inputs]:
        return (self._file.read(stored) for stored in self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def samples(self) -> int:
        """Samples in all batches: the longest first axis of each."""
        lengths = ([array.shape[0] for array in stored.values() if array.shape] for stored in self._batches)
        return sum(max(each, default=1) for each in lengths)

    def advance(self, model: WorkingCopy, names: Iterable[str]) -> None:
        """Hold the values of these names, as `model` computes them, instead of those held so far.

        Values that are held already stay where they are.
        """
        names = tuple(names)
        new = tuple(name for name in names if any(name not in stored for stored in self._batches))
        batches = []
        for stored, values in zip(self._batches, self.compute(model, new), strict=True):
            written = self._write(_storable({name: values[name] for name in new if name not in stored}))
            batches.append({name: stored[name] if name in stored else written[name] for name in names})
        self._batches = batches
        held = sum(array.nbytes for stored in batches for array in stored.values())
        if self._file.nbytes > 2 * held + SPARE_BYTES:  # most of the file is forgotten
            file, stored_again = _spool(iter(self), len(self), self._folder)
            self.close()
            self._file, self._batches = file, stored_again

    def _write(self, batch: runtime.Inputs) -> dict[str, StoredArray]:
        nbytes = sum(array.nbytes for array in batch.values())
        return self._file.write(batch, nbytes * len(self))

    def compute(
        self, model: WorkingCopy, names: Sequence[str], numbers: Iterable[int] | None = None
    ) -> Iterator[runtime.Inputs]:
        """The values of these names, batch by batch; of all batches, or of those of these numbers."""
        session, read = None, []
        for stored in list(self._batches) if numbers is None else [self._batches[number] for number in numbers]:
            new = [name for name in names if name not in stored]
            if new and session is None:
                runtime.give_back_memory()
                session = runtime.loaded(model.piece(stored, new), "a piece of the model", self._threads)
                read = [value.name for value in session.get_inputs()]
            values = self._file.read({name: stored[name] for name in stored if name in names or (new and name in read)})
            if session is not None and new:
                values |= zip(new, run_piece(session, {name: values[name] for name in read}, new), strict=True)
            yield {name: values[name] for name in names}


def prefetch(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The same batches, the next one being computed in a thread while the last one is looked at."""
    iterator, context = iter(batches), contextvars.copy_context()  # in which sessions know their custom operators

    def following() -> Batch | None:
        return next(iterator, None)

    with ThreadPoolExecutor(1) as pool:
        try:
            coming = pool.submit(context.run, following)
            while (batch := coming.result()) is not None:
                coming = pool.submit(context.run, following)
                yield batch
        finally:
            coming.cancel()


def run_piece(session: "InferenceSession", batch: runtime.Inputs, names: Sequence[str]) -> list[np.ndarray]:
    """The values of these names, which a session computes of a batch; raises UnsuitableModel, which names them."""
    try:
        return runtime.run(session, batch)
    except UnsuitableModel as error:  # as for a type that numpy has not
        listed = ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
        raise UnsuitableModel(f"{error}; calibration looks at {listed}: compress it without --calibrate") from error


def _storable(batch: dict[str, Any]) -> runtime.Inputs:
    """The batch, if a file can hold it; text as characters of fixed width."""
    for name, value in batch.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biufOU":
            kind = str(value.dtype) if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
            raise UnsuitableModel(
                f"value {name!r}, which later layers need, is {kind} and no tensor of numbers or text: such a model "
                "cannot be calibrated; compress it without --calibrate"
            )
    return {name: value.astype(str) if value.dtype.kind == "O" else value for name, value in batch.items()}


def _spool(
    batches: Iterable[runtime.Inputs], count: int, folder: str | None
) -> tuple[Spool, list[dict[str, StoredArray]]]:
    """Write batches, about `count`, to a new temporary file: that, and where in it the arrays of each batch lie."""
    spool = Spool(folder)
    stored: list[dict[str, StoredArray]] = []
    try:
        for batch in batches:
            nbytes = sum(array.nbytes for array in batch.values())
            stored.append(spool.write(batch, nbytes * max(count, len(stored) + 1)))
    except BaseException:
        spool.close()
        raise
    return spool, stored
