"""dcz: Deep Compression for ONNX models.

    dcz.compress("net.onnx", "net.dcz")      dcz.load("net.dcz") -> onnx.ModelProto
    dcz.decompress("net.dcz", "net.onnx")    dcz.open("net.dcz")["fc1.weight"] -> numpy array
    dcz.retrain("net.onnx", "net.dcz", "train.npz", labels="y", recipe=dcz.Recipe(sparsity=0.97, bits=3))

The names below load their modules when they are first used, so that `import dcz` costs nothing.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"
__all__ = [
    "PRESETS", "BadPlan", "CorruptFile", "DczError", "FileAccess", "InvalidArgument", "LostWorkers",
    "MissingBackend", "Plan", "Recipe", "Rule", "Settings", "Tensors", "UnsuitableModel", "UnsupportedFile",
    "check", "compress", "compress_all", "compress_to_size", "decompress", "diff", "evaluate", "inspect", "load",
    "open", "report", "retrain", "sensitivity", "session", "tune", "verify",
]  # fmt: skip

_HOMES = {
    "errors": ("BadPlan", "CorruptFile", "DczError", "FileAccess", "InvalidArgument", "LostWorkers", "MissingBackend",
               "UnsuitableModel", "UnsupportedFile"),
    "plan": ("PRESETS", "Plan", "Rule", "Settings"),
    "compression.compress": ("compress",),
    "compression.many": ("compress_all",),
    "compression.target_size": ("compress_to_size",),
    "reading.decompress": ("decompress", "load"),
    "reading.tensors": ("Tensors",),
    "reading.inspect": ("inspect",),
    "budget.judge": ("check",),
    "comparison.diff": ("diff",),
    "evaluation.evaluate": ("evaluate",),
    "evaluation.sessions": ("session",),
    "reporting.report": ("report",),
    "evaluation.verify": ("verify",),
    "tuning.sensitivity": ("sensitivity",),
    "tuning.tune": ("tune",),
    "train.recipe": ("Recipe",),
    "train.retraining": ("retrain",),  # raises MissingBackend when it is called without PyTorch
}  # fmt: skip

if TYPE_CHECKING:
    from .budget.judge import check
    from .comparison.diff import diff
    from .compression.compress import compress
    from .compression.many import compress_all
    from .compression.target_size import compress_to_size
    from .errors import (
        BadPlan,
        CorruptFile,
        DczError,
        FileAccess,
        InvalidArgument,
        LostWorkers,
        MissingBackend,
        UnsuitableModel,
        UnsupportedFile,
    )
    from .evaluation.evaluate import evaluate
    from .evaluation.sessions import session
    from .evaluation.verify import verify
    from .plan import PRESETS, Plan, Rule, Settings
    from .reading.decompress import decompress, load
    from .reading.inspect import inspect
    from .reading.tensors import Tensors
    from .reading.tensors import Tensors as open  # noqa: A004, N813 (dcz.open, as builtins have open)
    from .reporting.report import report
    from .train.recipe import Recipe
    from .train.retraining import retrain
    from .tuning.sensitivity import sensitivity
    from .tuning.tune import tune


def __getattr__(name: str) -> Any:
    import importlib

    if name == "open":
        name = "Tensors"
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f".{home}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
