"""What calibration is to reach: a size, or a drop and what judges it.

goal = Goal.of(None, None, "1%", preset=None, labels=None, measure=None, distill=False)      a drop of 0.01
"""

from dataclasses import dataclass, replace

from ..arguments import check_ratio, is_number, parse_limit, parse_share, size_at_ratio
from ..errors import InvalidArgument
from ..evaluation.chosen_measures import AnyMeasure, chosen
from ..evaluation.given import Labels
from ..plan import DROPS, PRUNING, SAFE_QUALITY, SHARING, Plan

DEFAULT_MAX_DROP = 0.01  # where no goal is named


@dataclass(frozen=True, eq=False)
class Goal:
    """One of `max_bytes`, `ratio` and `max_drop`; for the others see dcz.tune."""

    max_bytes: float | None
    ratio: float | None
    max_drop: float | None
    labels: Labels | None
    measure: AnyMeasure | None
    distill: bool

    @classmethod
    def of(
        cls,
        max_bytes: float | str | None,
        ratio: float | None,
        max_drop: float | str | None,
        preset: str | None,
        labels: Labels | None,
        measure: AnyMeasure | None,
        distill: bool,
    ) -> "Goal":
        """The goal of these arguments; raises InvalidArgument where they are out of range, or contradict each other."""
        limit = parse_limit(max_bytes)
        drop = _drop(max_drop, preset, limit, ratio)
        if measure is not None:
            chosen(measure)
            if labels is not None:
                raise InvalidArgument("labels judge a drop by accuracy, and a measure by itself: leave one of them out")
        goals = [goal for goal in (limit, ratio, drop) if goal is not None]
        if len(goals) > 1:
            raise InvalidArgument("give one of a size, a ratio and a drop")
        check_ratio(ratio)
        if drop is not None and not (is_number(drop, 0, 1) and drop != 1):
            raise InvalidArgument(f"a drop is a share of samples from 0 to below 1, not {drop!r}")
        if labels is not None and len(goals) > 0 and drop is None:
            raise InvalidArgument(
                "labels judge a drop, which a size or a ratio does not ask for: leave one of them out"
            )
        return cls(limit, ratio, DEFAULT_MAX_DROP if not goals else drop, labels, measure, distill)

    def for_model(self, source_bytes: int) -> "Goal":
        """The goal for a model of so many bytes: a ratio is a size."""
        return self if self.ratio is None else replace(self, max_bytes=size_at_ratio(source_bytes, self.ratio))


def check_default(plan: Plan) -> Plan:
    """The plan; raises InvalidArgument where its default says what calibration decides."""
    default = plan.default
    decided = [name for name in (*PRUNING, *SHARING) if getattr(default, name) is not None and name != "quality"]
    decided += [] if default.quality in (None, SAFE_QUALITY) else ["quality"]
    decided += ["lossless"] if default.lossless else [] if default.share else ["share = false"]
    decided += [] if default.codebook == "auto" else ["codebook"]
    if decided:
        raise InvalidArgument(
            f"calibration decides how finely weights are shared, and which become zero: leave {decided[0]} out, "
            "or give it in a rule for some tensors"
        )
    return plan


def _drop(
    max_drop: float | str | None, preset: str | None, max_bytes: float | None, ratio: float | None
) -> float | None:
    """The drop that is allowed, from a number, a text in percent, or a preset; raises InvalidArgument."""
    if isinstance(max_drop, str):
        max_drop = parse_share(max_drop, bare_is_percent=True)
    if preset is None:
        return max_drop
    if preset not in DROPS:
        raise InvalidArgument(f"of inputs the preset is one of {', '.join(DROPS)}, not {preset!r}")
    if (max_drop, max_bytes, ratio) != (None, None, None):
        raise InvalidArgument(f"the preset {preset!r} says what may be lost: leave it or the other goal out")
    return DROPS[preset]
