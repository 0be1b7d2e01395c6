"""A model's trainable tensors, and the function that they are parameters of.

    network = Network("net.onnx")             every weight and bias by name: network["fc1.weight"]
    network(batch)["y"].sum().backward()      in plain PyTorch
    network["fc1.weight"].prune(mask)         a pruned weight is zero and has no gradient
    network["fc1.weight"].share(found)        its parameters are now the centroids

A weight is dense, pruned or shared. The gradient of a centroid is the sum of the gradients of its weights (Deep
Compression, section 3.3).
"""

import os
from collections.abc import Iterator

import numpy as np
import torch

from .. import model as onnx_model
from ..errors import BadPlan, UnsuitableModel
from ..stages import share
from .batches import as_tensor
from .graph import Graph

# The operands that shift or scale a whole channel: trained, but neither pruned nor shared unless asked for.
BIAS_INPUTS = {
    "Conv": (2,), "ConvTranspose": (2,), "Gemm": (2,), "Add": (0, 1), "PRelu": (1,), "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2), "LayerNormalization": (1, 2), "GroupNormalization": (1, 2),
    "RMSNormalization": (1,),
}  # fmt: skip

FLOATS = ("float32", "float16", "bfloat16")  # all computed in float32


class _Lookup(torch.autograd.Function):
    """Centroids at the kept places, zeros elsewhere; backward, a centroid gets the sum over its weights."""

    @staticmethod
    def forward(ctx, centroids, codes, places, size):
        ctx.save_for_backward(codes, places)
        ctx.count = len(centroids)
        dense = centroids.new_zeros(size)
        dense[places] = centroids[codes]
        return dense

    @staticmethod
    def backward(ctx, gradient):
        codes, places = ctx.saved_tensors
        sums = torch.bincount(codes, gradient[places].double(), ctx.count)  # in a fixed order, whatever the threads
        return sums.to(gradient.dtype), None, None, None


