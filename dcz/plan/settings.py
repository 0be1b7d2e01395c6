"""How one tensor is compressed: frozen settings, the presets, and settings laid over others.

overlay(DEFAULT, {"bits": 5})   ->   Settings(bits=5): a way of sharing that is given replaces the one that was there
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..arguments import expect, is_number, is_whole
from ..errors import InvalidArgument

STARTS = ("cuberoot", "linear", "density", "forgy")
CODEBOOKS = ("auto", "float16")
WORST_QUALITY, BEST_QUALITY = 1.0, 72.0  # decibels
SHARED_QUALITY = 42.0  # that 256 levels reach for ordinary weights


def _is_number(value: object, low: float, high: float) -> bool:
    return value is None or is_number(value, low, high)


def _is_whole(value: object, low: int, high: int) -> bool:
    return value is None or is_whole(value, low, high)


@dataclass(frozen=True)
class Settings:
    """How one tensor is compressed. With `lossless`, exactly; else pruned and shared as the other fields say.

    Pruning (at most one): `sparsity`, the share of weights that becomes zero, 0 to below 1; `threshold`, in standard
    deviations of the tensor. Sharing (at most one) of the weights that pruning leaves: `bits` 1 to 8, k-means with
    2^bits centroids; `step`, a grid of this many of their standard deviations; `quality`, a grid of this SQNR (signal
    to quantization noise ratio) in decibels, and with `adapt` finer for networks that are more sensitive than most (see
    codec.quality.margin); `rate`, a grid whose codes take about this many bits a weight.
    `share=False` keeps them as they are. `init` and `seed` start k-means, `index_bits` 2 to 8 fixes the gaps' width
    (None: the smallest measured), `codebook` may be rounded to float16. Raises InvalidArgument for fields that are out
    of range or contradict each other.
    """

    lossless: bool = False
    sparsity: float | None = None
    threshold: float | None = None
    share: bool = True
    bits: int | None = None
    step: float | None = None
    quality: float | None = None
    adapt: bool = False
    rate: float | None = None
    init: str = "cuberoot"
    seed: int = 0
    index_bits: int | None = None
    codebook: str = "auto"

    def __post_init__(self) -> None:
        flags = all(isinstance(flag, bool) for flag in (self.lossless, self.share, self.adapt))
        expect(flags, "lossless, share and adapt are true or false")
        expect(not self.adapt or self.quality is not None, "adapt = true goes with a quality")
        expect(_is_number(self.sparsity, 0, 1) and self.sparsity != 1, "sparsity is a number from 0 to below 1")
        expect(_is_number(self.threshold, 0, 1e6), "threshold is a number of standard deviations, 0 or more")
        expect(_is_whole(self.bits, 1, 8), "bits is a whole number from 1 to 8")
        expect(_is_number(self.step, 1e-6, 1e3), "step is a number of standard deviations from 1e-6 to 1000")
        expect(
            _is_number(self.quality, WORST_QUALITY, BEST_QUALITY),
            f"quality is a number of decibels from {WORST_QUALITY:g} to {BEST_QUALITY:g}",
        )
        expect(_is_number(self.rate, 0.01, 8), "rate is a number of bits a weight from 0.01 to 8")
        expect(isinstance(self.init, str) and self.init in STARTS, f"init is one of {', '.join(STARTS)}")
        expect(self.seed is not None and _is_whole(self.seed, 0, 2**32), "seed is a whole number, 0 or more")
        expect(_is_whole(self.index_bits, 2, 8), "index_bits is a whole number from 2 to 8")
        expect(
            isinstance(self.codebook, str) and self.codebook in CODEBOOKS,
            f"codebook is one of {', '.join(CODEBOOKS)}",
        )
        expect(self.sparsity is None or self.threshold is None, "give sparsity or threshold, not both")
        sharing = [name for name in SHARING if getattr(self, name) is not None]
        expect(len(sharing) <= 1, f"give one of {', '.join(sharing)}, not several")
        expect(self.share or not sharing, "share = false leaves no room for bits, step, quality or rate")
        changes = self.prunes or bool(sharing)
        expect(not (self.lossless and changes), "lossless = true leaves no room for pruning or sharing")

    @property
    def prunes(self) -> bool:
        """Whether weights are left out for their small magnitudes."""
        return self.sparsity is not None or self.threshold is not None

    @property
    def shares_nothing(self) -> bool:
        """Whether the values that pruning leaves are kept as they are."""
        return not self.share or all(getattr(self, name) is None for name in SHARING)

    def __str__(self) -> str:
        """The fields that differ from their defaults, as `name=value`, for metadata and messages."""
        pairs = [(f.name, getattr(self, f.name), f.default) for f in dataclasses.fields(self)]
        return " ".join(f"{name}={value}" for name, value, default in pairs if value != default)


PRUNING = ("sparsity", "threshold")
SHARING = ("bits", "step", "quality", "rate")
# Decibels of weight error that change few answers of a network: see tests/benchmarks/RESULTS.md.
SAFE_QUALITY = 33.0
DEFAULT = Settings(quality=SAFE_QUALITY, adapt=True)
LOSSLESS = Settings(lossless=True)
# Starting points for those who do not think in decibels. What they do to a real network is measured in
# tests/benchmarks/RESULTS.md. With calibration a preset is a drop instead (DROPS): the share of samples that may
# change.
PRESETS = {
    "lossless": LOSSLESS,
    "safe": DEFAULT,
    "balanced": Settings(quality=30.0, adapt=True),
    "small": Settings(quality=26.0, adapt=True),
}
DROPS = {"safe": 0.005, "balanced": 0.01, "small": 0.05}


def overlay(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """`settings` with `changes`: a way of pruning or sharing that is given replaces the one that was there, and so do
    `share` false and `lossless` true, which are ways of doing neither; a `preset` stands for what it changes."""
    changes = _without_preset(changes)
    fields = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)}
    for group in (PRUNING, SHARING):
        if any(changes.get(name) is not None for name in group):
            fields.update(dict.fromkeys(group), lossless=False, **({"adapt": False} if group is SHARING else {}))
    if any(changes.get(name) is not None for name in SHARING):
        fields["share"] = True
    if changes.get("share") is False:
        fields.update(dict.fromkeys(SHARING), adapt=False)
    if changes.get("lossless"):
        fields.update(dict.fromkeys(PRUNING + SHARING), adapt=False)
    unknown = changes.keys() - fields.keys()
    if unknown:
        raise InvalidArgument(f"unknown setting {min(unknown)!r}; known are preset, {', '.join(fields)}")
    return Settings(**(fields | changes))


def _without_preset(changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` with the settings of a preset in its place."""
    changes = dict(changes)
    name = changes.pop("preset", None)
    if name is None:
        return changes
    expect(isinstance(name, str) and name in PRESETS, f"preset is one of {', '.join(PRESETS)}, not {name!r}")
    rivals = [field for field in SHARING if changes.get(field) is not None]
    rivals += ["share = false"] if changes.get("share") is False else []
    rivals += ["lossless"] if changes.get("lossless") else []
    rivals += [field for field in PRUNING if PRESETS[name].lossless and changes.get(field) is not None]
    if rivals:
        raise InvalidArgument(
            f"the preset {name!r} says how exact tensors stay, and so does {rivals[0]}: leave one out"
        )
    if PRESETS[name].lossless:
        return changes | {"lossless": True}
    return {"adapt": True} | changes | {"quality": PRESETS[name].quality}
