"""Weight sharing of a network in training (Deep Compression, section 3).

kept weights -> centroids and codes -> train the centroids, now and then update the codes -> round the centroids
"""

import math
from collections.abc import Collection, Mapping

import numpy as np

from ..codec import sharing
from ..codec.stages import entropy, grid, share
from ..errors import InvalidArgument
from ..plan import LOSSLESS, Settings
from .network import Network
from .pytorch import torch
from .weight import Weight

LLOYD_ROUNDS = 30
MIN_HALF = 2.0**-8  # of the largest centroid of a tensor with scales: float16 has fewer bits for much smaller ones


def share_weights(
    weight: Weight, settings: Settings, movable: bool = False, importance: torch.Tensor | None = None
) -> None:
    """Share the kept weights as `settings` say, with at most one centroid for two weights.

    `importance` (of the tensor's size, such as the mean squared gradients) weights the squared errors in k-means;
    `movable`: see Weight.share. A tensor that keeps fewer than two weights stays as it is.
    Raises InvalidArgument for settings that share nothing, and for a tensor that is shared.
    """
    if settings.lossless or settings.shares_nothing:
        raise InvalidArgument(f"{weight.name}: these settings share nothing; give bits, a step or a quality")
    kept = weight.kept_values()
    if len(kept) < 2:
        return
    kept_importance = None
    if importance is not None:
        flat = importance.cpu().double().reshape(-1)
        array = (flat if weight.mask is None else flat[weight.mask.cpu()]).cpu().numpy()
        kept_importance = array if array.any() else None
    shared = sharing.share_weights(kept, settings, weight.count - len(kept), kept_importance)
    if len(shared.centroids) > len(kept) // 2:
        shared = share.kmeans(kept, len(kept) // 2, settings.init, settings.seed, kept_importance)
    weight.share(shared, movable)


def reassign(weight: Weight, price: float) -> int:
    """Give each weight the code of least cost; return how many codes changed.

    Cost: the squared distance to the centroid, in mean squares of the tensor, plus `price` times the bits of the code,
    -log2 of its frequency (entropy-constrained assignment: Chou, Lookabaugh and Gray, 1989). Raises InvalidArgument
    unless the weight is shared and movable.
    """
    latent = _latent(weight)
    with torch.no_grad():
        before, centroids, values = weight.codes.cpu(), weight.values.cpu().double(), latent.cpu().double()
        counts = torch.bincount(before, minlength=len(centroids)).double()
        bits = -torch.log2(counts.clamp_min(0.5) / counts.sum())
        unit = values.square().mean().clamp_min(1e-30)
        codes = cheapest_codes(values, centroids, price * unit * bits)
        changed = int((codes != before).sum())
        weight.codes = codes.to(weight.codes.device)
    return changed


def price_on_grid(weight: Weight) -> float:
    """The price for `reassign` of a weight that is shared on a grid: the slope of the rate-distortion curve there, for
    which its codes were chosen."""
    gaps = np.diff(np.sort(weight.values.detach().cpu().double().numpy()))
    square = float(_latent(weight).detach().double().square().mean())
    return grid.rate_slope(float(np.median(gaps))) / square if len(gaps) and square else 0.0


def reassign_all(network: Network, price: float, on_grid: Collection[str]) -> None:
    """Reassign the codes of all movable tensors: at `price`, or of those in `on_grid` (names) at that of their grid."""
    for weight in network:
        if weight.latent is not None:
            reassign(weight, price_on_grid(weight) if weight.name in on_grid else price)


def fit_codebook(weight: Weight, price: float) -> None:
    """Lloyd's iterations under the cost of `reassign`: codes of least cost, centroids in the mean of their weights.

    So a codebook of more entries than a few bits number costs as few: entries at the ends are rare, and those near each
    other one. Raises InvalidArgument unless the weight is shared and movable.
    """
    latent = _latent(weight)
    for _ in range(LLOYD_ROUNDS):
        changed = reassign(weight, price)
        with torch.no_grad():
            count = len(weight.values)
            sums = torch.bincount(weight.codes, latent.double(), count)
            sizes = torch.bincount(weight.codes, minlength=count)
            means = torch.where(sizes > 0, sums / sizes.clamp_min(1), weight.values.double())
            means[weight.values == 0] = 0  # files leave out what it codes
            weight.values.copy_(means.to(weight.values))
        if not changed:
            break


def cheapest_codes(values: torch.Tensor, centroids: torch.Tensor, costs: torch.Tensor | None = None) -> torch.Tensor:
    """The code of least (value - centroid)^2 + cost for each of `values`, int64; costs: one a code, None: zero.

    Two such parabolas cross once, so that codes are intervals of values: those of the lower envelope.
    """
    points = centroids.double().tolist()
    extra = [0.0] * len(points) if costs is None else costs.double().tolist()
    chosen: list[int] = []
    limits: list[float] = []  # above limits[i], chosen[i + 1] is cheaper than chosen[i]
    for code in sorted(range(len(points)), key=lambda code: (points[code], extra[code])):
        if chosen and points[chosen[-1]] == points[code]:
            continue
        limit = -math.inf
        while chosen:
            last = chosen[-1]
            apart = points[code] - points[last]
            limit = (points[code] + points[last]) / 2 + (extra[code] - extra[last]) / (2 * apart)
            if not limits or limit > limits[-1]:
                break
            chosen.pop(), limits.pop()
        if chosen:
            limits.append(limit)
        chosen.append(code)
    places = torch.bucketize(values, torch.tensor(limits).to(values))
    return torch.tensor(chosen, device=values.device)[places]


def bind_to_centroids(weight: Weight, share: float, random: np.random.Generator) -> None:
    """Bind a `share` (a fraction) of the weights to their centroids; the others are free, trained on their own.

    Those that were bound before stay bound and keep their codes; more are chosen at random. A weight gets the centroid
    that is nearest when it is bound (the weight partition of Zhou et al., "Incremental Network Quantization", 2017,
    section 2.2, at random). Raises InvalidArgument unless the weight is shared and movable.
    """
    latent = _latent(weight)
    with torch.no_grad():
        free = torch.ones_like(weight.codes, dtype=torch.bool) if weight.free is None else weight.free
        at = torch.nonzero(free).ravel()
        weight.codes = weight.codes.index_copy(0, at, cheapest_codes(latent[at], weight.values))
        left = len(free) - round(share * len(free))
        stay = at[torch.from_numpy(random.permutation(len(at))[:left]).to(at.device)]
        weight.free = torch.zeros_like(free).index_fill(0, stay, True)


settle = bind_to_centroids  # its earlier public name


def _latent(weight: Weight) -> torch.Tensor:
    if weight.latent is None:
        raise InvalidArgument(f"{weight.name}: its codes cannot change; share it with movable=True first")
    return weight.latent


def round_to_half(weight: Weight) -> None:
    """Round the centroids, or the weights where they are not shared, to float16, if none is beyond its range, nor all
    of centroids with scales near its least numbers."""
    with torch.no_grad():
        half = weight.values.half().to(weight.values.dtype)
        is_small = weight.scales is not None and float(weight.values.abs().max()) < MIN_HALF
        if bool(torch.isfinite(half).all()) and not is_small:
            weight.values.copy_(half)


def round_to_type(weight: Weight) -> None:
    """Round the parameters to the type that the tensor has in the model."""
    with torch.no_grad():
        weight.values.copy_(weight.values.to(getattr(torch, weight.dtype)).to(weight.values.dtype))


def share_network(
    network: Network,
    settings: Mapping[str, Settings],
    movable: bool,
    importance: Mapping[str, torch.Tensor],
    price: float | None = None,
) -> None:
    """Share each tensor that is not shared yet as its settings (by name) say, but those that share nothing, and those
    that have none; see share_weights, and with a `price` and movable codes, fit_codebook, but for grids, whose levels
    are where they should be."""
    for weight in network:
        chosen = settings.get(weight.name, LOSSLESS)
        if not weight.shared and not chosen.lossless and not chosen.shares_nothing:
            share_weights(weight, chosen, movable, importance.get(weight.name))
            if price is not None and weight.latent is not None and chosen.bits is not None:
                fit_codebook(weight, price)


def bind_rest(network: Network, seed: int) -> None:
    """Bind the weights that are not bound yet, as where training halted between two steps."""
    for weight in network:
        if weight.free is not None and bool(weight.free.any()):
            bind_to_centroids(weight, 1.0, np.random.default_rng(seed))


def round_network(network: Network, settings: Mapping[str, Settings], half_biases: bool) -> None:
    """Round centroids, biases, and tensors of 16-bit types to what the file will hold."""
    for weight in network:
        chosen = settings[weight.name]
        is_half_bias = not weight.is_weight and chosen.lossless and half_biases
        if is_half_bias or (weight.shared and chosen.codebook == "float16"):
            round_to_half(weight)
        round_to_type(weight)


def projected_bytes(network: Network, settings: dict[str, Settings]) -> int:
    """An estimate of the file's size: for each tensor the entropy of its mask and of its codes, and its codebook.

    A tensor that is not shared yet is shared for the estimate as `settings` (by name) say; without settings its kept
    weights count 32 bits each.
    """
    total = 0.0
    for weight in network:
        kept = weight.kept
        if weight.shared:
            counts = np.bincount(weight.codes.cpu().numpy())
        elif weight.name in settings and not settings[weight.name].shares_nothing and kept > 1:
            counts = np.bincount(sharing.share_weights(weight.kept_values(), settings[weight.name]).codes)
        else:
            counts = None
        total += entropy.entropy_bits(np.array([kept, weight.count - kept]))
        total += 32 * kept if counts is None else entropy.entropy_bits(counts) + 16 * len(counts)
    return round(total / 8)
