"""The keywords of `retrain`: fields of its recipe, and parts of its plan.

with_options(Recipe(), Plan(), {"sparsity": "90%", "bits": 3, "exclude": "fc2.*"})
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, TypedDict

from ..arguments import parse_share
from ..compression.options import Patterns, as_plan
from ..plan import Plan
from .recipe import Recipe


class RecipeOptions(TypedDict, total=False):
    """The fields of dcz.Recipe, a share of which may be text ("90%"), and `include`, `exclude`, `min_weights` and
    `fold` of dcz.Plan."""

    sparsity: float | str
    epochs: int
    learning_rate: float
    optimizer: str
    momentum: float
    weight_decay: float
    warmup: float
    normalize: bool
    schedule: str
    start: float
    ramp: float
    rounds: int
    prune_every: int
    scope: str
    score: str | Callable[..., Any]
    regrow: bool
    pattern: str
    prune_biases: bool
    drop_idle: bool
    bits: int
    share_epochs: int
    share_rate: float
    reassign: float
    stages: tuple[float, ...]
    bias_bits: int | None
    pixels: str
    augment: str
    temperature: float
    label_share: float
    output_weights: str
    batch: int
    holdout: float
    patience: int
    seed: int
    threads: int | None
    device: str
    include: Patterns
    exclude: Patterns
    min_weights: int
    fold: bool


def with_options(recipe: Recipe, plan: Plan, options: Mapping[str, Any]) -> tuple[Recipe, Plan]:
    """A recipe and a plan as the options change them; raises InvalidArgument, and TypeError for one that is none."""
    names = {field.name for field in fields(Recipe)}
    changes = {name: value for name, value in options.items() if name in names}
    if isinstance(sparsity := changes.get("sparsity"), str):
        changes["sparsity"] = parse_share(sparsity)
    rest = {name: value for name, value in options.items() if name not in names}
    if unknown := rest.keys() - RecipeOptions.__annotations__.keys():
        known = ", ".join(RecipeOptions.__annotations__)
        raise TypeError(f"unexpected keyword argument {min(unknown)!r}; settings are {known}")
    return replace(recipe, **changes), as_plan(plan, rest)
