"""Prune, share and fine-tune a network in a training loop of your own, in plain PyTorch.

python examples/04_own_training_loop.py

It makes its own data (points in eight clusters, two to a class) and its own network, and takes a few seconds.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

import dcz
from dcz import train

INPUTS, HIDDEN, CLASSES = 32, 96, 4


def samples(count: int, seed: int) -> dict[str, np.ndarray]:
    """Points about eight centers, and the class of each."""
    centers = np.random.default_rng(0).normal(size=(2 * CLASSES, INPUTS))
    random = np.random.default_rng(seed)
    cluster = random.integers(0, 2 * CLASSES, count)
    x = centers[cluster] + 0.5 * random.normal(size=(count, INPUTS))
    return {"x": x.astype(np.float32), "y": cluster % CLASSES}


def untrained() -> onnx.ModelProto:
    """x -> Gemm -> Relu -> Gemm -> logits, as an exporter would write it."""
    random = np.random.default_rng(1)
    shapes = {
        "fc1.weight": (INPUTS, HIDDEN),
        "fc1.bias": (HIDDEN,),
        "fc2.weight": (HIDDEN, CLASSES),
        "fc2.bias": (CLASSES,),
    }
    tensors = [numpy_helper.from_array(random.normal(0, 0.1, s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("Gemm", ["x", "fc1.weight", "fc1.bias"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "fc2.weight", "fc2.bias"], ["logits"]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", INPUTS])
    answer = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])
    graph = helper.make_graph(nodes, "net", [given], [answer], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def fit(network: train.Network, data: dict[str, np.ndarray], epochs: int, rate: float) -> None:
    """Ordinary PyTorch: the network's parameters are its weights or, once these are shared, its centroids."""
    optimizer = torch.optim.Adam(network.parameters(), rate)  # anew after sharing: the parameters are others
    for epoch in range(epochs):
        for inputs, labels in train.Batches({"x": data["x"]}, data["y"], size=64).epoch(epoch):
            loss = torch.nn.functional.cross_entropy(network(inputs)["logits"], labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def report(title: str, network: train.Network, folder: Path) -> None:
    """Write the network, decode the file, and count its errors in onnxruntime."""
    path = folder / "net.dcz"
    train.save_network(network, path, force=True)
    result = dcz.evaluate(path, folder / "test.npz", labels="y")
    print(f"{title:<10}{path.stat().st_size:>8,} bytes  {100 * result.top1:6.2f} % right")


def main() -> None:
    torch.set_num_threads(1)  # so small a network gains nothing by more
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = samples(2000, seed=2)
        np.savez(folder / "test.npz", **samples(1000, seed=3))
        network = train.Network(untrained())
        big = [network["fc1.weight"], network["fc2.weight"]]

        fit(network, data, epochs=3, rate=3e-3)
        report("trained", network, folder)

        # Prune: in three rounds, the largest of all weights stay. What is pruned has no gradient, and stays zero.
        for share in (0.4, 0.2, 0.1):
            scores = [weight.numpy().ravel() ** 2 for weight in big]
            for weight, mask in zip(big, train.keep_largest(scores, share), strict=True):
                weight.prune(mask)
            fit(network, data, epochs=2, rate=3e-3)
        report("pruned", network, folder)

        # Share: eight centroids in each tensor, trained by the sum of their weights' gradients.
        for weight in big:
            train.share_weights(weight, dcz.Settings(bits=3))
        fit(network, data, epochs=2, rate=1e-3)
        for weight in network:
            train.round_to_half(weight)
        report("shared", network, folder)


if __name__ == "__main__":
    main()
