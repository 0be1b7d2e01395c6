"""Samples for a model of language out of a text, a line a sample, by the model's own tokenizer.

text_samples("sentences.txt", "net.onnx", "tokenizer.json").samples.arrays      {"input_ids": int64 [n, 24], ...}

A tokenizer.json is what the library `tokenizers` writes, and what models come with. Needs that library.
"""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import FileAccess, InvalidArgument, MissingBackend
from . import runtime
from .batches import evenly_spaced
from .predictor import open_session
from .samples import Samples

MAX_LENGTH = 128  # places, where a model leaves them open
MOST_CHARACTERS = 1 << 18  # of a line: what comes after is no part of any sample
MOST_PADDING = 1 << 16  # places that a tokenizer.json may fill up to
TOGETHER = 1 << 12  # lines that are encoded together, as each takes some kilobytes meanwhile
UNKNOWN = 0.1  # of the tokens, from which the tokenizer may be another model's
# What an input takes, by the words of its name; the first that fits.
KINDS = {"type": "types", "segment": "types", "mask": "mask", "position": "positions", "id": "ids", "token": "ids"}


@dataclass(frozen=True)
class TextSamples:
    """Samples from a text: `length` places each, `tokens` of them filled in the mean, `cut` the share of the lines that
    were longer, `unknown` the share of the tokens that the tokenizer does not know. `doubts`: sentences."""

    samples: Samples
    length: int
    tokens: float
    cut: float
    unknown: float
    doubts: tuple[str, ...]


def text_samples(
    path: str | os.PathLike[str],
    model: str | os.PathLike[str],
    tokenizer: str | os.PathLike[str],
    *,
    length: int | None = None,
    limit: int | None = None,
    threads: int | None = None,
) -> TextSamples:
    """The lines of a text (UTF-8) as samples of a `.dcz` or `.onnx` model; empty ones are left out.

    `tokenizer`: the path of a tokenizer.json. `length`: places a sample, cut or padded; by default what the model
    fixes, or the longest line's, up to 128. `limit`: so many lines at most, evenly out of all. Inputs are known by
    their names: ids or tokens, mask, type or segment, position. Raises MissingBackend without `tokenizers`, FileAccess,
    InvalidArgument for inputs that are none of these, or a tokenizer of more words than the model has.
    """
    lines = _lines(path)
    chosen = [lines[number] for number in evenly_spaced(np.arange(len(lines)), limit or len(lines))]
    engine = _tokenizer(tokenizer)
    with open_session(model, threads) as (session, kinds):
        inputs = {each.name: _kind(each.name, os.fspath(model)) for each in session.get_inputs()}
        fixed = {dim for each in session.get_inputs() for dim in each.shape[1:] if isinstance(dim, int) and dim > 1}
        dtypes = {each.name: np.dtype(runtime.TYPES.get(each.type, np.int64)) for each in session.get_inputs()}
        limits = kinds.index_limits
    counts = [len(each.ids) for part in _encoded(engine, chosen) for each in part]
    length = length or (fixed.pop() if len(fixed) == 1 else min(MAX_LENGTH, max(counts)))
    engine.enable_truncation(length)
    engine.enable_padding(length=length, **_padding(engine))
    parts = [
        [np.array([getattr(each, field) for each in part]) for field in ("ids", "attention_mask", "type_ids")]
        for part in _encoded(engine, chosen)
    ]
    columns = dict(zip(("ids", "mask", "types"), map(np.concatenate, zip(*parts, strict=True)), strict=True))
    columns["positions"] = np.tile(np.arange(length), (len(chosen), 1))
    arrays = {name: columns[kind].astype(dtypes[name]) for name, kind in inputs.items()}
    _check_ids(arrays, inputs, limits, tokenizer, model)
    unknown = _unknown_share(engine, columns)
    doubts = []
    if unknown > UNKNOWN:
        doubts.append(f"{tokenizer} does not know {unknown:.0%} of the tokens: it may be another model's")
    filled, cut = float(np.mean(columns["mask"].sum(1))), float(np.mean(np.array(counts) > length))
    return TextSamples(Samples(os.fspath(path), arrays), length, filled, cut, unknown, tuple(doubts))


def _lines(path: str | os.PathLike[str]) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            if stat.S_ISCHR(os.fstat(file.fileno()).st_mode):
                raise FileAccess(f"{path}: cannot be read: it is a device without an end")
            lines = [line.strip()[:MOST_CHARACTERS] for line in file if line.strip()]
    except OSError as error:
        raise FileAccess(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{path}: no text in UTF-8: {error}; save it anew, a sentence a line") from error
    if not lines:
        raise InvalidArgument(f"{path}: holds no lines of text")
    return lines


def _encoded(engine: Any, lines: Sequence[str]) -> Iterator[Sequence[Any]]:
    """What the tokenizer makes of lines, some of them together."""
    for start in range(0, len(lines), TOGETHER):
        yield engine.encode_batch(lines[start : start + TOGETHER])


def _kind(name: str, model: str) -> str:
    """What an input takes; raises InvalidArgument."""
    found = next((kind for word, kind in KINDS.items() if word in name.lower()), None)
    if found is None:
        raise InvalidArgument(f"{model}: the name of its input {name!r} does not say what it takes; save an .npz")
    return found


def _padding(engine: Any) -> dict[str, Any]:
    """What fills up short lines: the tokenizer's own padding, or its token of a usual name, or 0."""
    if engine.padding is not None:
        return {name: engine.padding[name] for name in ("pad_id", "pad_type_id", "pad_token", "direction")}
    for token in ("[PAD]", "<pad>", "<|endoftext|>", "</s>"):
        if (number := engine.token_to_id(token)) is not None:
            return {"pad_id": number, "pad_token": token}
    return {}


def _check_ids(
    arrays: Mapping[str, np.ndarray],
    inputs: Mapping[str, str],
    limits: Mapping[str, int],
    tokenizer: str | os.PathLike[str],
    model: str | os.PathLike[str],
) -> None:
    """Raise InvalidArgument where a token has no row in the model's table."""
    for name, array in arrays.items():
        if inputs[name] == "ids" and name in limits and array.max() >= limits[name]:
            raise InvalidArgument(
                f"{tokenizer}: gives the token {array.max()}, and {model} has {limits[name]}: give the model's own"
            )


def _unknown_share(engine: Any, columns: Mapping[str, np.ndarray]) -> float:
    numbers: Sequence[int] = [
        number for token in ("[UNK]", "<unk>", "<UNK>") if (number := engine.token_to_id(token)) is not None
    ]
    filled = columns["mask"] > 0
    return float(np.isin(columns["ids"][filled], numbers).mean()) if filled.any() else 0.0


def _tokenizer(path: str | os.PathLike[str]) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingBackend(
            "samples from text need the library tokenizers, which is not installed: pip install 'dcz[text]'"
        ) from error
    if not os.path.isfile(path):
        raise FileAccess(f"{path}: cannot be read: there is no such file")
    try:
        engine = Tokenizer.from_file(os.fspath(path))
    except Exception as error:  # the library raises bare exceptions
        raise InvalidArgument(f"{path}: no tokenizer.json: {error}") from error
    most = max((engine.padding or {}).get(name) or 0 for name in ("length", "pad_to_multiple_of"))
    if most > MOST_PADDING:
        raise InvalidArgument(f"{path}: fills lines up to {most:,} places; take that out, or give another")
    return engine