class Weight(torch.nn.Module):
    """One trainable tensor of a model.

    `values` is its parameter: all weights, flat, until it is shared; then the centroids, with `codes` (int64) for the
    weights at `places` (int64, ascending). `mask` (bool, flat, None: all) says which weights are kept. With `regrow`
    pruned weights are zero in the network and yet get gradients, so that a later mask may choose them again. `dtype` is
    the type that the tensor has in the model; it is computed in float32, or in float64 where it is that.
    """

    def __init__(self, name: str, values: np.ndarray, is_weight: bool, dtype: str = "float32"):
        super().__init__()
        self.name, self.shape, self.is_weight, self.dtype = name, values.shape, is_weight, dtype
        self.regrow = False
        self.values = torch.nn.Parameter(torch.tensor(values.ravel()))
        self.kept = self.count  # weights that are not pruned
        for buffer in ("mask", "codes", "places", "free"):
            self.register_buffer(buffer, None)
        self.register_parameter("latent", None)

    @property
    def count(self) -> int:
        """Weights, kept or not."""
        return int(np.prod(self.shape))

    @property
    def shared(self) -> bool:
        """Whether its parameters are centroids."""
        return self.codes is not None

    def forward(self) -> torch.Tensor:
        """The tensor that the network uses, of the shape it has in the model."""
        if self.shared:
            flat = _Lookup.apply(self.values, self.codes, self.places, self.count)
            if self.free is not None:
                flat = flat.index_copy(0, self.places[self.free], self.latent[self.free])
            elif self.latent is not None:  # zero in value, and a way for gradients
                flat = flat.index_add(0, self.places, self.latent - self.latent.detach())
        elif self.mask is None:
            flat = self.values
        else:
            flat = torch.where(self.mask, self.values, 0)  # not a product, which would have zeros with a sign
            if self.regrow:
                flat = flat.detach() + self.values - self.values.detach()
        return flat.view(self.shape)

    def prune(self, mask) -> None:
        """Keep only the weights where `mask` (bool, of the tensor's shape or flat) is true. What was pruned before
        stays pruned, unless `regrow`. Raises BadPlan for a mask of another size, or of a tensor whose weights are
        shared."""
        if self.shared:
            raise BadPlan(f"{self.name}: its weights are shared already; prune before that")
        mask = torch.as_tensor(mask).detach().clone().bool().reshape(-1)
        if len(mask) != self.count:
            raise BadPlan(f"{self.name}: a mask has {self.count} places, not {len(mask)}")
        self.mask = mask if self.mask is None or self.regrow else self.mask & mask
        self.kept = int(self.mask.sum())

    def share(self, found: share.Shared, movable: bool = False) -> None:
        """Make the kept weights centroids (stages.share.Shared, a code for each kept weight in order).

        Optimizers must be made anew after that: `values` is another parameter. `movable` keeps the weights themselves
        as one more parameter, `latent`, which gets their gradients, so that sharing.reassign can give them other codes,
        or sharing.settle leave some of them free of their centroids for a while.
        Raises BadPlan where the codes do not fit, or the weights are shared already.
        """
        if self.shared:
            raise BadPlan(f"{self.name}: its weights are shared already")
        places = torch.arange(self.count) if self.mask is None else torch.nonzero(self.mask).ravel()
        if len(found.codes) != len(places):
            raise BadPlan(f"{self.name}: codes for the {len(places)} kept weights, not {len(found.codes)}")
        dense = self.values.detach()
        self.places, self.codes = places, torch.from_numpy(found.codes.astype(np.int64))
        self.values = torch.nn.Parameter(torch.from_numpy(found.centroids).to(dense.dtype))
        self.latent = torch.nn.Parameter(dense[places].clone()) if movable else None

    def numpy(self) -> np.ndarray:
        """The tensor as it is now (float32, or float64 where the model has that)."""
        with torch.no_grad():
            return self().detach().numpy().copy()

    def state(self) -> dict[str, torch.Tensor | None]:
        """Copies of what `restore` needs."""
        parts = {name: getattr(self, name) for name in ("values", "latent", "mask", "codes", "places", "free")}
        return {name: None if part is None else part.detach().clone() for name, part in parts.items()}

    def restore(self, state: dict[str, torch.Tensor | None]) -> None:
        """Be again what `state` was taken from. Optimizers must be made anew."""
        for name, part in state.items():
            part = None if part is None else part.detach().clone()
            is_parameter = part is not None and name in ("values", "latent")
            setattr(self, name, torch.nn.Parameter(part) if is_parameter else part)
        self.kept = self.count if self.mask is None else int(self.mask.sum())

    def kept_values(self) -> np.ndarray:
        """The weights that are kept (flat), in the tensor's order."""
        flat = self.numpy().ravel()
        return flat if self.mask is None else flat[self.mask.numpy()]


class Network(torch.nn.Module):
    """A model (the path of an ONNX file, or a ModelProto) as a function of its weights, by name.

    `weights` holds a Weight for each tensor that an operator uses as a weight or bias, but those that `frozen` (a
    predicate on names) leaves as they are, those that shape the graph, and those that hold infinities (masks) or NaN.
    Raises DczError: UnsuitableModel for an operator that cannot be trained, or where no tensor is left.
    """

    def __init__(self, model, frozen=lambda name: False):
        super().__init__()
        given = isinstance(model, (str, os.PathLike))
        self.place = os.fspath(model) if given else "the model"
        self.source = onnx_model.load(model) if given else onnx_model.from_proto(model)
        self.program = onnx_model.program(self.source, self.place)
        self.graph = Graph(self.program)
        sites = {site.name: site for site in self.source.sites}
        self._values = {}  # the graph's name of each trained value -> its Weight
        found = {}
        for value, name in self.program.weights.items():
            site, array = sites[name], self.program.constants[value]
            if value in self.graph.fixed or not _is_trained(site, array) or frozen(name):
                continue
            if name not in found:
                found[name] = Weight(name, array, site.is_weight, site.dtype.name)
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


def _is_trained(site, array: np.ndarray) -> bool:
    """Whether a tensor is a weight or a bias, and no constant of arithmetic."""
    if not site.dtype.real or not array.size or not np.isfinite(array).all():
        return False
    is_bias = any(operand in BIAS_INPUTS.get(operator, ()) for operator, operand in site.uses)
    return site.is_weight or (is_bias and array.size > 1)


def _fits(wanted: tuple, shape: torch.Size) -> bool:
    """Whether a batch has the dims that are fixed; how many samples it holds is its own affair."""
    pairs = zip(wanted[1:], shape[1:])
    return len(wanted) == len(shape) and all(not isinstance(want, int) or want == have for want, have in pairs)
