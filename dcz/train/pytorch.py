"""PyTorch, which is optional: the modules of training take `torch`, `Tensor` and `functional` from here.

Importing this module without PyTorch raises MissingBackend, which says how to install it.
"""

import contextlib
from collections.abc import Iterator

from ..errors import MissingBackend
from .backend import MISSING

try:
    import torch
    from torch import Tensor
    from torch.nn import functional
except ImportError as error:
    raise MissingBackend(MISSING) from error

__all__ = ["Tensor", "functional", "torch", "torch_threads"]


@contextlib.contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Run a block with `threads` threads of torch (None: as many as now) and its own random state; restore both."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)
