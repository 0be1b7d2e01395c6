"""Values of a model, by name and scope; who reads them; and where their elements go, through calls of functions too.

h = Transpose(w)    ->    Read("Transpose", operand 0 ...) of <w>, and Flow(<h>) from <w>
"""

import functools
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional, TypeVar

from onnx import NodeProto

from .reach import Reached

MAX_OUTPUTS = 64  # of a function that an operand is followed to


class Scope:
    """The names that a graph or function defines; others belong to the graph around it."""

    def __init__(self, names: Iterable[str], parent: Optional["Scope"] = None):
        self.names = frozenset(names)
        self.parent = parent

    def resolve(self, name: str) -> "Value":
        """The value that `name` means here."""
        scope = self
        while name not in scope.names and scope.parent is not None:
            scope = scope.parent
        return scope, name


Value = tuple[Scope, str]  # a name, and the scope that defines it
State = tuple[Value, bool]  # a value, and whether it has come into a function by a call
Label = TypeVar("Label", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Flow:
    """A value that has another's elements. `call` is the number of the function call by which they enter (or, where
    `leaves`, leave) a function."""

    value: Value
    call: int | None = None
    leaves: bool = False


@dataclass(frozen=True, eq=False)
class Call:
    """A call of a function of the model: whose `caller` and `function` are scopes, by a value without a name.

    `operands` and `outputs` are values of the caller, `parameters` and `results` of the function, in order.
    """

    caller: Value
    function: Value
    operands: list[Value]
    parameters: list[Value]
    outputs: list[Value]
    results: list[Value]


@dataclass(frozen=True, eq=False)
class Read:
    """A node that reads a value as one of its operands. `moves`: its output has the value's elements, or some of
    them. `is_call`: of a function of the model, whose own nodes read the value too."""

    operator: str
    operand: int
    node: NodeProto
    scope: Scope
    moves: bool
    is_call: bool

    @property
    def outputs(self) -> list[Value]:
        """The values that the node gives."""
        return [(self.scope, name) for name in self.node.output if name]


def passed_by_calls(calls: Sequence[Call], flows: Mapping[Value, Sequence[Flow]]) -> dict[Value, list[Value]]:
    """The outputs of calls that have the elements of an operand, by the operand."""
    passed: dict[Value, list[Value]] = defaultdict(list)
    by_caller: dict[Value, list[Call]] = defaultdict(list)
    by_called: dict[Value, list[Call]] = defaultdict(list)
    for call in calls:
        by_caller[call.caller].append(call)
        by_called[call.function].append(call)

    def within(value: Value) -> Iterator[Value]:
        yield from (flow.value for flow in flows.get(value, ()) if flow.call is None)
        yield from passed.get(value, ())

    done: set[Value] = set()
    waiting: list[tuple[Value, bool]] = [(function, False) for function in by_called]
    while waiting:  # a function comes after those that it calls
        function, is_ready = waiting.pop()
        if not is_ready and function not in done:
            done.add(function)
            waiting.append((function, True))
            waiting += [(call.function, False) for call in by_caller[function]]
        elif is_ready:
            first = by_called[function][0]
            places: dict[Value, list[int]] = defaultdict(list)
            for place, output in enumerate(first.results):
                places[output].append(place)
            leaving: Reached[Value, int] = Reached(within, functools.partial(_listed, places), MAX_OUTPUTS)
            for call in by_called[function]:
                for operand, parameter in zip(call.operands, call.parameters, strict=False):
                    outputs = [call.outputs[place] for place in leaving.of(parameter) if place < len(call.outputs)]
                    passed[operand] += outputs
    return passed


def _listed(places: Mapping[Value, list[int]], value: Value) -> list[int]:
    return places.get(value, [])
