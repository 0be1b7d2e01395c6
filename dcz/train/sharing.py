"""Weight sharing of a network in training (Deep Compression, section 3).

kept weights -> centroids and codes -> train the centroids (-> now and then, other codes) -> round the centroids
"""

import math

import numpy as np
import torch

from ..codec import encode as codec
from ..codec.stages import share
from ..errors import BadPlan
from ..plan import Settings
from .network import Network
from .weight import Weight


def share_weights(
    weight: Weight, settings: Settings, movable: bool = False, importance: torch.Tensor | None = None
) -> None:
    """Share the kept weights as `settings` say, among one centroid for two weights at most.

    `importance` (of the tensor's size, such as the mean squared gradients) is what the squared error of a weight counts
    for in k-means; `movable`: see Weight.share. A tensor that keeps fewer than two weights stays as it is.
    Raises BadPlan for settings that share nothing, and for a tensor that is shared.
    """
    if settings.lossless or settings.shares_nothing:
        raise BadPlan(f"{weight.name}: these settings share nothing; give bits, a step or a quality")
    kept = weight.kept_values()
    if len(kept) < 2:
        return
    if importance is not None:
        importance = importance.double().reshape(-1)
        importance = (importance if weight.mask is None else importance[weight.mask]).numpy()
        importance = importance if importance.any() else None
    found = codec.share_weights(kept, settings, weight.count - len(kept), importance)
    if len(found.centroids) > len(kept) // 2:
        found = share.kmeans(kept, len(kept) // 2, settings.init, settings.seed, importance)
    weight.share(found, movable)


def reassign(weight: Weight, price: float) -> int:
    """Give each weight the centroid of the least squared distance, in mean squares of the tensor, plus `price` times
    the bits of its code; returns how many codes changed. Raises BadPlan unless the weight is shared and movable."""
    _check_movable(weight)
    with torch.no_grad():
        counts = torch.bincount(weight.codes, minlength=len(weight.values)).double()
        bits = -torch.log2(counts.clamp_min(0.5) / counts.sum())
        latent = weight.latent.double()
        unit = latent.square().mean().clamp_min(1e-30)
        best = torch.full_like(latent, math.inf)
        codes = torch.zeros_like(weight.codes)
        for code, centroid in enumerate(weight.values.double()):
            cost = (latent - centroid) ** 2 / unit + price * bits[code]
            closer = cost < best
            best, codes = torch.where(closer, cost, best), torch.where(closer, code, codes)
        changed = int((codes != weight.codes).sum())
        weight.codes = codes
    return changed


def settle(weight: Weight, share: float, random: np.random.Generator) -> None:
    """Bind a `share` of the weights to their centroids, chosen at random, those that were bound before among them; the
    others are trained on their own until they are bound in turn, each to the centroid that is then the nearest (Zhou et
    al., "Incremental Network Quantization", 2017). Raises BadPlan unless the weight is shared and movable."""
    _check_movable(weight)
    with torch.no_grad():
        free = torch.ones_like(weight.codes, dtype=torch.bool) if weight.free is None else weight.free
        places = torch.nonzero(free).ravel()
        distance = (weight.latent[places, None] - weight.values[None, :]).abs()
        weight.codes = weight.codes.index_copy(0, places, distance.argmin(1))
        left = len(free) - round(share * len(free))
        stay = places[torch.from_numpy(random.permutation(len(places))[:left])]
        weight.free = torch.zeros_like(free).index_fill(0, stay, True)


def _check_movable(weight: Weight) -> None:
    if weight.latent is None:
        raise BadPlan(f"{weight.name}: its codes cannot change; share it with movable=True first")


def round_to_half(weight: Weight) -> None:
    """Round the centroids, or the weights where they are not shared, to float16, if none is beyond its range."""
    with torch.no_grad():
        half = weight.values.half().to(weight.values.dtype)
        if bool(torch.isfinite(half).all()):
            weight.values.copy_(half)


def round_to_type(weight: Weight) -> None:
    """Round the parameters to the type that the tensor has in the model."""
    with torch.no_grad():
        weight.values.copy_(weight.values.to(getattr(torch, weight.dtype)).to(weight.values.dtype))


def projected_bytes(network: Network, settings: dict[str, Settings]) -> int:
    """About how many bytes the file will take: for each tensor the entropy of its places and of its codes.

    What is not shared yet is shared for that, as `settings` (by name) say; what is not among them counts in full.
    """
    total = 0.0
    for weight in network:
        kept = weight.kept
        if weight.shared:
            counts = np.bincount(weight.codes.numpy())
        elif weight.name in settings and not settings[weight.name].shares_nothing and kept > 1:
            counts = np.bincount(codec.share_weights(weight.kept_values(), settings[weight.name]).codes)
        else:
            counts = None
        total += _entropy_bits(np.array([kept, weight.count - kept]))
        total += 32 * kept if counts is None else _entropy_bits(counts) + 16 * len(counts)
    return round(total / 8)


def _entropy_bits(counts: np.ndarray) -> float:
    """Bits of coding symbols that occur so often, each as short as its share allows."""
    counts = counts[counts > 0]
    return float((counts * np.log2(counts.sum() / counts)).sum())
