"""Training what will be compressed; the only home of `import torch`, which is optional.

train.retrain("net.onnx", "net.dcz", "train.npz", labels="y", recipe=train.Recipe(sparsity=0.97, bits=3))

network = train.Network("net.onnx")            the parts of it, for a training loop of one's own:
network["fc1.weight"].prune(mask)              examples/04_own_training_loop.py
train.share_weights(network["fc1.weight"], dcz.Settings(bits=3))
train.save_network(network, "net.dcz")
"""

from ..errors import MissingBackend

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingBackend("training needs PyTorch, which is not installed: pip install 'dcz[train]'") from error

from .batches import Batches
from .distill import Schedule, Trainee
from .graph import Graph
from .idle import drop_idle
from .losses import CrossEntropy, Distillation
from .network import Network
from .pruning import Group, Pruner, keep_largest
from .recipe import Recipe
from .retrain import Retrained, retrain, save_network, torch_threads
from .sharing import projected_bytes, reassign, round_to_half, settle, share_weights
from .state import Epoch, Progress
from .task import BASE
from .weight import Weight

__all__ = [
    "BASE", "Batches", "CrossEntropy", "Distillation", "Epoch", "Graph", "Group", "Network", "Progress", "Pruner",
    "Recipe", "Retrained", "Schedule", "Trainee", "Weight", "drop_idle", "keep_largest", "projected_bytes", "reassign",
    "retrain", "round_to_half", "save_network", "settle", "share_weights", "torch_threads",
]  # fmt: skip
