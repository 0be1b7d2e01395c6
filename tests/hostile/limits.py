"""Work in a process of its own, with bounds on processor time and memory that the system holds.

used = run_limited(["-m", "dcz", "inspect", "bomb.dcz"])
used.code, used.seconds, used.megabytes

first, second = run_commands_limited([["inspect", "bomb.dcz"], ["verify", "bomb.dcz"]], folder)
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tests import ROOT

SECONDS = 20  # of processor time, until the system ends the process: what a fault takes must not take the machine
ADDRESS_SPACE = 4 << 30  # bytes
# Seconds of processor time that a hostile input may take: several times what any takes (SECURITY.md), as a machine that
# is shared does less in a second; what is not bounded takes minutes.
QUICK = 8.0
SMALL = 300.0  # megabytes (10^6 bytes) of memory


@dataclass(frozen=True)
class Used:
    """What a process gave and took: its exit code (negative: the signal that ended it), seconds of processor time, and
    megabytes of memory at its peak."""

    code: int
    seconds: float
    megabytes: float
    out: str
    err: str

    def check_wrong_usage(self) -> None:
        """Fail unless it was refused as wrong usage (exit code 2), quickly, in one line on stderr and nothing else."""
        assert self.code == 2, self.err
        assert len(self.err.splitlines()) == 1 and "Traceback" not in self.err and not self.out
        assert self.seconds < QUICK and self.megabytes < SMALL


def run_limited(
    arguments: Sequence[str | os.PathLike[str]],
    cwd: str | os.PathLike[str] | None = None,
    address_space: int = ADDRESS_SPACE,
    seconds: int = SECONDS,
) -> Used:
    """Run Python with these arguments under the limits."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    # The small process between measures: what its child takes is not mixed with what other tests have taken.
    relay = (
        "import json, resource, subprocess, sys; done = subprocess.run(sys.argv[1:], capture_output=True, text=True, "
        "errors='replace'); used = resource.getrusage(resource.RUSAGE_CHILDREN); json.dump([done.returncode, "
        "used.ru_utime + used.ru_stime, used.ru_maxrss, done.stdout, done.stderr], sys.stdout)"
    )
    command = [sys.executable, "-S", "-c", relay, sys.executable, *map(os.fspath, arguments)]
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, preexec_fn=limit, check=True
    )
    code, seconds, peak, out, err = json.loads(done.stdout)
    return Used(code, seconds, peak * 1024 / 1e6, out, err)


def run_commands_limited(
    commands: Sequence[Sequence[str]], cwd: str | os.PathLike[str], seconds: int = 3 * SECONDS
) -> list[Used]:
    """Run command lines of dcz one after another in one process under the limits.

    `megabytes` is the peak of them all; those that were not reached, as the process was ended, have its code.
    """
    done = run_limited(["-m", "tests.hostile.commands", json.dumps(commands)], cwd, seconds=seconds)
    lines = map(json.loads, done.out.splitlines())
    found = [Used(code, taken, done.megabytes, out, err) for code, taken, out, err in lines]
    return found + [Used(done.code, done.seconds, done.megabytes, "", done.err)] * (len(commands) - len(found))
