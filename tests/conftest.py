"""Every .dcz file that a test leaves behind is decoded by dcz and by the specification's decoder, and must be alike."""

import gc
import hashlib
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy comes: for small matrices more threads are slower by half
# Processes that tests start find dcz compiled. Where nothing may be kept, as in many containers, each compiles it anew,
# which takes longer than most of what they do.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import pytest

from dcz.errors import DczError
from tests.conformance import by_dcz, by_decoder, decoded_bytes

# Bytes of a file, and of what it decodes to: the second decoder is written to be read, not to be fast.
MOST, MOST_DECODED = 1 << 20, 1 << 25
_alike: set[bytes] = set()  # SHA-256 of the files that both have decoded: many tests begin with the same one


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Cycles are not looked for while ten thousand tests are made, nor among these later: that took 4 of the 7 seconds
    of collection in each process, and time from many a test."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def _both_decoders_agree(request):
    yield
    folder = request.node.funcargs.get("tmp_path")
    for path in sorted(Path(folder).rglob("*.dcz")) if folder else ():
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MOST:
            continue
        digest = hashlib.sha256(path.read_bytes()).digest()
        if digest in _alike:
            continue
        try:
            if decoded_bytes(path) > MOST_DECODED:
                continue
            expected = by_dcz(path)
        except DczError:
            continue  # damaged on purpose; that both refuse it alike is for the vectors to show
        assert by_decoder(path) == expected, path.name
        _alike.add(digest)
