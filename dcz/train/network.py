"""A model's trainable tensors, and the function that they are parameters of.

network = Network("net.onnx")             every weight and bias by name: network["fc1.weight"], a Weight
network(batch)["y"].sum().backward()      in plain PyTorch
"""

import os
from collections.abc import Iterator

import numpy as np

from .. import model as onnx_model
from ..errors import BadPlan, UnsuitableModel
from .batches import as_tensor
from .graph import Graph
from .pytorch import torch
from .weight import Weight

# The operands that shift or scale a whole channel: trained, but neither pruned nor shared unless asked for.
BIAS_INPUTS = {
    "Conv": (2,), "ConvTranspose": (2,), "Gemm": (2,), "Add": (0, 1), "PRelu": (1,), "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2), "LayerNormalization": (1, 2), "GroupNormalization": (1, 2),
    "RMSNormalization": (1,),
}  # fmt: skip

FLOATS = ("float32", "float16", "bfloat16")  # all computed in float32


class Network(torch.nn.Module):
    """A model (the path of an ONNX file, or a ModelProto) as a function of its weights, by name.

    `weights` holds a Weight for each tensor that an operator uses as a weight or bias, but those that `frozen` (a
    predicate on names) leaves as they are, those that shape the graph, and those that hold infinities (masks) or NaN.
    `place` is what messages call a ModelProto.
    Raises DczError: UnsuitableModel for an operator that cannot be trained, or where no tensor is left.
    """

    def __init__(self, model, frozen=lambda name: False, place: str = "the model"):
        super().__init__()
        given = isinstance(model, (str, os.PathLike))
        self.place = os.fspath(model) if given else place
        self.source = onnx_model.load(model) if given else onnx_model.from_proto(model)
        self.program = onnx_model.program(self.source, self.place)
        self.graph = Graph(self.program)
        tensors = {tensor.name: tensor for tensor in self.source.tensors}
        self._values = {}  # the graph's name of each trained value -> its Weight
        found = {}
        for value, name in self.program.weights.items():
            tensor, array = tensors[name], self.program.constants[value]
            if value in self.graph.fixed or not _is_trained(tensor, array) or frozen(name):
                continue
            if name not in found:
                found[name] = Weight(name, array, tensor.is_weight, tensor.dtype.name)
            self._values[value] = found[name]
        self.weights = torch.nn.ModuleList(found.values())
        self._by_name = found
        if not found:
            raise UnsuitableModel(f"{self.place}: no weights that could be trained: nothing to do")

    def __getitem__(self, name: str) -> Weight:
        if name not in self._by_name:
            raise BadPlan(f"{self.place}: no trainable tensor {name!r}; there are {', '.join(self._by_name)}")
        return self._by_name[name]

    def __iter__(self) -> Iterator[Weight]:
        return iter(self.weights)

    def state(self) -> dict[str, dict]:
        """Copies of what `restore` needs: the states of all weights, by name."""
        return {weight.name: weight.state() for weight in self}

    def restore(self, states: dict[str, dict]) -> None:
        """Be again what `state` was taken from. Optimizers must be made anew. Raises ValueError for states that are not
        those of this network's weights."""
        if states.keys() != self._by_name.keys():
            raise ValueError("states of other weights")
        for weight in self:
            weight.restore(states[weight.name])

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs."""
        return tuple(self.program.outputs)

    def forward(self, inputs, observe=None) -> dict[str, torch.Tensor]:
        """The outputs by name. `inputs`: arrays or tensors by input name, or one where the model has one input.
        `observe(node, inputs, outputs)`: see Graph."""
        return self.graph(self.as_inputs(inputs), self.tensors(), observe)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The weights and biases as they are now, by the names that the graph has for them."""
        dense = {name: weight() for name, weight in self._by_name.items()}  # once for each, however often it is used
        return {value: dense[weight.name] for value, weight in self._values.items()}

    def as_inputs(self, inputs) -> dict[str, torch.Tensor]:
        """Arrays or tensors by input name, or one alone, as the tensors that the graph takes."""
        names = [wanted.name for wanted in self.program.inputs]
        if not isinstance(inputs, dict):
            if len(names) != 1:
                raise BadPlan(f"{self.place}: has the inputs {', '.join(names)}: give a batch as a dict of them")
            inputs = {names[0]: inputs}
        if missing := set(names) - inputs.keys():
            raise BadPlan(f"the batch lacks the input {sorted(missing)[0]!r}; the model wants {', '.join(names)}")
        return {wanted.name: self._as_input(wanted, inputs[wanted.name]) for wanted in self.program.inputs}

    def _as_input(self, wanted, given) -> torch.Tensor:
        """One input as the graph takes it: any numbers may stand for floats, whole numbers for whole ones."""
        tensor = as_tensor(given, f"input {wanted.name!r}")
        dtype = torch.float32 if wanted.dtype in FLOATS else getattr(torch, wanted.dtype, tensor.dtype)
        if tensor.is_floating_point() and not dtype.is_floating_point:
            have = str(tensor.dtype).removeprefix("torch.")
            raise BadPlan(f"{self.place}: input {wanted.name!r} takes {wanted.dtype}, not {have}; give whole numbers")
        if wanted.shape is not None and not _fits(wanted.shape, tensor.shape):
            dims = ", ".join("?" if dim is None else str(dim) for dim in wanted.shape)
            raise BadPlan(
                f"in a batch of the data, input {wanted.name!r} is {list(tensor.shape)}; {self.place} wants [{dims}], "
                "samples along the first axis"
            )
        return tensor.to(dtype)

    def weight_of(self, value: str) -> Weight | None:
        """The Weight behind a value of the graph, or None."""
        return self._values.get(value)

    def uses(self, weight: Weight) -> int:
        """How many operands a tensor is: more than one where it is tied."""
        values = {value for value, found in self._values.items() if found is weight}
        return sum(name in values for node in self.program.nodes for name in node.inputs)

    def to_proto(self):
        """The model with its weights as they are now, as an onnx.ModelProto."""
        return onnx_model.with_values(self.source, {weight.name: weight.numpy() for weight in self})


def _is_trained(tensor, array: np.ndarray) -> bool:
    """Whether a tensor is a weight or a bias, and no constant of arithmetic."""
    if not tensor.dtype.real or not array.size or not np.isfinite(array).all():
        return False
    is_bias = any(operand in BIAS_INPUTS.get(operator, ()) for operator, operand in tensor.uses)
    return tensor.is_weight or (is_bias and array.size > 1)


def _fits(wanted: tuple, shape: torch.Size) -> bool:
    """Whether a batch has the dims that are fixed; how many samples it holds is its own affair."""
    pairs = zip(wanted[1:], shape[1:])
    return len(wanted) == len(shape) and all(not isinstance(want, int) or want == have for want, have in pairs)
