"""What can be reached from the nodes of a graph, each of them looked at once.

    reached = Reached({"a": ["b"], "b": ["a", "c"], "c": []}.__getitem__, lambda node: [node.upper()])
    list(reached.of("c"))     ->  ["C"]           list(reached.of("a"))     ->  ["A", "B", "C"], in some fixed order

Nodes on one cycle reach the same; what a node reaches that adds nothing to its only successor is the successor's own
answer, not a copy. So a chain of n nodes takes n steps, from however many of them it is asked. Answers are tuples: a
dict of as many labels takes five times the memory, and a graph of n nodes may have n different ones.
"""

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

Node = TypeVar("Node", bound=Hashable)
Label = TypeVar("Label", bound=Hashable)

MAX_LABELS = 256  # of one answer, to bound the work: the first found


class Reached(Generic[Node, Label]):
    """The labels of a node and of all that can be reached from it: at most `most` of them.

    `successors` and `labels` are asked once for each node.
    """

    def __init__(
        self,
        successors: Callable[[Node], Iterable[Node]],
        labels: Callable[[Node], Iterable[Label]],
        most: int = MAX_LABELS,
    ):
        self._successors, self._labels, self._most = successors, labels, most
        self._found: dict[Node, tuple[Label, ...]] = {}

    def of(self, node: Node) -> tuple[Label, ...]:
        """The labels, each once, in an order that depends on the graph alone."""
        if node not in self._found:
            self._search(node)
        return self._found[node]

    def _search(self, start: Node) -> None:
        """Tarjan's algorithm for strongly connected components (1972), without recursion."""
        number: dict[Node, int] = {start: 0}
        lowest = {start: 0}
        open_nodes = [start]  # of components that are not complete
        parts: dict[Node, list[tuple[Label, ...]]] = {start: []}  # what an open node's finished successors reach
        path: list[tuple[Node, Iterator[Node]]] = [(start, iter(self._successors(start)))]
        while path:
            node, rest = path[-1]
            for successor in rest:
                if successor in self._found:
                    parts[node].append(self._found[successor])
                elif successor in number:
                    lowest[node] = min(lowest[node], number[successor])
                else:
                    number[successor] = lowest[successor] = len(number)
                    open_nodes.append(successor)
                    parts[successor] = []
                    path.append((successor, iter(self._successors(successor))))
                    break
            else:
                path.pop()
                if lowest[node] == number[node]:
                    self._complete(node, open_nodes, parts)
                if path:
                    above = path[-1][0]
                    if node in self._found:
                        parts[above].append(self._found[node])
                    else:
                        lowest[above] = min(lowest[above], lowest[node])

    def _complete(self, root: Node, open_nodes: list[Node], parts: dict[Node, list[tuple[Label, ...]]]) -> None:
        """Note the answer of a component, whose nodes are the open ones from `root` on."""
        members = [open_nodes.pop()]
        while members[-1] != root:
            members.append(open_nodes.pop())
        members.reverse()
        own = self._first(label for member in members for label in self._labels(member))
        reached = {id(part): part for member in members for part in parts.pop(member)}
        answer = self._union([own, *reached.values()])
        for member in members:
            self._found[member] = answer

    def _union(self, parts: list[tuple[Label, ...]]) -> tuple[Label, ...]:
        largest = max(parts, key=len)
        others = [part for part in parts if part and part is not largest]
        if not others or len(largest) >= self._most:
            return largest
        union = self._first(itertools.chain(largest, *others))
        return union if len(union) > len(largest) else largest

    def _first(self, labels: Iterable[Label]) -> tuple[Label, ...]:
        """The first different ones, as many as an answer may have."""
        found: dict[Label, None] = {}
        for label in labels:
            found[label] = None
            if len(found) >= self._most:
                break
        return tuple(found)
