"""Write docs/report.png anew, the picture of a report: of SqueezeNet 1.1, in Chromium.

python -m docs.make_picture MODEL.onnx
"""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import dcz

PICTURE = Path(__file__).resolve().parent / "report.png"
WINDOW = "1000,760"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={WINDOW}")


def main(model: str) -> None:
    """Compress the model, report on it, and take a picture of the page's beginning."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"none of {', '.join(BROWSERS)} is installed")
    source = Path(model).resolve()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # the page names files as they are given
        shutil.copyfile(source, "model.onnx")
        dcz.compress("model.onnx", "model.dcz")
        page = dcz.report("model.dcz", "report.html", against="model.onnx").resolve()
        subprocess.run([browser, *OPTIONS, f"--screenshot={PICTURE}", page.as_uri()], check=True, capture_output=True)


if __name__ == "__main__":
    main(sys.argv[1])
