"""Other shapes for the same elements."""

from ..pytorch import Tensor, torch
from .call import Call, Function, Operator, axes_of


def flatten(call: Call) -> Function:
    """Two dims: those before an axis, and the rest."""
    axis = call.attribute("axis", 1)

    def run(x: Tensor) -> Tensor:
        at = axis + x.dim() if axis < 0 else axis
        return x.reshape(x.shape[:at].numel(), x.shape[at:].numel())

    return run


def reshape(call: Call) -> Function:
    """A new shape: 0 keeps a dim (with allowzero, is 0), -1 is computed from the others."""
    shape_of, zero = call.integers("shape", 1), call.attribute("allowzero", 0)

    def run(x: Tensor, shape: Tensor | None = None) -> Tensor:
        dims = shape_of(shape)
        return x.reshape(dims if zero else [dim or x.shape[i] for i, dim in enumerate(dims)])

    return run


def transpose(call: Call) -> Function:
    """The dims in another order, by default reversed."""
    order = call.attribute("perm", None)
    return lambda x: x.permute(order if order is not None else list(reversed(range(x.dim()))))


def squeeze(call: Call) -> Function:
    """Without some dims of 1, or all."""
    axes_in = call.optional_integers("axes", 1)

    def run(x: Tensor, axes: Tensor | None = None) -> Tensor:
        chosen = axes_in(axes)
        if chosen is None:
            return x.squeeze()
        removed = set(axes_of(chosen, x.dim()))
        if any(x.shape[axis] != 1 for axis in removed):
            raise ValueError(f"axes {chosen} of {tuple(x.shape)} are not all of 1")
        return x.reshape([dim for axis, dim in enumerate(x.shape) if axis not in removed])

    return run


def unsqueeze(call: Call) -> Function:
    """With new dims of 1, at axes of the result."""
    axes_in = call.integers("axes", 1)

    def run(x: Tensor, axes: Tensor | None = None) -> Tensor:
        new = axes_in(axes)
        for axis in sorted(axes_of(new, x.dim() + len(new))):
            x = x.unsqueeze(axis)
        return x

    return run


def concat(call: Call) -> Function:
    """Tensors joined along an axis."""
    axis = call.attribute("axis")
    return lambda *operands: torch.cat(operands, axis)


def identity(call: Call) -> Function:
    """The tensor itself."""
    return lambda x: x


def dropout(call: Call) -> Function:
    """The tensor itself, as at inference. The mask, where it is used, keeps everything."""
    call.ignore("ratio", "seed")
    training = call.known(2)
    if call.has(2) and (training is None or bool(training)):
        raise call.refuse("training_mode is not false; dcz can train networks as they are used")
    call.max_outputs = 2
    if not call.wants(1):
        return lambda x, *_: x
    return lambda x, *_: (x, torch.ones_like(x, dtype=torch.bool))


OPERATORS: dict[str, Operator] = {
    "Identity": identity,
    "Dropout": dropout,
    "Flatten": flatten,
    "Reshape": reshape,
    "Transpose": transpose,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Concat": concat,
}
