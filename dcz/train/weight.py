"""A tensor in training: dense, pruned or shared.

    weight.prune(mask)        a pruned weight is zero and has no gradient
    weight.share(found)       its parameters are now the centroids

The gradient of a centroid is the sum of the gradients of its weights (Deep Compression, section 3.3).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..codec.stages import scale, share
from ..encoded import step_scales
from ..errors import InvalidArgument
from ..tensor import ValueGrid
from .pytorch import Tensor, torch

PARTS = ("values", "latent", "mask", "codes", "places", "free", "scales")  # the whole state of a tensor
PARAMETERS = ("values", "latent")  # those of them that are trained


class _Lookup(torch.autograd.Function):
    """Centroids at the kept places, zeros elsewhere; backward, a centroid gets the sum over its weights."""

    @staticmethod
    def forward(ctx: Any, centroids: Tensor, codes: Tensor, places: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(codes, places)
        ctx.count, ctx.zeros = len(centroids), centroids == 0
        dense = centroids.new_zeros(size)
        dense[places] = centroids[codes]
        return dense

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        codes, places = ctx.saved_tensors
        wide = gradient[places].to(torch.float32 if gradient.device.type == "mps" else torch.float64)
        sums = torch.bincount(codes, wide, ctx.count)  # in a fixed order, whatever the threads
        sums[ctx.zeros] = 0  # a centroid that is zero stays zero: files leave out what it codes
        return sums.to(gradient.dtype), None, None, None


_lookup: Callable[..., Tensor] = _Lookup.apply


class Weight(torch.nn.Module):
    """One trainable tensor of a model.

    `values` is its parameter: all weights, flat, until it is shared; then the centroids, with `codes` (int64) for the
    weights at `places` (flat positions, int64, ascending). `mask` (bool, flat, None: all) says which weights are kept.
    With `regrow` pruned weights are zero in the network and yet get gradients, so that a later mask may choose them
    again. `rows` says which axes number its rows (see tensor.Tensor); `is_table`: its rows are looked up, and a batch
    reads some of them (see tables). `dtype` is the type that the tensor has in the model; it is computed in float32, or
    in float64 where it is that. `latent` are the weights behind the centroids where they may change their codes, and
    `free` (bool, one for each of `places`, None: none) those that the network uses as they are, not bound to a centroid
    yet. `scales` (None: ones), one for each place along an axis, of length 1 along the others, are what its values, the
    centroids or all weights, are multiplied with (spec, section 8.1).
    """

    mask: Tensor | None
    codes: Tensor  # None until it is shared, as are `places`
    places: Tensor
    free: Tensor | None
    scales: Tensor | None
    latent: torch.nn.Parameter | None

    def __init__(self, name: str, values: np.ndarray, is_weight: bool, dtype: str = "float32", rows: int = 0):
        super().__init__()
        self.name, self.shape, self.is_weight, self.dtype = name, values.shape, is_weight, dtype
        self.rows = rows
        self.regrow = self.is_table = False
        self.values = torch.nn.Parameter(torch.tensor(values.ravel()))
        self.kept = self.count  # weights that are not pruned
        for buffer in ("mask", "codes", "places", "free", "scales"):
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

    def forward(self) -> Tensor:
        """The tensor that the network uses, of the shape it has in the model."""
        flat: Tensor
        if self.shared:
            flat = _lookup(self.values, self.codes, self.places, self.count)
            if self.latent is not None and self.free is not None:
                flat = flat.index_copy(0, self.places[self.free], self.latent[self.free])
            elif self.latent is not None:  # zero in value, and a path for gradients
                flat = flat.index_add(0, self.places, self.latent - self.latent.detach())
        elif self.mask is None:
            flat = self.values
        else:
            flat = torch.where(self.mask, self.values, 0)  # not a product, which would give zeros with a sign
            if self.regrow:
                flat = flat.detach() + self.values - self.values.detach()
        dense = flat.view(self.shape)
        return dense if self.scales is None else dense * self.scales

    def prune(self, mask: Tensor | np.ndarray) -> None:
        """Keep only the weights where `mask` (bool, of the tensor's shape or flat) is true.

        Weights that were pruned before stay pruned, unless `regrow`. Raises InvalidArgument for a mask of another size,
        or a tensor whose weights are shared.
        """
        if self.shared:
            raise InvalidArgument(f"{self.name}: its weights are shared already; prune before that")
        mask = torch.as_tensor(mask).detach().clone().bool().reshape(-1).to(self.values.device)
        if len(mask) != self.count:
            raise InvalidArgument(f"{self.name}: a mask has {self.count} places, not {len(mask)}")
        self.mask = mask if self.mask is None or self.regrow else self.mask & mask
        self.kept = int(self.mask.sum())

    def share(self, found: share.SharedWeights, movable: bool = False) -> None:
        """Make centroids the parameters of the kept weights; `found` has a code for each of these, in order.

        Optimizers must be made anew after that: `values` is another parameter. `movable` keeps the weights themselves
        as one more parameter, `latent`, which gets their gradients, so that sharing.reassign can change their codes, or
        sharing.bind_to_centroids leave some of them free for a while.
        Raises InvalidArgument where the codes do not fit, or the weights are shared already.
        """
        if self.shared:
            raise InvalidArgument(f"{self.name}: its weights are shared already")
        dense = self.values.detach()
        everywhere = torch.arange(self.count, device=dense.device)
        places = everywhere if self.mask is None else torch.nonzero(self.mask).ravel()
        if len(found.codes) != len(places):
            raise InvalidArgument(f"{self.name}: codes for the {len(places)} kept weights, not {len(found.codes)}")
        self.places, self.codes = places, torch.from_numpy(found.codes.astype(np.int64)).to(dense.device)
        self.values = torch.nn.Parameter(torch.from_numpy(found.centroids).to(dense.dtype).to(dense.device))
        self.latent = torch.nn.Parameter(dense[places].clone()) if movable else None

    def in_units(self, steps: np.ndarray, axis: int) -> None:
        """Divide the weights, which are not shared yet, by scales, one for each place along an axis: the product stays.

        `steps` (uint8) are their symbols in a file (see encoded.step_scales); the scales are a power of two times what
        these mean, about 1 in the middle. Optimizers must be made anew. Raises InvalidArgument where it is shared.
        """
        if self.shared:
            raise InvalidArgument(f"{self.name}: its weights are shared already; scale them before that")
        scales = step_scales(steps)
        scales *= 2.0 ** -round(float(np.log2(scales).mean()))
        shape = [-1 if each == axis else 1 for each in range(len(self.shape))]
        self.scales = torch.as_tensor(scales).to(self.values).view(shape)
        self.values = torch.nn.Parameter((self.values.detach().view(self.shape) / self.scales).reshape(-1))

    def scale(self, scales: np.ndarray, axis: int) -> None:
        """Multiply the centroids by `scales` (all above 0), one for each place along an axis; codes stay from now on.

        Raises InvalidArgument unless its weights are shared, and all bound to their centroids.
        """
        if not self.shared or (self.free is not None and bool(self.free.any())):
            raise InvalidArgument(f"{self.name}: not all of its weights are shared; share and bind them first")
        if np.shape(scales) != self.shape[axis : axis + 1] or not (np.isfinite(scales) & (scales > 0)).all():
            raise InvalidArgument(f"{self.name}: scales above 0, one for each of {self.shape[axis]} places")
        shape = [-1 if each == axis else 1 for each in range(len(self.shape))]
        self.latent = self.free = None
        self.scales = torch.as_tensor(scales).to(self.values).view(shape)

    def grid(self) -> ValueGrid | None:
        """The scales of its centroids as its file will have them, if it has any."""
        if self.scales is None:
            return None
        axis = int(np.argmax(self.scales.shape))
        scales = self.scales.cpu().double().numpy().ravel()
        scales = scales * 2.0 ** (3 - math.floor(math.log2(scales.min())))  # 8 or more, as in a file
        return ValueGrid(axis, scales, scale.nearest_steps(scales))

    def numpy(self) -> np.ndarray:
        """The tensor as it is now (float32, or float64 where the model has that)."""
        with torch.no_grad():
            array: np.ndarray = self().detach().cpu().numpy().copy()
        return array

    def state(self) -> dict[str, Tensor | None]:
        """Copies of all that `restore` needs."""
        parts = {name: getattr(self, name) for name in PARTS}
        if self.scales is None:  # as in checkpoints of older versions
            del parts["scales"]
        return {name: None if part is None else part.detach().clone() for name, part in parts.items()}

    def restore(self, state: dict[str, Tensor | None]) -> None:
        """Go back to what `state` was taken from. Optimizers must be made anew.

        Raises ValueError, nothing being changed, for parts that do not go together: a state may come from a file.
        """
        self._check(**state)
        device = self.values.device
        for name, part in ({"scales": None} | state).items():
            copy = None if part is None else part.detach().clone().to(device)
            setattr(self, name, torch.nn.Parameter(copy) if copy is not None and name in PARAMETERS else copy)
        self.kept = self.count if self.mask is None else int(self.mask.sum())

    def _check(
        self,
        values: Tensor | None,
        latent: Tensor | None,
        mask: Tensor | None,
        codes: Tensor | None,
        places: Tensor | None,
        free: Tensor | None,
        scales: Tensor | None = None,
    ) -> None:
        """Raise ValueError unless these are parts of a state of this tensor."""

        def fits(part: Tensor | None, length: int, dtype: torch.dtype) -> bool:
            return part is None or (part.dtype == dtype and part.shape == (length,))

        if values is None:
            raise ValueError(f"{self.name}: a state without values")
        kept = self.count if places is None else len(places)
        lengths = fits(mask, self.count, torch.bool) and fits(free, kept, torch.bool)
        lengths = lengths and fits(codes, kept, torch.int64)
        shared = codes is not None
        sizes = fits(latent, kept, values.dtype) and fits(values, len(values) if shared else self.count, values.dtype)
        rank = len(self.shape)
        lengths = lengths and (scales is None or (scales.dim() == rank and scales.numel() in self.shape))
        is_plain = latent is free is None
        if not lengths or not sizes or shared != (places is not None) or not (shared or is_plain):
            raise ValueError(f"{self.name}: parts of a state that do not go together")
        if codes is not None and places is not None:
            expected = torch.arange(self.count, device=places.device) if mask is None else torch.nonzero(mask).ravel()
            in_codebook = not len(codes) or 0 <= int(codes.min()) <= int(codes.max()) < len(values)
            if not torch.equal(places, expected) or not in_codebook or (free is not None and latent is None):
                raise ValueError(f"{self.name}: codes that do not fit the mask or the codebook")

    def kept_values(self) -> np.ndarray:
        """The weights that are kept (flat), in the tensor's order; in units of their scales, if it has any."""
        flat = self.numpy().ravel() if self.scales is None else self.values.detach().cpu().numpy()
        return flat if self.mask is None else flat[self.mask.cpu().numpy()]
