"""Weight sharing of a network in training (Deep Compression, section 3).

kept weights -> centroids and codes -> train the centroids (-> now and then, other codes) -> round the centroids
"""

import math

import numpy as np
import torch

from .. import codec
from ..plan import Settings
from ..stages import share
from .network import Network, Weight


def share_weights(weight: Weight, settings: Settings, movable: bool = False) -> None:
    """Share the kept weights as `settings` say, among one centroid for two weights at most; `movable`: see
    Weight.share. A weight that keeps fewer than two stays as it is."""
    kept = weight.kept_values()
    if len(kept) < 2:
        return
    found = codec.share_weights(kept, settings, zeros=weight.count - len(kept))
    if len(found.centroids) > len(kept) // 2:
        found = share.kmeans(kept, len(kept) // 2, settings.init, settings.seed)
    weight.share(found, movable)


def reassign(weight: Weight, price: float) -> int:
    """Give each weight the centroid of the least squared distance, in mean squares of the tensor, plus `price` times
    the bits of its code; returns how many codes changed. The weight must be shared and movable."""
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


def round_to_half(weight: Weight) -> None:
    """Round the centroids, or the weights where they are not shared, to float16, if none is beyond its range."""
    with torch.no_grad():
        half = weight.values.half().to(weight.values.dtype)
        if bool(torch.isfinite(half).all()):
            weight.values.copy_(half)


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
