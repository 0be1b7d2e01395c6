"""What a benchmark records of the machine and the code that it ran on.

described("numpy", "onnx")   ->   {"date": ..., "commit": ..., "processor": ..., "python": ..., "numpy": "2.4.6", ...}
"""

import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).parent


def described(*packages: str) -> dict[str, str]:
    """Date, commit, processor, Python, and the versions of these packages."""
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True)
    return {"date": time.strftime("%Y-%m-%d"), "commit": commit.stdout.strip()} | platform_of(*packages)


def platform_of(*packages: str) -> dict[str, str]:
    """Processor, Python, and the versions of these packages."""
    versions = {name: _version(name) for name in packages}
    return {"processor": platform.machine(), "python": platform.python_version(), **versions}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
