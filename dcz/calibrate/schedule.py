"""A network's values, as far as they can be computed with what is decided so far, over all samples.

    stages(program, layers)         the layers in the order in which their inputs become known
    Front(batches).advance(model, names)   from the values of one stage to those of the next, batch by batch

Each part of the network is run once. The values between stages lie in a temporary file: memory holds one batch.
Raises FileAccess where there is no room for that file.
"""

import contextlib
import operator
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import numpy as np
from numpy import ndarray

from .. import files
from ..errors import UnsuitableModel
from ..evaluation import runtime
from ..model import Program, extract_subgraph
from .layers import Layer
from .operands import Operands

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Stage:
    """Layers whose inputs are known together, and the values (names) that all the rest of the network needs."""

    layers: tuple[Layer, ...]
    values: tuple[str, ...]


def stages(program: Program, layers: list[Layer]) -> list[Stage]:
    """Every layer once, in a stage of its first use. Values that hang on constants alone are not held: they change with
    the tensors, and what needs them computes them."""
    undecided = {layer.site: layer for layer in layers}
    operands = Operands(program)
    moved, fixed = operands.moved, operands.fixed
    found = []
    while undecided:
        known = fixed | {given.name for given in program.inputs}
        ready: list[Layer] = []
        wanted: dict[str, None] = {}
        for node in program.nodes:
            if all(name in fixed for name in node.outputs if name):
                continue
            sites = [moved[name].site for name in node.inputs if name in moved]
            others = all(name in known or not name for name in node.inputs)
            blocking = [undecided[site] for site in sites if site in undecided]
            if others and not blocking:
                known.update(node.outputs)
                continue
            wanted.update(dict.fromkeys(name for name in node.inputs if name in known))
            if others:
                ready += [layer for layer in blocking if layer not in ready]
        if not ready:
            raise UnsuitableModel(f"{program.place}: its nodes are in no order in which they can run: export it anew")
        wanted.update(dict.fromkeys(name for name in program.outputs if name in known))
        found.append(Stage(tuple(ready), tuple(name for name in wanted if name and name not in fixed)))
        for layer in ready:
            del undecided[layer.site]
    return found


class Front:
    """Values of all samples, batch by batch, in a temporary file that goes with the object."""

    def __init__(self, batches: Iterable[runtime.Inputs], folder: str | None = None, threads: int = 0):
        self._folder, self._threads, self._file = folder, threads, None
        self._spool((dict(batch) for batch in batches), operator.length_hint(batches))

    def _spool(self, batches: Iterable[dict[str, ndarray]], count: int) -> None:
        """Write batches, about `count`, to a new file that takes the place of the old one."""
        with files.temporary(self._folder):
            file = tempfile.TemporaryFile(prefix="dcz-calibrate-", dir=self._folder)
        places = []
        try:
            for batch in batches:
                nbytes = sum(array.nbytes for array in batch.values())
                with files.temporary(self._folder, nbytes * max(count, len(places) + 1)):
                    places.append(_written(batch, file))
        except BaseException:
            with contextlib.suppress(OSError):  # of what could not be written
                file.close()
            raise
        self.close()
        self._file, self._places = file, places

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> "Front":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __iter__(self) -> Iterator[dict[str, ndarray]]:
        for held in self._places:
            batch = {}
            for name, (place, dtype, shape) in held.items():
                self._file.seek(place)
                batch[name] = np.fromfile(self._file, dtype, int(np.prod(shape))).reshape(shape)
            yield batch

    def __len__(self) -> int:
        return len(self._places)

    @property
    def samples(self) -> int:
        """Samples in all batches: the longest first axis of each."""
        return sum(max((shape[0] for _, _, shape in held.values() if shape), default=1) for held in self._places)

    def advance(self, model, names: Iterable[str]) -> None:
        """Put the values of these names in the place of those held, as `model` (a ModelProto) computes them."""
        self._spool(map(_storable, self.compute(model, tuple(names))), len(self))

    def compute(self, model, names: tuple[str, ...]) -> Iterator[dict[str, ndarray]]:
        """The values of these names, batch by batch."""
        session = None
        for batch in self:
            new = [name for name in names if name not in batch]
            if new and session is None:
                piece = extract_subgraph(model, batch, new)
                session = runtime.session(piece.SerializeToString(), self._threads)
                used = [value.name for value in session.get_inputs()]
            values = dict(zip(new, _run(session, {name: batch[name] for name in used}, new))) if new else {}
            yield {name: values[name] if name in values else batch[name] for name in names}


def ahead(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The same batches, the next one being computed while the last one is looked at."""
    batches = iter(batches)
    with ThreadPoolExecutor(1) as pool:
        try:
            coming = pool.submit(next, batches, None)
            while (batch := coming.result()) is not None:
                coming = pool.submit(next, batches, None)
                yield batch
        finally:
            coming.cancel()


def _run(session, batch: runtime.Inputs, names: list[str]) -> list:
    try:
        return runtime.run(session, batch)
    except UnsuitableModel as error:  # as for a type that numpy has not
        wanted = ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
        raise UnsuitableModel(f"{error}; calibration looks at {wanted}: compress it without --calibrate") from error


def _storable(batch: dict) -> dict[str, ndarray]:
    """The batch, if a file can hold it; text as characters of fixed width."""
    for name, value in batch.items():
        if not isinstance(value, ndarray) or value.dtype.kind not in "biufOU":
            kind = str(value.dtype) if isinstance(value, ndarray) else f"a {type(value).__name__}"
            raise UnsuitableModel(
                f"value {name!r}, which later layers need, is {kind} and no tensor of numbers or text: such a model "
                "cannot be calibrated; compress it without --calibrate"
            )
    return {name: value.astype(str) if value.dtype.kind == "O" else value for name, value in batch.items()}


def _written(batch: dict[str, ndarray], file: BinaryIO) -> dict[str, tuple]:
    """Where in the file each value lies that is now written there, its dtype and shape."""
    held = {}
    for name, array in batch.items():
        if array.dtype.hasobject:
            raise UnsuitableModel(f"the network computes text, {name!r}: it cannot be calibrated")
        held[name] = (file.tell(), array.dtype, array.shape)
        file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8))  # tofile loses bytes where a disk is full
    file.flush()
    return held
