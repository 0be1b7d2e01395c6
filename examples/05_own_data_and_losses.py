"""Images, augmentation, two outputs and structured pruning in a training loop of your own, on a GPU where there is one.

python examples/05_own_data_and_losses.py

The parts of `dcz retrain` as functions. It makes its own images (a bar: which way it lies, and how bright it is) and
its own network, and takes a few seconds.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

import dcz
from dcz import train

SIDE, FILTERS = 12, 24


def samples(count: int, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Images, uint8 [n, 1, 12, 12], with the way that their bar lies, 0 or 1, and its brightness, 0 to 1."""
    random = np.random.default_rng(seed)
    x = random.integers(0, 60, (count, 1, SIDE, SIDE))
    way, light = random.integers(0, 2, count), random.uniform(0.4, 1, count)
    for image, upright, brightness, at in zip(x, way, light, random.integers(0, SIDE, count), strict=True):
        bar = (0, slice(None), at) if upright else (0, at)
        image[bar] = 255 * brightness
    return x.astype(np.uint8), {"way": way, "light": light[:, None].astype(np.float32)}


def untrained() -> onnx.ModelProto:
    """x -> Conv -> Relu -> the greatest of each map -> Gemm -> way, and another Gemm -> light."""
    random = np.random.default_rng(1)
    shapes = {
        "conv.weight": (FILTERS, 1, 5, 5),
        "conv.bias": (FILTERS,),
        "way.weight": (FILTERS, 2),
        "way.bias": (2,),
        "light.weight": (FILTERS, 1),
        "light.bias": (1,),
    }
    tensors = [numpy_helper.from_array(random.normal(0, 0.2, s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight", "conv.bias"], ["c"], pads=[2, 2, 2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalMaxPool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "way.weight", "way.bias"], ["way"]),
        helper.make_node("Gemm", ["f", "light.weight", "light.bias"], ["light"]),
    ]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])]
    answers = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", k]) for n, k in (("way", 2), ("light", 1))]
    graph = helper.make_graph(nodes, "net", given, answers, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Loop:
    """Training batches, a loss, and an optimizer: what a project of your own has already."""

    def __init__(self, network: train.Network):
        self.network, self.epoch = network, 0
        x, labels = samples(1200, seed=2)
        pixels = train.Pixels.parse("0..1")  # what the network takes for 0 to 255
        self.batches = train.Batches(
            {"x": x}, labels, size=50, prepare=lambda inputs: {"x": pixels.apply(inputs["x"], 1)}
        )
        self.augmenter = train.Augmenter(network, train.Augmentation.parse("flip,shift=2"), seed=0)
        self.loss = train.LabelledOutputs(
            {
                "way": train.CrossEntropy(network, "way"),
                "light": train.ValueLoss(network, train.mean_squared_error),
            },
            weights={"way": 1, "light": 10},
        )

    def fit(self, epochs: int, rate: float, pruner: train.Pruner | None = None) -> None:
        """Ordinary PyTorch, and now and then fewer weights."""
        device = self.network.device
        optimizer = torch.optim.Adam(self.network.parameters(), rate)  # anew after sharing: the parameters are others
        for epoch in range(epochs):
            for inputs, labels in self.augmenter.epoch(self.batches, self.epoch):
                outputs = train.mixed_outputs(self.network, inputs)  # in bfloat16, where a GPU has it
                loss = self.loss(outputs, inputs, {name: each.to(device) for name, each in labels.items()})
                optimizer.zero_grad()
                loss.backward()
                if pruner is not None:
                    pruner.observe()
                optimizer.step()
            self.epoch += 1
            if pruner is not None:
                pruner.prune((epoch + 1) / epochs)


def report(title: str, network: train.Network, folder: Path) -> None:
    """Write the network, decode the file, and count its errors in onnxruntime."""
    path = folder / "net.dcz"
    train.save_network(network, path, force=True)
    result = dcz.evaluate(path, folder / "test.npz", labels="way", output="way")
    filters = np.abs(network["conv.weight"].numpy()).reshape(FILTERS, -1).any(1).sum()
    print(f"{title:<10}{path.stat().st_size:>8,} bytes  {filters:>3} filters  {100 * result.top1:6.2f} % right")


def main() -> None:
    torch.set_num_threads(1)  # so small a network gains nothing by more
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        x, labels = samples(1000, seed=3)
        np.savez(folder / "test.npz", x=x / np.float32(255), **labels)
        network = train.Network(untrained()).to(train.find_device("auto"))
        loop = Loop(network)

        loop.fit(epochs=6, rate=1e-2)
        report("trained", network, folder)
        for doubt in train.doubts(network, loop.batches):  # of labels, pixels and classes: none here
            print(doubt)

        # Prune: whole filters, by the loss that their weights would cost, until a third of them are left.
        recipe = train.Recipe(pattern="rows", start=1.0, ramp=0.7)
        loop.fit(epochs=8, rate=5e-3, pruner=train.Pruner([train.Group((network["conv.weight"],), 1 / 3)], recipe))
        train.drop_dead_units(network, lambda: loop.batches.epoch(0), {"way.weight", "light.weight"})
        report("pruned", network, folder)

        # Share: sixteen centroids, trained on.
        train.share_weights(network["conv.weight"], dcz.Settings(bits=4))
        loop.fit(epochs=3, rate=1e-3)
        for weight in network:
            train.round_to_half(weight)
        report("shared", network, folder)


if __name__ == "__main__":
    main()
