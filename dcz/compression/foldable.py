"""Which BatchNormalizations are folded into the layers before them: those that a plan allows (model.fold_batchnorm).

    fold(loaded, Plan())           ->  35, the nodes that `loaded` has lost
    fold(loaded, Plan(LOSSLESS))   ->  0

A layer may be folded where the plan shares its weights, so that they change anyway, and names none of the other tensors
that would change. Weights that are shared already are not touched.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..codec.encode import is_shared
from ..plan import ANY_SIZE, Plan

if TYPE_CHECKING:
    from ..model import Model, ModelTensor


def fold(loaded: "Model", plan: Plan) -> int:
    """Fold in place what `plan` allows of a model that the caller owns, and return how many.

    Raises UnsuitableModel for tensors that cannot be read.
    """
    from .. import model as onnx_model

    if not plan.fold or all(settings.shares_nothing for settings in (plan.default, *(r.settings for r in plan.rules))):
        return 0

    def may_fold(weight: "ModelTensor", names: tuple[str, ...]) -> bool:
        # As if it were large: a small one, which stays exact for its size, takes no more bytes when it is folded.
        settings = plan.settings(weight.name, True, ANY_SIZE)
        if settings.shares_nothing or any(map(plan.names, names)):
            return False
        return not is_shared(weight.tensor())

    return onnx_model.fold_batchnorms(loaded, may_fold)


def noted(metadata: Mapping[str, str], folded: int) -> dict[str, str]:
    """`metadata` of a file, with the number of folded normalizations (spec, section 3)."""
    return {**metadata, **({"folded": str(folded)} if folded else {})}
