"""The same bytes whatever the threads, hash seeds, processor, BLAS, locale and DEFLATE library: `make determinism`.

    python -m tests.determinism               one line for each environment; exit code 1 where any output differs

Each is a process of its own that makes the `files` of tests/golden.py. As to the processor, numpy's own kernels
are switched off, from the newest to all that are not its baseline.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import ROOT


def environments() -> dict[str, tuple[dict[str, str], list[str]]]:
    """Variables and arguments by name."""
    import numpy as np

    core = np._core._multiarray_umath if hasattr(np, "_core") else np.core._multiarray_umath
    kernels = [name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]
    newest = [name for name in kernels if name.startswith("AVX512")]
    found: dict[str, tuple[dict[str, str], list[str]]] = {"as it is": ({}, [])}
    found |= {f"{threads} threads": ({}, ["--threads", str(threads)]) for threads in (1, 2, 8)}
    found |= {f"hash seed {seed}": ({"PYTHONHASHSEED": str(seed)}, []) for seed in (0, 1, 4242)}
    found |= {f"{n} threads of BLAS": ({"OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n}, []) for n in ("1", "4")}
    found["another kernel of BLAS"] = ({"OPENBLAS_CORETYPE": "Prescott"}, [])
    for name, off in (("without AVX-512", newest), ("without numpy's kernels", kernels)):
        if off:
            found[name] = ({"NPY_DISABLE_CPU_FEATURES": " ".join(off)}, [])
    found["locale C, ASCII"] = ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, [])
    found["locale of Turkey"] = ({"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"}, [])
    found["without isal"] = ({}, ["--without", "isal"])
    found["python -O"] = ({"PYTHONOPTIMIZE": "1"}, [])
    return found


def digests(threads: int | None) -> dict[str, str]:
    """What this process makes, by name."""
    from tests import golden

    if threads is not None:
        import dcz.compression.compress

        dcz.compression.compress.thread_count = lambda _: threads
    with tempfile.TemporaryDirectory() as folder:
        return {name: hashlib.sha256(data).hexdigest() for name, data in golden.files(Path(folder))}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--digests", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--without", help="a package that is not to be found")
    options = parser.parse_args()
    if options.without:
        sys.modules[options.without] = None  # type: ignore[assignment]
    if options.digests:
        json.dump(digests(options.threads), sys.stdout)
        return 0
    expected: dict[str, str] = {}
    failed = 0
    for name, (variables, arguments) in environments().items():
        command = [sys.executable, "-m", "tests.determinism", "--digests", *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | variables
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        found = json.loads(done.stdout) if done.returncode == 0 else {}
        expected = expected or found
        wrong = sorted(each for each in expected if found.get(each) != expected[each])
        failed += bool(wrong) or not found
        error = "" if found else f": {done.stderr.strip()[-300:]}"
        print(
            f"{name}: {len(found) - len(wrong)} of {len(expected)} outputs alike{error} {wrong or ''}".rstrip(),
            flush=True,
        )
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
