"""Every example runs, on something small."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import dcz
from dcz import plan
from tests import ROOT
from tests.networks import perceptron

EXAMPLES = ROOT / "examples"


@pytest.fixture
def packed(tmp_path) -> Path:
    return dcz.compress(perceptron(), tmp_path / "net.dcz", force=True)


def run(script: str, *arguments) -> str:
    command = [sys.executable, EXAMPLES / script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_magika_gives_the_same_answers_with_the_compressed_model():
    out = run("01_compress_magika.py", ROOT / "dcz" / "codec")
    same, total = map(int, re.search(r"same answer from both models: (\d+) of (\d+)", out).groups())
    assert total >= 10 and same >= 0.98 * total
    assert float(re.search(r"([\d.]+) times smaller", out)[1]) > 4


def test_onnxruntime_takes_the_model_from_memory(packed):
    out = run("02_load_into_onnxruntime.py", packed)
    assert "inputs:  x" in out and "fc1.weight: float32 (64, 128)" in out


def test_the_plan_is_valid_and_does_what_its_comments_say(tmp_path):
    rules = plan.load(EXAMPLES / "03_plan.toml")
    rows = {
        row.name: row for row in dcz.inspect(dcz.compress(perceptron(), tmp_path / "net.dcz", rules, force=True)).rows
    }
    assert rows["fc1.weight"].kept == round(0.2 * rows["fc1.weight"].elements)
    assert rows["fc1.weight"].layout.startswith("4-bit gaps") and rows["fc1.weight"].entries == 16
    assert rows["fc1.bias"].encoding == "stored"


def test_a_training_loop_of_ones_own_gives_smaller_files_as_good():
    pytest.importorskip("torch")
    lines = run("04_own_training_loop.py").splitlines()
    found = [re.match(r"(\w+) +([\d,]+) bytes +([\d.]+) % right", line).groups() for line in lines]
    sizes = [int(size.replace(",", "")) for _, size, _ in found]
    assert [title for title, _, _ in found] == ["trained", "pruned", "shared"]
    assert sizes[0] > 4 * sizes[1] > 8 * sizes[2] and all(float(right) > 97 for _, _, right in found)


def test_images_two_outputs_and_whole_filters_in_a_loop_of_ones_own():
    pytest.importorskip("torch")
    lines = run("05_own_data_and_losses.py").splitlines()
    found = [re.match(r"(\w+) +([\d,]+) bytes +(\d+) filters +([\d.]+) % right", line).groups() for line in lines]
    sizes = [int(size.replace(",", "")) for _, size, _, _ in found]
    assert [title for title, *_ in found] == ["trained", "pruned", "shared"]
    assert sizes[0] > 1.8 * sizes[1] > 2.8 * sizes[2] and all(float(right) > 98 for *_, right in found)
    assert [int(filters) for _, _, filters, _ in found] == [24, 8, 8]


def test_every_example_is_tested():
    assert {path.name for path in EXAMPLES.glob("0*")} == set(re.findall(r"\d\d_\w+\.\w+", Path(__file__).read_text()))
