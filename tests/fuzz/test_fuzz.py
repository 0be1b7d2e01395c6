"""The harnesses find no fault in their seeds and a few changed ones, would find one, and it can be shown again."""

import os
import random
import subprocess
import sys

import pytest

from tests import ROOT
from tests.conformance import VECTORS
from tests.fuzz.harnesses import HARNESSES, seeds
from tests.fuzz.mutations import mutated
from tests.fuzz.sealing import sealed

RUNS = {
    "container": 40,
    "decoders": 250,
    "records": 300,
    "tables": 400,
    "models": 4,
    "lists": 200,
    "samples": 60,
    "plans": 80,
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", HARNESSES)
def test_seeds_and_a_few_changed_ones_show_no_fault(name):
    source, known = random.Random(1), seeds(name)
    assert known
    for data in source.sample(known, min(len(known), 40)):
        HARNESSES[name](data)
    for _ in range(RUNS[name]):
        HARNESSES[name](mutated(source, known))


def test_checksums_are_put_right():
    for path in sorted(VECTORS.glob("valid/*.dcz")):
        data = path.read_bytes()
        if data[12:16] == data[16:20]:  # a plain directory
            assert sealed(data) == data, path.name
            assert sealed(data[:20] + b"????" + data[24:]) == data


def test_a_fault_is_written_down_and_can_be_shown_again(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DCZ_FUZZ_FAULT": "1", "DCZ_FUZZ_FOLDER": str(tmp_path)}
    command = [sys.executable, "-m", "tests.fuzz", "plans", "--engine", "own"]
    done = subprocess.run([*command, "--seconds", "20"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "RuntimeError: a fault" in done.stdout
    (crash,) = (tmp_path / "crashes").iterdir()
    again = subprocess.run([*command, "--input", crash], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert again.returncode == 1 and "a fault" in again.stderr
