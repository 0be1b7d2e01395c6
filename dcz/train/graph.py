"""An ONNX graph as a differentiable function of its tensors, by name.

graph = Graph(program(load("net.onnx"), "net.onnx"))
weight = torch.tensor(graph.program.constants["fc1.weight"], requires_grad=True)
graph({"x": batch}, {"fc1.weight": weight})["logits"].sum().backward()
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import BadPlan, UnsuitableModel
from ..model import Node, Program
from .operators import OPERATORS, Call, Function
from .pytorch import torch

OLDEST, NEWEST = 7, 26  # opsets whose operators are known; before 7, broadcasting was an attribute

Observer = Callable[[Node, list[torch.Tensor | None], list[torch.Tensor]], None]


@dataclass(frozen=True)
class _Step:
    node: Node
    function: Function
    done: tuple[str, ...]  # values that nobody reads any more


class Graph:
    """A program that runs in torch, on the CPU.

    `fixed` are the constants that shaped it when it was made (shapes, axes, bounds): they take no other values.
    """

    def __init__(self, program: Program):
        """Raises UnsuitableModel for operators that dcz does not know, all of them named, and for what it cannot do."""
        self.program = program
        self.fixed: set[str] = set()
        _check(program)
        read = {name for node in program.nodes for name in node.inputs} | set(program.outputs)
        self._constants = {
            name: _tensor(array, name, program.place) for name, array in program.constants.items() if name in read
        }
        self._known = dict(self._constants)
        calls = [(node, self._function(node)) for node in program.nodes]
        self._steps = _steps([call for call in calls if call[1] is not None], program.outputs)
        self._folded = {name: self._known[name] for name in self._known.keys() - self._constants.keys()}

    def __call__(
        self,
        inputs: Mapping[str, torch.Tensor],
        tensors: Mapping[str, torch.Tensor] | None = None,
        observe: Observer | None = None,
    ) -> dict[str, torch.Tensor]:
        """The outputs, by name. float16 is computed in float32.

        `tensors` take the place of constants, by value name. `observe(node, operands, results)` is called after each
        node. Raises BadPlan for inputs that the model has not, or lacks, and for tensors that cannot be replaced;
        UnsuitableModel, naming the node, where the shapes or types do not fit it.
        """
        values = {**self._constants, **self._folded, **self._given(inputs), **self._replaced(tensors or {})}
        for step in self._steps:
            operands = [values[name] if name else None for name in step.node.inputs]
            results = self._run(step.node, step.function, operands)
            values.update((name, result) for name, result in zip(step.node.outputs, results) if name)
            if observe is not None:
                observe(step.node, operands, results)
            del operands, results  # or the last ones would outlive their use
            for name in step.done:
                del values[name]
        return {name: values[name] for name in self.program.outputs}

    def _function(self, node: Node) -> Function | None:
        """What the node does; None where it only computes whole numbers from known ones, which is done now."""
        call = Call(node, self.program.opset, self._known, self.program.place)
        function = OPERATORS[node.op](call)
        call.finish()
        self.fixed |= call.fixed & self.program.constants.keys()
        operands = [self._known.get(name) for name in node.inputs if name]
        if any(operand is None or operand.is_floating_point() for operand in operands):
            return function
        results = self._run(node, function, [self._known[name] if name else None for name in node.inputs])
        self._known.update((name, result) for name, result in zip(node.outputs, results) if name)
        self.fixed |= set(node.inputs) & self.program.constants.keys()
        return None

    def _run(self, node: Node, function: Function, operands: list) -> list[torch.Tensor]:
        try:
            results = function(*operands)
        except (RuntimeError, ValueError, IndexError, TypeError) as error:  # torch's own, and ours for odd shapes
            shapes = ", ".join("none" if each is None else str(tuple(each.shape)) for each in operands)
            why = (str(error).splitlines() or [type(error).__name__])[0]
            place = f"{self.program.place}: node {node.name!r}: operator {node.op}"
            raise UnsuitableModel(f"{place} does not take operands of shapes {shapes}: {why}") from error
        return list(results) if isinstance(results, (tuple, list)) else [results]

    def _given(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        wanted = {each.name: each for each in self.program.inputs}
        if missing := sorted(wanted.keys() - inputs.keys()):
            raise BadPlan(f"{self.program.place}: no values for its inputs: {', '.join(missing)}")
        if unknown := sorted(inputs.keys() - wanted.keys()):
            have = ", ".join(wanted)
            raise BadPlan(f"{self.program.place}: no input is called {', '.join(unknown)}; its inputs are {have}")
        return {name: each.float() if each.dtype in _HALVES else each for name, each in inputs.items()}

    def _replaced(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        for name, tensor in tensors.items():
            stored = self.program.constants.get(name)
            if stored is None or name in self.fixed:
                why = "is not there" if stored is None else "shapes the graph"
                raise BadPlan(f"{self.program.place}: tensor {name!r} takes no new values: it {why}")
            if stored.shape != tensor.shape:  # broadcasting would hide it
                raise BadPlan(f"{self.program.place}: tensor {name!r} is {stored.shape}, not {tuple(tensor.shape)}")
        return {name: tensor for name, tensor in tensors.items() if name in self._constants}


_HALVES = (torch.float16, torch.bfloat16)


def _check(program: Program) -> None:
    if not OLDEST <= program.opset <= NEWEST:
        known = f"those that dcz can train are {OLDEST} to {NEWEST}"
        raise UnsuitableModel(f"{program.place}: opset {program.opset}; {known}")
    unknown: dict[str, list[str]] = defaultdict(list)
    for node in program.nodes:
        if node.domain or node.op not in OPERATORS:
            unknown[f"{node.op} ({node.domain or 'ai.onnx'})"].append(node.name)
    if unknown:
        (first, nodes), *others = unknown.items()
        more = f"; nor are: {', '.join(f'{kind}, node {names[0]!r}' for kind, names in others)}" if others else ""
        raise UnsuitableModel(
            f"{program.place}: node {nodes[0]!r}: operator {first} is not one that dcz can train{more}"
        )
    there = {"", *program.constants, *(each.name for each in program.inputs)}
    for node in program.nodes:
        for name in node.inputs:
            if name not in there:
                raise UnsuitableModel(
                    f"{program.place}: node {node.name!r} reads {name!r}, which nothing before it makes"
                )
        there.update(node.outputs)
    for name in program.outputs:
        if name not in there:
            raise UnsuitableModel(f"{program.place}: nothing makes its output {name!r}")


def _tensor(array: np.ndarray, name: str, place: str) -> torch.Tensor:
    try:
        return torch.from_numpy(np.array(array))  # its own copy: what is mapped from a file cannot be written
    except TypeError as error:
        raise UnsuitableModel(f"{place}: tensor {name!r} is {array.dtype}, which torch has not") from error


def _steps(calls: list[tuple[Node, Function]], outputs: tuple[str, ...]) -> list[_Step]:
    """The nodes in order, each with the values that are made by nodes and not needed after it."""
    last = {name: i for i, (node, _) in enumerate(calls) for name in (*node.outputs, *node.inputs) if name}
    made = {name for node, _ in calls for name in node.outputs} - set(outputs)
    done = defaultdict(list)
    for name, i in last.items():
        if name in made:
            done[i].append(name)
    return [_Step(node, function, tuple(done[i])) for i, (node, function) in enumerate(calls)]
