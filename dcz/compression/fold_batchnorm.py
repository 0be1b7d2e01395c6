"""Which BatchNormalizations a plan lets be folded into the layers before them (model.fold_batchnorms).

    fold(loaded, Plan())   ->  35; `loaded` has so many nodes less
    fold(loaded, Plan(LOSSLESS))  ->  0

A layer is folded where the plan shares its weights, so that they change anyway, and names none of the other tensors
that would change. Weights that are shared already stay what they are.
"""

from collections.abc import Mapping

from ..codec.encode import is_shared
from ..plan import Plan


def fold(loaded, plan: Plan) -> int:
    """Fold what `plan` lets be folded of `loaded` (a model.Model), in place, and return how many.

    Raises UnsuitableModel for tensors that cannot be read.
    """
    from .. import model as onnx_model

    if not plan.fold or all(settings.shares_nothing for settings in (plan.default, *(r.settings for r in plan.rules))):
        return 0

    def wanted(weight, names: tuple[str, ...]) -> bool:
        # As if it were large: a small one, which stays exact for its size, takes no more bytes when it is folded.
        settings = plan.settings(weight.name, True, 1 << 62)
        if settings.shares_nothing or any(map(plan.names, names)):
            return False
        return not is_shared(weight.tensor())

    return onnx_model.fold_batchnorms(loaded, wanted)


def noted(metadata: Mapping[str, str], folded: int) -> dict[str, str]:
    """`metadata` of a file, and in it how many were folded (spec, section 3)."""
    return {**metadata, **({"folded": str(folded)} if folded else {})}
