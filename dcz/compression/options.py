"""What callers ask for of a model, as a plan: a plan, settings, a file; and keywords that change these.

as_plan(None, {"preset": "small"})                           ->   Plan(default=PRESETS["small"])
as_plan("plan.toml", {"quality": 30, "exclude": "fc1.*"})    ->   the file's, but for its default, and one pattern more
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias, TypedDict

from ..arguments import parse_share
from ..errors import InvalidArgument
from ..plan import Plan, Settings, overlay
from ..plan import load as load_plan

AnyPlan: TypeAlias = Plan | Settings | str | os.PathLike[str] | None
Patterns: TypeAlias = str | Sequence[str]


class PlanOptions(TypedDict, total=False):
    """The keywords that change a plan, as the options of the command do: `preset` names a starting point, the fields of
    dcz.Settings change the plan's default, and `include`, `exclude`, `min_weights` and `fold` are those of dcz.Plan.

    A share may be text: sparsity="80%".
    """

    preset: str
    lossless: bool
    sparsity: float | str
    threshold: float
    share: bool
    bits: int
    step: float
    quality: float
    rate: float
    init: str
    seed: int
    index_bits: int
    codebook: str
    include: Patterns
    exclude: Patterns
    min_weights: int
    fold: bool


def as_plan(plan: AnyPlan, options: Mapping[str, Any] | None = None) -> Plan:
    """A plan from any of the ways to give one (None: the default), with the options (see PlanOptions).

    Raises InvalidArgument, FileAccess; TypeError for a keyword that is none.
    """
    plan = _plan(plan)
    options = {name: value for name, value in (options or {}).items() if value is not None}
    if unknown := options.keys() - PlanOptions.__annotations__.keys():
        raise TypeError(
            f"unexpected keyword argument {min(unknown)!r}; settings are {', '.join(PlanOptions.__annotations__)}"
        )
    if isinstance(sparsity := options.get("sparsity"), str):
        options["sparsity"] = parse_share(sparsity)
    changes: dict[str, Any] = {name: options.pop(name) for name in ("fold", "min_weights") if name in options}
    for name in ("include", "exclude"):
        if name in options:
            changes[name] = getattr(plan, name) + _patterns(name, options.pop(name))
    return replace(plan, default=overlay(plan.default, options), **changes)


def _plan(plan: AnyPlan) -> Plan:
    if isinstance(plan, (str, os.PathLike)):
        return load_plan(plan)
    if plan is None or isinstance(plan, Settings):
        return Plan() if plan is None else Plan(plan)
    if not isinstance(plan, Plan):
        raise InvalidArgument(f"a plan is a dcz.Plan or dcz.Settings, not {type(plan).__name__}")
    return plan


def _patterns(name: str, value: Patterns) -> tuple[str, ...]:
    patterns = (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise InvalidArgument(f"{name} is a pattern or several, not {value!r}")
    return patterns


class Notes:
    """Gathers what is told while a file is made, and tells it to a caller who wants to hear."""

    def __init__(self, warn: Callable[[str], None] | None):
        self._warn = warn
        self.told: list[str] = []

    def __call__(self, message: str) -> None:
        """Keep a sentence, and hand it on, once."""
        if message in self.told:
            return
        self.told.append(message)
        if self._warn is not None:
            self._warn(message)
