"""Is a `.dcz` file whole, and how far is it from the model that it was made from?"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arrays, files
from ..codec.stages import huffman
from ..deflate import inflate_engine
from ..errors import InvalidArgument, UnsuitableModel
from ..format.container import Archive
from ..reading.decompress import decode_all, decompress, skeleton
from ..tensor import values
from .metrics import OutputDifference, sqnr

if TYPE_CHECKING:
    from ..model import Model, ModelTensor


@dataclass(frozen=True)
class TensorDifference:
    """Signal to error of one tensor against the original, in decibels; inf where they are bit for bit the same."""

    name: str
    decibels: float


@dataclass(frozen=True)
class Verification:
    """What was checked, and what came of it. `tensors` and `outputs` are empty where nothing was compared; `note` may
    say why. Tensors are compared with those of the original with as many BatchNormalizations `folded` as in the
    file."""

    path: str
    records: int
    decoded_bytes: int
    engines: tuple[str, ...]
    tensors: tuple[TensorDifference, ...] = ()
    outputs: tuple[OutputDifference, ...] = ()
    note: str = ""  # why outputs were not compared
    folded: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; decibels are null where they are infinite, for `equal` values among others."""
        plain = asdict(self)
        for row in (*plain["tensors"], *plain["outputs"]):
            row["equal"] = row["decibels"] == float("inf")
            row["decibels"] = row["decibels"] if np.isfinite(row["decibels"]) else None
        return plain


def verify(
    path: str | os.PathLike[str],
    *,
    deep: bool = False,
    against: str | os.PathLike[str] | None = None,
    inputs: str | os.PathLike[str] | None = None,
    threads: int | None = None,
) -> Verification:
    """Check every checksum of a `.dcz` file and decode all of it; raises CorruptFile where anything is wrong.

    `deep`: decode again with an independent Huffman engine, and have onnx.checker look at the model. `against`: compare
    tensors, and the outputs in onnxruntime, with this ONNX model's, on `inputs` (an .npz file) or seeded random ones.
    """
    from .. import model as onnx_model

    if inputs is not None and against is None:
        raise InvalidArgument("inputs compare with a model: give `against` too")
    engines = [inflate_engine.__name__]
    with Archive(path) as archive:
        entries, is_folded = archive.directory.entries, "folded" in archive.directory.metadata
        skeleton(archive)
        for _ in decode_all(archive, threads):
            pass
        if deep:
            engines.append("bitarray")
            for _ in decode_all(archive, threads, huffman.decode_slowly):
                pass
    tensors: tuple[TensorDifference, ...] = ()
    outputs: tuple[OutputDifference, ...] = ()
    note, folded = "", 0
    if deep or against is not None:
        with files.temporary_folder("dcz-verify-") as folder:  # whose tensors are mapped, however large the model
            restored = Path(folder, "model.onnx")
            decompress(path, restored, external_data="always", threads=threads)
            if deep:
                onnx_model.check_model(restored, str(path))
            if against is not None:
                original, decoded = onnx_model.load(against), onnx_model.load(restored)
                folded = onnx_model.fold_batchnorms(original, folded_like=decoded.proto) if is_folded else 0
                tensors = _compare_tensors(original, decoded, path)
                outputs, note = _compare_outputs(restored, against, inputs)
    decoded_bytes = sum(entry.nbytes for entry in entries)
    return Verification(os.fspath(path), len(entries), decoded_bytes, tuple(engines), tensors, outputs, note, folded)


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
        differences.append(TensorDifference(tensor.name, _decibels(tensor, other)))
    if extra := decoded_tensors.keys() - {tensor.name for tensor in original.tensors}:
        raise UnsuitableModel(f"{path}: was not made from this model, which has no tensor {min(extra)!r}")
    return tuple(differences)


def _decibels(tensor: "ModelTensor", other: "ModelTensor") -> float:
    """The signal-to-quantization-noise ratio of two tensors of one dtype; -inf where unequal ones hold no numbers."""
    x, y = tensor.read(), other.read()
    if np.array_equal(x, y):
        return float("inf")
    if not tensor.dtype.real:
        return float("-inf")
    signal = noise = 0.0
    for block in arrays.blocks(len(x)):
        a, b = (values(data[block].view(tensor.dtype.pattern), tensor.dtype).astype(np.float64) for data in (x, y))
        signal, noise = signal + float((a * a).sum()), noise + float(((a - b) ** 2).sum())
    return sqnr(signal, noise)


def _compare_outputs(
    restored: Path, against: str | os.PathLike[str], inputs: str | os.PathLike[str] | None
) -> tuple[tuple[OutputDifference, ...], str]:
    """The differences of the outputs, or why there are none."""
    from . import runtime

    arrays_by_input = runtime.load_inputs(inputs) if inputs is not None else None
    try:
        return tuple(runtime.compare(against, restored, arrays_by_input)), ""
    except UnsuitableModel as error:
        if inputs is not None:
            raise
        return (), f"outputs were not compared: {error}"
