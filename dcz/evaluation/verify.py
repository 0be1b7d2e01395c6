"""Is a `.dcz` file whole, and how far is it from the model that it was made from?"""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arrays, files
from ..codec.stages import huffman, prune
from ..deflate import inflate_engine
from ..errors import InvalidArgument, UnsuitableModel
from ..format.container import Archive
from ..reading.decompress import decode_all, decompress, skeleton_within
from ..tensor import values
from .differences import Comparison, OutputDifference
from .given import Data, as_samples
from .metrics import sqnr

if TYPE_CHECKING:
    from ..model import Model, ModelTensor
    from .kinds import GraphKinds


MIN_ROW = 4  # weights of a row, from which it has a ratio of its own
OUTLIERS = 0.005  # the share of a tensor's weights that is left out to look at the typical ones


@dataclass(frozen=True)
class TensorDifference:
    """Signal to error of one tensor against the original, in decibels; inf where they are bit for bit the same.

    `typical`: the same without the half percent of the weights of largest magnitude, which may hide that the rest is
    lost. `worst_row`: of the row that comes off worst, where the layer's rows are known (tensor.Tensor.rows). Both are
    None for tensors that hold no real numbers.
    """

    name: str
    decibels: float
    typical: float | None = None
    worst_row: float | None = None


@dataclass(frozen=True)
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
    def worst_first(self) -> list[TensorDifference]:
        """The tensors that differ: those whose typical weights, or all, are furthest off first."""
        changed = [row for row in self.tensors if row.decibels != float("inf")]
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


def verify(
    path: str | os.PathLike[str],
    *,
    deep: bool = False,
    against: str | os.PathLike[str] | None = None,
    inputs: Data | None = None,
    threads: int | None = None,
    max_bytes: float | str | None = None,
) -> Verification:
    """Check every checksum of a `.dcz` file and decode all of it; raises CorruptFile where anything is wrong.

    `deep`: decode again with an independent Huffman engine, and have onnx.checker look at the model; what it finds in
    the original of `against` too is no fault of the file. `max_bytes`: see dcz.load. `against`: compare tensors, and
    the outputs in onnxruntime, with this ONNX model's, on `inputs` (an .npz file, arrays by input name, one array, or
    batches: see given.as_samples) or seeded random ones.
    """
    from .. import model as onnx_model
    from .kinds import GraphKinds

    if inputs is not None and against is None:
        raise InvalidArgument("inputs compare with a model: give `against` too")
    engines = [inflate_engine.__name__]
    with Archive(path) as archive:
        entries, metadata = archive.directory.entries, archive.directory.metadata
        skeleton_within(archive, max_bytes)
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
                original, decoded = onnx_model.load(against), onnx_model.load(restored)
                kinds = GraphKinds(original.proto)
                folded = onnx_model.fold_batchnorms(original, folded_like=decoded.proto) if "folded" in metadata else 0
                snapped = _snap_likewise(original, decoded) if "snapped" in metadata else 0
                tensors = _compare_tensors(original, decoded, path)
                compared, note = _compare_outputs(restored, against, inputs, kinds)
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


def _compare_tensors(original: "Model", decoded: "Model", path: str | os.PathLike[str]) -> tuple[TensorDifference, ...]:
    """The difference of each tensor; raises UnsuitableModel where the models have not the same tensors."""
    decoded_tensors = {tensor.name: tensor for tensor in decoded.tensors}
    differences = []
    for tensor in original.tensors:
        other = decoded_tensors.get(tensor.name)
        if other is None or (other.dtype, other.shape) != (tensor.dtype, tensor.shape):
            raise UnsuitableModel(
                f"{path}: was not made from this model: tensor {tensor.name!r} is missing or has another shape"
            )
        differences.append(_difference(tensor, other))
    if extra := decoded_tensors.keys() - {tensor.name for tensor in original.tensors}:
        raise UnsuitableModel(f"{path}: was not made from this model, which has no tensor {min(extra)!r}")
    return tuple(differences)


def _difference(tensor: "ModelTensor", other: "ModelTensor") -> TensorDifference:
    """The signal-to-quantization-noise ratios of two tensors of one dtype; -inf where unequal ones hold no numbers."""
    x, y = tensor.read(), other.read()
    if np.array_equal(x, y):
        return TensorDifference(tensor.name, *[float("inf")] * 3)
    if not tensor.dtype.real:
        return TensorDifference(tensor.name, float("-inf"))
    patterns, others = (data.view(tensor.dtype.pattern) for data in (x, y))
    count = len(patterns)
    outliers = prune.by_sparsity(values(patterns, tensor.dtype), (count - int(OUTLIERS * count)) / count)
    rows = _row_numbers(tensor)
    sums = np.zeros((2, 2))  # signal and noise of all weights, and of the typical ones
    row_sums = np.zeros((2, rows[0]))
    for block in arrays.blocks(count):
        a, b = (values(data[block], tensor.dtype).astype(np.float64) for data in (patterns, others))
        squares, typical = np.stack([a * a, (a - b) ** 2]), ~outliers[block]
        sums += np.stack([squares.sum(1), squares[:, typical].sum(1)])
        if rows[0] > 1:
            places = np.arange(block.start, block.stop)
            numbers = places // rows[1] if tensor.rows > 0 else places % rows[0]
            row_sums += np.stack([np.bincount(numbers, each, rows[0]) for each in squares])
    worst = min((sqnr(*each) for each in row_sums.T if each[0] > 0), default=None) if rows[0] > 1 else None
    return TensorDifference(tensor.name, sqnr(*sums[0]), sqnr(*sums[1]), worst)


def _row_numbers(tensor: "ModelTensor") -> tuple[int, int]:
    """How many rows a tensor has, and of how many weights; 1 where that is not known, or a row is but a few weights."""
    count = int(np.prod(tensor.shape))
    if tensor.rows == 0 or not tensor.shape:
        return 1, count
    rows = int(np.prod(tensor.shape[: tensor.rows])) if tensor.rows > 0 else tensor.shape[-1]
    return (rows, count // rows) if count >= MIN_ROW * rows else (1, count)


def _compare_outputs(
    restored: Path, against: str | os.PathLike[str], inputs: "Data | None", kinds: "GraphKinds"
) -> tuple[Comparison, str]:
    """How the outputs differ, or why they were not compared."""
    from .compare import compare

    samples = as_samples(inputs) if inputs is not None else None
    try:
        return compare(against, restored, samples, kinds), ""
    except UnsuitableModel as error:
        if inputs is not None:
            raise
        return Comparison(), f"outputs were not compared: {error}"
