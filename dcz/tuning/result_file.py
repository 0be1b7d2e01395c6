"""The `.dcz` file of calibrated or distilled values: its size, and its writing.

measure_file(session, values).nbytes              bytes that the file would take
write_file(session, values, CALIBRATED, "net.dcz")
"""

import glob
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from .. import model as onnx_model
from ..compression.compress import write
from ..compression.executors import open_pool
from ..compression.foldable import noted
from ..compression.measured_file import MeasuredFile, measured
from ..compression.records import Packing
from ..evaluation import runtime
from ..files import check_output
from ..plan import LOSSLESS, Plan, Rule, Settings
from ..tensor import round_to
from .session import TuningSession

if TYPE_CHECKING:
    from .trials import CalibratedTrial

CALIBRATED, DISTILLED = "calibrated", "distilled"  # in the file's metadata, as its settings (spec, section 3)


def measure_file(
    session: TuningSession,
    values: Mapping[str, np.ndarray],
    settings: str = CALIBRATED,
    told: Mapping[str, str] = MappingProxyType({}),
) -> MeasuredFile:
    """The bytes of the file with these new values, {} for the model as it was; `settings` and `told` go into its
    metadata."""
    runtime.give_back_memory()
    with open_pool(session.threads) as pool:
        return measured(
            _model(session, values),
            _exact_plan(session),
            pool,
            metadata={**_metadata(session, values, settings), **told},
            grids=session.grids(values),
            try_whole=not values,
            encode=session.encode,
        )


def record_bytes(session: TuningSession, name: str, values: np.ndarray) -> int:
    """The bytes of the record of one tensor with new values."""
    tensor = session.tensors[name]
    patterns = np.ascontiguousarray(round_to(values.ravel(), tensor.dtype)).view(np.uint8)
    made = replace(tensor.tensor(), source=patterns, grid=session.grids([name]).get(name))
    return session.encode(made, Settings(index_bits=session.plan.default.index_bits), session.threads).info.length


def write_file(
    session: TuningSession,
    values: Mapping[str, np.ndarray],
    settings: str,
    output: str | os.PathLike[str],
    *,
    warn: Callable[[str], None],
    force: bool,
    resume: bool | None,
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
    told: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write that file; for `warn`, `force`, `resume` and `progress` see dcz.compress."""
    check_output(output, force)
    session.predictor.close()
    runtime.give_back_memory()
    packing = Packing(_model(session, values), _exact_plan(session), session.grids(values), session.encode)
    metadata = {**_metadata(session, values, settings), **told}
    write(packing, output, session.threads, metadata=metadata, warn=warn, resume=resume, progress=progress)


def drop_metadata(trial: "CalibratedTrial", samples: int) -> dict[str, str]:
    """What a file's metadata says of the drop that was measured on so many samples, none of which calibrated the values
    that it judged."""
    if trial.expected_drop is None:
        return {}
    share, low, high = trial.expected_drop, trial.drop_low, trial.drop_high
    by = f"{samples} samples, cross-fitted" if trial.cross_fitted else f"{samples} held-out samples"
    return {"drop": f"{share:z.2%} expected, {low:z.2%} to {high:.2%} by {by}"}


def count_moved(session: TuningSession, values: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """How many biases and BatchNormalization means are among the new values."""
    others = values.keys() - set(session.weight_names)
    means = sum(("BatchNormalization", 3) in session.tensors[name].uses for name in others)
    return len(others) - means, means


def _model(session: TuningSession, values: Mapping[str, np.ndarray]) -> onnx_model.WorkingCopy:
    """The model with new values; without any, the model as it was before folding."""
    return onnx_model.WorkingCopy(session.source, values) if values else session.original


def _exact_plan(session: TuningSession) -> Plan:
    """The plan that codes the new values exactly, and all else as the session's plan says."""
    patterns = tuple(glob.escape(name) for name in session.weight_names)
    exact = Rule(patterns, Settings(index_bits=session.plan.default.index_bits))
    return replace(session.plan, default=LOSSLESS, rules=(*session.plan.rules, exact), fold=False)


def _metadata(session: TuningSession, values: Mapping[str, np.ndarray], settings: str) -> dict[str, str]:
    source = {"source-sha256": session.source.source_sha256, "source-bytes": str(session.source.source_bytes)}
    return noted(source | {"settings": settings}, session.folded if values else 0, session.snapped if values else 0)
