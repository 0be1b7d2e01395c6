"""Training before compression, in PyTorch, which is optional.

train.retrain("net.onnx", "net.dcz", "train.npz", labels="y", recipe=train.Recipe(sparsity=0.97, bits=3))

network = train.Network("net.onnx")            the parts of it, for a training loop of one's own:
network["fc1.weight"].prune(mask)              examples/04_own_training_loop.py
network.train()                                normalizations go by the batch, until network.eval()
train.estimate_statistics(network, batches)    and then by what is exact for all of these
train.share_weights(network["fc1.weight"], dcz.Settings(bits=3))
train.save_network(network, "net.dcz")

The names below, and the modules, are loaded when they are first used. Without PyTorch, `Recipe` and the records of a
run are there all the same, `retrain` raises MissingBackend when it is called, and the other names when they are asked
for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ..errors import MissingBackend as MissingBackend

__all__ = [
    "BASE", "Augmentation", "Augmenter", "Batches", "CrossEntropy", "Distillation", "Epoch", "Graph", "Group",
    "LabelledOutputs", "Layout", "Network", "Pixels", "Progress", "Pruner", "Recipe", "Retrained", "Schedule",
    "Trainee", "ValueLoss", "Weight", "bind_to_centroids", "cosine_distance", "doubts", "drop_dead_units",
    "drop_idle", "estimate_statistics", "find_device", "fit_codebook", "image_axes", "keep_largest",
    "keep_patterned", "mean_squared_error", "mixed_outputs", "projected_bytes", "reassign", "retrain",
    "round_to_half", "save_network", "settle", "share_weights", "torch_threads",
]  # fmt: skip

# No module bears the name of a public function: importing it would put it in the function's place.
_HOMES = {
    "augmentation": ("Augmentation",),  # these four modules need PyTorch only when they run
    "recipe": ("Recipe",),
    "retrained": ("Retrained",),
    "retraining": ("retrain",),
    "saving": ("save_network",),
    "state": ("Epoch", "Progress"),
    "batch_stream": (),
    "batches": ("Batches",),
    "dead_units": ("drop_dead_units", "drop_idle"),
    "device": ("find_device", "mixed_outputs"),
    "distill": ("Schedule", "Trainee"),
    "graph": ("Graph",),
    "data": (),
    "images": ("Augmenter", "image_axes"),
    "first_look": ("doubts",),
    "loss_choice": (),
    "losses": (
        "CrossEntropy",
        "Distillation",
        "LabelledOutputs",
        "ValueLoss",
        "cosine_distance",
        "mean_squared_error",
    ),
    "network": ("Network",),
    "patterns": ("keep_patterned",),
    "pixels": ("Pixels",),
    "pruning": ("Group", "Pruner", "keep_largest"),
    "normalization": ("estimate_statistics",),
    "pytorch": ("torch_threads",),
    "sharing": (
        "bind_to_centroids",
        "fit_codebook",
        "projected_bytes",
        "reassign",
        "round_to_half",
        "settle",
        "share_weights",
    ),
    "plans": ("BASE",),
    "weight": ("Weight",),
    "backend": (),
    "checkpoint": (),
    "epoch": (),
    "folding": (),
    "guard": (),
    "layout": ("Layout",),
    "operators": (),
    "targets": (),
    "outcome": (),
    "phase": (),
    "prepared_pixels": (),
    "ragged": (),
    "range_test": (),
    "run": (),
    "sample_labels": (),
    "steps": (),
    "tables": (),
    "task": (),
    "training": (),
    "validation": (),
}

if TYPE_CHECKING:
    from .augmentation import Augmentation
    from .batches import Batches
    from .dead_units import drop_dead_units, drop_idle
    from .device import find_device, mixed_outputs
    from .distill import Schedule, Trainee
    from .first_look import doubts
    from .graph import Graph
    from .images import Augmenter, image_axes
    from .layout import Layout
    from .losses import (
        CrossEntropy,
        Distillation,
        LabelledOutputs,
        ValueLoss,
        cosine_distance,
        mean_squared_error,
    )
    from .network import Network
    from .normalization import estimate_statistics
    from .patterns import keep_patterned
    from .pixels import Pixels
    from .plans import BASE
    from .pruning import Group, Pruner, keep_largest
    from .pytorch import torch_threads
    from .recipe import Recipe
    from .retrained import Retrained
    from .retraining import retrain
    from .saving import save_network
    from .sharing import (
        bind_to_centroids,
        fit_codebook,
        projected_bytes,
        reassign,
        round_to_half,
        settle,
        share_weights,
    )
    from .state import Epoch, Progress
    from .weight import Weight


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return importlib.import_module(f".{name}", __name__)
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f".{home}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
