"""A model whose graph is looked at once, however many files are made of it.

    model = SurveyedModel("net.onnx")
    model.model(), model.model()          copies that may be changed, each with its tensors, without a second survey

A search for a size makes a file of each quality that it tries. Most of what a small model takes there is the survey of
its graph, which is the same each time.
"""

import functools
import os
from collections.abc import Iterator, Set
from dataclasses import replace
from typing import Any, cast

from google.protobuf.message import Message
from onnx import AttributeProto, ModelProto, TensorProto

from .model_file import AnyModel, Model
from .tensors import Recent
from .uncompact import open_dense

_Way = tuple[tuple[str, int | None], ...]  # to a message within another: names of fields, and the places in lists
_ON_THE_WAY = frozenset([
    "graph", "functions", "training_info", "initialization", "algorithm", "node", "attribute", "attribute_proto", "g",
    "graphs", "initializer", "sparse_initializer", "t", "tensors", "sparse_tensor", "sparse_tensors", "values",
    "indices",
])  # fields of ONNX's messages that may lead to a tensor  # fmt: skip


class SurveyedModel:
    """A model, `given` as callers give one, that is given again and again: see model_file.Copied.

    The copies share large data, which is apart. Raises as `open_dense`.
    """

    def __init__(self, given: AnyModel):
        self._given, self._opened = given, open_dense(given, apart=True, lists=True)
        ways = dict(_ways(self._opened.proto, {id(tensor.proto) for tensor in self._opened.tensors}))
        self._ways = [ways[id(tensor.proto)] for tensor in self._opened.tensors]

    @property
    def source_bytes(self) -> int:
        """The bytes of the model, external data included."""
        return self._opened.source_bytes

    def model(self) -> Model:
        """A copy whose graph may be changed."""
        opened, proto, recent = self._opened, ModelProto(), Recent(self._opened.apart)
        proto.CopyFrom(opened.proto)
        tensors = [
            replace(
                tensor, proto=cast(TensorProto | AttributeProto, functools.reduce(_step, way, proto)), recent=recent
            )
            for tensor, way in zip(opened.tensors, self._ways, strict=True)
        ]
        # Without the source, whose bytes a caller may take away: see model_file.reread_source.
        return replace(opened, proto=proto, tensors=tensors, digest=lambda: opened.source_sha256, source=None)

    def source(self) -> str | ModelProto | None:
        """What the model was read from."""
        given = self._given
        if isinstance(given, ModelProto):
            return given
        return os.fspath(given) if isinstance(given, (str, os.PathLike)) else given.source()


def _ways(message: Message, wanted: Set[int], way: _Way = ()) -> Iterator[tuple[int, _Way]]:
    """The ways to the messages of these ids, which somebody holds."""
    for field, value in message.ListFields():
        if field.name in _ON_THE_WAY:
            is_one = isinstance(value, Message)
            for number, each in enumerate([value] if is_one else value):
                if id(each) in wanted:
                    yield id(each), (*way, (field.name, None if is_one else number))
                if not isinstance(each, TensorProto):
                    yield from _ways(each, wanted, (*way, (field.name, None if is_one else number)))


def _step(message: Any, step: tuple[str, int | None]) -> Any:
    name, number = step
    return getattr(message, name) if number is None else getattr(message, name)[number]
