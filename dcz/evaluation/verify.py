"""Is a `.dcz` file whole, and how far is it from the model that it was made from?"""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import files
from ..codec.stages import huffman
from ..deflate import inflate_engine
from ..display.progress import Progress, Report, shown
from ..errors import InvalidArgument, UnsuitableModel
from ..format.container import Archive
from ..reading.decompress import decode_all, decompress, skeleton_within
from . import words
from .chosen_measures import AnyMeasure, ChosenMeasure, chosen
from .given import BatchAxis, Data, as_samples
from .output_difference import Comparison, OutputDifference
from .samples import Samples
from .tensor_differences import TensorDifference, compare_tensors, is_corrected

if TYPE_CHECKING:
    from ..model import Model
    from .kinds import GraphKinds
    from .runtime import Ops


@dataclass(frozen=True, repr=False)
class Verification:
    """What was checked, and what came of it. `tensors` and `outputs` are empty where nothing was compared; `note` may
    say why. Tensors are compared with those of the original with as many BatchNormalizations `folded`, and weights
    `snapped` to the grids that the model itself rounds them to, as in the file. `drawn`: whether the outputs are those
    for inputs that were drawn, of these `input_shapes` a run; `constant_inputs`: the
    number that all elements of one are, such as masks of ones. `checker`: what onnx.checker says of the file and of the
    original alike, or ""."""

    path: str
    records: int
    decoded_bytes: int
    engines: tuple[str, ...]
    tensors: tuple[TensorDifference, ...] = ()
    outputs: tuple[OutputDifference, ...] = ()
    note: str = ""  # why outputs were not compared
    folded: int = 0
    drawn: bool = False
    input_shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    checker: str = ""
    snapped: int = 0
    constant_inputs: dict[str, float] = field(default_factory=dict)

    @property
    def changed(self) -> list[TensorDifference]:
        """The tensors that differ, in the model's order."""
        return [row for row in self.tensors if row.decibels != float("inf")]

    @property
    def worst_first(self) -> list[TensorDifference]:
        """Those that differ and were not corrected: whose typical weights, or all, are furthest off, first."""
        changed = [row for row in self.changed if not row.corrected]
        return sorted(changed, key=lambda row: min(row.decibels, row.decibels if row.typical is None else row.typical))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; decibels are null where they are infinite, for `equal` values among others."""
        plain = asdict(self)
        for row in (*plain["tensors"], *plain["outputs"]):
            row["equal"] = row["decibels"] == float("inf")
            for name in ("decibels", "typical", "worst_row"):
                if name in row and row[name] is not None and not np.isfinite(row[name]):
                    row[name] = None
        plain["worst_first"] = [row.name for row in self.worst_first]
        return plain

    def __repr__(self) -> str:
        return words.verification_line(self)

    def _repr_html_(self) -> str:
        return words.verification_page(self)


def verify(
    path: str | os.PathLike[str],
    *,
    deep: bool = False,
    against: str | os.PathLike[str] | None = None,
    inputs: Data | Samples | None = None,
    measure: AnyMeasure | None = None,
    batch_axis: BatchAxis | None = None,
    ops: "Ops" = (),
    threads: int | None = None,
    max_bytes: float | str | None = None,
    progress: Progress = None,
) -> Verification:
    """Check every checksum of a `.dcz` file and decode all of it; raises CorruptFile where anything is wrong.

    `deep`: decode again with an independent Huffman engine, and have onnx.checker look at the model; what it finds in
    the original of `against` too is no fault of the file. `max_bytes`: see dcz.load. `against`: compare tensors, and
    the outputs in onnxruntime, with this ONNX model's, on `inputs` (an .npz file, a folder of these, arrays by input
    name, one array, or batches; for these, `batch_axis`, `ops` and `measure` see dcz.evaluate) or seeded random ones.
    `progress` gets the file's path, the samples of `inputs` done, and those in all; True shows a bar.
    """
    from .. import model as onnx_model
    from .kinds import GraphKinds

    own = None if measure is None else chosen(measure)
    if own is not None and inputs is None:
        raise InvalidArgument("a measure compares answers to inputs of the model: give `inputs`, and `against`")
    if inputs is not None and against is None:
        raise InvalidArgument("inputs compare with a model: give `against` too")
    engines = [inflate_engine.__name__]
    with Archive(path) as archive:
        entries, metadata = archive.directory.entries, archive.directory.metadata
        skeleton_within(archive, max_bytes, onnx_model.Held())
        for _ in decode_all(archive, threads):
            pass
        if deep:
            engines.append("bitarray")
            for _ in decode_all(archive, threads, huffman.decode_slowly):
                pass
    tensors: tuple[TensorDifference, ...] = ()
    compared, note, folded, snapped, checker = Comparison(), "", 0, 0, ""
    if deep or against is not None:
        with files.temporary_folder("dcz-verify-") as folder:  # whose tensors are mapped, however large the model
            restored = Path(folder, "model.onnx")
            decompress(path, restored, external_data="always", threads=threads, max_bytes=max_bytes)
            if deep:
                checker = _check(restored, path, against)
            if against is not None:
                original, decoded = (onnx_model.open_dense(each, lists=True) for each in (against, restored))
                kinds = GraphKinds(original.proto)
                folded = onnx_model.fold_batchnorms(original, folded_like=decoded.proto) if "folded" in metadata else 0
                snapped = _snap_likewise(original, decoded) if "snapped" in metadata else 0
                tensors = compare_tensors(original, decoded, path, is_corrected(metadata))
                samples = None if inputs is None else as_samples(inputs, batch_axis)
                with shown(progress, "comparing") as report:
                    compared, note = _compare_outputs(
                        restored, against, samples, kinds, own, ops, os.fspath(path), report
                    )
    decoded_bytes = sum(entry.nbytes for entry in entries)
    return Verification(
        os.fspath(path), len(entries), decoded_bytes, tuple(engines), tensors, compared.outputs, note, folded,
        compared.drawn, compared.shapes, checker, snapped, compared.constant,
    )  # fmt: skip


def _snap_likewise(original: "Model", decoded: "Model") -> int:
    """Put those weights of the original on their grids that are others in the decoded model, and return how many."""
    from .. import model as onnx_model

    found = {tensor.name: tensor for tensor in decoded.tensors}
    return onnx_model.snap_to_grids(
        original,
        lambda weight: weight.name in found and not np.array_equal(weight.read(), found[weight.name].read()),
    )


def _check(restored: Path, path: str | os.PathLike[str], against: str | os.PathLike[str] | None) -> str:
    """What onnx.checker says of the model and of its original alike, "" where it is content.

    Raises UnsuitableModel where it refuses the model alone, or for another reason.
    """
    refusal = _refusal(restored, path)
    if refusal is None:
        return ""
    if against is None:
        raise UnsuitableModel(
            f"{refusal}; its bytes are sound: the model that it was made from may be what is refused: "
            "give that with --against"
        ) from refusal
    of_original = _refusal(against, against)
    if of_original is None:
        raise UnsuitableModel(f"{refusal}; {os.fspath(against)} passes") from refusal
    if _first_words(refusal, restored) != _first_words(of_original, against):
        text = f"{refusal}; {os.fspath(against)} is refused for another reason: {of_original}"
        raise UnsuitableModel(text) from refusal
    return str(of_original)


def _refusal(model: str | os.PathLike[str], label: str | os.PathLike[str]) -> UnsuitableModel | None:
    from .. import model as onnx_model

    try:
        onnx_model.check_model(model, os.fspath(label))
    except UnsuitableModel as error:
        return UnsuitableModel(" ".join(str(error).split()))
    return None


def _first_words(refusal: UnsuitableModel, model: str | os.PathLike[str]) -> str:
    """What a refusal says without the model that it names, up to the checker's context."""
    text = str(refusal).split(": onnx.checker refuses the model: ", 1)[-1].split(" ==> Context", 1)[0]
    return text.replace(os.path.abspath(model), "").replace(os.fspath(model), "").replace(Path(model).name, "")


def _compare_outputs(
    restored: Path,
    against: str | os.PathLike[str],
    samples: Samples | None,
    kinds: "GraphKinds",
    measure: ChosenMeasure | None,
    ops: "Ops",
    path: str,
    report: Report,
) -> tuple[Comparison, str]:
    """How the outputs differ, or why they were not compared; `path` is the file that `report` is told of."""
    from . import runtime
    from .compare import compare

    try:
        with runtime.custom_ops(ops):
            tell = lambda done, total: report(path, done, total)  # noqa: E731
            return compare(against, restored, samples, kinds, tell, measure), ""
    except UnsuitableModel as error:
        if samples is not None:
            raise
        return Comparison(), f"outputs were not compared: {error}"
