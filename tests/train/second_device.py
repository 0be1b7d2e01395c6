"""A second device for PyTorch, made of tensors of the CPU, that refuses to work on both devices at once.

It shows, where there is no GPU, that a run moves all that it must: a tensor that was left behind is an error here, as
on a GPU. Operations are those of the CPU, so that the files of runs are equal to the bit, or nearly. Views that are not
in order are copies: what writes into such a view, as some operators do, gets other numbers, and products of matrices
add up in another order.

python -m tests.train.second_device FOLDER     trains the same networks on both, into FOLDER
"""

import contextlib
import functools
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

import dcz
from dcz.errors import UnsuitableModel
from dcz.plan import Plan, Settings
from dcz.train import Recipe, retrain, task
from tests.train.cases import CASES, Case
from tests.train.samples import clusters, convolutional, perceptron, transformer
from tests.train.test_operators import build, graph_of

_setup_privateuseone_for_python_backend("second")
NAME = "second"
QUICK = {
    "sparsity": 0.5, "bits": 3, "epochs": 2, "share_epochs": 1, "batch": 50, "threads": 1, "learning_rate": 3e-3,
}  # fmt: skip
BETWEEN = ("aten::_copy_from", "aten::copy_", "aten::index.Tensor", "aten::index_put", "aten::_index_put")  # as on GPUs
_behind: dict[int, torch.Tensor] = {}  # the CPU's tensor behind each of the device, by the address of its storage


def wrap(inner: torch.Tensor) -> torch.Tensor:
    """A tensor of the device. Its strides are those of an array in order, and so are those of the tensor behind it: a
    transposed view becomes a copy."""
    inner = inner.contiguous()
    made = torch._C._acc.create_empty_tensor(inner.shape, inner.dtype)
    _behind[made.untyped_storage()._cdata] = inner
    return made


def unwrap(x: torch.Tensor) -> torch.Tensor:
    """The tensor behind one of the device. Some of PyTorch's own views share its storage in another shape."""
    inner = _behind[x.untyped_storage()._cdata]
    return inner if inner.shape == x.shape else inner.reshape(x.shape)


