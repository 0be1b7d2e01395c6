"""Every number that was chosen, all of them by the validation digits."""

from dataclasses import dataclass, field, replace

from dcz import Recipe

SEED = 0


@dataclass(frozen=True)
class Phase:
    """Training: the recipe, and what the digits are like. `strengths`: of each augmented copy (augment.warp); `clean`:
    how often a digit comes as it is (None: as often as each copy). `dropout`: the share of the last hidden layer's
    units that are zero for a digit; it is only for dense networks."""

    recipe: Recipe
    strengths: tuple[float, ...] = ()
    clean: float | None = None
    dropout: float = 0.0

    def quick(self) -> "Phase":
        """The same in seconds: it shows that everything runs, and nothing else."""
        recipe = self.recipe
        epochs = {"epochs": 2, "share_epochs": min(1, recipe.share_epochs), "batch": min(64, recipe.batch)}
        return replace(self, recipe=replace(recipe, **epochs), strengths=self.strengths[:1])

    def __str__(self) -> str:
        clean = "as often as each copy" if self.clean is None else f"{self.clean:g}"
        copies = ", ".join(f"{strength:g}" for strength in self.strengths) or "none"
        dropout = f"; dropout {self.dropout:g}" if self.dropout else ""
        return f"{self.recipe}; augmented copies of strength {copies}; digits as they are: {clean}{dropout}"


@dataclass(frozen=True)
class Row:
    """A line of the results: a network of networks.ARCHITECTURES, what the file is called, how it is compressed."""

    network: str
    file: str
    compress: Phase


def pruned_to(kept: int, weights: int) -> float:
    """The sparsity that leaves so many weights."""
    return round(1 - kept / weights, 5)


WEIGHTS = {"lenet-300-100": 266_200, "lenet-5": 430_500}  # biases aside

DENSE = {
    "lenet-300-100": Phase(
        Recipe(epochs=40, learning_rate=1.5e-3, batch=256, bias_bits=None, seed=SEED, threads=1),
        strengths=(1.0,) * 10,
    ),
    "lenet-5": Phase(
        Recipe(epochs=16, learning_rate=2e-3, batch=128, bias_bits=None, seed=SEED, threads=1),
        strengths=(0.4,) * 4 + (1.0,) * 4,
        dropout=0.5,
    ),
}


def _row(network: str, file: str, kept: int, phase: Phase, **changes) -> Row:
    sparsity = pruned_to(kept, WEIGHTS[network])
    return Row(network, file, replace(phase, recipe=replace(phase.recipe, sparsity=sparsity, **changes)))


_SHARE = dict(bits=3, share_epochs=6, bias_bits=4, label_share=0.0, prune_biases=True, seed=SEED, threads=1)
_LENET_300_100 = Phase(
    Recipe(epochs=60, learning_rate=1.2e-2, ramp=0.7, batch=256, **_SHARE), strengths=(1.0,) * 10, clean=0.5
)
_LENET_5 = Phase(Recipe(epochs=30, learning_rate=8e-3, ramp=0.7, batch=256, **_SHARE), strengths=(0.4,) * 4, clean=0.4)

ROWS = (
    _row("lenet-300-100", "lenet-300-100.dcz", 5500, _LENET_300_100),
    _row("lenet-300-100", "lenet-300-100-accurate.dcz", 22000, _LENET_300_100, epochs=40),
    _row("lenet-5", "lenet-5.dcz", 8000, _LENET_5, bits=4),
    _row("lenet-5", "lenet-5-smaller.dcz", 6400, _LENET_5),
)


@dataclass(frozen=True)
class Grid:
    """What the figures compare, on LeNet-300-100, and how long each point is trained.

    `densities`: shares of weights kept by pruning; `bits`: of sharing; `both_bits`: of sharing what was pruned;
    `ranks`: shares of the full rank that SVD keeps; `start_bits`: for the starts of k-means, on a network of
    `start_density`; `shown_bits`: of the codebook that is shown.
    """

    densities: tuple[float, ...] = (0.3, 0.2, 0.14, 0.1, 0.07, 0.05, 0.035, 0.025, 0.017, 0.012)
    bits: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)
    both_bits: int = 3
    ranks: tuple[float, ...] = (0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05, 0.03)
    starts: tuple[str, ...] = ("linear", "density", "forgy", "cuberoot")
    start_bits: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8)
    start_density: float = 0.08
    shown_bits: int = 4
    recipe: Recipe = field(
        default_factory=lambda: Recipe(epochs=6, learning_rate=3e-3, batch=256, seed=SEED, threads=1, share_epochs=2)
    )

    def quick(self) -> "Grid":
        """A point or two a line, an epoch each."""
        recipe = replace(self.recipe, epochs=1, share_epochs=1, batch=64)
        one = {"densities": (0.3, 0.1), "bits": (4,), "ranks": (0.1,), "start_bits": (2, 4)}
        return replace(self, **one, recipe=recipe)


GRID = Grid()
