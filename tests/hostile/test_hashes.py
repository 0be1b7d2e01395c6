"""A file that is not the one that was meant: whole, and yet refused."""

import hashlib

import dcz
from tests.hostile.limits import run_limited
from tests.networks import perceptron


def test_a_file_of_another_hash_is_refused_before_it_is_read(tmp_path):
    packed = dcz.compress(perceptron(), tmp_path / "net.dcz")
    meant = hashlib.sha256(packed.read_bytes()).hexdigest()
    done = run_limited(["-m", "dcz", "verify", packed, "--sha256", meant.upper()])
    assert done.code == 0 and done.err == ""
    other = dcz.compress(perceptron(), tmp_path / "other.dcz", metadata={"a": "b"})
    done = run_limited(["-m", "dcz", "verify", other, "--sha256", meant])
    assert done.code == 1 and hashlib.sha256(other.read_bytes()).hexdigest() in done.err and done.out == ""
    assert run_limited(["-m", "dcz", "verify", tmp_path / "none", "--sha256", meant]).code == 6
