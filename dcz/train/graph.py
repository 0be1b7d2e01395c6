"""An ONNX graph as a differentiable function of its tensors, by name.

graph = Graph(read_program(load("net.onnx"), "net.onnx"))
weight = torch.tensor(graph.program.constants["fc1.weight"], requires_grad=True)
graph({"x": batch}, {"fc1.weight": weight})["logits"].sum().backward()
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..errors import InvalidArgument, UnsuitableModel
from ..model import Node, Program
from .operators import OPERATORS, Call, Function
from .pytorch import torch

MIN_OPSET, MAX_OPSET = 7, 26  # whose operators are known; before 7, broadcasting was an attribute

Observer = Callable[[Node, list[torch.Tensor | None], list[torch.Tensor]], None]


@dataclass(frozen=True)
class _Operation:
    node: Node
    function: Function
    last_uses: tuple[str, ...]  # values that no later node reads


class Graph:
    """A program that runs in torch, on the device where its constants and inputs are: the CPU, unless they are moved.

    `fixed` are the constants that were read when it was made (shapes, axes, bounds): they take no other values.
    """

    def __init__(self, program: Program):
        """Raise UnsuitableModel for unknown operators, naming all of them, and for what dcz cannot do."""
        self.program = program
        self.fixed: set[str] = set()
        _check(program)
        used = {name for node in program.nodes for name in node.inputs} | set(program.outputs)
        self._constants = {
            name: _tensor(array, name, program.place) for name, array in program.constants.items() if name in used
        }
        self._known = dict(self._constants)
        functions = [(node, self._function(node)) for node in program.nodes]
        calls = [(node, function) for node, function in functions if function is not None]
        self._operations = _operations(calls, program.outputs)
        self._folded = {name: self._known[name] for name in self._known.keys() - self._constants.keys()}

    def __call__(
        self,
        inputs: Mapping[str, torch.Tensor],
        tensors: Mapping[str, torch.Tensor] | None = None,
        observe: Observer | None = None,
        functions: Mapping[str, Function] | None = None,
    ) -> dict[str, torch.Tensor]:
        """The outputs, by name. float16 is computed in float32.

        `tensors` replace constants, by value name; `functions`, what nodes do, by their first output. `observe(node,
        operands, results)` is called after each node.
        Raises InvalidArgument for inputs that are missing or unknown, and for tensors that cannot be replaced;
        UnsuitableModel, naming the node, where the shapes or types do not fit it.
        """
        values = {**self._constants, **self._folded}
        values |= {**self._checked_inputs(inputs), **self._checked_tensors(tensors or {})}
        for operation in self._operations:
            operands = [values[name] if name else None for name in operation.node.inputs]
            function = (functions or {}).get(operation.node.outputs[0], operation.function)
            results = self._run(operation.node, function, operands)
            values.update((name, result) for name, result in zip(operation.node.outputs, results, strict=False) if name)
            if observe is not None:
                observe(operation.node, operands, results)
            del operands, results  # else the last ones would stay in memory
            for name in operation.last_uses:
                del values[name]
        return {name: values[name] for name in self.program.outputs}

    def move(self, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Change all constants, as to another device: `change` is what torch.nn.Module._apply applies."""
        for constants in (self._constants, self._folded):
            constants.update({name: change(x) for name, x in constants.items()})

    def _function(self, node: Node) -> Function | None:
        """What the node does; None for integers computed from known integers, which is done here, once."""
        call = Call(node, self.program.opset, self._known, self.program.place)
        function = OPERATORS[node.op](call)
        call.finish()
        self.fixed |= call.fixed & self.program.constants.keys()
        operands = [self._known.get(name) for name in node.inputs if name]
        if any(operand is None or operand.is_floating_point() for operand in operands):
            return function
        results = self._run(node, function, [self._known[name] if name else None for name in node.inputs])
        self._known.update((name, result) for name, result in zip(node.outputs, results, strict=False) if name)
        self.fixed |= set(node.inputs) & self.program.constants.keys()
        return None

    def _run(self, node: Node, function: Function, operands: list[torch.Tensor | None]) -> list[torch.Tensor]:
        try:
            results = function(*operands)
        except (
            RuntimeError,
            ValueError,
            IndexError,
            TypeError,
        ) as error:  # of torch, and of our operators for unsuitable shapes
            shapes = ", ".join("none" if each is None else str(tuple(each.shape)) for each in operands)
            why = (str(error).splitlines() or [type(error).__name__])[0]
            place = f"{self.program.place}: node {node.name!r}: operator {node.op}"
            raise UnsuitableModel(f"{place} does not take operands of shapes {shapes}: {why}") from error
        return list(results) if isinstance(results, (tuple, list)) else [results]

    def _checked_inputs(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        names = [declared.name for declared in self.program.inputs]
        if missing := sorted(set(names) - inputs.keys()):
            raise InvalidArgument(f"{self.program.place}: no values for its inputs: {', '.join(missing)}")
        if unknown := sorted(inputs.keys() - set(names)):
            have = ", ".join(names)
            raise InvalidArgument(
                f"{self.program.place}: no input is called {', '.join(unknown)}; its inputs are {have}"
            )
        return {name: x.float() if x.dtype in _HALVES else x for name, x in inputs.items()}

    def _checked_tensors(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        for name, tensor in tensors.items():
            stored = self.program.constants.get(name)
            if stored is None or name in self.fixed:
                why = "is not there" if stored is None else "shapes the graph"
                raise InvalidArgument(f"{self.program.place}: tensor {name!r} takes no new values: it {why}")
            if stored.shape != tensor.shape:  # broadcasting would hide it
                raise InvalidArgument(
                    f"{self.program.place}: tensor {name!r} is {stored.shape}, not {tuple(tensor.shape)}"
                )
        return {name: tensor for name, tensor in tensors.items() if name in self._constants}


_HALVES = (torch.float16, torch.bfloat16)


def _check(program: Program) -> None:
    if not MIN_OPSET <= program.opset <= MAX_OPSET:
        known = f"those that dcz can train are {MIN_OPSET} to {MAX_OPSET}"
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
    available = {"", *program.constants, *(each.name for each in program.inputs)}
    for node in program.nodes:
        for name in node.inputs:
            if name not in available:
                raise UnsuitableModel(
                    f"{program.place}: node {node.name!r} reads {name!r}, which nothing before it makes"
                )
        available.update(node.outputs)
    for name in program.outputs:
        if name not in available:
            raise UnsuitableModel(f"{program.place}: nothing makes its output {name!r}")


def _tensor(array: np.ndarray, name: str, place: str) -> torch.Tensor:
    try:
        return torch.from_numpy(np.array(array))  # a copy: arrays mapped from a file are not writable
    except TypeError as error:
        raise UnsuitableModel(f"{place}: tensor {name!r} is {array.dtype}, which torch has not") from error


def _operations(calls: list[tuple[Node, Function]], outputs: tuple[str, ...]) -> list[_Operation]:
    """The nodes in order, each with the computed values that it is the last to use."""
    last = {name: i for i, (node, _) in enumerate(calls) for name in (*node.outputs, *node.inputs) if name}
    computed = {name for node, _ in calls for name in node.outputs} - set(outputs)
    last_uses: dict[int, list[str]] = defaultdict(list)
    for name, i in last.items():
        if name in computed:
            last_uses[i].append(name)
    return [_Operation(node, function, tuple(last_uses[i])) for i, (node, function) in enumerate(calls)]
