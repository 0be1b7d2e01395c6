"""What a plan says of tensors that are trained.

base_plan("plan.toml")             the plan, in which centroids are float16 and begin in line, unless it says otherwise
plan_of(None, Recipe(bits=3))      the plan of a run: the recipe's sparsity and bits are its defaults
"""

import os
from dataclasses import replace

from .. import plan as plans
from ..errors import InvalidArgument
from ..plan import Plan, Settings
from .recipe import Recipe

# Trained centroids lose nothing in float16, and do best from a linear start (Deep Compression, section 3.2).
BASE = Settings(codebook="float16", init="linear")


def base_plan(plan: Plan | Settings | str | os.PathLike[str] | None) -> Plan:
    """A plan from any of the ways to give one; what it does not say leaves tensors alone."""
    if isinstance(plan, (str, os.PathLike)):
        return plans.load(os.fspath(plan), BASE)
    if plan is None or isinstance(plan, Settings):
        return Plan(BASE if plan is None else plan)
    if not isinstance(plan, Plan):
        raise InvalidArgument(f"a plan is a dcz.Plan or dcz.Settings, not {type(plan).__name__}")
    return plan


def plan_of(plan: Plan | Settings | str | os.PathLike[str] | None, recipe: Recipe) -> Plan:
    """The plan, with the recipe's sparsity and bits as its defaults."""
    plan = base_plan(plan)
    asked = {"sparsity": recipe.target_sparsity, "bits": recipe.bits}
    changes = {name: value for name, value in asked.items() if value is not None}
    return replace(plan, default=plans.overlay(plan.default, changes))
