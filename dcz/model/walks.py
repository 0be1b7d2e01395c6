"""The way that values take through a graph, node by node, and where it ends.

find_destinations(uses).of(value)      "layer", "output", "comparison", "place": what it reaches by arithmetic
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from onnx import AttributeProto, NodeProto, TensorProto

from .flows import Read, Value
from .operators import COMPARISONS, LAYERS, PLACES, SHAPES
from .reach import Reached
from .uses import TensorUses

_WHOLE = frozenset([
    TensorProto.BOOL, TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64,
    TensorProto.UINT8, TensorProto.UINT16, TensorProto.UINT32, TensorProto.UINT64,
])  # fmt: skip


class Walk:
    """The way that values take: `follow` says of what reads one None to go on behind it, else what it ends as."""

    def __init__(self, uses: TensorUses, follow: Callable[[Read], str | None]):
        self._uses, self._follow = uses, follow

    def onward(self, value: Value) -> Iterator[Value]:
        """The values that come of a value in one step."""
        reads, following = self._uses.next_of(value)
        found = dict.fromkeys(other for other in following if other[1])  # no name: left out
        for read in reads:
            if self._follow(read) is not None:
                # its own outputs are not followed, and neither is what it moves there
                for output in read.outputs:
                    found.pop(output, None)
            elif read.operator == "TopK":
                found |= dict.fromkeys(read.outputs[:1])
            else:
                found |= dict.fromkeys(read.outputs if not read.is_call else ())
        return iter(found)

    def ends(self, value: Value) -> list[str]:
        """What a value ends as in what reads it."""
        reads, _ = self._uses.next_of(value)
        return [end for end in map(self._follow, reads) if end]

    def values(self, values: Iterable[Value]) -> set[Value]:
        """All that come of some values, these among them."""
        waiting = list(values)
        seen = set(waiting)
        while waiting:
            fresh = [value for value in self.onward(waiting.pop()) if value not in seen]
            seen.update(fresh)
            waiting += fresh
        return seen


def find_destinations(uses: TensorUses, more: Mapping[str, str] | None = None) -> Reached[Value, str]:
    """Where values go by arithmetic: to a "layer", an "output" of the model, a "comparison", or as a "place"; `more`:
    what other operators, by name, are called where the way ends there too."""
    named = more or {}

    def follow(read: Read) -> str | None:
        if read.operator in named:
            return named[read.operator]
        if read.operator in LAYERS:
            return "layer"
        if read.operator in SHAPES:
            return ""
        if read.operand in PLACES.get(read.operator, ()):
            return "place"
        if read.operator in COMPARISONS or (read.operator == "Cast" and _cast_type(read.node) in _WHOLE):
            return "comparison"
        return None

    walk = Walk(uses, follow)
    return Reached(walk.onward, lambda value: [*walk.ends(value), *(["output"] if value in uses.outputs else [])])


def _cast_type(node: NodeProto) -> int:
    return next((a.i for a in node.attribute if a.name == "to" and a.type == AttributeProto.INT), 0)
