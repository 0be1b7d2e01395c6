"""Models that answer samples of a data file: `.dcz` or `.onnx`, arrays cut into batches and cast to the inputs' dtypes.

with open_predictor("net.dcz", samples.open_samples("test.npz")) as net:
    net.rows(np.arange(32, 64))   ->  float64 [32, classes]: the output's rows for these samples
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import files
from ..errors import InvalidArgument, UnsuitableModel
from ..format.container import is_dcz
from ..reading.decompress import decompress
from ..text import counted
from . import runtime
from .assembled import samples_first
from .compare import graph_kinds
from .differences import first_samples
from .feed import Feed
from .kinds import GraphKinds
from .metrics import Measure, answer_output, dtype_and_shape, measure_of, row_per_sample
from .samples import Samples


@contextlib.contextmanager
def open_predictor(
    path: str | os.PathLike[str],
    samples: Samples,
    output: str | None,
    threads: int | None,
    max_bytes: float | str | None = None,
) -> Iterator["Predictor"]:
    """A `.dcz` or `.onnx` model, ready to answer; a `.dcz` is decoded into a temporary file, to `max_bytes` at most.

    Raises DczError.
    """
    with open_session(path, threads, max_bytes) as (session, kinds):
        yield Predictor(os.fspath(path), session, samples, output, kinds)


@contextlib.contextmanager
def open_session(
    path: str | os.PathLike[str], threads: int | None, max_bytes: float | str | None = None
) -> Iterator[tuple[runtime.Session, GraphKinds]]:
    """The same without samples: a session, and what the graph says of its outputs."""
    with files.temporary_folder("dcz-evaluate-") as folder:
        source: str | os.PathLike[str] = path
        if is_dcz(path):
            source = decompress(path, Path(folder, "model.onnx"), threads=threads, max_bytes=max_bytes)
        kinds = graph_kinds(source)  # first: it says of a file of another kind what it is
        yield runtime.session(source, threads or 0, path), kinds


class Predictor:
    """A session and the samples that feed it. One that `reopen` makes again may be closed meanwhile.

    `output`: the one looked at; where none was named, None until the first answers show which one has rows of classes.
    `kinds`: what the model's graph says of its outputs, None where it is not known. `feed`: the samples as its inputs
    take them; `count`: how many there are. `fixed_batch`: the number of samples that the model insists on, or None.
    `samples`: all arrays that were given.
    """

    def __init__(
        self,
        path: str,
        session: runtime.Session,
        samples: Samples,
        output: str | None,
        kinds: GraphKinds | None = None,
        reopen: Callable[[], runtime.Session] | None = None,
    ):
        self.path, self.output, self.kinds = path, output, kinds
        self._session: runtime.Session | None = session
        self._reopen = reopen
        outputs = {value.name: value.shape for value in session.get_outputs()}
        if output is not None and output not in outputs:
            raise InvalidArgument(f"{path}: has no output {output!r}; it has {', '.join(map(repr, outputs))}")
        self.samples = samples
        scalars = () if kinds is None else kinds.scalars
        self.feed = Feed(path, runtime.declared_inputs(session), samples, scalars, outputs=list(outputs.values()))
        self.count, self.fixed_batch = self.feed.count, self.feed.fixed_batch

    @property
    def session(self) -> runtime.Session:
        """The session, opened anew where it was closed."""
        if self._session is None:
            assert self._reopen is not None, "only then it was closed"
            self._session = self._reopen()
        return self._session

    def close(self) -> None:
        """Give the memory of the session back, until it is asked for."""
        if self._reopen is not None:
            self._session = None

    def runs(self, indices: np.ndarray, max_size: int) -> list[np.ndarray]:
        """The samples at `indices` in runs of those that may run together: see feed.Feed."""
        return self.feed.runs(indices, max_size)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """The output for the samples at `indices` (int64 [n]), in one run where the batch is free and they may run
        together: float64 [n, classes].

        A fixed batch is filled up with the last sample, whose further answers are dropped. Raises InvalidArgument for
        values that the inputs cannot hold and outputs that are no rows of classes, UnsuitableModel where running fails.
        """
        runs = self.runs(indices, len(indices))
        found = [self._rows_of_run(run, self.feed.size_of(run)) for run in runs]
        if len({rows.shape[1] for rows in found}) > 1:
            raise InvalidArgument(
                f"{self.path}: output {self.output!r} has as many classes as the samples are long: it has no rows of "
                "classes to compare"
            )
        rows = np.empty((len(indices), found[0].shape[1]))
        order, found_order = (np.argsort(each, kind="stable") for each in (indices, np.concatenate(runs)))
        rows[order] = np.concatenate(found)[found_order]
        return rows

    def _rows_of_run(self, indices: np.ndarray, size: int) -> np.ndarray:
        outputs = self._run_by_sample(indices, size)
        names = list(outputs)
        if self.output is None:
            self.output = next((name for name in names if row_per_sample(outputs[name], size) is not None), None)
        rows = None if self.output is None else row_per_sample(outputs[self.output], size)
        if rows is None:
            which = "no output is" if self.output is None else f"output {self.output!r} is not"
            shapes = ", ".join(f"{name!r} {dtype_and_shape(value)}" for name, value in outputs.items())
            raise InvalidArgument(
                f"{self.path}: {which} one row of two or more floats a sample; for {counted(size, 'sample')} it gives "
                f"{shapes}"
            )
        return rows[: len(indices)].astype(np.float64)

    def _run_by_sample(self, indices: np.ndarray, size: int) -> dict[str, Any]:
        """All outputs of one run, by name, samples first."""
        return self.by_sample(list(self._raw(indices, size).values()))

    def by_sample(self, outputs: Sequence[Any]) -> dict[str, Any]:
        """All outputs of one run of a session of this model, by name, samples first."""
        declared = self.session.get_outputs()
        return {each.name: samples_first(output, each.shape, self.feed.symbol)
                for each, output in zip(declared, outputs, strict=True)}  # fmt: skip

    def outputs_by_sample(self, indices: np.ndarray) -> dict[str, Any]:
        """All outputs of one run for the samples at `indices`, by name, samples first, without what fills up a fixed
        batch."""
        size = self.feed.size_of(indices)
        return {
            name: first_samples(output, len(indices), size)
            for name, output in self._run_by_sample(indices, size).items()
        }

    def _raw(self, indices: np.ndarray, size: int) -> dict[str, Any]:
        """All outputs of one run as they are, by name."""
        names = [value.name for value in self.session.get_outputs()]
        try:
            return dict(zip(names, runtime.run(self.session, self.feed.inputs(indices, size)), strict=True))
        except UnsuitableModel as error:
            raise UnsuitableModel(f"{self.path}: {named_samples(indices)}: {error}") from error

    def raw_outputs(self, indices: np.ndarray) -> dict[str, Any]:
        """All outputs of one run for the samples at `indices` as they are, by name, without what fills up a fixed
        batch."""
        size = self.feed.size_of(indices)
        found = self._raw(indices, size)
        return {name: first_samples(output, len(indices), size) for name, output in found.items()}

    def measures(self, outputs: Sequence[object], samples: int | None) -> list[Measure]:
        """The measure of each output of one run, of so many samples."""
        if self.kinds is None:
            return [measure_of(output, samples) for output in outputs]
        return self.kinds.measures([value.name for value in self.session.get_outputs()], outputs, samples)

    def choose_output(self, size: int) -> Measure:
        """Set `output`, where none was named, to the one that holds the model's answers; how it is judged."""
        run = self.runs(np.arange(self.count), size)[0]
        size = self.feed.size_of(run)
        outputs = self._run_by_sample(run, size)
        measures = dict(zip(outputs, self.measures(list(outputs.values()), size), strict=True))
        if self.output is None:
            self.output = list(outputs)[answer_output(list(measures.values()))]
        return measures[self.output]

    def answers(self, indices: np.ndarray) -> list[object]:
        """`output` for the samples at `indices`, run by run, without what fills up a fixed batch."""
        assert self.output is not None  # choose_output has set it
        sizes = [(run, self.feed.size_of(run)) for run in self.runs(indices, len(indices))]
        return [first_samples(self._run_by_sample(run, size)[self.output], len(run), size) for run, size in sizes]


def named_samples(indices: np.ndarray) -> str:
    """Samples by their numbers, for messages."""
    if len(indices) > 1 and (np.diff(indices) != 1).any():
        return f"samples {', '.join(map(str, indices[:3]))}{', ...' if len(indices) > 3 else ''}"
    if len(indices) == 1:
        return f"sample {indices[0]}"
    return f"samples {indices[0]} to {indices[-1]}"
