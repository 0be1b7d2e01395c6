"""Kills, two writers at once, readers meanwhile, and disks that fill: `make crash`.

    python -m tests.hostile.crash [--kills 40] [--only compress decompress]

Each command is run once whole, then again and again with SIGKILL at a random moment. After each the output is the old
one or the new one, whole, external data included; the next run of the command succeeds, gives the same bytes, and
leaves nothing but its output. One line a command; exit code 1 where anything else was found.
"""

import argparse
import hashlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import onnx

import dcz
from tests import ROOT, models

OLD = b"the old output"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
ONE = ["--threads", "1"]
COMMANDS = {
    "compress": ["compress", "net.onnx", "-o", "out.dcz", "-f", "--no-resume", *ONE],
    "compress, workers": ["compress", "net.onnx", "-o", "out.dcz", "-f", "--workers", "2"],
    "compress, resume": ["compress", "net.onnx", "-o", "out.dcz", "-f", "--resume", *ONE],
    "decompress": ["decompress", "in.dcz", "-o", "out.onnx", "-f", *ONE],
    "decompress, outside": ["decompress", "in.dcz", "-o", "out.onnx", "-f", "--external-data", "always", *ONE],
    "tune": ["compress", "net.onnx", "-o", "out.dcz", "-f", "--calibrate", "x.npz", "--max-size", "700kB", *ONE],
    "retrain": ["retrain", "net.onnx", "-o", "out.dcz", "-f", "--data", "x.npz", "--distill", "--epochs", "1", *ONE],
    "cluster": ["compress", "net.onnx", "-o", "out.dcz", "-f", "--cluster", ""],
}
KEPT = ("out.dcz.partial", "out.dcz.checkpoint", "out.dcz.pt")  # to go on from


def prepare(folder: Path) -> None:
    """A model of about a second's work, its file, and samples."""
    weights = [models.normal(420, 420, seed=seed) for seed in range(5)]
    models.save(models.dense(*weights), folder / "net.onnx")
    dcz.compress(folder / "net.onnx", folder / "in.dcz", quality=45)
    name = onnx.load(folder / "net.onnx").graph.input[0].name
    np.savez(folder / "x.npz", **{name: models.normal(24, 420)})


def start(command: list[str], folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "dcz", *command], cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def run(command: list[str], folder: Path) -> tuple[int, str]:
    process = start(command, folder)
    _, err = process.communicate(timeout=300)
    return process.returncode, err.decode(errors="replace")


def weights_of(path: Path) -> str:
    """A digest of a model and of all its data, "old" for the old output; "broken" where it cannot be read."""
    if not path.exists():
        return "none"
    if path.read_bytes() == OLD:
        return "old"
    try:
        proto = dcz.load(path) if path.suffix == ".dcz" else onnx.load(path)
    except Exception as error:  # whatever it is, it is no whole file
        return f"broken: {error}"
    for tensor in proto.graph.initializer:
        tensor.ClearField("data_location")
        tensor.ClearField("external_data")
    return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()


