"""A quick look at what a model answers: shapes, ranges, and the classes where an output has some.

look("net.dcz", "x.npz").outputs[0].top      ->   (((281, 0.83), (282, 0.11)), ...): of each sample, classes first
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import numpy as np

from ..arguments import is_whole
from ..errors import InvalidArgument
from ..files import replacing
from ..format.container import is_dcz
from ..reading.apart import load_apart
from . import metrics, runtime
from .compare import graph_kinds
from .differences import joined
from .given import Data, as_samples
from .kinds import GraphKinds
from .predictor import Predictor
from .samples import Samples

TOP = 5  # classes of a sample
SHOWN = 8  # samples, or places of a sequence, whose answers are told
LABELS = {metrics.LABEL.name, metrics.ENTRIES.name}


@dataclass(frozen=True)
class Answers:
    """One output over all samples: its type and shape; the least, mean and largest of its finite numbers, None where
    there are none; how many are not finite.

    `measure`: what kind of answers they are (metrics.Measure). `top`: of some samples, or of places of a sequence, the
    largest entries with their numbers, best first; `labels`: of outputs that are labels, some of them.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    low: float | None
    mean: float | None
    high: float | None
    not_finite: int
    measure: str
    top: tuple[tuple[tuple[int, float], ...], ...] = ()
    labels: tuple[Any, ...] = ()


@dataclass(frozen=True, eq=False)
class Look:
    """What a model answered to so many samples; `arrays`: its outputs whole, those that are arrays."""

    path: str
    samples: int
    outputs: tuple[Answers, ...]
    arrays: dict[str, np.ndarray]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"path": self.path, "samples": self.samples, "outputs": [asdict(each) for each in self.outputs]}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the outputs that are arrays into an .npz file. Raises FileAccess."""
        with replacing(path) as file:
            write_npz(file, self.arrays)


def look(
    model: str | os.PathLike[str],
    data: Data,
    *,
    first: int | None = None,
    threads: int | None = None,
    max_bytes: float | str | None = None,
) -> Look:
    """Run a `.dcz` or `.onnx` model on samples, the `first` of them or all: see dcz.evaluate for what `data` may be.

    A `.dcz` is decoded in memory, to `max_bytes` at most. Raises DczError.
    """
    if first is not None and not is_whole(first, 1):
        raise InvalidArgument(f"the number of samples is a whole number, 1 or more, not {first!r}")
    samples = as_samples(data)
    with _open(model, samples, threads, max_bytes) as predictor:
        count = predictor.samples.count if first is None else min(first, predictor.samples.count)
        size = predictor.fixed_batch or runtime.BATCH
        runs = [predictor.outputs(np.arange(at, min(at + size, count))) for at in range(0, count, size)]
        names = list(runs[0])
        values = [joined([run[name] for run in runs]) for name in names]
        whole = {name: value[0] for name, value in zip(names, values, strict=True) if len(value) == 1}
        kept = {name: whole.get(name, value[0]) for name, value in zip(names, values, strict=True)}
        measures = predictor.measures(list(kept.values()), count)
    outputs = tuple(_answers(name, kept[name], measure) for name, measure in zip(names, measures, strict=True))
    arrays = {name: array for name, array in whole.items() if isinstance(array, np.ndarray)}
    return Look(os.fspath(model), count, outputs, arrays)


@contextlib.contextmanager
def _open(
    model: str | os.PathLike[str], samples: Samples, threads: int | None, max_bytes: float | str | None
) -> Iterator[Predictor]:
    """The model, ready to answer."""
    if is_dcz(model):
        from .. import model as onnx_model

        apart = load_apart(model, runtime.is_numeric, threads, max_bytes)
        kinds, data = GraphKinds(apart.proto), onnx_model.serialize(apart.proto, apart.label)
        session = runtime.session_of(data, apart.tensors, apart.label, threads=threads)
    else:
        kinds, session = graph_kinds(model), runtime.session(model, threads or 0)
    yield Predictor(os.fspath(model), session, samples, None, kinds)


def _answers(name: str, output: Any, measure: metrics.Measure) -> Answers:
    if not isinstance(output, np.ndarray):
        return Answers(name, type(output).__name__, (len(output),), None, None, None, 0, measure.name)
    low = mean = high = None
    not_finite = 0
    if output.dtype.kind in "fiub" and output.size:
        numbers = output.astype(np.float64)
        finite = numbers[np.isfinite(numbers)]
        not_finite = numbers.size - finite.size
        if finite.size:
            low, mean, high = float(finite.min()), float(finite.mean()), float(finite.max())
    top: tuple[tuple[tuple[int, float], ...], ...] = ()
    labels: tuple[Any, ...] = ()
    if measure.name in (metrics.TOP_CLASS.name, metrics.TOP_TOKEN.name) and output.ndim:
        rows = metrics.class_rows(np.moveaxis(output, measure.axis, -1))[:SHOWN].astype(np.float64)
        order = np.argsort(-rows, axis=1, kind="stable")[:, :TOP]
        top = tuple(
            tuple((int(place), float(row[place])) for place in best) for row, best in zip(rows, order, strict=True)
        )
    elif measure.name in LABELS:
        labels = tuple(output.ravel()[:SHOWN].tolist())
    return Answers(name, str(output.dtype), output.shape, low, mean, high, not_finite, measure.name, top, labels)


def write_npz(file: BinaryIO, arrays: dict[str, np.ndarray]) -> None:
    """Arrays by name into an .npz, whatever the names are."""
    import zipfile

    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
