"""What the options of `dcz compress` ask for together: a goal without contradictions, and a plan."""

from dataclasses import replace
from typing import Any

from ..errors import InvalidArgument
from ..plan import LOSSLESS, Plan, load, overlay


def check_goal(
    preset: str | None,
    lossless: bool,
    calibrate: str | None,
    labels: str | None,
    measure: object,
    distill: bool,
    max_size: str | None,
    ratio: float | None,
    max_drop: float | None,
    strict: bool,
) -> None:
    """Raise InvalidArgument for options that ask for different things, before any work."""
    if max_drop is not None and calibrate is None:
        raise InvalidArgument("--max-drop is judged by inputs of the model: give --calibrate too")
    if strict and (calibrate is None or max_size is not None or ratio is not None):
        raise InvalidArgument("--strict is about a drop, by inputs of the model: give --calibrate and --max-drop too")
    if labels is not None and calibrate is None:
        raise InvalidArgument("--labels are those of the samples that calibrate: give --calibrate too")
    if measure is not None and calibrate is None:
        raise InvalidArgument("--measure judges the answers to inputs of the model: give --calibrate too")
    if distill and calibrate is None:
        raise InvalidArgument("--distill trains on inputs of the model: give --calibrate too")
    if max_drop is not None and not 0 <= max_drop < 1:
        raise InvalidArgument(f"--max-drop is a percentage from 0 to below 100, not {100 * max_drop:g}")
    goals = {"--lossless": lossless or None, "--max-size": max_size, "--ratio": ratio, "--max-drop": max_drop}
    rivals = [option for option, value in goals.items() if value is not None]
    if preset is not None and rivals:
        raise InvalidArgument(
            f"--preset {preset} and {rivals[0]} each say what the result is to be: leave one of them out"
        )
    if preset == "lossless" and calibrate is not None:
        raise InvalidArgument("--preset lossless leaves nothing to calibrate: leave one of them out")


def make_plan(
    path: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    lossless: bool,
    no_share: bool,
    options: dict[str, Any],
) -> Plan:
    """The plan that a plan.toml and the command's options ask for together; raises InvalidArgument."""
    changes = {name: value for name, value in options.items() if value is not None}
    if no_share:
        changes["share"] = False
    if lossless and (changes or path or include):
        raise InvalidArgument("--lossless leaves nothing to choose: give it alone")
    if lossless:
        return Plan(LOSSLESS, exclude=exclude)
    plan = load(path) if path else Plan()
    return replace(
        plan,
        default=overlay(plan.default, changes),
        include=plan.include + include,
        exclude=plan.exclude + exclude,
    )
