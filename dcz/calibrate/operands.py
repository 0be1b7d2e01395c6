"""What of a network hangs on its constants alone: tensors as they are, moved, or turned into something else.

    w [1, 512, 128] -> Squeeze -> Transpose -> "wt" [128, 512] -> MatMul

operands = Operands(program)
operands.moved["wt"]     Moved("w", View(...)): each entry of this value is one of the tensor, all of them once
operands.uses["w"]       [Use(the MatMul, 1, "wt")]: whoever reads the tensor, however moved
operands.fixed           the names of all values that no input reaches: a piece of the model computes them anew
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..model import Node, Program

FLOATS = (1, 10, 11, 16)  # TensorProto's numbers of the types that a Cast may have between a tensor and its use
FICKLE = frozenset("RandomNormal RandomUniform RandomNormalLike RandomUniformLike Bernoulli Multinomial".split())
HEEDLESS = frozenset(["Shape", "Size"])  # tell the same whatever the values are

Move = tuple[
    tuple[int, ...] | None, tuple[int, ...], tuple[int, ...]
]  # the order of axes or None, shapes before, after


@dataclass(frozen=True)
class View:
    """A tensor's entries in another shape and order: that of `shape`, which its `moves` lead to one by one."""

    shape: tuple[int, ...]
    moves: tuple[Move, ...] = ()

    def transposed(self, order: Sequence[int]) -> "View":
        """With its axes in this order."""
        after = tuple(self.shape[axis] for axis in order)
        return View(after, (*self.moves, (tuple(order), self.shape, after)))

    def reshaped(self, shape: Sequence[int]) -> "View":
        """With another shape of as many entries."""
        return (
            self if tuple(shape) == self.shape else View(tuple(shape), (*self.moves, (None, self.shape, tuple(shape))))
        )

    def of(self, tensor: np.ndarray) -> np.ndarray:
        """The tensor as it is seen."""
        for order, _, after in self.moves:
            tensor = tensor.reshape(after) if order is None else tensor.transpose(order)
        return tensor

    def undo(self, seen: np.ndarray) -> np.ndarray:
        """`of` undone."""
        for order, before, _ in reversed(self.moves):
            seen = seen.reshape(before) if order is None else seen.transpose(np.argsort(order))
        return seen


@dataclass(frozen=True)
class Moved:
    """A value that is the tensor of a site, seen so."""

    site: str
    view: View


@dataclass(frozen=True, eq=False)
class Use:
    """`node` reads a tensor as its operand number `place`, under the name `value`."""

    node: Node
    place: int
    value: str


class Operands:
    """See above. `shown` are the sites whose values are outputs of the program themselves."""

    def __init__(self, program: Program):
        self.program = program
        self.fixed = set(program.constants)
        self.moved = {name: Moved(site, View(program.constants[name].shape)) for name, site in program.weights.items()}
        self.uses: dict[str, list[Use]] = defaultdict(list)
        self._readers: dict[str, list[Node]] = defaultdict(list)
        for node in program.nodes:
            self._take(node)
        self.shown = {self.moved[name].site for name in program.outputs if name in self.moved}
        self._outputs = set(program.outputs)

    def _take(self, node: Node) -> None:
        known = node.op == "Constant" or (node.op not in FICKLE and not node.domain)
        if known and all(name in self.fixed for name in node.inputs if name):
            self.fixed.update(name for name in node.outputs if name)
        for name in node.inputs:
            self._readers[name].append(node)
        source = self.moved.get(node.inputs[0]) if node.inputs else None
        view = None if source is None else _moved(node, source.view, self.program.constants)
        if view is not None:
            self.moved[node.outputs[0]] = replace(source, view=view)
        elif not (node.op in HEEDLESS and not node.domain):
            for place, name in enumerate(node.inputs):
                if name in self.moved:
                    self.uses[self.moved[name].site].append(Use(node, place, name))

    def reader(self, value: str) -> Node | None:
        """The node that reads a value, where it is the only one and reads it once."""
        readers = self._readers[value]
        return readers[0] if len(readers) == 1 and value not in self._outputs else None

    def alone(self, value: str) -> Moved | None:
        """The tensor that a value is, where it is read once in all."""
        found = self.moved.get(value)
        if found is None or found.site in self.shown or len(self.uses[found.site]) != 1:
            return None
        return found


def axes_of(node: Node, constants: dict[str, np.ndarray]) -> list[int] | None:
    """The axes of a Squeeze or Unsqueeze; None where they are not known, or not named."""
    return numbers(node, 1, "axes", constants)


def numbers(node: Node, place: int, attribute: str, constants: dict[str, np.ndarray]) -> list[int] | None:
    """Whole numbers that an operator takes as an attribute or, since later opsets, as an operand."""
    if attribute in node.attributes:
        return list(node.attributes[attribute])
    name = node.inputs[place] if len(node.inputs) > place else ""
    return constants[name].ravel().tolist() if name in constants else None


def _moved(node: Node, view: View, constants: dict[str, np.ndarray]) -> View | None:
    """What a node makes of its first operand, if it only moves that."""
    shape, rank = view.shape, len(view.shape)
    if node.domain:
        return None
    if node.op == "Identity" or is_cast(node):
        return view
    if node.op == "Transpose":
        return view.transposed(node.attributes.get("perm") or range(rank)[::-1])
    if node.op == "Flatten":
        axis = node.attributes.get("axis", 1) % (rank + 1) if rank else 0
        return view.reshaped((int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))))
    if node.op == "Reshape":
        wanted = numbers(node, 1, "shape", constants)
        return None if wanted is None else _reshaped(view, wanted, bool(node.attributes.get("allowzero", 0)))
    if node.op == "Squeeze":
        named = len(node.inputs) > 1 and node.inputs[1] or "axes" in node.attributes
        axes = axes_of(node, constants) if named else [axis for axis in range(rank) if shape[axis] == 1]
        gone = None if axes is None else {axis % rank for axis in axes}
        return None if gone is None else view.reshaped([d for axis, d in enumerate(shape) if axis not in gone])
    if node.op == "Unsqueeze" and (axes := axes_of(node, constants)) is not None:
        total = rank + len(axes)
        new, dims = {axis % total for axis in axes}, iter(shape)
        return view.reshaped([1 if axis in new else next(dims) for axis in range(total)])
    return None


def is_cast(node: Node) -> bool:
    """Whether a node makes other floats of floats, as good as the same."""
    return node.op == "Cast" and node.attributes.get("to") in FLOATS


def _reshaped(view: View, wanted: list[int], zero: bool) -> View | None:
    """A Reshape to the dims `wanted`: -1 is what is left, 0 the dim that was there (unless `zero` allows zeros)."""
    if zero and 0 in wanted:
        return None
    shape = [view.shape[axis] if dim == 0 and axis < len(view.shape) else dim for axis, dim in enumerate(wanted)]
    size, rest = int(np.prod(view.shape)), int(np.prod([dim for dim in shape if dim != -1]))
    if -1 in shape and rest:
        shape[shape.index(-1)] = size // rest
    return view.reshaped(shape) if min(shape, default=1) >= 0 and int(np.prod(shape)) == size else None
