"""BatchNormalization in training: by the mean and variance of each batch, with running estimates for inference.

    norms = find(program, graph, lambda name: False)      one BatchNorm a node whose statistics are tensors of its own
    estimate_statistics(network, batches)                            running estimates -> those of all the batches

Ioffe and Szegedy, "Batch Normalization", 2015. A pruned network whose layers keep the statistics of the dense one is
far from what its weights can do, and a rate that would mend it makes them wrong by the next batch.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..model import Node, Program
from .pytorch import Tensor, functional, torch

if TYPE_CHECKING:
    from .network import Network

PARTS = ("mean", "variance")
EPSILON, MOMENTUM = 1e-5, 0.9  # ONNX's defaults


class BatchNorm(torch.nn.Module):
    """The statistics of one BatchNormalization node: `mean` and `variance`, a number for each channel.

    Called in place of the node's own function, it normalizes by the batch, and moves them toward the batch's by
    the node's momentum: the variance toward the unbiased one. A batch that has one value for each channel has no
    variance: it is normalized by the estimates, which stay as they are.

    With `factor` (None: its scale is trained), its scale is what makes it multiply each channel with that in inference:
    the factor times the standard deviation, as it is estimated.
    """

    mean: Tensor
    variance: Tensor
    factor: Tensor | None

    def __init__(self, node: Node, program: Program):
        super().__init__()
        self.output = node.outputs[0]
        self.scaled_by = node.inputs[1]  # the graph's name of its scale
        self.values = node.inputs[3:5]  # those of the mean and the variance
        self.names = tuple(program.weights[value] for value in self.values)  # those of their tensors in the model
        self.epsilon = float(node.attributes.get("epsilon", EPSILON))
        self.momentum = float(node.attributes.get("momentum", MOMENTUM))
        for part, value in zip(PARTS, self.values, strict=True):
            self.register_buffer(part, torch.tensor(program.constants[value]))
        self.register_buffer("factor", None)
        self._sums: _Moments | None = None

    def forward(self, x: Tensor, scale: Tensor, bias: Tensor, *_: Tensor) -> Tensor:
        """The normalized batch [n, channels, ...]."""
        if x.numel() < 2 * x.shape[1]:
            return functional.batch_norm(x, self.mean, self.variance, scale, bias, False, 0.0, self.epsilon)
        if self._sums is not None:
            self._sums.add(x)
            return functional.batch_norm(x, None, None, scale, bias, True, 0.0, self.epsilon)
        share = 1 - self.momentum  # torch's momentum is that of the new value
        return functional.batch_norm(x, self.mean, self.variance, scale, bias, True, share, self.epsilon)

    @contextmanager
    def estimating(self) -> Iterator[None]:
        """Collect the moments of what it normalizes in this block, and take those of all of it for its own."""
        self._sums = sums = _Moments()
        try:
            yield
        finally:
            self._sums = None
        sums.write(self.mean, self.variance)

    def observe(self, x: Tensor) -> None:
        """Add to the moments that are being collected what a network in inference normalizes."""
        if self._sums is not None:
            self._sums.add(x)

    def scale(self) -> Tensor | None:
        """Its scale where a factor says it, of the channels' number."""
        return None if self.factor is None else self.factor * torch.sqrt(self.variance + self.epsilon)

    def state(self) -> dict[str, Tensor | None]:
        """Copies of all that `restore` needs."""
        parts = PARTS if self.factor is None else (*PARTS, "factor")
        return {part: getattr(self, part).clone() for part in parts}

    def restore(self, state: dict[str, Tensor | None]) -> None:
        """Go back to what `state` was taken from. Raises ValueError, nothing being changed, where it does not fit."""
        parts = PARTS if state.get("factor") is None else (*PARTS, "factor")
        for part in parts:
            given = state[part]
            if given is None or given.shape != self.mean.shape or given.dtype != self.mean.dtype:
                raise ValueError(f"{self.names[0]}: statistics that are not those of this normalization")
        self.factor = None
        for part in parts:
            setattr(self, part, state[part].clone().to(self.mean.device))  # type: ignore[union-attr]


class _Moments:
    """Sums over batches, in float64: of the values of each channel, and of their squares about the first batch's mean,
    so that nothing cancels where the mean is large."""

    def __init__(self) -> None:
        self.count = 0
        self.center: Any = None
        self.sums: Any = 0
        self.squares: Any = 0

    def add(self, x: Tensor) -> None:
        rows = x.detach().movedim(1, 0).flatten(1)
        if self.center is None:
            self.center = rows.double().mean(1)
        rows = rows.double() - self.center[:, None]
        self.count += rows.shape[1]
        self.sums = self.sums + rows.sum(1)
        self.squares = self.squares + rows.square().sum(1)

    def write(self, mean: Tensor, variance: Tensor) -> None:
        """Set both tensors to the moments, if there were any values."""
        if self.count:
            offset = self.sums / self.count
            mean.copy_(self.center + offset)
            variance.copy_((self.squares / self.count - offset.square()).clamp_min(0))


def find(program: Program, fixed: set[str], frozen: Callable[[str], bool]) -> list[BatchNorm]:
    """The BatchNormalizations whose mean and variance are tensors that nothing else reads, in the graph's order.

    Those in `fixed` (value names), and those for whose names `frozen` is true, stay as they are.
    """
    reads = Counter(name for node in program.nodes for name in node.inputs) + Counter(program.outputs)

    def is_free(value: str) -> bool:
        is_own = value in program.weights and reads[value] == 1 and value not in fixed
        return is_own and program.constants[value].dtype.kind == "f" and not frozen(program.weights[value])

    nodes = [node for node in program.nodes if node.op == "BatchNormalization"]
    return [BatchNorm(node, program) for node in nodes if all(map(is_free, node.inputs[3:5]))]


def estimate_statistics(network: "Network", batches: Iterable[tuple[Any, Any]], by_batch: bool = True) -> None:
    """Change the network: its statistics become those of all `batches`, (inputs, labels), with the weights as they are.

    `by_batch`: each layer sees what the layers before it make when they normalize by the batch, as in training; else
    what they make in inference with the estimates that they have.
    """
    from contextlib import ExitStack

    norms = {norm.output: norm for norm in network.batchnorms}
    if not norms:
        return

    def observe(node: Node, operands: list[Tensor | None], results: list[Tensor]) -> None:
        if node.outputs[0] in norms and operands[0] is not None:
            norms[node.outputs[0]].observe(operands[0])

    was_training = network.training
    network.train(by_batch)
    try:
        with torch.no_grad(), ExitStack() as stack:
            for norm in norms.values():
                stack.enter_context(norm.estimating())
            for inputs, _ in batches:
                network(inputs, None if by_batch else observe)
    finally:
        network.train(was_training)
