"""Files that each released version has written, which all later ones decode: spec/released/VERSION/.

    python -m tests.spec.test_released        writes those of the present version, once, when it is released

They are never written anew: a release that could not read them would break its promise. What they hold is recorded
beside them, as it was read by the version that wrote them. Files of 0.1.0 are of the days before its release.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import pytest

import dcz
from tests.conformance import SPEC, by_dcz, by_dcz_slowly, by_decoder

RELEASED = SPEC / "released"
MOST = 20_000  # bytes of a file, and
FILES = sorted(RELEASED.glob("*/*.dcz"))
RECORDED = {folder.name: json.loads((folder / "recorded.json").read_text()) for folder in RELEASED.glob("*/")}


def held(tensors: dict) -> dict[str, str]:
    """SHA-256 of each tensor's bytes, by name."""
    return {name: hashlib.sha256(data).hexdigest() for name, (_, _, data) in tensors.items()}


def model_of(path: Path) -> str:
    proto = dcz.load(path)
    return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()


def test_there_are_files_of_each_version_and_all_are_recorded():
    assert len(FILES) >= 20
    assert {(path.parent.name, path.name) for path in FILES} == {
        (v, name) for v, each in RECORDED.items() for name in each
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name} {path.stem}")
def test_what_a_released_version_wrote_is_read_as_it_was_then(path):
    recorded = RECORDED[path.parent.name][path.name]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == recorded["file"], "released files are never written anew"
    assert held(by_dcz(path)) == held(by_dcz_slowly(path)) == held(by_decoder(path)) == recorded["tensors"]
    assert model_of(path) == recorded["model"]


def write() -> None:
    from tests import golden

    folder = RELEASED / dcz.__version__
    folder.mkdir(parents=True)  # fails where it is there
    recorded = {}
    with tempfile.TemporaryDirectory() as place:
        for name, data in golden.files(Path(place)):
            if data[:4] == b"\x89DCZ" and len(data) <= MOST and hashlib.sha256(data).hexdigest() not in str(recorded):
                path = folder / (name.replace(", ", "-").replace(" ", "-") + ".dcz")
                path.write_bytes(data)
                digest = hashlib.sha256(data).hexdigest()
                recorded[path.name] = {"file": digest, "model": model_of(path), "tensors": held(by_dcz(path))}
    (folder / "recorded.json").write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(write())
