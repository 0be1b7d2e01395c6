"""Which BatchNormalizations are folded into the layers before them (model.fold_batchnorm), and which weights are put on
the grids that the model itself rounds them to (model.grids): those that a plan allows.

    prepare(loaded, Plan())        ->  both
    fold(loaded, Plan())           ->  35, the nodes that `loaded` has lost
    fold(loaded, Plan(LOSSLESS))   ->  0

A layer may be folded where the plan shares its weights, so that they change anyway, and names none of the other tensors
that would change. Weights that are shared already are not touched.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..codec.encode import is_shared
from ..plan import ANY_SIZE, Plan

if TYPE_CHECKING:
    from ..model import Model, ModelTensor


def prepare(loaded: "Model", plan: Plan) -> tuple[int, int]:
    """`fold` and `snap` in place, and note what is known of each weight's inputs (see model.expected_inputs).

    Raises UnsuitableModel, FileAccess for tensors that cannot be read.
    """
    from .. import model as onnx_model

    means = {} if _shares_nothing(plan) else onnx_model.expected_inputs(loaded)
    counts = fold(loaded, plan), snap(loaded, plan)
    if means:
        loaded.tensors = [replace(tensor, inputs=means.get(tensor.name)) for tensor in loaded.tensors]
    return counts


def _shares_nothing(plan: Plan) -> bool:
    return all(settings.shares_nothing for settings in (plan.default, *(rule.settings for rule in plan.rules)))


def fold(loaded: "Model", plan: Plan) -> int:
    """Fold in place what `plan` allows of a model that the caller owns, and return how many.

    Raises UnsuitableModel for tensors that cannot be read.
    """
    from .. import model as onnx_model

    if not plan.fold or _shares_nothing(plan):
        return 0

    def may_fold(weight: "ModelTensor", names: tuple[str, ...]) -> bool:
        # As if it were large: a small one, which stays exact for its size, takes no more bytes when it is folded.
        settings = plan.settings(weight.name, True, ANY_SIZE)
        if settings.shares_nothing or any(map(plan.names, names)):
            return False
        return not is_shared(weight.tensor())

    return onnx_model.fold_batchnorms(loaded, may_fold, rounds_biases=True)


def snap(loaded: "Model", plan: Plan) -> int:
    """Put in place the weights that the model itself rounds on their grids, unless `plan` keeps them exact, and return
    how many: see model.grids.

    Raises UnsuitableModel for tensors that cannot be read.
    """
    from .. import model as onnx_model

    if not plan.fold:
        return 0
    return onnx_model.snap_to_grids(
        loaded, lambda weight: not plan.settings(weight.name, True, math.prod(weight.shape)).lossless
    )


def noted(metadata: Mapping[str, str], folded: int, snapped: int = 0) -> dict[str, str]:
    """`metadata` of a file, with the number of folded normalizations and of weights put on grids (spec, section 3)."""
    counts = {"folded": folded, "snapped": snapped}
    return {**metadata, **{key: str(count) for key, count in counts.items() if count}}
