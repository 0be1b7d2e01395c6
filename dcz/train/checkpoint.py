"""The checkpoint of a run of training, from which a run that was killed continues.

    write("net.ckpt", stamp, state)     stamp: the run that the state belongs to, as text
    read("net.ckpt", stamp)             -> state, None where there is no file

A checkpoint is torch's own file of plain values and tensors; reading it runs no code from the file.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import FileAccess, InvalidArgument
from ..files import replacing
from .pytorch import torch


def write(path: str | os.PathLike[str], stamp: str, state: dict[str, Any]) -> None:
    """Replace the checkpoint. Raises FileAccess; an older one then stays as it was."""
    with replacing(path) as file:
        try:
            torch.save({"stamp": stamp, "state": _on_cpu(state)}, file)
        except RuntimeError as error:  # torch's error for a short file hides the cause: a full disk, an interrupt
            raise error.__context__ or error  # noqa: B904 (the cause itself is raised)


def read(path: str | os.PathLike[str], stamp: str) -> dict[str, Any] | None:
    """The state of the checkpoint, or None where there is none.

    Raises FileAccess, or InvalidArgument where it is damaged or belongs to another model, data or recipe.
    """
    try:
        if not Path(path).exists():
            return None
        content = torch.load(path, weights_only=True)
    except OSError as error:
        raise FileAccess(f"{path}: the checkpoint cannot be read: {error.strerror or error}") from error
    except Exception as error:  # zip, pickle and torch raise their own, which do not help a user
        raise _damaged(path) from error
    if not isinstance(content, dict) or content.get("stamp") != stamp:
        raise InvalidArgument(
            f"{path}: the checkpoint of another run (model, data, plan or recipe differ); remove it to start anew"
        )
    if not isinstance(content.get("state"), dict):
        raise _damaged(path)
    state: dict[str, Any] = content["state"]
    return state


def _on_cpu(state: Any) -> Any:
    """The same values with their tensors on the CPU, where every machine can read them."""
    if isinstance(state, dict):
        return {name: _on_cpu(value) for name, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(_on_cpu(value) for value in state)
    return state.cpu() if isinstance(state, torch.Tensor) else state


@contextlib.contextmanager
def restoring(path: str | os.PathLike[str] | None) -> Iterator[None]:
    """Raise InvalidArgument where a state from `read` does not fit the objects that the block restores from it."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise _damaged(path) from error


def _damaged(path: str | os.PathLike[str] | None) -> InvalidArgument:
    return InvalidArgument(f"{path}: not a checkpoint, or a damaged one; remove it to start anew")
