"""The oldest versions that setup.cfg allows: the same bytes, and the quick tests: `make oldest`.

python tests/oldest.py --versions        numpy==1.26 onnx==1.16 ...: the least versions of what is needed, and of pytest
python -m tests.oldest                   in an environment of these: compares with tests/golden.json, runs the tests
"""

import configparser
import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ALSO = ("isal", "pillow", "tokenizers", "pytest", "pytest-xdist[psutil]")  # of the extras
PROTOBUF = "protobuf==3.20.2"  # the least that the oldest onnx takes
# What takes no onnxruntime: the tests' models are of an ONNX that its oldest does not know.
QUICK = ["tests/format", "tests/spec", "tests/reading", "tests/fuzz", "tests/test_plan.py"]
QUICK += ["--ignore=tests/reading/test_forms.py"]  # which runs models


def versions() -> list[str]:
    """The least version of each requirement, as pip takes it."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    least = dict(re.findall(r"^([A-Za-z0-9_.\[\]-]+)>=([0-9.]+)", "\n".join(lines), re.MULTILINE))
    needed = re.findall(r"^([A-Za-z0-9_-]+)>=", config["options"]["install_requires"].strip(), re.MULTILINE)
    return [*(f"{name}=={least[name]}" for name in (*needed, *ALSO)), PROTOBUF]


def main() -> int:
    if sys.argv[1:] == ["--versions"]:
        print(*versions())
        return 0
    recorded = json.loads((ROOT / "tests" / "golden.json").read_text())["files"]
    done = subprocess.run([sys.executable, "-m", "tests.determinism", "--digests"], cwd=ROOT, stdout=subprocess.PIPE)
    found = json.loads(done.stdout) if done.returncode == 0 else {}
    wrong = sorted(name for name in recorded if found.get(name) != recorded[name])
    print(f"{len(recorded) - len(wrong)} of {len(recorded)} outputs are those of tests/golden.json", *wrong, sep="\n  ")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", *QUICK]
    return int(subprocess.run(command, cwd=ROOT).returncode != 0 or bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
