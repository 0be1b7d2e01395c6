"""A model as a torch module: its trainable tensors, and its outputs as a function of them.

network = Network("net.onnx")             every weight and bias by name: network["fc1.weight"], a Weight
network(batch)["y"].sum().backward()      in plain PyTorch
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .. import model as onnx_model
from ..errors import InvalidArgument, UnsuitableModel
from ..evaluation import casting
from ..evaluation.batch_axes import is_open, told_shape
from . import normalization, tables
from .batches import as_tensor
from .graph import Graph, Observer
from .layout import SAMPLES_FIRST, Layout
from .pytorch import torch
from .weight import Weight

if TYPE_CHECKING:
    from onnx import ModelProto

# The operands that shift or scale a whole channel: trained, but neither pruned nor shared unless asked for.
BIAS_INPUTS = {
    "Conv": (2,), "ConvTranspose": (2,), "Gemm": (2,), "Add": (0, 1), "PRelu": (1,), "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2), "LayerNormalization": (1, 2), "GroupNormalization": (1, 2),
    "RMSNormalization": (1,),
}  # fmt: skip

FLOATS = ("float32", "float16", "bfloat16")  # all computed in float32


class Network(torch.nn.Module):
    """A model (the path of an ONNX file, or a ModelProto) as a function of its weights, by name.

    `weights` holds a Weight for each tensor that an operator uses as a weight or bias, except those for whose names
    `frozen` is true, those that the graph has read as shapes or bounds, and those that hold infinities (masks) or NaN.
    `norms` holds the statistics of its BatchNormalizations. A network is in inference mode, as the model is, until
    `train()` is called: then these normalize by the batch, and follow it. `place` is the name of a ModelProto in
    messages. `layout` says where the samples of a batch lie, whose number may be another than the model's.
    Raises DczError: UnsuitableModel for an operator that cannot be trained, or where no tensor is left.
    """

    def __init__(
        self,
        model: "str | os.PathLike[str] | ModelProto",
        frozen: Callable[[str], bool] = lambda name: False,
        place: str = "the model",
        layout: Layout = SAMPLES_FIRST,
    ):
        super().__init__()
        self.layout = layout
        self._held: dict[str, torch.Tensor] | None = None
        self.place = os.fspath(model) if isinstance(model, (str, os.PathLike)) else place
        self._frozen = frozen
        self.replace_model(model)

    def replace_model(self, model: "str | os.PathLike[str] | ModelProto") -> None:
        """Become the network of another model, with the same tensors frozen. Optimizers must be made anew."""
        frozen = self._frozen
        self.source = onnx_model.open_dense(model)
        self.program = onnx_model.read_program(self.source, self.place)
        self.graph = Graph(self.program)
        tensors, looked_up = {tensor.name: tensor for tensor in self.source.tensors}, tables.find(self.program)
        self._by_value: dict[str, Weight] = {}  # by the graph's name of the trained value
        self._by_name: dict[str, Weight] = {}  # by the tensor's name in the model
        for value, name in self.program.weights.items():
            tensor, array = tensors[name], self.program.constants[value]
            if value in self.graph.fixed or not _is_trained(tensor, array) or frozen(name):
                continue
            if name not in self._by_name:
                self._by_name[name] = Weight(name, array, tensor.is_weight, tensor.dtype.name, tensor.rows)
                self._by_name[name].is_table = value in looked_up and array.ndim > 1
            self._by_value[value] = self._by_name[name]
        self.weights = torch.nn.ModuleList(self._by_name.values())
        self.norms = torch.nn.ModuleList(normalization.find(self.program, self.graph.fixed, frozen))
        self.eval()
        if not self._by_name:
            raise UnsuitableModel(f"{self.place}: no weights that could be trained: nothing to do")

    def __getitem__(self, name: str) -> Weight:
        if name not in self._by_name:
            raise InvalidArgument(f"{self.place}: no trainable tensor {name!r}; there are {', '.join(self._by_name)}")
        return self._by_name[name]

    def __iter__(self) -> Iterator[Weight]:
        return iter(self._by_name.values())

    def state(self) -> dict[str, dict[str, torch.Tensor | None]]:
        """Copies of what `restore` needs: the states of all weights, and of the statistics by the mean's name."""
        return {name: part.state() for name, part in self._parts().items()}

    def restore(self, states: dict[str, dict[str, torch.Tensor | None]]) -> None:
        """Go back to what `state` was taken from. Optimizers must be made anew.

        Raises ValueError for states that are not those of this network's weights.
        """
        parts = self._parts()
        if states.keys() != parts.keys():
            raise ValueError("states of other weights")
        for name, part in parts.items():
            part.restore(states[name])

    def _parts(self) -> dict[str, Weight | normalization.BatchNorm]:
        return self._by_name | {norm.names[0]: norm for norm in self.batchnorms}

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the outputs."""
        return tuple(self.program.outputs)

    def forward(self, inputs: Any, observe: Observer | None = None) -> dict[str, torch.Tensor]:
        """The outputs by name. `inputs`: arrays or tensors by input name, or one where the model has one input.

        `observe(node, operands, results)`: see Graph.
        """
        by_batch = {norm.output: norm for norm in self.batchnorms} if self.training else {}
        return self.graph(self.as_inputs(inputs), self.tensors(), observe, by_batch)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Compute the weights once for all that is run in the block; at its end, the gradients that they got go on to
        the parameters. For several small batches that is most of the time."""
        made = self.tensors()
        self._held = held = {name: x.detach().requires_grad_(x.requires_grad) for name, x in made.items()}
        try:
            yield
        finally:
            self._held = None
        names = [name for name, x in held.items() if x.grad is not None]
        if names:
            torch.autograd.backward([made[name] for name in names], [held[name].grad for name in names])

    def tensors(self) -> dict[str, torch.Tensor]:
        """The weights, biases and statistics as they are now, by the graph's names for them."""
        if self._held is not None:
            return self._held
        dense = {name: weight() for name, weight in self._by_name.items()}  # once for each, also where it is tied
        tensors = {value: dense[weight.name] for value, weight in self._by_value.items()}
        for norm in self.batchnorms:
            tensors.update(zip(norm.values, (norm.mean, norm.variance), strict=True))
            if (scale := norm.scale()) is not None:
                tensors[norm.scaled_by] = scale
        return tensors

    def as_inputs(self, inputs: Any) -> dict[str, torch.Tensor]:
        """Arrays or tensors by input name, or the only one, as the tensors that the graph takes."""
        names = [declared.name for declared in self.program.inputs]
        if not isinstance(inputs, dict):
            if len(names) != 1:
                raise InvalidArgument(
                    f"{self.place}: has the inputs {', '.join(names)}: give a batch as a dict of them"
                )
            inputs = {names[0]: inputs}
        if missing := set(names) - inputs.keys():
            raise InvalidArgument(
                f"the batch lacks the input {sorted(missing)[0]!r}; the model wants {', '.join(names)}"
            )
        return {declared.name: self._as_input(declared, inputs[declared.name]) for declared in self.program.inputs}

    def _as_input(self, spec: onnx_model.Input, values: Any) -> torch.Tensor:
        """One input as the graph takes it: any numbers are taken for floats; for integers and truth values only numbers
        that these hold."""
        tensor = as_tensor(values, f"input {spec.name!r}")
        dtype = torch.float32 if spec.dtype in FLOATS else getattr(torch, spec.dtype, tensor.dtype)
        axis = self.layout.inputs.get(spec.name, 0)
        if spec.shape is not None and not _fits(spec.shape, tensor.shape, axis):
            along = {None: "as it is for every sample", 0: "samples along the first axis"}
            raise InvalidArgument(
                f"in a batch of the data, input {spec.name!r} is {list(tensor.shape)}; {self.place} wants "
                f"{told_shape(spec.shape)}, {along.get(axis, f'samples along axis {axis}')}"
            )
        if axis is not None and tensor.dim() > axis and not tensor.shape[axis]:
            raise InvalidArgument(
                f"a batch of the data holds no samples: input {spec.name!r} is {list(tensor.shape)}; leave it out"
            )
        if dtype != tensor.dtype and not dtype.is_floating_point:
            array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().cpu().numpy()
            tensor = torch.from_numpy(
                casting.cast(array, f"tensor({spec.dtype})", f"{self.place}: input {spec.name!r}")
            )
        return tensor.to(dtype).to(self.device)

    @property
    def device(self) -> torch.device:
        """Where the weights are, and the constants with them."""
        return next(self.parameters()).device

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> "Network":
        """What `to`, `cpu` and `cuda` do: the graph's constants go where the weights go."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.graph.move(fn)
        return self

    def weight_of(self, value: str) -> Weight | None:
        """The Weight behind a value of the graph, or None."""
        return self._by_value.get(value)

    def uses(self, weight: Weight) -> int:
        """How many operands a tensor is: more than one where it is tied."""
        values = {value for value, other in self._by_value.items() if other is weight}
        return sum(name in values for node in self.program.nodes for name in node.inputs)

    def to_proto(self) -> "ModelProto":
        """The model with its weights and statistics as they are now, as an onnx.ModelProto."""
        values = {weight.name: weight.numpy() for weight in self}
        for norm in self.batchnorms:
            values.update(zip(norm.names, (norm.mean.cpu().numpy(), norm.variance.cpu().numpy()), strict=True))
        return onnx_model.with_values(self.source, values)

    @property
    def batchnorms(self) -> list[normalization.BatchNorm]:
        """`norms`, as a list: the statistics of the BatchNormalizations that train, in the graph's order."""
        return cast("list[normalization.BatchNorm]", list(self.norms))


def _is_trained(tensor: onnx_model.ModelTensor, array: np.ndarray) -> bool:
    """Whether a tensor is a weight or a bias of finite real numbers, and no constant of arithmetic."""
    if not tensor.dtype.real or not array.size or not np.isfinite(array).all():
        return False
    is_bias = any(operand in BIAS_INPUTS.get(operator, ()) for operator, operand in tensor.uses)
    return tensor.is_weight or (is_bias and array.size > 1)


def _fits(declared: Sequence[int | str | None], shape: torch.Size, axis: int | None) -> bool:
    """Whether a batch has the dims that are fixed; that along `axis`, the number of samples, is free."""
    if len(declared) != len(shape):
        return False
    dims = enumerate(zip(declared, shape, strict=True))
    return all(number == axis or is_open(dim) or dim == size for number, (dim, size) in dims)
