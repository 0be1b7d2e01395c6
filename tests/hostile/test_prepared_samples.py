"""Images, sounds, texts and tokenizers that would take `dcz samples` apart: refused in a sentence, in little memory."""

import json
import struct
import zlib

import numpy as np
import pytest
from onnx import helper

from tests import models
from tests.evaluation import test_text_samples as texts
from tests.hostile.limits import QUICK, SMALL, run_commands_limited


def png(width: int, height: int, pixels: bytes) -> bytes:
    """A picture that says that it has these sides, in three channels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(pixels, 9)) + chunk(b"IEND", b"")


def wav(rate: int, channels: int = 1, data: bytes = bytes(100_000)) -> bytes:
    """Sounds of two bytes a number."""
    form = struct.pack("<HHIIHH", 1, channels, rate, 2 * rate * channels & 0xFFFFFFFF, 2 * channels, 16)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


IMAGES = {
    "90 million pixels in 260 kB": lambda: png(10_000, 9_000, bytes(270_009_000)),
    "more pixels than Pillow takes": lambda: png(100_000, 100_000, b""),
    "a column": lambda: png(1, 2_000_000, bytes(8_000_000)),
    "a row": lambda: png(2_000_000, 1, bytes(6_000_001)),
    "no pixels": lambda: png(0, 0, b""),
}
SOUNDS = {
    "no numbers a second": lambda: wav(0),
    "no channels": lambda: wav(16_000, 0),
    "one number a second": lambda: wav(1),
    "four billion numbers a second": lambda: wav(2**32 - 1),
}
PADDING = {"direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "x"}
TOKENIZERS = {
    "places": PADDING | {"strategy": {"Fixed": 2**33}},
    "multiples": PADDING | {"strategy": "BatchLongest", "pad_to_multiple_of": 2**62},
}


def of_images(folder) -> list[list[str]]:
    weight = models.tensor("w", models.normal(4, 3, 3, 3))
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("GlobalAveragePool", ["c"], ["y"])]
    models.save(models.model(nodes, {"x": [1, 3, 32, 32]}, {"y": [1, 4, 1, 1]}, [weight]), folder / "image.onnx")
    return [[f"{number}.png", "--for", "image.onnx"] for number in range(len(IMAGES))]


def of_sounds(folder) -> list[list[str]]:
    weight = models.tensor("w", models.normal(16_000, 4))
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    models.save(models.model(nodes, {"x": [1, 16_000]}, {"y": [1, 4]}, [weight]), folder / "sound.onnx")
    return [[f"{number}.wav", "--for", "sound.onnx", "--rate", "16000"] for number in range(len(SOUNDS))]


def of_texts(folder) -> list[list[str]]:
    texts.network(folder / "words.onnx")
    texts.tokenizer(folder / "words.json")
    own = json.loads((folder / "words.json").read_text())
    for number, padding in enumerate(TOKENIZERS.values()):
        (folder / f"{number}.json").write_text(json.dumps(own | {"padding": padding}))
    (folder / "words.txt").write_text("the cat sat\n")
    common = ["--for", "words.onnx", "--tokenizer"]
    names = [f"{number}.json" for number in range(len(TOKENIZERS))]
    return [*(["words.txt", *common, name] for name in names), ["/dev/zero", *common, "words.json"]]


KINDS = {"PIL": of_images, "wave": of_sounds, "tokenizers": of_texts}


@pytest.mark.parametrize("library", KINDS)
def test_hostile_sources_of_samples_are_refused(library, tmp_path):
    pytest.importorskip(library)
    for suffix, made in (("png", IMAGES), ("wav", SOUNDS)):
        for number, make in enumerate(made.values()):
            (tmp_path / f"{number}.{suffix}").write_bytes(make())
    commands = [["samples", *command, "-o", "out.npz"] for command in KINDS[library](tmp_path)]
    for command, used in zip(commands, run_commands_limited(commands, tmp_path), strict=True):
        assert used.code in (2, 6) and len(used.err.splitlines()) == 1, (command, used.err)
        assert used.seconds < QUICK and used.megabytes < SMALL, command
    assert not (tmp_path / "out.npz").exists()


def test_a_line_of_megabytes_is_cut_before_it_is_encoded(tmp_path):
    pytest.importorskip("tokenizers")
    of_texts(tmp_path)
    (tmp_path / "long.txt").write_text("the cat " * 600_000 + "\nthe cat sat\n")
    command = ["samples", "long.txt", "--for", "words.onnx", "--tokenizer", "words.json", "-o", "out.npz"]
    (used,) = run_commands_limited([command], tmp_path)
    assert used.code == 0 and used.seconds < QUICK and used.megabytes < SMALL, used.err
    assert all(len(array) == 2 for array in np.load(tmp_path / "out.npz").values())
