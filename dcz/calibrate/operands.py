"""What of a network depends on its constants alone: tensors as they are, rearranged, or turned into something else.

    w [1, 512, 128] -> Squeeze -> Transpose -> "wt" [128, 512] -> MatMul

operands = find_operands(program)
operands.aliases["wt"]   Alias("w", View(...)): each entry of this value is one of the tensor, all of them once
operands.uses["w"]       [Use(the MatMul, 1, "wt")]: the nodes that read the tensor, however rearranged
operands.foldable        the names of all values that no input reaches (constant folding): they can be computed again
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..model import Node, Program

FLOATS = (1, 10, 11, 16)  # TensorProto's numbers of the types that a Cast may have between a tensor and its use
NONDETERMINISTIC_OPS = frozenset(
    ["RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"]
)
SHAPE_ONLY_OPS = frozenset(["Shape", "Size"])  # their outputs do not depend on the numbers of a tensor


@dataclass(frozen=True)
class Rearrangement:
    """A transpose to the order of `axes`, or, where that is None, a reshape; from the shape `before` to `after`."""

    axes: tuple[int, ...] | None
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True)
class View:
    """A tensor's entries in another shape and order: `shape` is what all `rearrangements`, one by one, lead to."""

    shape: tuple[int, ...]
    rearrangements: tuple[Rearrangement, ...] = ()

    def transposed(self, axes: Sequence[int]) -> "View":
        """With its axes in this order."""
        after = tuple(self.shape[axis] for axis in axes)
        return View(after, (*self.rearrangements, Rearrangement(tuple(axes), self.shape, after)))

    def reshaped(self, shape: Sequence[int]) -> "View":
        """With another shape of as many entries."""
        after = tuple(shape)
        if after == self.shape:
            return self
        return View(after, (*self.rearrangements, Rearrangement(None, self.shape, after)))

    def apply(self, tensor: np.ndarray) -> np.ndarray:
        """The tensor as its nodes see it."""
        for each in self.rearrangements:
            tensor = tensor.reshape(each.after) if each.axes is None else tensor.transpose(each.axes)
        return tensor

    def undo(self, array: np.ndarray) -> np.ndarray:
        """The tensor of which `array` is what its nodes see."""
        for each in reversed(self.rearrangements):
            array = array.reshape(each.before) if each.axes is None else array.transpose(np.argsort(each.axes))
        return array


@dataclass(frozen=True)
class Alias:
    """A value that holds the entries of `tensor` (the name of a ModelTensor) as `view` arranges them."""

    tensor: str
    view: View


@dataclass(frozen=True, eq=False)
class Use:
    """`node` reads a tensor as its operand number `index`, under the name `value`."""

    node: Node
    index: int
    value: str


@dataclass(frozen=True, eq=False)
class Operands:
    """See above. `output_tensors`: those that are outputs of the program themselves. `readers`: the nodes that read a
    value, as often as they do."""

    program: Program
    foldable: frozenset[str]
    aliases: Mapping[str, Alias]
    uses: Mapping[str, Sequence[Use]]
    output_tensors: frozenset[str]
    readers: Mapping[str, Sequence[Node]]

    def sole_reader(self, value: str) -> Node | None:
        """The node that reads a value, where it is the only one and reads it once."""
        readers = self.readers.get(value, ())
        return readers[0] if len(readers) == 1 and value not in self.program.outputs else None

    def single_use(self, value: str) -> Alias | None:
        """The tensor that a value is, where that tensor is read once in all."""
        alias = self.aliases.get(value)
        if alias is None or alias.tensor in self.output_tensors or len(self.uses.get(alias.tensor, ())) != 1:
            return None
        return alias


def find_operands(program: Program) -> Operands:
    """The tensors of a program, and the values and nodes that depend on them alone."""
    foldable = set(program.constants)
    aliases = {name: Alias(tensor, View(program.constants[name].shape)) for name, tensor in program.weights.items()}
    uses: dict[str, list[Use]] = defaultdict(list)
    readers: dict[str, list[Node]] = defaultdict(list)
    for node in program.nodes:
        deterministic = node.op == "Constant" or (node.op not in NONDETERMINISTIC_OPS and not node.domain)
        if deterministic and all(name in foldable for name in node.inputs if name):
            foldable.update(name for name in node.outputs if name)
        for name in node.inputs:
            readers[name].append(node)
        source = aliases.get(node.inputs[0]) if node.inputs else None
        view = None if source is None else _rearranged(node, source.view, program.constants)
        if source is not None and view is not None:
            aliases[node.outputs[0]] = replace(source, view=view)
        elif not (node.op in SHAPE_ONLY_OPS and not node.domain):
            for index, name in enumerate(node.inputs):
                if name in aliases:
                    uses[aliases[name].tensor].append(Use(node, index, name))
    output_tensors = frozenset(aliases[name].tensor for name in program.outputs if name in aliases)
    return Operands(program, frozenset(foldable), aliases, dict(uses), output_tensors, dict(readers))


def axes_of(node: Node, constants: Mapping[str, np.ndarray]) -> list[int] | None:
    """The axes of a Squeeze or Unsqueeze; None where they are not known, or not named."""
    return integers(node, 1, "axes", constants)


def integers(node: Node, index: int, attribute: str, constants: Mapping[str, np.ndarray]) -> list[int] | None:
    """Integers that an operator takes as an attribute or, since later opsets, as operand `index`; None where that is no
    constant."""
    if attribute in node.attributes:
        return list(node.attributes[attribute])
    name = node.inputs[index] if len(node.inputs) > index else ""
    return list(constants[name].ravel().tolist()) if name in constants else None


def is_cast(node: Node) -> bool:
    """Whether a node turns floats into other floats of about the same values."""
    return node.op == "Cast" and node.attributes.get("to") in FLOATS


def _rearranged(node: Node, view: View, constants: Mapping[str, np.ndarray]) -> View | None:
    """What a node makes of its first operand; None where it does more than to rearrange its entries."""
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
        dims = integers(node, 1, "shape", constants)
        return None if dims is None else _reshaped(view, dims, bool(node.attributes.get("allowzero", 0)))
    if node.op == "Squeeze":
        named = (len(node.inputs) > 1 and node.inputs[1]) or "axes" in node.attributes
        axes = axes_of(node, constants) if named else [axis for axis in range(rank) if shape[axis] == 1]
        squeezed = None if axes is None else {axis % rank for axis in axes}
        if squeezed is None:
            return None
        return view.reshaped([dim for axis, dim in enumerate(shape) if axis not in squeezed])
    if node.op == "Unsqueeze" and (axes := axes_of(node, constants)) is not None:
        total = rank + len(axes)
        new, dims_left = {axis % total for axis in axes}, iter(shape)
        return view.reshaped([1 if axis in new else next(dims_left) for axis in range(total)])
    return None


def _reshaped(view: View, dims: list[int], allow_zero: bool) -> View | None:
    """A Reshape to `dims`: -1 is what is left, 0 the dim that was there (unless zeros are allowed); None where it does
    not fit."""
    if allow_zero and 0 in dims:
        return None
    shape = [view.shape[axis] if dim == 0 and axis < len(view.shape) else dim for axis, dim in enumerate(dims)]
    size, rest = int(np.prod(view.shape)), int(np.prod([dim for dim in shape if dim != -1]))
    if -1 in shape and rest:
        shape[shape.index(-1)] = size // rest
    return view.reshaped(shape) if min(shape, default=1) >= 0 and int(np.prod(shape)) == size else None
