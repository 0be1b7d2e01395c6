"""A quick look at what a model answers: shapes, ranges, and the classes where an output has some.

look("net.dcz", "x.npz").outputs[0].top      ->   (((281, 0.83), (282, 0.11)), ...): of each sample, classes first
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import numpy as np

from ..arguments import is_whole
from ..errors import InvalidArgument
from ..files import replacing
from ..format.container import is_dcz
from ..reading.apart import load_apart
from . import metrics, runtime
from .assembled import Run, by_sample, put_together, sample_axis
from .compare import graph_kinds
from .given import BatchAxis, Data, as_samples
from .kinds import GraphKinds
from .predictor import Predictor
from .runtime import Ops
from .samples import Samples

TOP = 5  # classes of a sample
SHOWN = 8  # samples, or places of a sequence, whose answers are told
LABELS = {metrics.LABEL.name, metrics.ENTRIES.name}


@dataclass(frozen=True)
class Answers:
    """One output over all samples: its type and shape, 0 for a dim that differs from sample to sample; the least, mean
    and largest of its finite numbers, None where there are none; how many are not finite.

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
    """What a model answered to so many samples; `arrays`: its outputs whole, those that are arrays. Of an output whose
    shape differs from sample to sample, there is one array each, by its name and the sample's number: "y/07"."""

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
    batch_axis: BatchAxis | None = None,
    ops: Ops = (),
    first: int | None = None,
    threads: int | None = None,
    max_bytes: float | str | None = None,
) -> Look:
    """Run a `.dcz` or `.onnx` model on samples, the `first` of them or all: see dcz.evaluate for `data`,
    `batch_axis` and `ops`.

    A `.dcz` is decoded in memory, to `max_bytes` at most. Raises DczError.
    """
    if first is not None and not is_whole(first, 1):
        raise InvalidArgument(f"the number of samples is a whole number, 1 or more, not {first!r}")
    samples = as_samples(data, batch_axis)
    with runtime.custom_ops(ops), _open(model, samples, threads, max_bytes) as predictor:
        count = predictor.count if first is None else min(first, predictor.count)
        indices = predictor.runs(np.arange(count), runtime.BATCH)
        runs = [predictor.raw_outputs(each) for each in indices]
        outputs = [
            _collected(value.name, [(at, run[value.name]) for at, run in zip(indices, runs, strict=True)], value.shape,
                       predictor.feed.symbol)
            for value in predictor.session.get_outputs()
        ]  # fmt: skip
        size = count if all(each.whole is not None for each in outputs) else len(indices[0])
        measures = predictor.measures([each.told for each in outputs], size)
    answers = tuple(_answers(each, measure, count) for each, measure in zip(outputs, measures, strict=True))
    return Look(os.fspath(model), count, answers, {n: array for each in outputs for n, array in each.arrays().items()})


@dataclass(frozen=True, eq=False)
class _Output:
    """An output `whole`, or, where that is None, `apart` by the numbers of the samples; `first`: of the first run."""

    name: str
    whole: Any | None
    apart: dict[int, np.ndarray]
    first: Any

    @property
    def told(self) -> Any:
        """What is looked at to tell what kind of output it is."""
        return self.first if self.whole is None else self.whole

    def arrays(self) -> dict[str, np.ndarray]:
        """What is an array, by the name that a file has it under."""
        if self.whole is not None:
            return {self.name: self.whole} if isinstance(self.whole, np.ndarray) else {}
        digits = len(str(max(self.apart, default=0)))
        return {f"{self.name}/{number:0{digits}d}": array for number, array in self.apart.items()}


def _collected(name: str, runs: list[Run], shape: Sequence[int | str | None], symbol: str | None) -> _Output:
    axes = [sample_axis(value, len(indices), shape, symbol) for indices, value in runs]
    whole = put_together(runs, axes)
    return _Output(name, whole, {} if whole is not None else by_sample(runs, axes), runs[0][1])


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


def _answers(of: _Output, measure: metrics.Measure, count: int) -> Answers:
    output = of.told
    if not isinstance(output, np.ndarray):
        return Answers(of.name, type(output).__name__, (len(output),), None, None, None, 0, measure.name)
    shape = output.shape
    numbers = output
    if of.apart:
        dims = list(zip(*(array.shape for array in of.apart.values()), strict=False))
        shape = (count, *(each[0] if len(set(each)) == 1 else 0 for each in dims))
        numbers = np.concatenate([array.ravel() for array in of.apart.values()])
    low = mean = high = None
    not_finite = 0
    if numbers.dtype.kind in "fiub" and numbers.size:
        numbers = numbers.astype(np.float64)
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
    return Answers(of.name, str(output.dtype), shape, low, mean, high, not_finite, measure.name, top, labels)


def write_npz(file: BinaryIO, arrays: dict[str, np.ndarray]) -> None:
    """Arrays by name into an .npz, whatever the names are."""
    import zipfile

    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
