"""Training that was killed goes on where it was.

    write("net.ckpt", stamp, state)     stamp: what the state belongs to, in words
    read("net.ckpt", stamp)             -> state, None where there is no file

A checkpoint is torch's own file of plain values and tensors; reading it runs no code of the file's.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import BadPlan, FileAccess
from ..files import replacing
from .pytorch import torch


def write(path: str | os.PathLike, stamp: str, state: dict[str, Any]) -> None:
    """Replace the checkpoint; raises FileAccess, an older one staying as it was."""
    with replacing(path) as file:
        try:
            torch.save({"stamp": stamp, "state": state}, file)
        except RuntimeError as error:  # torch's own, of a file cut short, hides what cut it: a full disk, an interrupt
            raise error.__context__ or error


def read(path: str | os.PathLike, stamp: str) -> dict[str, Any] | None:
    """The state of the checkpoint, or None where there is none.

    Raises FileAccess, or BadPlan where it is damaged or belongs to another model, data or recipe.
    """
    try:
        if not Path(path).exists():
            return None
        found = torch.load(path, weights_only=True)
    except OSError as error:
        raise FileAccess(f"{path}: the checkpoint cannot be read: {error.strerror or error}") from error
    except Exception as error:  # zip, pickle and torch each have their own; what they say is no use to the user
        raise _damaged(path) from error
    if not isinstance(found, dict) or found.get("stamp") != stamp:
        raise BadPlan(
            f"{path}: the checkpoint of another run (model, data, plan or recipe differ); remove it to start anew"
        )
    if not isinstance(found.get("state"), dict):
        raise _damaged(path)
    return found["state"]


@contextlib.contextmanager
def restoring(path: str | os.PathLike | None) -> Iterator[None]:
    """Around the use of a state that `read` gave: where it does not fit what it is put into, raise BadPlan."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise _damaged(path) from error


def _damaged(path: str | os.PathLike | None) -> BadPlan:
    return BadPlan(f"{path}: not a checkpoint, or a damaged one; remove it to start anew")
