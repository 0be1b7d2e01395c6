"""A task of dcz in a process of its own, under a limit: its time, and its peaks of memory.

run("compress", "net.onnx", "net.dcz", limit=3 << 30)   ->   {"seconds": 41.2, "peak_bytes": 611000000, ...}

`cpu_seconds` are those of all threads together, which other programs on the machine disturb less than `seconds`.
`peak_bytes` is what the process held at most, without the pages of mapped files, which the system takes back when it
needs them; `base_bytes` is what it held when everything was imported and nothing done; `address_space` is the most that
it ever mapped, files and all: what RLIMIT_AS limits.
"""

import json
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
EVERY = 0.003  # seconds between two looks at the memory


def run(task: str, *arguments, limit: int | None = None, threads: int | None = None, **options) -> dict:
    """Run a task of TASKS and return what it measured; `limit` is of the address space, in bytes.

    Raises RuntimeError, with what it said, where it fails.
    """
    asked = json.dumps({"task": task, "arguments": [str(each) for each in arguments], "limit": limit,
                        "options": options | {"threads": threads}})  # fmt: skip
    command = [sys.executable, "-m", "examples.streaming.measure", asked]
    # Libraries that make a thread for every core, each with an arena of its own, would take address space for nothing.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{task} {arguments}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


# -- in the process ---------------------------------------------------------------------------------------------------


def _compress(source: str, output: str, threads=None, resume=None, **settings) -> dict:
    import dcz

    plan = dcz.Settings(**settings) if settings else None
    dcz.compress(source, output, plan, threads=threads, resume=resume, force=True)
    return {"bytes": os.path.getsize(output)}


def _decompress(source: str, output: str, threads=None) -> dict:
    import dcz

    dcz.decompress(source, output, data_name=f"{os.path.basename(output)}.data", threads=threads, force=True)
    return {"bytes": os.path.getsize(output) + os.path.getsize(f"{output}.data")}


def _verify(source: str, threads=None) -> dict:
    import dcz

    return {"bytes": dcz.verify(source, threads=threads).decoded_bytes}


def _open(source: str, name: str, threads=None) -> dict:
    import dcz

    with dcz.open(source) as tensors:
        return {"bytes": tensors[name].nbytes}


TASKS = {"compress": _compress, "decompress": _decompress, "verify": _verify, "open": _open}


class Watch:
    """Looks at the process's own memory all the while, in a thread."""

    def __init__(self):
        self.base = self.peak = _status("RssAnon")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(EVERY):
            self.peak = max(self.peak, _status("RssAnon"))

    def stop(self) -> dict:
        """The peaks in bytes."""
        self._stop.set()
        self._thread.join()
        return {
            "base_bytes": self.base,
            "peak_bytes": max(self.peak, _status("RssAnon")),
            "peak_resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "address_space": _status("VmPeak"),
        }


def _status(field: str) -> int:
    """A line of /proc/self/status in bytes."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(f"{field}:"))


def main() -> None:
    """Do what the first argument asks for, and print what it took."""
    asked = json.loads(sys.argv[1])
    if asked["limit"]:
        resource.setrlimit(resource.RLIMIT_AS, (asked["limit"], asked["limit"]))
    import dcz.compression.compress
    import dcz.evaluation.verify  # noqa: F401  what a task imports is not what it needs

    watch, began, worked = Watch(), time.perf_counter(), time.process_time()
    found = TASKS[asked["task"]](*asked["arguments"], **asked["options"])
    took = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - worked}
    print(json.dumps(found | took | watch.stop()))


if __name__ == "__main__":
    main()
