"""What is told of how far the outputs of two models are apart, and which outputs a limit is for.

OutputDifference("logits", 38.2, 0.02, 0.99, 650, "top class", 0.99).describe("samples")
                                                                    ->   "top class agrees in 99.00 % of 650 samples"
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from .channel_groups import ChannelGroup
from .metrics import COPY, COSINE, ENTRIES, RELATIVE, ROWS, Measure


@dataclass(frozen=True)
class OutputDifference:
    """How one output of two models differs over all samples.

    `decibels`: the mean square of the first over that of the difference; inf where equal, nan where there was nothing
    to compare, or no number. `largest`: the largest absolute difference. `measure`: the name of what fits the output.
    `score`: 1 where nothing changed: the share of equal answers, the mean cosine, or 1 less the relative error;
    `agreement`: the same where it is a share, else None. Both are None where the inputs were drawn and the original's
    answers hardly vary (`varies`). `samples`: the answers compared; of a sequence each place is one. `worst_channels`:
    in an output judged by its relative error that holds numbers of very different size, the group of them that is
    furthest off; the relative error, and the score, are then of these. `chosen`: by a measure of the user's choice,
    which a limit on agreement is for. `unanswered`: those of `samples` to which the original itself gives no top class
    (see metrics.has_top_class): they count as different, and where all are so there is no score.
    """

    output: str
    decibels: float
    largest: float
    agreement: float | None
    samples: int
    measure: str = ""
    score: float | None = None
    varies: bool = True
    worst_channels: ChannelGroup | None = None
    chosen: bool = False
    unanswered: int = 0

    @property
    def is_share(self) -> bool:
        """Whether the score counts equal answers."""
        return Measure(self.measure).is_share

    def describe(self, kind: str = "") -> str:
        """The score, by which measure, and of how many answers, which may be of a `kind`, in words."""
        count = f"{self.samples:,} {kind}".strip()
        if self.score is None:
            return f"{self.measure}: no figure, for {self.without_score}"
        if self.measure == COPY.name:
            return f"{self.measure}, which tells nothing of the model"
        if self.is_share:
            verb = "agree" if self.measure in (ENTRIES.name, ROWS.name) else "agrees"
            own = f"; the original has no finite answer to {self.unanswered:,} of them" if self.unanswered else ""
            return f"{self.measure} {verb} in {100 * self.score:.2f} % of {count}{own}"
        if self.measure == COSINE.name:
            return f"mean cosine {self.score:.6f} over {count}"
        if self.measure != RELATIVE.name:
            return f"{self.measure} {100 * self.score:.2f} % over {count}"
        if math.isnan(self.decibels):
            return f"{self.measure}: no figure, for the answers are no numbers"
        where = "" if self.worst_channels is None else f" in {self.worst_channels.describe()}"
        return f"{self.measure} {100 * self.relative_error:.3g} %{where} over {count}"

    @property
    def without_score(self) -> str:
        """Why there is no score, in words."""
        if self.unanswered and self.unanswered == self.samples:
            return "the original's own answers are not finite"
        return "the original's own answers hardly vary"

    @property
    def relative_error(self) -> float:
        """The root mean square of the difference over that of the original, for the group of channels worst off."""
        decibels = self.decibels if self.worst_channels is None else self.worst_channels.decibels
        return float(10 ** (-decibels / 20))


@dataclass(frozen=True)
class Comparison:
    """How the outputs differ. `drawn`: whether the inputs were drawn, of these `shapes` a run; `constant`: the number
    that all elements of one are, such as masks of ones."""

    outputs: tuple[OutputDifference, ...] = ()
    drawn: bool = False
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    constant: dict[str, float] = field(default_factory=dict)


def judged(outputs: Sequence[OutputDifference]) -> list[OutputDifference]:
    """The outputs that a limit on agreement is for: what was judged by a measure of the user's choice, else those whose
    answers are counted, or all where none is of that kind. Outputs without answers, and copies of inputs, are left
    out."""
    if own := [output for output in outputs if output.chosen]:
        return own
    answered = [output for output in outputs if output.samples and output.measure != COPY.name]
    return [output for output in answered if output.is_share] or answered
