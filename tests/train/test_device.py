"""Where a network is trained."""

import subprocess
import sys

import numpy as np
import pytest

from dcz.errors import InvalidArgument
from dcz.train import Recipe, retrain
from tests import ROOT
from tests.train.cases import CASES
from tests.train.samples import clusters, convolutional, perceptron, transformer

torch = pytest.importorskip("torch")

from dcz.train import Network, find_device
from dcz.train.device import mixed_outputs, moved, on_cpu, placed
from tests.train.test_operators import build, graph_of


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch):
    for cuda, mps, expected in (
        (False, False, "cpu"),
        (True, False, "cuda"),
        (False, True, "mps"),
        (True, True, "cuda"),
    ):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        assert find_device("auto").type == expected and find_device("cpu").type == "cpu"


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_here_is_refused_with_what_to_do(name, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    words = f"device {name}: PyTorch .* finds none on this machine; give cpu or auto, or install"
    with pytest.raises(InvalidArgument, match=words):
        retrain(
            perceptron(), tmp_path / "net.dcz", clusters(20)[0], recipe=Recipe(sparsity=0.5, device=name), force=True
        )


@pytest.mark.parametrize("name", ["gpu", "cuda:0", None, 1])
def test_other_names_are_refused(name):
    with pytest.raises(InvalidArgument, match="device is one of auto, cpu, cuda, mps"):
        Recipe(device=name)


def test_a_network_that_does_not_go_to_a_device_is_refused(monkeypatch):
    def to(network, device):
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype\nmore")

    monkeypatch.setattr(Network, "to", to)
    with pytest.raises(InvalidArgument, match="the model: does not go to the device mps: Cannot .* dtype; give cpu"):
        placed(Network(perceptron()), torch.device("mps"))


def test_labels_go_where_the_network_is():
    """The meta device has shapes alone, and is no CPU."""
    meta = torch.device("meta")
    assert moved(torch.ones(3), meta).device == meta and moved(None, meta) is None
    assert moved({"a": torch.ones(3)}, meta)["a"].device == meta


def test_constants_and_inputs_go_where_the_weights_go():
    network = Network(transformer()).to("meta")
    assert network.device.type == "meta"
    assert network(np.zeros((3, 6), np.int64))["y"].device.type == "meta"


def test_the_cpu_is_where_a_block_asks_for_it():
    network = Network(perceptron())
    with on_cpu(network):
        assert network.device.type == "cpu"


def test_a_run_on_another_device_leaves_nothing_behind(tmp_path):
    """Whole runs, stopped and continued, give the same bytes as on the CPU, or, where products of transposed matrices
    add up in another order, nearly the same weights; no operator mixes devices."""
    pytest.importorskip("torch.utils.backend_registration")
    if not hasattr(torch._C, "_acc"):
        pytest.skip("PyTorch is too old for devices in Python")
    command = [sys.executable, "-m", "tests.train.second_device", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    apart = {name: line for name, line in (line.split(": ") for line in lines) if line != "the same bytes"}
    assert len(lines) == 7 and apart.keys() <= {"tokens"}, lines
    assert all(float(line.split()[0]) < 1e-4 for line in apart.values()), lines


# -- mixed precision: on the CPU, which can do it too ------------------------------------------------------------------


class Graphed(torch.nn.Module):
    """An operator as mixed_outputs takes a network."""

    def __init__(self, of):
        super().__init__()
        proto, self.inputs = build(of, constants=True)
        self.graph, self.device = graph_of(proto), torch.device("cpu")

    def forward(self, inputs):
        return self.graph(inputs)


@pytest.mark.parametrize("of", CASES, ids=str)
def test_every_operator_works_in_mixed_precision(of):
    network = Graphed(of)
    inputs = {name: torch.from_numpy(x.copy()) for name, x in network.inputs.items()}
    exact, mixed = network(inputs), mixed_outputs(network, inputs, mixed=True)
    for name, wanted in exact.items():
        assert mixed[name].shape == wanted.shape and mixed[name].dtype == wanted.dtype
        if wanted.is_floating_point() and of.op not in ("Round", "Floor", "Ceil", "Sign", "Mod"):
            scale = float(wanted[torch.isfinite(wanted)].abs().max()) if torch.isfinite(wanted).any() else 1.0
            assert torch.allclose(mixed[name], wanted, rtol=0.05, atol=0.05 * scale + 1e-6, equal_nan=True)


def test_mixed_precision_has_gradients_of_float32():
    network = Network(convolutional())
    x = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    gradients = []
    for mixed in (False, True):
        network.zero_grad()
        mixed_outputs(network, {"x": x}, mixed)["y"].square().sum().backward()
        gradients.append(network["w1"].values.grad.clone())
    exact, found = gradients
    assert found.dtype == torch.float32 and not torch.equal(found, exact)
    assert float((found - exact).norm() / exact.norm()) < 0.05
    assert torch.equal(mixed_outputs(network, {"x": x})["y"], network(x)["y"])  # never on the CPU, unless asked for
