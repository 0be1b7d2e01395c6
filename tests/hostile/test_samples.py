"""Samples that claim more than they hold, or ask for more than anyone wants: refused soon, in little memory."""

import io
import struct
import zipfile

import numpy as np
import pytest

from tests import models
from tests.hostile.limits import QUICK, SMALL, run_commands_limited
from tests.networks import perceptron


def npy(descr: str, shape: tuple[int, ...], data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """An .npy with a header of one's own."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(11 + len(header)) % 64) + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(header)) + header + data


def zipped(*members: tuple[str, bytes]) -> bytes:
    """A compressed .npz."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(f"{name}.npy", data)
    return file.getvalue()


HOSTILE = {
    "a gigabyte of zeros, in parts": lambda: zipped(
        *[(f"x{i}", npy("<f4", (1 << 23,), bytes(1 << 25))) for i in range(6)]
    ),
    "text of no length": lambda: npy("<U0", (10**9,)),
    "nothing of no length": lambda: npy("|V0", (10**12,)),
    "bytes": lambda: npy("|S4", (1,), b"1234"),
    "dates": lambda: npy("<M8[ns]", (1,), bytes(8)),
    "a shape that lies": lambda: npy("<f4", (10**12,), b"1234"),
    "a shape of 2^63": lambda: npy("<f4", (2**63,)),
    "no elements, and 2^124": lambda: npy("<f4", (0, 2**62, 2**62)),
    "negative dims": lambda: npy("<f4", (-1, -1), b"1234"),
    "65 dims": lambda: npy("<f4", (1,) * 65, b"1234"),
    "objects": lambda: npy("|O", (1,), b"cos\nsystem\n(S'touch PWNED'\ntR."),
    "brackets": lambda: b"\x93NUMPY\1\0" + struct.pack("<H", 9000) + b"[" * 9000,
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What came of each, all compared on in one process."""
    folder = tmp_path_factory.mktemp("samples")
    models.save(perceptron(), folder / "net.onnx")
    commands = []
    for number, made in enumerate(HOSTILE.values()):
        (folder / f"{number}.npz").write_bytes(made())
        commands.append(["evaluate", "net.onnx", "--data", f"{number}.npz", "--against", "net.onnx"])
    yield dict(zip(HOSTILE, run_commands_limited(commands, folder)))
    assert not (folder / "PWNED").exists()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_samples_are_refused(name, outcomes):
    outcomes[name].check_wrong_usage()


def test_compressed_samples_of_ordinary_kinds_are_read(tmp_path):
    from dcz.evaluation.samples import open_samples

    arrays = {"text": np.array(["a", "bc"]), "flags": np.array([True, False]), "z": np.zeros(2, complex)}
    np.savez_compressed(tmp_path / "x.npz", zeros=np.zeros((2, 1_000_000)), **arrays)
    found = open_samples(tmp_path / "x.npz").arrays
    assert found["zeros"].shape == (2, 1_000_000) and all(np.array_equal(found[name], arrays[name]) for name in arrays)


def test_a_folder_of_bombs_is_refused(tmp_path):
    """Each inflates to what a file may, and forty to a gigabyte."""
    models.save(perceptron(), tmp_path / "net.onnx")
    (tmp_path / "folder").mkdir()
    bomb = zipped(("x", npy("<f4", (1 << 17, 64), bytes(1 << 25))))
    for number in range(40):
        (tmp_path / "folder" / f"{number:02}.npz").write_bytes(bomb)
    command = ["evaluate", "net.onnx", "--data", "folder", "--against", "net.onnx"]
    (used,) = run_commands_limited([command], tmp_path)
    assert used.code == 2 and "folder: its compressed arrays take more than" in used.err
    assert used.seconds < QUICK and used.megabytes < SMALL


def test_a_folder_of_files_of_many_arrays_is_refused(tmp_path):
    """Each array would be gathered in a file that is open meanwhile."""
    models.save(perceptron(), tmp_path / "net.onnx")
    (tmp_path / "folder").mkdir()
    bomb = zipped(*[(f"x{number}", npy("<f4", (1,), bytes(4))) for number in range(3000)])
    for number in range(2):
        (tmp_path / "folder" / f"{number}.npz").write_bytes(bomb)
    (used,) = run_commands_limited([["evaluate", "net.onnx", "--data", "folder", "--against", "net.onnx"]], tmp_path)
    assert used.code == 2 and "3,000 arrays: give one for each input of the model" in used.err


@pytest.mark.parametrize("arguments", [["--data", "/dev/zero"], ["--data", "x.npy", "--labels", "/dev/zero"]])
def test_a_device_without_an_end_holds_no_samples(arguments, tmp_path):
    models.save(perceptron(), tmp_path / "net.onnx")
    np.save(tmp_path / "x.npy", np.zeros((4, 64), np.float32))
    (used,) = run_commands_limited([["evaluate", "net.onnx", *arguments, "--against", "net.onnx"]], tmp_path)
    assert used.code == 6 and "/dev/zero: cannot be read: it is a device without an end" in used.err
    assert used.seconds < QUICK and used.megabytes < SMALL