def fresh(sources: Path, folder: Path, output: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(sources, folder)
    (folder / output).write_bytes(OLD)


def strays(folder: Path, sources: Path, output: str) -> list[str]:
    own = {path.name for path in sources.iterdir()} | {output}
    return [name for name in os.listdir(folder) if name not in own and not name.startswith(f"{output}.")]


def killed(name: str, command: list[str], kills: int, sources: Path, folder: Path, source: random.Random) -> list[str]:
    """Kill a command so often; returns what was wrong."""
    output, faults, seen = command[command.index("-o") + 1], [], Counter()
    fresh(sources, folder, output)
    begun = time.monotonic()
    code, err = run(command, folder)
    took = time.monotonic() - begun
    if code != 0:
        return [f"{name}: does not run: {err.strip()[-300:]}"]
    new = weights_of(folder / output)
    for number in range(kills):
        fresh(sources, folder, output)
        process = start(command, folder)
        time.sleep(source.uniform(0.1, took))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        _wait_for_children(process.pid)
        found = weights_of(folder / output)
        seen["old" if found == "old" else "new" if found == new else "other"] += 1
        seen["strays"] += len(strays(folder, sources, output))
        if found not in ("old", new):
            faults.append(f"{name}: after a kill the output is {found}")
        if number % 2 == 0:
            code, err = run(command, folder)
            if code != 0 or weights_of(folder / output) != new:
                faults.append(f"{name}: the next run ends with {code}: {err.strip()[-200:]}")
            if left := strays(folder, sources, output):
                faults.append(f"{name}: the next run leaves {left}")
            seen["run again"] += 1
    print(f"{name}: {kills} kills: {dict(seen)}, {len(faults)} faults", flush=True)
    return faults


def _wait_for_children(session: int) -> None:
    """Until all processes of a session have ended; half a minute at most."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        alive = subprocess.run(
            ["ps", "-o", "pid=", "--sid", str(session)], capture_output=True, text=True
        ).stdout.split()
        if not alive:
            return
        time.sleep(0.1)


def two_writers(rounds: int, sources: Path, folder: Path, source: random.Random) -> list[str]:
    """Two commands with one output, and a reader that opens it all the time: each reads a whole file."""
    faults, seen = [], Counter()
    first = COMMANDS["compress"]
    second = [*first, "--step", "0.5"]
    fresh(sources, folder, "out.dcz")
    whole = {OLD}
    for command in (first, second):
        run(command, folder)
        whole.add((folder / "out.dcz").read_bytes())
    for number in range(rounds):
        more = ["--resume"] if number % 2 else []
        fresh(sources, folder, "out.dcz")
        stop = threading.Event()

        def read(stop: threading.Event = stop) -> None:
            while not stop.is_set():
                content = (folder / "out.dcz").read_bytes()
                seen["read whole" if content in whole else "read torn"] += 1

        reader = threading.Thread(target=read)
        reader.start()
        processes = [
            start([*(each for each in command if each != "--no-resume"), *more], folder) for command in (first, second)
        ]
        results = [(process.communicate()[1], process.returncode) for process in processes]
        stop.set()
        reader.join()
        if any(b"Traceback" in err or code not in (0, 6) for err, code in results):
            faults.append(f"two writers: {results}")
        if (folder / "out.dcz").read_bytes() not in whole - {OLD} or strays(folder, sources, "out.dcz"):
            faults.append(f"two writers leave {os.listdir(folder)}")
    if seen["read torn"]:
        faults.append("two writers: a reader saw a torn file")
    print(f"two writers and a reader: {rounds} rounds: {dict(seen)}, {len(faults)} faults", flush=True)
    return faults


def full_disk(sources: Path, folder: Path) -> list[str]:
    """File systems of different sizes, on which outputs have no room; injected by a limit where none can be mounted."""
    faults, seen = [], Counter()
    needed = sum(path.stat().st_size for path in sources.iterdir())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for spare in (20_000, 200_000, 500_000, 1_000_000, 2_000_000, 4_000_000):
        for name in ("compress", "compress, resume", "compress, workers", "decompress", "decompress, outside"):
            command = COMMANDS[name]
            output = command[command.index("-o") + 1]
            mounted = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={needed + spare}", "tmpfs", str(folder)], capture_output=True
            ).returncode == 0  # fmt: skip
            try:
                for path in sources.iterdir():
                    shutil.copy(path, folder)
                (folder / output).write_bytes(OLD)
                limit = (
                    None if mounted else (lambda size=spare: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)))
                )
                done = subprocess.run(
                    [sys.executable, "-m", "dcz", *command],
                    cwd=folder,
                    env=ENVIRONMENT,
                    capture_output=True,
                    preexec_fn=limit,
                )
                found = weights_of(folder / output)
                seen["mounted" if mounted else "limited"] += 1
                seen["written" if done.returncode == 0 else "refused"] += 1
                is_sound = found != "old" and "broken" not in found if done.returncode == 0 else found == "old"
                if done.returncode not in (0, 6) or not is_sound or b"Traceback" in done.stderr:
                    faults.append(f"{name} on a full disk: {done.returncode} {found} {done.stderr[-200:]!r}")
                if left := strays(folder, sources, output):
                    faults.append(f"{name} on a full disk leaves {left}")
            finally:
                if mounted:
                    subprocess.run(["umount", str(folder)], capture_output=True)
                else:
                    for path in folder.iterdir():
                        path.unlink()
    print(f"full disks: {dict(seen)}, {len(faults)} faults", flush=True)
    return faults


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=40, help="in all, spread over the commands")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    source, faults = random.Random(options.seed), []
    with tempfile.TemporaryDirectory(prefix="dcz-crash-") as place, cluster() as address:
        sources, folder = Path(place, "sources"), Path(place, "work")
        sources.mkdir()
        prepare(sources)
        commands = {name: [address if each == "" else each for each in command] for name, command in COMMANDS.items()}
        chosen = {n: c for n, c in commands.items() if (not options.only or n in options.only) and _can_run(n, address)}
        for name, command in chosen.items():
            faults += killed(name, command, max(1, options.kills // len(chosen)), sources, folder, source)
        if not options.only:
            faults += two_writers(4, sources, folder, source)
            faults += full_disk(sources, folder)
    print(*faults, sep="\n")
    return bool(faults)


def _can_run(name: str, address: str) -> bool:
    if name == "retrain":
        import importlib.util

        return importlib.util.find_spec("torch") is not None
    return name != "cluster" or address != ""


def cluster():
    """A Dask cluster of this machine; "" without Dask."""
    import contextlib

    @contextlib.contextmanager
    def running():
        try:
            import distributed
        except ImportError:
            yield ""
            return
        options: dict = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "processes": True}
        with distributed.LocalCluster(**options, silence_logs=60) as found:
            yield found.scheduler_address

    return running()


if __name__ == "__main__":
    sys.exit(main())
