"""What a quality leaves of a budget, filled with tensors that stay exact.

fill(measure, plan, SizeTrial(72.0, 812_000), 900_000)    ->   the plan without five tensors, 898,704 bytes
"""

import glob
import math
from collections.abc import Callable
from dataclasses import replace

from ..plan import LOSSLESS, Plan
from .measured_file import MeasuredFile
from .size_search import TOLERANCE, SizeTrial, at_quality

MAX_FILL_ROUNDS = 4  # in which exact tensors are added


def fill(
    measure: Callable[[float, Plan], MeasuredFile], plan: Plan, best: SizeTrial, max_bytes: float
) -> tuple[Plan, SizeTrial]:
    """The model kept exactly; or the best trial with exact tensors, the largest first, as far as the budget goes."""
    exact = replace(plan, default=LOSSLESS)
    whole = measure(math.inf, exact)
    if whole.nbytes <= max_bytes:
        return exact, SizeTrial(math.inf, whole.nbytes)
    chosen = at_quality(plan, best.quality)
    file = measure(best.quality, chosen)
    kept: tuple[str, ...] = ()
    for _ in range(MAX_FILL_ROUNDS):
        more = fitting(whole, file, max_bytes) if file.nbytes < (1 - TOLERANCE) * max_bytes else ()
        while more:  # the graph and other tensors may change a little with them: the last may not fit after all
            filled = measure(best.quality, _keeping(chosen, plan, kept + more))
            if file.nbytes < filled.nbytes <= max_bytes:
                kept, file = kept + more, filled
                break
            more = more[:-1]
        if not more:
            break
    return _keeping(chosen, plan, kept) if kept else chosen, SizeTrial(best.quality, file.nbytes)


def _keeping(chosen: Plan, plan: Plan, names: tuple[str, ...]) -> Plan:
    """`chosen`, which excludes what `plan` does, with the tensors of these names excluded too."""
    return replace(chosen, exclude=(*plan.exclude, *map(glob.escape, names)))


def fitting(whole: MeasuredFile, file: MeasuredFile, max_bytes: float) -> tuple[str, ...]:
    """The tensors that can be as in the exact file `whole` and not as in `file`, the largest first; none that were
    folded away, as these come back with the weights that they belong to."""
    costs = {
        name: nbytes - file.tensor_bytes[name]
        for name, nbytes in whole.tensor_bytes.items()
        if name in file.tensor_bytes
    }
    chosen: tuple[str, ...] = ()
    spare = max_bytes - file.nbytes
    for name in sorted((name for name in costs if costs[name] > 0), key=lambda name: (-costs[name], name)):
        if costs[name] <= spare:
            chosen, spare = (*chosen, name), spare - costs[name]
    return chosen
