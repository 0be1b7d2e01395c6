"""Data files: what is read, what is refused."""

import io
import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from dcz.errors import BadPlan, DczError, FileAccess
from dcz.evaluation import samples as data
from dcz.files import ranges

X = np.arange(60, dtype=np.float32).reshape(20, 3)
Y = np.arange(20) % 3


def saved(path, save=np.savez, **arrays):
    save(path, **arrays)
    return path


def npy(array, **options) -> bytes:
    """The bytes of an .npy file."""
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def zipped(path, compression=zipfile.ZIP_STORED, **members):
    """An .npz of members with these bytes."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


# -- what is in a file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copied_from", [1, 1 << 20])
def test_arrays_are_as_they_were_saved(copied_from, tmp_path, monkeypatch):
    monkeypatch.setattr(ranges, "COPIED_FROM", copied_from)
    arrays = data.open_samples(
        saved(tmp_path / "a.npz", x=X, fortran=np.asfortranarray(X), y=Y, big=X.astype(">f8"))
    ).arrays
    for name, expected in (("x", X), ("fortran", X), ("y", Y), ("big", X)):
        assert arrays[name].shape == expected.shape and not arrays[name].flags.writeable
        assert np.array_equal(arrays[name], expected)
    assert np.shares_memory(arrays["x"], arrays["x"][3:5])  # cutting a batch copies nothing


@pytest.mark.parametrize("copied_from", [1, 1 << 20])
def test_a_file_that_is_cut_off_later_changes_nothing(copied_from, tmp_path, monkeypatch):
    monkeypatch.setattr(ranges, "COPIED_FROM", copied_from)
    path = saved(tmp_path / "a.npz", x=X)
    array = data.open_samples(path).arrays["x"]
    os.truncate(path, 0)
    assert np.array_equal(array, X)


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.npz", x=X, y=Y)

    def changing(file, *where):
        with path.open("ab") as other:
            other.write(b"more")
        return ranges.read_open(file, *where)

    monkeypatch.setattr(data, "read_open", changing)
    with pytest.raises(FileAccess, match="a.npz: changed while it was read"):
        data.open_samples(path)


def test_without_room_for_a_copy_large_arrays_are_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(ranges, "COPIED_FROM", 1)
    monkeypatch.setattr(ranges, "copied", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert np.array_equal(data.open_samples(saved(tmp_path / "a.npz", x=X)).arrays["x"], X)


def test_compressed_members_are_read(tmp_path):
    arrays = data.open_samples(saved(tmp_path / "a.npz", np.savez_compressed, x=X, f=np.asfortranarray(X))).arrays
    for name in ("x", "f"):
        assert np.array_equal(arrays[name], X)


def test_an_npy_belongs_to_the_only_input(tmp_path):
    np.save(tmp_path / "a.npy", X)
    samples = data.open_samples(tmp_path / "a.npy")
    assert samples.count == 20 and list(samples.arrays) == [data.NAMELESS]
    assert np.array_equal(samples.of(["image"]).arrays["image"], X)
    with pytest.raises(BadPlan, match="no array for the input 'a': it has one without a name; give an .npz"):
        samples.of(["a", "b"])
    with pytest.raises(BadPlan, match="no array for the input 'a': it has none; give an .npz"):
        data.Samples("x.npz", {}).of(["a"])


def test_the_first_bytes_tell_the_kind_and_not_the_name(tmp_path):
    (tmp_path / "a.npz").write_bytes(npy(X))
    zipped(tmp_path / "b.npy", x=npy(X))
    assert list(data.open_samples(tmp_path / "a.npz").arrays) == [data.NAMELESS]
    assert list(data.open_samples(str(tmp_path / "b.npy")).arrays) == ["x"]


def test_other_members_of_the_zip_are_passed_over(tmp_path):
    path = saved(tmp_path / "a.npz", x=X)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README.txt", "twenty samples")
    assert list(data.open_samples(path).arrays) == ["x"]


def test_the_second_header_version_is_known(tmp_path):
    zipped(tmp_path / "a.npz", x=npy(X, version=(2, 0)))
    assert np.array_equal(data.open_samples(tmp_path / "a.npz").arrays["x"], X)


# -- as many samples of each -------------------------------------------------------------------------------------------


def test_only_the_inputs_must_be_equally_many(tmp_path):
    samples = data.open_samples(
        saved(tmp_path / "a.npz", x=X, m=X[:19], scale=np.float32(2), names=np.array(["a", "b"]))
    )
    assert samples.of(["scale", "x"]).count == 20  # scalars go with every sample
    with pytest.raises(BadPlan, match="a.npz: 20 samples of 'x' and 19 of 'm'; arrays must have the same length"):
        samples.of(["x", "m"])
    with pytest.raises(BadPlan, match="no array for the input 'z': it has 'x', 'm', 'scale', 'names'"):
        samples.of(["z"])
    with pytest.raises(BadPlan, match="no array with an axis of samples"):
        samples.of(["scale"])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_no_samples_are_refused(tmp_path, save):
    samples = data.open_samples(saved(tmp_path / "a.npz", save, x=X[:0]))
    with pytest.raises(BadPlan, match=r"a.npz: holds no samples: 'x' has the shape \[0, 3\]"):
        samples.of(["x"])


# -- files that are none -----------------------------------------------------------------------------------------------


def test_files_that_cannot_be_read_are_named(tmp_path):
    for path in (tmp_path / "missing.npz", tmp_path, tmp_path / ("a" * 300), "a\0b"):
        with pytest.raises(FileAccess, match="cannot be read"):
            data.open_samples(path)


OBJECTS = npy(np.array([{}], object))
RECORDS = npy(np.zeros(3, [("a", "<f4")]))
WHOLE = npy(X)


@pytest.mark.parametrize("content, words", [
    (b"", "plain arrays"),
    (b"text, no arrays", "plain arrays"),
    (b"\x93NUMPY", "plain arrays"),
    (WHOLE[:-1], r"239 bytes of data do not make \[20, 3\] of float32"),
    (WHOLE + b"\0", "241 bytes of data"),
    (WHOLE.replace(b"(20, 3)", b"(-2, 3)"), "do not make"),
    (WHOLE.replace(b"(20, 3)", b"(9**9,)"), "plain arrays"),
    (OBJECTS, "Python objects or records"),
    (RECORDS, "Python objects or records"),
    (npy(np.zeros(3, [("a", "<f4")]), version=(3, 0)), "version"),
])  # fmt: skip
def test_what_is_no_plain_array_is_refused(tmp_path, content, words):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(BadPlan, match=f"a.npy.*{words}"):
        data.open_samples(tmp_path / "a.npy")
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with pytest.raises(BadPlan, match="b.npz: not a whole"):
            data.open_samples(zipped(tmp_path / "b.npz", compression, x=content))


def test_an_archive_without_arrays_is_refused(tmp_path):
    with pytest.raises(BadPlan, match="it holds no arrays"):
        data.open_samples(zipped(tmp_path / "a.npz"))


def test_a_header_that_promises_more_than_memory_is_refused(tmp_path):
    huge = WHOLE.replace(b"(20, 3), }" + b" " * 12, b"(20000000000000, 3), }")
    assert len(huge) == len(WHOLE)
    with pytest.raises(BadPlan, match="do not make"):
        data.open_samples(zipped(tmp_path / "a.npz", zipfile.ZIP_DEFLATED, x=huge))


def declaring(path, nbytes: int):
    """The same .npz, whose only member is declared to have this many bytes when inflated."""
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\1\2") + 24  # of the central directory, which is what zipfile believes
    content[at : at + 4] = struct.pack("<I", nbytes)
    path.write_bytes(content)
    return path


def test_a_bomb_is_refused_before_anything_is_allocated(tmp_path):
    """A member of a hundred bytes, its .npy header true to the 4 GB that the zip declares."""
    header = npy(np.empty((0, 3), np.uint8)).replace(b"(0, 3), }" + b" " * 9, b"(1333333333, 3), }")
    path = declaring(zipped(tmp_path / "a.npz", zipfile.ZIP_DEFLATED, x=header), len(header) + 3 * 1333333333)
    tracemalloc.start()
    with pytest.raises(BadPlan, match="a.npz: .* x.npy: declares 4,000,000,127 bytes, .*; save it anew with np.savez"):
        data.open_samples(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 24
    tracemalloc.stop()


def test_the_most_that_deflate_can_do_is_no_bomb(tmp_path):
    zeros = np.zeros((1000, 10_000), np.uint8)
    path = saved(tmp_path / "a.npz", np.savez_compressed, x=zeros)
    assert path.stat().st_size < zeros.nbytes / 950 and np.array_equal(data.open_samples(path).arrays["x"], zeros)


def test_a_stored_member_declares_what_it_holds(tmp_path):
    with pytest.raises(BadPlan, match="x.npy: declares 400 bytes, more than its 368 in the file can hold"):
        data.open_samples(declaring(zipped(tmp_path / "a.npz", x=WHOLE), 400))


def test_members_that_lie_over_one_another_are_refused(tmp_path):
    path = saved(tmp_path / "a.npz", np.savez_compressed, **{f"x{n}": X for n in range(3)})
    content, at = bytearray(path.read_bytes()), 0
    size = struct.unpack_from("<I", content, content.index(b"PK\1\2") + 20)[0]
    while (at := content.find(b"PK\1\2", at + 1)) >= 0:
        content[at + 20 : at + 24] = struct.pack("<I", 3 * size)
    path.write_bytes(content)
    with pytest.raises(BadPlan, match="a.npz: .*its arrays, such as x0.npy, lie over one another"):
        data.open_samples(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_methods_are_refused(tmp_path, method):
    with pytest.raises(BadPlan, match="a.npz: .* x.npy: compressed by the method (bzip2|lzma).*np.savez_compressed"):
        data.open_samples(zipped(tmp_path / "a.npz", method, x=WHOLE))


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_header_of_gigabytes_is_not_read(tmp_path, compression):
    header = b"\x93NUMPY\2\0" + struct.pack("<I", 1 << 24) + b" " * (1 << 24)
    path = zipped(tmp_path / "a.npz", compression, x=header)
    tracemalloc.start()
    with pytest.raises(BadPlan, match="a.npz"):
        data.open_samples(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damage_is_refused_or_leaves_arrays(tmp_path, save):
    """Any byte changed, any length cut: a DczError, or arrays of the declared kind; never another exception."""
    whole = saved(tmp_path / "a.npz", save, x=X, y=Y).read_bytes()
    random = np.random.default_rng(0)
    for case in range(400):
        damaged = bytearray(whole)
        if case % 4:
            for at in random.integers(0, len(whole), case % 4):
                damaged[at] = random.integers(256)
        else:
            del damaged[random.integers(len(whole)) :]
        (tmp_path / "b.npz").write_bytes(damaged)
        try:
            for array in data.open_samples(tmp_path / "b.npz").arrays.values():
                array.tobytes()
        except DczError as error:
            assert "b.npz" in str(error)


def test_compressed_values_have_a_checksum(tmp_path):
    """Mapped ones are not looked at before they are used."""
    path = saved(tmp_path / "a.npz", np.savez_compressed, x=X)
    with zipfile.ZipFile(path) as archive:
        crc = struct.pack("<I", archive.infolist()[0].CRC)
    path.write_bytes(path.read_bytes().replace(crc, b"\0\0\0\0"))
    with pytest.raises(BadPlan, match="CRC"):
        data.open_samples(path)


# -- labels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int32, ">i2", np.uint64])
def test_labels_of_any_integer_come_as_int64(tmp_path, dtype):
    samples = data.open_samples(saved(tmp_path / "a.npz", x=X, y=Y.astype(dtype), column=Y.astype(dtype)[:, None]))
    for name in ("y", "column"):
        found = data.read_labels(name, samples, classes=3)
        assert found.dtype == np.int64 and found.flags.writeable and np.array_equal(found, Y)


def test_labels_from_a_file_of_their_own(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    samples = data.open_samples(tmp_path / "x.npy")
    assert np.array_equal(data.read_labels(tmp_path / "y.npy", samples), Y)
    assert np.array_equal(data.read_labels(str(saved(tmp_path / "y.npz", anything=Y)), samples), Y)
    with pytest.raises(BadPlan, match="y2.npz: holds several arrays"):
        data.read_labels(saved(tmp_path / "y2.npz", a=Y, b=Y), samples)


def test_an_array_of_the_data_file_comes_before_a_file_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "y").write_bytes(npy(Y[::-1].copy()))
    assert np.array_equal(data.read_labels("y", data.open_samples(saved(tmp_path / "a.npz", x=X, y=Y))), Y)
    assert np.array_equal(data.read_labels("y", data.open_samples(saved(tmp_path / "b.npz", x=X))), Y[::-1])


@pytest.mark.parametrize("dtype, sample, value, classes, words", [
    (np.int64, 7, 3, 3, r"a.npz, array 'y': label 3 of sample 7 is out of range: classes count from 0 to 2"),
    (np.int64, 0, -1, 3, "label -1 of sample 0 is out of range: classes count from 0 to 2"),
    (np.int8, 19, -128, None, "label -128 of sample 19 is out of range: classes count from 0 up"),
    (np.uint64, 5, 2**64 - 1, 3, f"label {2**64 - 1} of sample 5"),
    (np.uint64, 5, 2**63, None, f"label {2**63} of sample 5"),
    (np.int64, 5, 2**63 - 1, 1000, f"label {2**63 - 1} of sample 5"),
    (np.uint8, 4, 255, 10, "label 255 of sample 4"),
])  # fmt: skip
def test_the_first_label_out_of_range_is_named(tmp_path, dtype, sample, value, classes, words):
    labels = Y.astype(dtype)
    labels[sample] = value
    with pytest.raises(BadPlan, match=words):
        data.read_labels("y", data.open_samples(saved(tmp_path / "a.npz", x=X, y=labels)), classes=classes)


def test_more_classes_than_the_labels_width_can_count(tmp_path):
    samples = data.open_samples(saved(tmp_path / "a.npz", x=X, y=Y.astype(np.uint8)))
    assert np.array_equal(data.read_labels("y", samples, classes=1000), Y)


@pytest.mark.parametrize("labels, words", [
    (Y.astype(np.float32), "labels are whole numbers, not float32; save them as int64"),
    (Y > 0, "whole numbers, not bool"),
    (np.eye(3, dtype=int)[Y], r"one number a sample, not \[20, 3\]; of one-hot rows save argmax"),
    (np.int64(3), r"one number a sample, not \[\]"),
    (Y[:19], "19 labels for 20 samples of .*x.npz"),
    (Y[:0], "0 labels for 20 samples"),
])  # fmt: skip
def test_labels_that_are_none_are_refused(tmp_path, labels, words):
    samples = data.open_samples(saved(tmp_path / "x.npz", x=X))
    np.save(tmp_path / "y.npy", labels)
    with pytest.raises(BadPlan, match=f"y.npy: .*{words}"):
        data.read_labels(tmp_path / "y.npy", samples)


@pytest.mark.parametrize("given", ["z", "", "missing.npy", "a" * 300])
def test_labels_that_are_nowhere_are_refused(tmp_path, given):
    samples = data.open_samples(saved(tmp_path / "x.npz", x=X))
    with pytest.raises(BadPlan, match="x.npz: has no array .* for the labels: it has 'x'; nor is there a file"):
        data.read_labels(given, samples)
