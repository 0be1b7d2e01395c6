"""Whether PyTorch is there, without importing it, which takes seconds."""

import importlib.util

from ..errors import MissingBackend

MISSING = "training needs PyTorch, which is not installed: pip install 'dcz[train]'"


def check_installed() -> None:
    """Raise MissingBackend without PyTorch."""
    if importlib.util.find_spec("torch") is None:
        raise MissingBackend(MISSING)
