"""The settings of `retrain`.

    Recipe(sparsity=0.97, bits=3)     prune to 3 % of the weights while training, share 8 values, train these

A plan (dcz.Plan) chooses the tensors, and may treat single ones differently; a recipe says how to train.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from numbers import Integral, Real
from typing import Any

from ..arguments import as_percent, is_number
from ..errors import InvalidArgument
from .augmentation import Augmentation
from .patterns import parse_block
from .pixels import Pixels

SCHEDULES = ("cubic", "steps")
SCOPES = ("global", "layer")
DEVICES = ("auto", "cpu", "cuda", "mps")
SCORES = ("magnitude", "gradient")
OPTIMIZERS = ("adam", "sgd")
HALF = 16  # bits of a bias in float16
MIN_RATE = 0.02  # of the learning rate at the start of a phase: its last epochs still train
SHARE_RATE = 1.5e-3  # where a learning rate is given
WARMUP = 0.05  # where it is found: what a first step breaks, small ones would not
BOUND_FRACTIONS = (0.5, 0.75, 0.9, 1.0)  # of the weights, step by step
# Of a bit, in mean squares of a tensor, with a rate that is found. A ResNet-32, 90 % zero, lost 0.011 nats by sharing
# 16 values so, at 2.5 bits a weight, and 0.034 by the nearest of 8, at as many.
PRICE = 0.01
MIN_UPDATES = 50  # of the masks, from the first to the target: fewer remove more at once than training recovers


@dataclass(frozen=True)
class Recipe:
    """Retraining in two phases: prune, and share.

    Pruning: `epochs` over the data (None: 30 where anything is pruned, else 0) at `learning_rate` (None: found on the
    data, see range_test), falling as half a cosine after it has risen over the first `warmup` of the epochs (None: 0.05
    of them, or 0 where the rate is given). The `optimizer` is "adam" (Kingma and Ba, 2015), or "sgd" with Nesterov's
    `momentum`. `weight_decay` is decoupled (Loshchilov and Hutter, 2019): with each step, weights shrink by this much
    times the rate. `normalize` puts a BatchNormalization behind each layer that has none, for the time of training
    (None: with a rate that is found).

    `sparsity` is the fraction of weights that becomes zero, of the tensors under the plan's default: by one threshold
    over all of them (`scope` "global"), or the same fraction of each ("layer"). A tensor with a sparsity of its own in
    the plan gets that. `schedule` "cubic" prunes from `start` (the fraction kept at first) to the target, every
    `prune_every` batches (more often where there are few), over the first `ramp` of the epochs (Zhu and Gupta, "To
    prune, or not to prune", 2017); "steps" in `rounds`, each of which keeps the same fraction of what the one before it
    left, retrained before the next, the last twice as long (Han et al., "Learning both Weights and Connections", 2015).
    The weights with the least `score` go first: "magnitude", "gradient" (w^2 times the running mean of the squared
    gradient: the saliency of LeCun et al., "Optimal Brain Damage", 1990, with the mean squared gradient for the
    diagonal of the Hessian; in a table whose rows are looked up, the mean over the rows that were read), a function of
    both tensors, or None: magnitude with a rate that is found, which suits layers that are normalized, gradient with
    one that is given. Pruned weights stay pruned, unless `regrow`. `pattern` prunes whole "rows", "columns" or
    "channels" (input channels) by their mean score, or all but N of each M neighbours along the input channels, "2:4",
    which makes the sparsity 1 - N/M where none is given (see patterns). `prune_biases` has biases compete with the
    weights under the one threshold. `drop_idle`: at the end of the phase, weights that change no output on the training
    data are removed.

    Sharing: each tensor's kept weights become 2^`bits` centroids (or what the plan says), and `share_epochs` train the
    centroids with Adam at `share_rate` (None: found too, or 0.0015 where the learning rate is given). `reassign` lets
    weights change their codes every `prune_every` batches, by the squared distance, in mean squares of the tensor, plus
    this much for each bit of the code (on a grid: what a bit is worth at its step), from the codebook that costs least
    (None: 0.01 with a rate that is found and no stages given, else codes stay). `stages`: fractions of the weights, one
    for each equal part of these epochs, that are bound to the centroids from its start, while the others still train on
    their own (Zhou et al., "Incremental Network Quantization", 2017); the last is 1 (default: 0.5, 0.75, 0.9, 1; where
    codes change, all at once). Weights with a normalization behind them are shared as they are before it, and it trains
    beside them; folded, it becomes scales of their rows and biases (see scaling). `bias_bits`: 16 rounds biases to
    float16, and those that a normalization makes to a fraction of what their outputs vary; 1 to 8 share 2^n values
    among the biases of a tensor, None leaves them as trained.

    `pixels` says what numbers the network takes for pixels of 0 to 255, as a text such as "0..1" or "imagenet" (see
    pixels.Pixels); None: the data have them already, as folders of images never do.
    `augment` changes training images at random, anew in each epoch, as a text such as "flip,shift=4" says (see
    augmentation.Augmentation); validation samples stay as they are.

    Distillation divides both networks' logits by `temperature` (Hinton et al., "Distilling the Knowledge in a
    Neural Network", 2015); `label_share` of the loss is the cross-entropy with the labels, where there are any. Of
    several outputs the losses are averaged, by `output_weights`, a text such as "boxes=2,scores=1", where that is
    given. `batch` is samples per step, of which those of one shape make a batch; `holdout` the fraction of samples
    for validation, where no others are given; training stops early after `patience` epochs without improvement.
    `seed` decides the order of samples. `threads`: None for all cores. `device` is where to train: cpu, cuda, mps,
    or auto for a GPU where there is one; in mixed precision on GPUs that have bfloat16. On a GPU the same run does
    not give the same bytes.
    """

    sparsity: float | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    optimizer: str = "adam"
    momentum: float = 0.9
    weight_decay: float = 0.0
    warmup: float | None = None
    normalize: bool | None = None
    schedule: str = "cubic"
    start: float = 0.5
    ramp: float = 0.62
    rounds: int = 5
    prune_every: int = 45
    scope: str = "global"
    score: str | Callable[..., Any] | None = None
    regrow: bool = False
    pattern: str | None = None
    prune_biases: bool = False
    drop_idle: bool = True
    bits: int | None = None
    share_epochs: int = 4
    share_rate: float | None = None
    reassign: float | None = None
    stages: tuple[float, ...] | None = None
    bias_bits: int | None = HALF
    pixels: str | None = None
    augment: str | None = None
    temperature: float = 1.0
    label_share: float = 0.5
    output_weights: str | None = None
    batch: int = 128
    holdout: float = 0.1
    patience: int | None = None
    seed: int = 0
    threads: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, kind, optional, low, high in _RANGES:
            value: Any = getattr(self, name)
            if value is None and optional:
                continue
            is_number = isinstance(value, kind) and not isinstance(value, bool)
            if not is_number or not low <= value <= high:
                what = "whole number" if kind is Integral else "number"
                raise InvalidArgument(f"{name} is a {what} from {low:g} to {high:g}, not {value!r}")
        choices = (
            ("schedule", SCHEDULES),
            ("scope", SCOPES),
            ("score", SCORES),
            ("optimizer", OPTIMIZERS),
            ("device", DEVICES),
        )
        for name, allowed in choices:
            value = getattr(self, name)
            if value is None and name == "score":
                continue
            if value not in allowed and not (name == "score" and callable(value)):
                raise InvalidArgument(f"{name} is one of {', '.join(allowed)}, not {value!r}")
        block = parse_block(self.pattern)
        if block is not None and self.sparsity is not None and self.sparsity < 1 - block[0] / block[1] - 1e-9:
            least = as_percent(1 - block[0] / block[1])
            raise InvalidArgument(
                f"pattern {self.pattern} makes {least} of the weights zero: give that sparsity or more"
            )
        stages = self.bound_fractions
        if not isinstance(stages, (tuple, list)) or not all(isinstance(fraction, Real) for fraction in stages):
            raise InvalidArgument(f"stages are several numbers, not {self.stages!r}")
        if not stages or stages[-1] != 1 or list(stages) != sorted(set(stages)) or stages[0] <= 0:
            raise InvalidArgument(f"stages are ascending shares of weights, the last one 1, not {self.stages!r}")
        if len(stages) > 1 and self.reassign is not None:
            raise InvalidArgument("give stages or reassign, not both: bound weights keep their codes")
        if self.bias_bits is not None and self.bias_bits > 8 and self.bias_bits != HALF:
            raise InvalidArgument(f"bias_bits is 1 to 8, or {HALF} for float16, not {self.bias_bits}")

        if self.augment is not None:
            Augmentation.parse(self.augment)
        if self.pixels is not None:
            Pixels.parse(self.pixels)
        if self.output_weights is not None:
            parse_output_weights(self.output_weights)

    def __str__(self) -> str:
        """The fields that differ from their defaults, as `name=value`, for metadata and checkpoints."""
        pairs = [(f.name, getattr(self, f.name), f.default) for f in fields(self)]
        changed = ((name, value) for name, value, default in pairs if value != default)
        return " ".join(f"{name}={_name(value) if callable(value) else value}" for name, value in changed)

    @property
    def bound_fractions(self) -> tuple[float, ...]:
        """The fraction of weights that is bound to centroids in each part of the epochs of sharing."""
        if self.stages is not None:
            return self.stages
        return BOUND_FRACTIONS if self.price is None else (1.0,)

    @property
    def price(self) -> float | None:
        """What a bit of a code costs where weights may change their codes (see `reassign`); None where these stay."""
        return PRICE if self.reassign is None and self.stages is None and self.finds_rate else self.reassign

    @property
    def target_sparsity(self) -> float | None:
        """`sparsity`, or what the pattern makes of it."""
        block = parse_block(self.pattern)
        return 1 - block[0] / block[1] if self.sparsity is None and block is not None else self.sparsity

    @property
    def stages_of_sharing(self) -> tuple[float, ...]:
        """`bound_fractions`, by its earlier name."""
        return self.bound_fractions

    def kept(self, progress: float, target: float) -> float:
        """The fraction of weights to keep when `progress` (0 to 1) of the epochs is done; it ends at `target`.

        "cubic": target + (start - target) * (1 - progress / ramp)^3 (Zhu and Gupta, 2017, equation 1). "steps": target
        to the power round / rounds, so that each round keeps the same fraction of what the one before it left.
        """
        if self.schedule == "steps":
            return float(target ** (self._round(progress) / self.rounds))
        left = max(0.0, 1 - progress / self.ramp)
        return target + (max(self.start, target) - target) * left**3

    def has_reached_target(self, progress: float) -> bool:
        """Whether `kept` is at its target."""
        return self._round(progress) == self.rounds if self.schedule == "steps" else progress >= self.ramp

    def is_settled(self, progress: float) -> bool:
        """`has_reached_target`, by its earlier name."""
        return self.has_reached_target(progress)

    def _round(self, progress: float) -> int:
        """The round of pruning, from 1; the last one takes two parts of the time."""
        return min(self.rounds, math.floor(progress * (self.rounds + 1)) + 1)

    def rate(self, start: float, progress: float) -> float:
        """The learning rate when `progress` (0 to 1) of a phase is done, whose highest is `start`: half a cosine, as in
        Loshchilov and Hutter, "SGDR", 2017, without restarts, down to MIN_RATE of `start`; until `warmup` is done, no
        more than rises evenly from there."""
        falling = MIN_RATE + (1 - MIN_RATE) * (1 + math.cos(math.pi * progress)) / 2
        warmup = (WARMUP if self.finds_rate else 0.0) if self.warmup is None else self.warmup
        return start * (falling if progress >= warmup else min(falling, max(MIN_RATE, progress / warmup)))

    @property
    def finds_rate(self) -> bool:
        """Whether the learning rate is to be found."""
        return self.learning_rate is None

    @property
    def scored_by(self) -> str | Callable[..., Any]:
        """The score by which weights are pruned."""
        return self.score if self.score is not None else "magnitude" if self.finds_rate else "gradient"

    @property
    def rate_of_sharing(self) -> float | None:
        """The learning rate of the phase of sharing; None where it is to be found."""
        return self.share_rate if self.share_rate is not None or self.finds_rate else SHARE_RATE

    @property
    def normalizes(self) -> bool:
        """Whether layers without a normalization get one while they are trained."""
        return self.finds_rate if self.normalize is None else self.normalize


def parse_output_weights(text: str) -> dict[str, float]:
    """The weights that a text such as "boxes=2,scores=1" gives to outputs by name; raises InvalidArgument."""
    weights: dict[str, float] = {}
    for item in text.split(",") if isinstance(text, str) else [repr(text)]:
        name, _, number = item.rpartition("=")
        try:
            weights[name.strip()] = float(number)
        except ValueError:
            weights[name.strip()] = -1.0
        if not name or not is_number(weights[name.strip()], 0, 1e6):
            raise InvalidArgument(f"output_weights are written as boxes=2,scores=1, not {item!r}")
    if not any(weights.values()):
        raise InvalidArgument("output_weights: one output has a weight above 0 at least")
    return weights


def _name(function: Callable[..., Any]) -> str:
    """The name of a function, or of a callable's class: its repr would hold an address, another in each process."""
    return getattr(function, "__name__", type(function).__name__)


_RANGES = (
    ("sparsity", Real, True, 0, 0.9999),
    ("epochs", Integral, True, 0, 1e6),
    ("learning_rate", Real, True, 1e-9, 1e3),
    ("momentum", Real, False, 0, 0.9999),
    ("weight_decay", Real, False, 0, 1),
    ("warmup", Real, True, 0, 1),
    ("start", Real, False, 1e-6, 1),
    ("ramp", Real, False, 1e-6, 1),
    ("rounds", Integral, False, 1, 1000),
    ("prune_every", Integral, False, 1, 1e9),
    ("bits", Integral, True, 1, 8),
    ("share_epochs", Integral, False, 0, 1e6),
    ("share_rate", Real, True, 1e-9, 1e3),
    ("reassign", Real, True, 0, 1e3),
    ("bias_bits", Integral, True, 1, HALF),
    ("temperature", Real, False, 0.01, 100),
    ("label_share", Real, False, 0, 1),
    ("batch", Integral, False, 1, 1e9),
    ("holdout", Real, False, 0, 0.9),
    ("patience", Integral, True, 1, 1e6),
    ("seed", Integral, False, 0, 2**63 - 1),
    ("threads", Integral, True, 1, 1024),
)
