"""An interrupt ends a command soon, whatever is at work, and leaves the old output and nothing else."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests import ROOT, models
from tests.networks import perceptron

# Each has its threads, or its processes, at work on something that takes a minute, and then says so.
PATCHES = {
    "compress": "import dcz.compression.task as room; name = 'encode'",
    "decompress": "import dcz.reading.decompress as room; name = 'decode_checked'",
    "verify": "import dcz.reading.decompress as room; name = 'decode_checked'",
}
CODE = """if True:
    import os, sys, time
    {patch}
    def slow(*arguments, **more):
        os.write(1, b'READY\\n')  # at once: there may be several threads
        time.sleep(60)
    setattr(room, name, slow)
    from dcz import cli
    cli.main()
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", PATCHES)
def test_an_interrupt_waits_for_no_tensor(command, stop, tmp_path):
    import dcz

    models.save(perceptron(), tmp_path / "net.onnx")
    dcz.compress(tmp_path / "net.onnx", tmp_path / "net.dcz")
    source = "net.onnx" if command == "compress" else "net.dcz"
    (tmp_path / "out").write_bytes(b"old")
    more = [] if command == "verify" else ["-o", "out", "--force"]
    before = sorted(os.listdir(tmp_path))
    code = CODE.format(patch=PATCHES[command])
    process = subprocess.Popen(
        [sys.executable, "-c", code, command, source, *more], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout.readline() == b"READY\n"
    start = time.monotonic()
    process.send_signal(stop)
    _, err = process.communicate(timeout=50)
    assert time.monotonic() - start < 20  # two seconds where the machine has nothing else to do
    assert process.returncode == (130 if stop == signal.SIGINT else 143), err
    assert b"Traceback" not in err
    assert (tmp_path / "out").read_bytes() == b"old" and sorted(os.listdir(tmp_path)) == before


def test_worker_processes_end_with_an_interrupted_command(tmp_path):
    weights = [models.normal(600, 600, seed=seed) for seed in range(6)]
    models.save(models.dense(*weights), tmp_path / "net.onnx")
    process = subprocess.Popen(
        [sys.executable, "-m", "dcz", "compress", "net.onnx", "--workers", "2", "--quality", "45"], cwd=tmp_path,
        stderr=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while len(_session(process.pid)) < 4 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)  # it, the tracker of its resources, and two workers
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=50)
    assert process.returncode == 130
    while _session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert _session(process.pid) == [] and os.listdir(tmp_path) == ["net.onnx"]


def _session(leader: int) -> list[int]:
    """The processes of a session."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getsid(int(name)) == leader:
                found.append(int(name))
        except OSError:
            continue
    return found
