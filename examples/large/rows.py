"""One row of the results: weights drawn for a network -> .dcz files -> decoded, and run beside what went in.

rows.make(networks.ALEXNET, "density", Path("build/large"))  ->  Result
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

import dcz

from . import scheme, sources
from .networks import Network

SEED = 0
MEASURED = ("encoding", "layout", "weight_bits_huffman", "index_bits_huffman", "huffman")  # of a row of dcz.inspect
WIDTHS = ("paper", "auto")  # of gaps: the table's bits, or what dcz finds smallest


@dataclass(frozen=True)
class File:
    """A .dcz file: its bytes, what dcz.inspect says of each layer's weights, and the `rest` of its bytes: biases, graph
    and directory."""

    bytes: int
    layers: dict[str, dict]
    rest: int


@dataclass(frozen=True)
class Result:
    """A network with weights from one source. `costs`: of each layer under the paper's scheme; `entropies`: of index
    and codes of each, in bits; `files`: by WIDTHS. `same_weights`, `same_answers`: whether the decoded model's tensors,
    and its outputs for one image, were bit for bit those of the pruned and shared model; `largest` is their largest
    magnitude. Seconds by what was done; `peak` bytes of memory."""

    network: str
    source: str
    parameters: int
    costs: dict[str, scheme.Cost]
    entropies: dict[str, float]
    files: dict[str, File]
    same_weights: bool
    same_answers: bool
    largest: float
    seconds: dict[str, float]
    peak: int

    @property
    def total(self) -> scheme.Cost:
        """The sum over the layers."""
        first, *others = self.costs.values()
        return sum(others, first)

    def ratio(self, width: str) -> float:
        """Four bytes for each parameter, biases included, over the bytes of a whole file."""
        return 4 * self.parameters / self.files[width].bytes


def make(network: Network, source: str, work: Path) -> Result:
    """Draw, compress, decode, run. The .dcz files stay in the folder `work`, to be looked at; the models do not."""
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        shared, dense, restored = (Path(folder, f"{kind}.onnx") for kind in ("shared", "dense", "decoded"))
        packed = {width: work / f"{network.name}-{source}-{width}.dcz" for width in WIDTHS}
        files, seconds = {}, {}
        with _timed(seconds, "draw"):
            costs, entropies = _draw(network, source, shared, dense)
        for width, path in packed.items():
            with _timed(seconds, f"compress, {width}"):
                dcz.compress(
                    dense if dense.exists() else shared, path, _plan(network, width, dense.exists()), force=True
                )
            files[width] = _file(network, path)
        with _timed(seconds, "decode"):
            dcz.decompress(packed["auto"], restored, force=True)
        same_weights = _same_tensors(shared, restored)
        image = np.random.default_rng(SEED).random((1, 3, network.size, network.size), np.float32)
        before = _answers(shared, image)
        with _timed(seconds, "load and run"):
            after = _answers(restored, image)
    return Result(
        network.name, source, network.parameters, costs, entropies, files, same_weights, np.array_equal(before, after),
        float(np.abs(after).max()), seconds, _peak_memory(),
    )  # fmt: skip


def _draw(network: Network, source: str, shared: Path, dense: Path) -> tuple[dict, dict]:
    """Write the pruned and shared model, and the dense one where there is one; costs and entropies by layer."""
    costs, entropies, tensors, before = {}, {}, {}, {}
    for number, (name, shape) in enumerate(network.weights.items()):
        stated, seed = network.paper.layers[name], (SEED, sources.SOURCES.index(source), number)
        drawn = sources.draw(source, shape, stated, network.paper.gap_bits, seed)
        costs[name] = scheme.cost(drawn.mask, drawn.codes, stated.bits, network.paper.gap_bits)
        places = np.array([len(drawn.codes), drawn.mask.size - len(drawn.codes)])
        entropies[name] = scheme.entropy_bits(places) + scheme.entropy_bits(np.bincount(drawn.codes))
        tensors[f"{name}.weight"] = drawn.weights
        tensors[f"{name}.bias"] = sources.biases(shape[0], (*seed, 1))
        if drawn.dense is not None:
            before[f"{name}.weight"] = drawn.dense
    onnx.save(network.model(tensors), shared)
    if before:
        onnx.save(network.model(tensors | before), dense)
    return costs, entropies


def _plan(network: Network, width: str, is_dense: bool) -> dcz.Plan:
    """Exactly as it is, where it was drawn pruned and shared; else pruned and shared as the paper states."""
    gaps = {"index_bits": network.paper.gap_bits if width == "paper" else None}
    if not is_dense:
        return dcz.Plan(dcz.Settings(sparsity=0.0, **gaps))  # no more zeros than there are
    ways = {"init": sources.START, **gaps}
    rules = [
        dcz.Rule((f"{name}.weight",), dcz.Settings(sparsity=1 - stated.kept, bits=stated.bits, **ways))
        for name, stated in ((name, network.paper.layers[name]) for name in network.weights)
    ]
    return dcz.Plan(dcz.Settings(lossless=True), tuple(rules))


def _file(network: Network, path: Path) -> File:
    report = dcz.inspect(path)
    found = {row.name: row for row in report.rows}
    layers = {name: {key: getattr(found[f"{name}.weight"], key) for key in MEASURED} for name in network.weights}
    return File(report.file_bytes, layers, report.file_bytes - sum(row["huffman"] for row in layers.values()))


def _same_tensors(first: Path, second: Path) -> bool:
    """Whether two models hold the same tensors, bit for bit."""
    left, right = ({each.name: each.raw_data for each in onnx.load(path).graph.initializer} for path in (first, second))
    return left == right


def _answers(model: Path, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": image})[0]


@contextmanager
def _timed(seconds: dict[str, float], what: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[what] = time.perf_counter() - began


def _peak_memory() -> int:
    """The most bytes that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# -- kept between runs ------------------------------------------------------------------------------------------------


def write_results(results: list[Result], path: Path) -> list[Result]:
    """Put results among those of `path` (JSON), in the order of networks and sources, and return them all."""
    known = {(each.network, each.source): each for each in read_results(path) + results}
    order = {source: number for number, source in enumerate(sources.SOURCES)}
    merged = sorted(known.values(), key=lambda each: (each.network, order[each.source]))
    path.write_text(json.dumps([asdict(each) for each in merged], indent=1) + "\n")
    return merged


def read_results(path: Path) -> list[Result]:
    """The results in a file; none where there is no such file."""
    return [_from_plain(each) for each in json.loads(path.read_text())] if path.exists() else []


def _from_plain(plain: dict) -> Result:
    known = {field.name: plain[field.name] for field in fields(Result)}
    known["costs"] = {name: scheme.Cost(**each) for name, each in plain["costs"].items()}
    known["files"] = {name: File(**each) for name, each in plain["files"].items()}
    return Result(**known)
