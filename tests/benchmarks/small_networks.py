"""Small classifiers, for measurements that want thousands of unseen inputs; but for ResNet-32 they are trained here.

    network = NETWORKS["LeNet-5"]
    network.model()                       an ONNX file, trained in a few minutes at the first call
    network.pool(), network.others()      images to calibrate on, and those that are scored

LeNet-300-100 and LeNet-5 learn the first 50,000 digits of MNIST, a network of depthwise layers the first 6,000 images
of `cifar/train8000.npz`. All from one seed; what they reach is printed, and is no claim. What they learnt from is not
in their pools; ResNet-32, which others trained, has seen the images of its own.
"""

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(os.environ.get("DCZ_DATA", Path(__file__).parents[3] / "shared" / "data"))
MEAN, DEVIATION = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
LEARNT_DIGITS, LEARNT_IMAGES = 50_000, 6_000
BATCH = 128
BUILD = Path(__file__).parents[2] / "build" / "drops"


def digits(name: str) -> np.ndarray:
    """MNIST's images, `train` or `t10k`: float32 [n, 1, 28, 28], 0 to 1."""
    data = gzip.decompress((DATA / "mnist" / f"{name}-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(data, np.uint8, offset=16).reshape(-1, 1, 28, 28) / np.float32(255)


def images(name: str) -> np.ndarray:
    """CIFAR-10's images, `train8000` or `test2000`: float32 [n, 3, 32, 32], as the ResNet-32 takes them."""
    pixels = np.load(DATA / "cifar" / f"{name}.npz")["x"] / np.float32(255)
    return np.ascontiguousarray(((pixels - MEAN) / DEVIATION).transpose(0, 3, 1, 2))


@dataclass(frozen=True)
class Network:
    """A classifier: an ONNX file with one input, the images that samples are drawn from, and those that are scored.

    Images are float32 [n, channels, height, width].
    """

    model: Callable[[], Path]
    pool: Callable[[], np.ndarray]
    others: Callable[[], np.ndarray]


def _trained(name: str) -> Path:
    path = BUILD / f"{name}.onnx"
    if not path.exists():
        BUILD.mkdir(parents=True, exist_ok=True)
        _train(name, path)
    return path


def _train(name: str, path: Path) -> None:
    import torch

    torch.manual_seed(0)
    if name == "depthwise":
        labels, x = np.load(DATA / "cifar" / "train8000.npz")["y"], images("train8000")
        network, learnt, epochs, rate = _depthwise(), LEARNT_IMAGES, 16, 0.1
    else:
        data = gzip.decompress((DATA / "mnist" / "train-labels-idx1-ubyte.gz").read_bytes())
        labels, x = np.frombuffer(data, np.uint8, offset=8), digits("train")
        network, learnt, epochs, rate = (_lenet_5(), LEARNT_DIGITS, 3, 0.05) if name == "LeNet-5" else (
            _lenet_300_100(), LEARNT_DIGITS, 6, 0.1
        )  # fmt: skip
    inputs, targets = torch.tensor(x), torch.tensor(labels.astype(np.int64))
    _fit(network, inputs[:learnt], targets[:learnt], epochs, rate, move=name == "depthwise")
    with torch.no_grad():
        right = (network(inputs[learnt:]).argmax(1) == targets[learnt:]).float().mean()
    print(f"{name}: {right:.2%} of {len(x) - learnt:,} inputs that it did not learn from")
    torch.onnx.export(
        network, inputs[:2], str(path), input_names=["x"], output_names=["y"],
        dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, dynamo=False,
    )  # fmt: skip


def _fit(network: Any, inputs: Any, targets: Any, epochs: int, rate: float, move: bool) -> None:
    """SGD with Nesterov's momentum and one cycle of the learning rate; `move`: images are shifted and mirrored."""
    import torch

    optimizer = torch.optim.SGD(network.parameters(), rate, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = -(-len(inputs) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * steps)
    random = np.random.default_rng(0)
    for _ in range(epochs):
        order = torch.tensor(random.permutation(len(inputs)))
        for start in range(0, len(inputs), BATCH):
            chosen = order[start : start + BATCH]
            batch = inputs[chosen]
            if move:
                batch = batch.flip(3) if random.random() < 0.5 else batch
                batch = torch.roll(batch, tuple(random.integers(-3, 4, 2).tolist()), (2, 3))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(batch), targets[chosen]).backward()
            optimizer.step()
            schedule.step()
    network.eval()


def _lenet_300_100() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    )


def _lenet_5() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip


def _depthwise() -> Any:
    from torch import nn

    def convolution(into: int, out: int, stride: int = 1, **options: Any) -> list[Any]:
        kernel = options.pop("kernel", 3)
        layer = nn.Conv2d(into, out, kernel, stride, kernel // 2, bias=False, **options)
        return [layer, nn.BatchNorm2d(out), nn.ReLU6()]

    layers, channels = convolution(3, 32), 32
    for out, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (256, 1)):
        layers += [*convolution(channels, channels, stride, groups=channels), *convolution(channels, out, kernel=1)]
        channels = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def _of_digits(name: str) -> Network:
    return Network(lambda: _trained(name), lambda: digits("train")[LEARNT_DIGITS:], lambda: digits("t10k"))


NETWORKS = {
    "LeNet-300-100": _of_digits("LeNet-300-100"),
    "LeNet-5": _of_digits("LeNet-5"),
    "ResNet-32": Network(
        lambda: DATA / "nets" / "cifar10_resnet32.onnx", lambda: images("train8000"), lambda: images("test2000")
    ),
    "depthwise": Network(
        lambda: _trained("depthwise"), lambda: images("train8000")[LEARNT_IMAGES:], lambda: images("test2000")
    ),
}
