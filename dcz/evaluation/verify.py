"""Is a `.dcz` file whole, and how far is it from the model that it was made from?"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from .. import arrays, files
from ..codec.stages import huffman
from ..deflate import inflate_engine
from ..errors import BadPlan, UnsuitableModel
from ..format.container import Archive
from ..reading.decompress import decode_all, decompress, skeleton
from ..tensor import values


@dataclass(frozen=True)
class TensorDifference:
    """Signal to error of one tensor against the original, in decibels; inf where they are bit for bit the same."""

    name: str
    decibels: float


@dataclass(frozen=True)
class Verification:
    """What was checked. `tensors` and `outputs` are empty where nothing was compared; `note` may say why. Tensors are
    compared with those of the original with as many BatchNormalizations `folded` as in the file."""

    path: str
    records: int
    decoded_bytes: int
    engines: tuple[str, ...]
    tensors: tuple[TensorDifference, ...] = ()
    outputs: tuple = ()  # of runtime.Difference
    note: str = ""  # why outputs were not compared
    folded: int = 0

    def to_dict(self) -> dict:
        """Plain values, for JSON; decibels are null where they are infinite, for `equal` values among others."""
        plain = asdict(self)
        for row in (*plain["tensors"], *plain["outputs"]):
            row["equal"] = row["decibels"] == float("inf")
            row["decibels"] = row["decibels"] if np.isfinite(row["decibels"]) else None
        return plain


def verify(
    path: str | os.PathLike,
    *,
    deep: bool = False,
    against: str | os.PathLike | None = None,
    inputs: str | os.PathLike | None = None,
    threads: int | None = None,
) -> Verification:
    """Check every checksum of a `.dcz` file and decode all of it; raises CorruptFile where anything is wrong.

    `deep`: decode again with an independent Huffman engine, and have onnx.checker look at the model. `against`: compare
    tensors, and the outputs in onnxruntime, with this ONNX model's, on `inputs` (an .npz file) or seeded random ones.
    """
    from .. import model as onnx_model

    if inputs is not None and against is None:
        raise BadPlan("inputs compare with a model: give `against` too")
    engines = [inflate_engine.__name__]
    with Archive(path) as archive:
        entries, says_folded = archive.directory.entries, "folded" in archive.directory.metadata
        skeleton(archive)
        for _ in decode_all(archive, threads):
            pass
        if deep:
            engines.append("bitarray")
            for _ in decode_all(archive, threads, huffman.decode_slowly):
                pass
    tensors, outputs, note, folded = (), (), "", 0
    if deep or against is not None:
        with files.temporary_folder("dcz-verify-") as folder:  # whose tensors are mapped, however large the model
            restored = Path(folder, "model.onnx")
            decompress(path, restored, external_data="always", threads=threads)
            if deep:
                onnx_model.check(restored, str(path))
            if against is not None:
                original, found = onnx_model.load(against), onnx_model.load(restored)
                folded = onnx_model.fold(original, like=found.proto) if says_folded else 0
                tensors = _compare_tensors(original, found, path)
                outputs, note = _compare_outputs(restored, against, inputs)
    decoded = sum(entry.nbytes for entry in entries)
    return Verification(os.fspath(path), len(entries), decoded, tuple(engines), tensors, outputs, note, folded)


def _compare_tensors(original, decoded, path) -> tuple[TensorDifference, ...]:
    theirs = {tensor.name: tensor for tensor in decoded.tensors}
    found = []
    for tensor in original.tensors:
        other = theirs.get(tensor.name)
        if other is None or (other.dtype, other.shape) != (tensor.dtype, tensor.shape):
            raise UnsuitableModel(
                f"{path}: was not made from this model: tensor {tensor.name!r} is missing or has another shape"
            )
        found.append(TensorDifference(tensor.name, _decibels(tensor, other)))
    if extra := theirs.keys() - {tensor.name for tensor in original.tensors}:
        raise UnsuitableModel(f"{path}: was not made from this model, which has no tensor {sorted(extra)[0]!r}")
    return tuple(found)


def _decibels(tensor, other) -> float:
    x, y = tensor.read(), other.read()
    if np.array_equal(x, y):
        return float("inf")
    if not tensor.dtype.real:
        return float("-inf")
    signal = error = 0.0
    for part in arrays.blocks(len(x)):
        a, b = (values(data[part].view(tensor.dtype.pattern), tensor.dtype).astype(np.float64) for data in (x, y))
        signal, error = signal + float((a * a).sum()), error + float(((a - b) ** 2).sum())
    return 10 * float(np.log10(signal / error)) if signal and error else float("-inf" if error else "inf")


def _compare_outputs(restored, against, inputs) -> tuple[tuple, str]:
    """The differences of the outputs, or why there are none."""
    from . import runtime

    given = runtime.load_inputs(inputs) if inputs is not None else None
    try:
        return tuple(runtime.compare(against, restored, given)), ""
    except UnsuitableModel as error:
        if inputs is not None:
            raise
        return (), f"outputs were not compared: {error}"
