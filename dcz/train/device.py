"""Where a network is trained: the CPU, or a GPU that PyTorch finds.

    network.to(find_device("auto"))        its weights and constants; inputs follow them (Network.as_inputs)
    moved(labels, network.device)          labels, which belong to the caller
    mixed_outputs(network, inputs)         matrix products in bfloat16 where the device is a GPU that has it

On the CPU the same run gives the same bytes. GPUs add in an order of their own, and round otherwise.
"""

import contextlib
from collections.abc import Callable, Iterator

from ..errors import InvalidArgument
from .batches import Labels
from .network import Network
from .pytorch import Tensor, torch
from .targets import Tensors

CPU = torch.device("cpu")


def find_device(name: str) -> torch.device:
    """The device of a name: cpu, cuda (NVIDIA, or AMD by ROCm), mps (Apple), or auto: the first GPU of these, or else
    the CPU. Raises InvalidArgument for one that is not here."""
    is_here: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    if name == "auto":
        return torch.device(next(each for each, found in is_here.items() if found()))
    if name not in is_here:
        raise InvalidArgument(f"device is one of auto, {', '.join(sorted(is_here))}, not {name!r}")
    if not is_here[name]():
        raise InvalidArgument(
            f"device {name}: PyTorch {torch.__version__} finds none on this machine; give cpu or auto, or install a "
            "PyTorch that is built for it (https://pytorch.org/get-started)"
        )
    return torch.device(name)


def placed(network: Network, device: torch.device) -> Network:
    """The network, moved to the device; raises InvalidArgument where that has no room, or not its types."""
    try:
        return network.to(device)
    except (RuntimeError, TypeError) as error:  # MPS has no float64
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidArgument(f"{network.place}: does not go to the device {device.type}: {why}; give cpu") from error


def moved(labels: Labels | None, device: torch.device) -> Labels | None:
    """Labels on the device; on MPS, which has no float64, as float32."""
    if isinstance(labels, dict):
        return {name: _moved(each, device) for name, each in labels.items()}
    return None if labels is None else _moved(labels, device)


def _moved(labels: Tensor, device: torch.device) -> Tensor:
    is_double = device.type == "mps" and labels.dtype == torch.float64
    return (labels.float() if is_double else labels).to(device)


def mixed_outputs(network: Network, inputs: Tensors, mixed: bool | None = None) -> Tensors:
    """The outputs by name, in float32. With `mixed` (None: on CUDA where it has bfloat16) autocast chooses the type of
    each operation (Micikevicius et al., "Mixed Precision Training", 2018); bfloat16 has float32's range, so that
    gradients need no scale."""
    if mixed is None:
        mixed = network.device.type == "cuda" and torch.cuda.is_bf16_supported()
    if not mixed:
        return network(inputs)
    with torch.autocast(network.device.type, torch.bfloat16):
        outputs = network(inputs)
    return {name: x.float() if x.dtype == torch.bfloat16 else x for name, x in outputs.items()}


@contextlib.contextmanager
def on_cpu(network: Network) -> Iterator[None]:
    """Run a block with the network on the CPU, for what happens once and in float64."""
    before = network.device
    network.to(CPU)
    try:
        yield
    finally:
        network.to(before)
