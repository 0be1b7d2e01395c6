"""Real networks to measure with: each with inputs to calibrate on, others to score on, and what counts as agreeing.

    subject = squeezenet()
    answers = subject.answers(subject.model)            of the original, one a scored sample
    subject.agreement(answers, others)                  0 to 1

Nothing is tuned on what is scored. Every function raises Missing where its package or data is not at hand.
"""

import hashlib
import importlib.util
import json
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import rendered
import small_networks
from agreement import DATA, images
from edits import edits

from dcz.evaluation import runtime

BATCH = 8
THREADS = 1
FILES_OF_A_KIND = 12  # so that the installation's .py files do not drown the rest
TEXT = 0.3  # PP-OCR's detector says text where its map is above this
CALIBRATED_ON = 256  # images, of the small networks


class Missing(Exception):
    """What a subject needs is not at hand."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A network to measure.

    `calibration` and `scoring` give its inputs by name, samples along the first axis. `decode` makes answers, one a
    sample, from its first output; `alike` says how much two answers agree, 0 to 1. `truth`, where there is any, says
    what the answers should be, and `exactness` how near one comes to it, 0 to 1.
    """

    name: str
    model: Path
    calibration: Callable[[], dict[str, np.ndarray]]
    scoring: Callable[[], dict[str, np.ndarray]]
    decode: Callable[[np.ndarray], list]
    alike: Callable[[object, object], float] = lambda one, other: float(one == other)
    truth: Callable[[], list] | None = None
    exactness: Callable[[object, object], float] | None = None

    def answers(self, model: Path) -> list:
        """What the network at `model` says of the scoring inputs."""
        session = runtime.session(model, THREADS)
        inputs, found = self.scoring(), []
        for start in range(0, len(next(iter(inputs.values()))), BATCH):
            batch = {name: np.ascontiguousarray(array[start : start + BATCH]) for name, array in inputs.items()}
            found += self.decode(runtime.run(session, batch)[0])
        return found

    def agreement(self, wanted: list, found: list) -> float:
        """The mean likeness of two models' answers."""
        return float(np.mean([self.alike(a, b) for a, b in zip(wanted, found, strict=True)]))

    def accuracy(self, found: list) -> float | None:
        """The mean exactness of answers; None where nobody knows the truth."""
        if self.truth is None:
            return None
        return float(np.mean([self.exactness(a, b) for a, b in zip(self.truth(), found, strict=True)]))


def _kept(function: Callable) -> Callable:
    """`function`, called once at most."""
    found = []
    return lambda: found[0] if found else found.append(function()) or found[0]


def _top(output: np.ndarray) -> list[int]:
    return output.reshape(len(output), -1).argmax(1).tolist()


def squeezenet() -> Subject:
    """SqueezeNet 1.1 on photographs."""
    model = DATA / "nets" / "squeezenet_v1.1.onnx"
    if not model.is_file() or not (DATA / "imagenet").is_dir():
        raise Missing(f"{DATA} (set DCZ_DATA)")

    def inputs(name: str) -> Callable:
        return _kept(lambda: {"data": np.concatenate(list(images(name)))})

    return Subject("SqueezeNet 1.1", model, inputs("calibration256"), inputs("val650"), _top)


def _small(name: str) -> Subject:
    """One of the small networks, calibrated on images drawn from its pool."""
    network = small_networks.NETWORKS[name]
    if not small_networks.DATA.is_dir():
        raise Missing(f"{small_networks.DATA} (set DCZ_DATA)")
    model = network.model()
    (entry,) = runtime.session(model).get_inputs()

    def calibration() -> dict[str, np.ndarray]:
        pool = network.pool()
        return {entry.name: pool[np.random.default_rng(0).permutation(len(pool))[:CALIBRATED_ON]]}

    return Subject(name, model, _kept(calibration), _kept(lambda: {entry.name: network.others()}), _top)


def resnet32() -> Subject:
    """A residual network on small photographs."""
    return _small("ResNet-32")


def depthwise() -> Subject:
    """A network of depthwise layers on small photographs."""
    return _small("depthwise")


def package(name: str) -> Path:
    """The folder of an installed package, which is not imported."""
    found = importlib.util.find_spec(name)
    if found is None:
        raise Missing(f"the package {name}")
    return Path(found.submodule_search_locations[0])


