"""All figures of a report, as plain values."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InvalidArgument
from ..evaluation.changed import Changes, changed_samples
from ..evaluation.given import BatchAxis, Data, as_samples
from ..evaluation.samples import Samples
from ..evaluation.tensor_differences import TensorDifference
from ..evaluation.verify import Verification, verify
from ..evaluation.weight_errors import WeightError, weight_error
from ..format.container import Archive
from ..reading import remake
from ..reading.decompress import check_directory
from ..reading.distributions import Distribution, Histogram, distribution, histogram
from ..reading.inspect import Report, inspect
from ..reading.prefixes import Node, tree
from ..reading.why import Explained, Limit

if TYPE_CHECKING:
    from ..reading.inspect import TensorReport

MOST_DRAWN = 60  # tensors whose values, codes and gaps are drawn: the largest
MOST_PICTURES = 24  # samples that are shown as pictures
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Facts:
    """What a report shows. Empty or None where it was not asked for: `differences` by tensor and `weights` with a model
    to compare with, `verified` and `changes` with samples too, `pictures` where these look like images. `originals`:
    histograms of the model's own values. `limits` and `remedies`: what limits the largest tensors, and the
    commands that would make these smaller."""

    report: Report
    tree: "Node[TensorReport]"
    distributions: Mapping[str, Distribution]
    limits: Mapping[str, Limit]
    remedies: Mapping[str, str]
    originals: Mapping[str, Histogram] = field(default_factory=dict)
    against: str | None = None
    data: str | None = None
    differences: Mapping[str, TensorDifference] = field(default_factory=dict)
    weights: WeightError | None = None
    verified: Verification | None = None
    changes: Changes | None = None
    pictures: Mapping[int, np.ndarray] = field(default_factory=dict)


def gather(
    path: str | os.PathLike[str],
    against: str | os.PathLike[str] | None,
    data: Data | None,
    threads: int | None,
    progress: Progress,
    max_bytes: float | str | None = None,
    batch_axis: BatchAxis | None = None,
) -> Facts:
    """Measure everything. Raises DczError."""
    if data is not None and against is None:
        raise InvalidArgument("data compare a file with the model that it was made from: give that too (against)")
    report = inspect(path)
    if against is not None and report.kind != "dcz":
        raise InvalidArgument(f"{path}: only a .dcz file is compared with the model that it was made from")
    largest = [row.name for row in sorted(report.rows, key=lambda row: -row.huffman)][:MOST_DRAWN]
    found = _distributions(path, largest, progress, max_bytes) if report.kind == "dcz" else {}
    explained, source = Explained(report), remake.source(report, [against])
    why = {row.name: explained.limit(row) for row in report.rows if row.name in set(largest)}
    remedies = {name: remake.command(report, source, limit.options) for name, limit in why.items() if limit.options}
    if against is None:
        return Facts(report, tree(report.rows), found, why, remedies)
    # Before all else: samples that do not fit are told in words.
    samples = None if data is None else as_samples(data, batch_axis)
    changes = None
    if samples is not None:
        changes = changed_samples(path, against, samples, threads=threads, max_bytes=max_bytes)
    verified = verify(path, against=against, inputs=samples, threads=threads, max_bytes=max_bytes)
    return Facts(
        report,
        tree(report.rows),
        found,
        why,
        remedies,
        originals=_originals(against, found),
        against=os.fspath(against),
        data=None if data is None else _which(data),
        differences={difference.name: difference for difference in verified.tensors},
        weights=weight_error(path, against),
        verified=verified,
        changes=changes,
        pictures={} if samples is None or changes is None else _pictures(samples, changes),
    )


def _which(data: Data) -> str:
    """What the page calls the samples."""
    return (
        f"the samples of {os.fspath(data)}" if isinstance(data, (str, os.PathLike)) else "the samples that were given"
    )


def _distributions(
    path: str | os.PathLike[str], names: list[str], progress: Progress, max_bytes: float | str | None
) -> dict[str, Distribution]:
    found = {}
    with Archive(path) as archive:
        check_directory(archive, max_bytes)
        entries = [entry for entry in archive.directory.entries if entry.name in set(names) and entry.dtype.real]
        for number, entry in enumerate(entries):
            found[entry.name] = distribution(archive, entry)
            progress(entry.name, number + 1, len(entries))
    return found


def _originals(against: str | os.PathLike[str], drawn: Mapping[str, Distribution]) -> dict[str, Histogram]:
    """Histograms of the model's own values, on the range of the decoded ones or wider."""
    from .. import model

    found = {}
    for tensor in model.open_dense(against, apart=True, lists=True).tensors:
        if tensor.name in drawn and tensor.dtype.real:
            found[tensor.name] = histogram(tensor.values())
    return found


def _pictures(samples: Samples, changes: Changes) -> dict[int, np.ndarray]:
    """The changed samples as images, float64 [height, width, 1 or 3]; none where no input looks like images, or they
    come one by one."""
    for array in () if samples.parts else samples.arrays.values():
        layout = _image_axes(array.shape)
        if layout is not None and array.dtype.kind in "fiu":
            numbers = [change.sample for change in changes.changed[:MOST_PICTURES]]
            return {number: np.transpose(array[number], layout).astype(np.float64) for number in numbers}
    return {}


def _image_axes(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """How a sample's axes become height, width and channels; None of samples that are no images."""
    if len(shape) != 4:
        return None
    if shape[1] in (1, 3) and min(shape[2:]) >= 8:
        return 1, 2, 0
    return (0, 1, 2) if shape[3] in (1, 3) and min(shape[1:3]) >= 8 else None
