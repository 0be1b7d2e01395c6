"""Tensors named by the operators, nodes and layers that use them: such patterns of a plan, as the names that they mean.

    op:Gather                    what an operator of this type reads as its weight
    node:/decoder/*/MatMul       what a node of this name reads, or, where it has none, one with an output of this name
    layer:encoder.layer.0        what the nodes below this part of their names read, and tensors with such a name; the
                                 parts may be divided by dots or slashes

Wildcards are those of the shell, as in names of tensors.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from glob import escape

from ..errors import InvalidArgument
from ..plan import Plan
from .tensors import ModelTensor

SELECTORS = ("op:", "node:", "layer:")


def by_name(plan: Plan, tensors: Sequence[ModelTensor]) -> Plan:
    """The plan with the names of tensors in the place of its selectors; itself where it has none.

    In rules a selector means the weights that the plan's default would go for, in `include` all that is of a real type,
    in `exclude` all. Raises InvalidArgument for a selector that means no tensor.
    """
    if not any(map(is_selector, plan.patterns)):
        return plan

    def weights(tensor: ModelTensor) -> bool:
        return tensor.is_weight and tensor.dtype.real and math.prod(tensor.shape) >= plan.min_weights

    return replace(
        plan,
        rules=tuple(replace(rule, match=_names(rule.match, tensors, weights, "weight")) for rule in plan.rules),
        include=_names(plan.include, tensors, lambda tensor: tensor.dtype.real, "tensor of real numbers"),
        exclude=_names(plan.exclude, tensors, lambda tensor: True, "tensor"),
    )


def is_selector(pattern: str) -> bool:
    """Whether a pattern names tensors by what uses them."""
    return pattern.startswith(SELECTORS)


def _names(
    patterns: Iterable[str], tensors: Sequence[ModelTensor], counts: Callable[[ModelTensor], bool], what: str
) -> tuple[str, ...]:
    """The patterns, each selector replaced by the names of the tensors that it means, of those that count."""
    found: list[str] = []
    for pattern in patterns:
        if not is_selector(pattern) or any(fnmatchcase(tensor.name, pattern) for tensor in tensors):
            found.append(pattern)  # a tensor may be called so
            continue
        names = [escape(each.name) for each in tensors if counts(each) and _selects(pattern, each)]
        if not names:
            raise InvalidArgument(_nothing(pattern, tensors, what))
        found += names
    return tuple(found)


def _selects(pattern: str, tensor: ModelTensor) -> bool:
    kind, _, wanted = pattern.partition(":")
    if kind == "op":
        return any(fnmatchcase(operator, wanted) for operator, _ in tensor.uses)
    if kind == "node":
        return any(fnmatchcase(node, wanted) for node in tensor.nodes)
    wanted = _path(wanted)
    return any(fnmatchcase(part, wanted) for name in (*tensor.nodes, tensor.name) for part in _parts(_path(name)))


def _path(name: str) -> str:
    """A name with dots between its parts: "/encoder/layer.0/MatMul" as "encoder.layer.0.MatMul"."""
    return re.sub(r"[./]+", ".", name).strip(".")


def _parts(path: str) -> Iterator[str]:
    """A path, and those above it."""
    yield path
    for place, character in enumerate(path):
        if character == ".":
            yield path[:place]


def _nothing(pattern: str, tensors: Sequence[ModelTensor], what: str) -> str:
    """That a selector means nothing, with what it could mean."""
    kind = pattern.partition(":")[0]
    if kind == "op":
        known = sorted({operator for tensor in tensors for operator, _ in tensor.uses})
        hint = f"operators with tensors are {', '.join(known)}"
    else:
        known = sorted({node for tensor in tensors for node in tensor.nodes})
        hint = f"nodes with tensors are called {', '.join(map(repr, known[:3]))}{' ...' if len(known) > 3 else ''}"
    return f"the pattern {pattern!r} means no {what} of the model; {hint}"