@cache
def _files() -> dict[str, list[Path]]:
    """Files of the Python installation, by the end of their names, in an order that no path decides."""
    kinds, seen = defaultdict(list), set()
    for root in dict.fromkeys([Path(sys.base_prefix, "lib"), Path(sys.prefix, "lib")]):
        for path in sorted(root.rglob("*.*")):
            if path.is_file() and not path.is_symlink() and 64 < path.stat().st_size < 1 << 20:
                kinds[path.suffix].append(path)
    chosen = {}
    for kind, paths in sorted(kinds.items()):
        paths.sort(key=lambda path: hashlib.sha256(path.name.encode()).digest())
        digests = [(hashlib.sha256(path.read_bytes()).digest(), path) for path in paths[: 2 * FILES_OF_A_KIND]]
        fresh = [path for digest, path in digests if digest not in seen and not seen.add(digest)]
        chosen[kind] = fresh[:FILES_OF_A_KIND]
    return chosen


def magika() -> Subject:
    """magika on files of the Python installation, and on cuttings out of their middle; calibrated on other files."""
    model = next((package("magika") / "models").glob("*/model.onnx"))
    config = json.loads((model.parent / "config.min.json").read_text())
    begin, end, block, padding = (config[key] for key in ("beg_size", "end_size", "block_size", "padding_token"))

    def features(data: bytes) -> np.ndarray:
        """As magika's client makes them (v2): the first and last bytes, white space at the ends taken off."""
        found = np.full(begin + end, padding, np.int32)
        head, tail = data[:block].lstrip()[:begin], data[-block:].rstrip()[-end:]
        found[: len(head)] = np.frombuffer(head, np.uint8)
        found[len(found) - len(tail) :] = np.frombuffer(tail, np.uint8)
        return found

    def inputs(part: int) -> Callable:
        def read() -> dict[str, np.ndarray]:
            rows = []
            for paths in _files().values():
                for data in (path.read_bytes() for path in paths[part::2]):
                    rows += [features(data), features(data[len(data) // 3 : len(data) // 3 + 1500])]
            return {"bytes": np.stack(rows)}

        return _kept(read)

    return Subject("magika", model, inputs(1), inputs(0), _top)


def ocr_models() -> Path:
    """The models of rapidocr-onnxruntime."""
    return package("rapidocr_onnxruntime") / "models"


def recognizer() -> Subject:
    """PP-OCRv4's recognizer on rendered lines: the string read; exactness is that of its characters."""
    model = ocr_models() / "ch_PP-OCRv4_rec_infer.onnx"
    characters = ["", *runtime.session(model).get_modelmeta().custom_metadata_map["character"].splitlines(), " "]

    def decode(output: np.ndarray) -> list[str]:
        best = output.argmax(-1)
        fresh = np.diff(best, axis=1, prepend=-1) != 0  # CTC: what repeats counts once, 0 says nothing
        return ["".join(characters[code] for code in row[new]) for row, new in zip(best, fresh)]

    def exactness(truth: str, found: str) -> float:
        return max(0.0, 1 - edits(truth, found) / len(truth))

    scored = _kept(lambda: rendered.lines(160, seed=1))
    return Subject(
        "PP-OCRv4 rec", model, _kept(lambda: {"x": rendered.lines(96, seed=2)[0]}), lambda: {"x": scored()[0]}, decode,
        truth=lambda: scored()[1], exactness=exactness,
    )  # fmt: skip


def detector() -> Subject:
    """PP-OCRv4's detector on rendered pages: where it sees text; pages agree by what two maps have in common."""

    def alike(one: np.ndarray, other: np.ndarray) -> float:
        union = np.count_nonzero(one | other)
        return np.count_nonzero(one & other) / union if union else 1.0

    return Subject(
        "PP-OCRv4 det", ocr_models() / "ch_PP-OCRv4_det_infer.onnx",
        _kept(lambda: {"x": rendered.pages(64, seed=2)}), _kept(lambda: {"x": rendered.pages(64, seed=1)}),
        lambda output: list(output[:, 0] > TEXT), alike,
    )  # fmt: skip


SUBJECTS = {
    "squeezenet": squeezenet,
    "resnet32": resnet32,
    "depthwise": depthwise,
    "magika": magika,
    "rec": recognizer,
    "det": detector,
}
