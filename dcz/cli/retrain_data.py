"""What the options of `dcz retrain` name as data, labels and loss."""

import os
from typing import Any

from ..errors import InvalidArgument
from .hooks import load


def data_of(data: str | None, batches: str | None, labels: str | None) -> Any:
    """The training data: a file, a folder, or batches of the user's own. Raises InvalidArgument for none, or both."""
    if (data is None) == (batches is None):
        raise InvalidArgument("give --data, or --batches of your own" + ("" if data is None else ", not both"))
    if batches is not None and labels is not None:
        raise InvalidArgument("--labels are those of --data: --batches give (inputs, labels) themselves")
    return data if batches is None else load(batches, "--batches")


def validation_of(text: str | None, labels: str | None) -> Any:
    """The validation data, with their labels where these are given; None for a part of the training data."""
    found = load(text, "--validation") if text is not None and ":" in text and not os.path.exists(text) else text
    return found if labels is None else (found, labels_of(labels))


def labels_of(text: str | None) -> str | dict[str, str] | None:
    """The labels of the first output, or of several by name: NAME=Y,NAME=Y."""
    if text is None or "=" not in text:
        return text
    pairs = [item.partition("=") for item in text.split(",")]
    return {name.strip(): array.strip() for name, _, array in pairs}


def loss_of(text: str | None, distill: bool) -> Any:
    """The name of a loss, or one of the user's own; --distill is short for a name."""
    if distill and text not in (None, "distill"):
        raise InvalidArgument(f"--distill is --loss distill: give it or --loss {text}, not both")
    if text is not None and ":" in text:
        return load(text, "--loss")
    return "distill" if distill else text