def on_the_cpu(operator: Any, *arguments: Any, **options: Any) -> Any:
    """Do an operation with the tensors behind."""
    tensors = [x for x in tree_flatten((arguments, options))[0] if isinstance(x, torch.Tensor)]
    ours = {id(x): unwrap(x) for x in tensors if x.device.type == NAME}
    if ours and not operator.name().startswith(BETWEEN) and any(x.dim() for x in tensors if x.device.type == "cpu"):
        raise RuntimeError(f"{operator.name()}: tensors on both devices")
    given = {id(ours[id(x)]): x for x in tensors if id(x) in ours}

    def inner(value: Any) -> Any:
        return torch.device("cpu") if isinstance(value, torch.device) else ours.get(id(value), value)

    def outer(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or id(value) not in given:
            return wrap(value) if isinstance(value, torch.Tensor) else value
        was_given = given[id(value)]  # work in place, or into a tensor that was empty
        if was_given.shape != value.shape:
            was_given.data = wrap(value)
        return was_given

    arguments, options = tree_map(inner, (arguments, options))
    kinds = [str(each.type) for each in operator._schema.arguments]
    arguments = [  # numbers among tensors come as Python's
        torch.tensor(x) if kind == "Tensor" and isinstance(x, (bool, int, float)) else x
        for x, kind in zip(arguments, kinds)
    ]
    return tree_map(outer, operator(*arguments, **options))


def copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    """A copy between the devices, or within this one."""
    inner = [unwrap(x) if x.device.type == NAME else x for x in (target, source)]
    inner[0].copy_(inner[1])
    return target


def convolution(*arguments: Any) -> torch.Tensor:
    """A convolution; PyTorch asks each device for its own."""
    return on_the_cpu(torch.ops.aten.convolution.default, *arguments)


def convolution_backward(gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, *arguments: Any) -> Any:
    """The gradients of its input, weight and bias."""
    bias = [gradient.shape[1]]
    return on_the_cpu(torch.ops.aten.convolution_backward.default, gradient, x, weight, bias, *arguments)


_every, _aten = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
_every.fallback(on_the_cpu, "PrivateUse1")
_aten.impl("_copy_from", copy_from, "PrivateUse1")
_aten.impl("convolution_overrideable", convolution, "PrivateUse1")
_aten.impl("convolution_backward_overrideable", convolution_backward, "PrivateUse1")
_aten.impl("constant_pad_nd", functools.partial(on_the_cpu, torch.ops.aten.constant_pad_nd.default), "PrivateUse1")
_aten.impl("_local_scalar_dense", lambda x: unwrap(x).item(), "PrivateUse1")


def runs() -> dict[str, dict[str, Any]]:
    """What is trained on both devices: the arguments of retrain, by a name."""
    x, y = clusters(120)
    images = np.random.default_rng(0).integers(0, 256, (60, 1, 6, 6), np.uint8)
    tokens = np.random.default_rng(0).integers(0, 30, (60, 6))
    soft = np.eye(10, dtype=np.float64)[y] * 0.8 + 0.02
    tiny = Plan(Settings(), min_weights=30)
    return {
        "labels": {"model": perceptron(), "data": x, "labels": y, "recipe": Recipe(**QUICK, drop_idle=True)},
        "movable codes": {"model": perceptron(), "data": x, "recipe": Recipe(**QUICK, reassign=0.01, bias_bits=4)},
        "regrown": {"model": perceptron(), "data": x, "labels": soft, "recipe": Recipe(**QUICK, regrow=True)},
        "distilled": {"model": perceptron(), "data": x, "loss": "distill", "recipe": Recipe(**QUICK)},
        "tokens": {
            "model": transformer(), "data": tokens, "plan": tiny, "loss": "distill", "recipe": Recipe(**QUICK),
        },
        "images": {
            "model": convolutional(), "data": images, "plan": tiny, "loss": "mse",
            "recipe": Recipe(**QUICK, pixels="-1..1", augment="flip,shift=1,crop=80%"),
        },
        "a function": {"model": perceptron(), "data": lambda epoch: [(x, y)] * 2, "recipe": Recipe(**QUICK)},
    }  # fmt: skip


def trained(folder: Path, device: str, arguments: dict[str, Any]) -> bytes:
    """The file of a run on a device, stopped after its first epoch and continued."""
    task.find_device = lambda wanted: torch.device(device)
    output, checkpoint = folder / f"{device}.dcz", folder / f"{device}.checkpoint"

    def stop(state: Any) -> None:
        if state.is_end:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        retrain(output=output, checkpoint=checkpoint, progress=stop, **arguments, force=True)
    retrain(output=output, checkpoint=checkpoint, **arguments, force=True)
    return output.read_bytes()


def difference(folder: Path) -> float:
    """How far the weights of a run on the device are from those on the CPU: the mean distance, in mean magnitudes."""
    here, there = (dcz.open(folder / f"{device}.dcz") for device in ("cpu", NAME))
    pairs = [(here[name], there[name]) for name in here if np.isfinite(here[name]).all()]
    apart = sum(float(np.abs(one - other).sum()) for one, other in pairs)
    return apart / sum(float(np.abs(one).sum()) for one, _ in pairs)


def left_behind(of: Case) -> str:
    """What an operator says that works on both devices at once, or gives what is not on the second; "" for others."""
    try:
        proto, inputs = build(of, constants=True)
        graph = graph_of(proto)
        graph.move(lambda x: x.to(NAME))
        found = graph({name: torch.from_numpy(x.copy()).to(NAME) for name, x in inputs.items()})
    except UnsuitableModel as error:
        return "" if "setStorage" in str(error) else str(error)  # the device has no storage for strides of its own
    return "" if all(x.device.type == NAME for x in found.values()) else f"{of}: gives what is on the CPU"


def main(folder: Path) -> None:
    """Print the runs that do not give the same bytes on both devices, and the operators that leave tensors behind."""
    warnings.simplefilter("ignore")  # PyTorch warns of tensors that are resized
    for name, arguments in runs().items():
        here, there = trained(folder, "cpu", arguments), trained(folder, NAME, arguments)
        print(f"{name}: {'the same bytes' if here == there else f'{difference(folder):.1e} apart'}")
    for message in filter(None, map(left_behind, CASES)):
        print(message)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
