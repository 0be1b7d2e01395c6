"""Models with long lists in their attributes: what protobuf does not get of them, beside what it makes of them alone.

lists(data)     ends quietly where model, graph and counts of fields are the same both ways, or refused alike
seeds()         models of a few kilobytes, in some of which something is odd
"""

from collections.abc import Callable
from unittest import mock

import dcz
from dcz.model import held, model_file, raw_data, skeleton, wire
from dcz.model.source import of_bytes
from tests.messages import Maker

LARGE = 64  # bytes of a list or tensor from which it is apart: less than in use, as inputs are small
_NEVER = 1 << 40


def lists(data: bytes) -> None:
    """A serialized model, with what is large of it apart and not."""
    with mock.patch.object(raw_data, "LARGE", LARGE):
        for read in (_model, _graph):
            found, expected = (_outcome(read, data, apart) for apart in (True, False))
            assert found == expected, f"{read.__name__}: {found!r:.100} apart, {expected!r:.100} by protobuf alone"
    with mock.patch.object(wire, "_LONG", (_NEVER, 1)):
        counted = wire.count(data)
    with mock.patch.object(wire, "_LONG", (0, 1)):
        assert wire.count(data) == counted


def _outcome(read: Callable[[bytes, bool], object], data: bytes, apart: bool) -> object:
    try:
        return read(data, apart)
    except dcz.DczError as error:
        return str(error)


def _model(data: bytes, apart: bool) -> object:
    model = model_file._model(of_bytes(data, apart, apart), "net", None)
    tensors = [(each.name, each.shape, each.read().tobytes()) for each in model.tensors]
    return tensors, model.source_sha256, held.serialized_whole(model, "net")


def _graph(data: bytes, apart: bool) -> bytes:
    lists = held.Held() if apart else None
    proto = skeleton.parse_graph(data, len(data), "net.dcz", lists)
    return b"".join(held.serialized(proto, lists or held.Held(), "net"))


def seeds() -> list[bytes]:
    """Models in which something is odd, or nothing."""
    return [data for seed in range(80) if len(data := Maker(seed).model()) < 8192]
