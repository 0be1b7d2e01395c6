"""Files that are whole or absent: whatever goes wrong, the old file stays and nothing else does."""

import errno
import os
import resource
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from dcz import parts
from dcz.errors import BadPlan, FileAccess
from dcz.files import check_output, replacing, temporary_folder
from tests import ROOT

OLD, NEW = b"old content", b"new content"


@pytest.fixture
def target(tmp_path) -> Path:
    path = tmp_path / "net.dcz"
    path.write_bytes(OLD)
    return path


def untouched(target: Path) -> bool:
    return target.read_bytes() == OLD and os.listdir(target.parent) == [target.name]


@pytest.fixture
def small_files():
    """A limit that the system sets on the size of files: writing past it fails for real."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield 100_000
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# -- replacing ---------------------------------------------------------------------------------------------------------


def test_the_new_file_appears_at_the_end_and_not_before(target):
    with replacing(target) as file:
        file.write(NEW)
        file.flush()
        assert target.read_bytes() == OLD
        assert Path(file.name).read_bytes() == NEW and os.listdir(target.parent) == [target.name]
    assert target.read_bytes() == NEW and os.listdir(target.parent) == [target.name]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, BadPlan, ValueError])
def test_any_interruption_leaves_the_old_file(error, target):
    with pytest.raises(error), replacing(target) as file:
        file.write(NEW)
        raise error("stop")
    assert untouched(target)


def test_an_interruption_of_a_new_file_leaves_none(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "net.dcz") as file:
        file.write(NEW)
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failing_system_call_is_named_and_leaves_the_old_file(call, target, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(FileAccess, match="net.dcz: cannot be written: No space left"), replacing(target) as file:
        file.write(NEW)
    assert untouched(target)


@pytest.mark.parametrize("chunk", [200_000, 1000], ids=["at once", "bit by bit"])
def test_a_disk_that_takes_no_more_leaves_the_old_file(chunk, target, small_files):
    with pytest.raises(FileAccess, match="cannot be written: File too large"), replacing(target) as file:
        for _ in range(0, 2 * small_files, chunk):
            file.write(bytes(chunk))
    assert untouched(target)


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileAccess, match="No such file or directory"), replacing(tmp_path / "no" / "net.dcz"):
        pass


def test_a_killed_process_leaves_the_old_file(target):
    """What nobody can clean up is at least no half of the output."""
    code = """if True:
        import os, sys, dcz.files
        with dcz.files.replacing(sys.argv[1]) as file:
            file.write(b"new"), file.flush(), os._exit(9)
    """
    assert subprocess.run([sys.executable, "-c", code, target], cwd=ROOT).returncode == 9
    assert target.read_bytes() == OLD


@pytest.fixture
def named(monkeypatch):
    """A system that has no files without a name."""
    monkeypatch.setattr(parts, "_open_nameless", lambda folder: None)


def test_a_killed_process_leaves_nothing_where_files_need_no_name(target):
    test_a_killed_process_leaves_the_old_file(target)
    assert not hasattr(os, "O_TMPFILE") or untouched(target)


def test_what_killed_processes_leave_goes_with_the_next_run_and_nothing_else(target, named, monkeypatch):
    left = target.with_name(".net.dcz.0123456789abcdef.part")
    others = [".other.dcz.0123456789abcdef.part", ".net.dcz.part", "net.dcz.0123456789abcdef.part"]
    for name in (left.name, *others):
        (target.parent / name).write_bytes(b"half")
    with replacing(target) as first:
        assert not left.exists() and Path(first.name).parent == target.parent
        with replacing(target) as second:  # of another process that is alive: its file is locked
            assert Path(first.name).exists()
            second.write(NEW)
    assert target.read_bytes() == b"" and sorted(os.listdir(target.parent)) == sorted([*others, target.name])


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_part_is_open_to_nobody_to_whom_the_target_is_closed(mode, target, named):
    target.chmod(mode)
    before = os.umask(0)
    try:
        with replacing(target) as file:
            assert stat.S_IMODE(os.stat(file.name).st_mode) & ~mode == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == mode


def test_setuid_bits_are_not_copied(target):
    target.chmod(0o6755)
    with replacing(target) as file:
        file.write(NEW)
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def test_the_folder_is_synced_when_the_name_is_there(target, monkeypatch):
    synced, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(stat.S_ISDIR(os.fstat(fd).st_mode)), fsync(fd)))
    with replacing(target) as file:
        file.write(NEW)
    assert synced == [False, True]


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755])
def test_the_old_files_permissions_stay(mode, target):
    target.chmod(mode)
    with replacing(target) as file:
        file.write(NEW)
    assert stat.S_IMODE(target.stat().st_mode) == mode


def test_a_new_file_gets_the_permissions_that_the_umask_gives(tmp_path):
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "net.dcz"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "net.dcz").stat().st_mode) == 0o640


@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to nothing"])
def test_a_link_stays_a_link(there, target, tmp_path):
    target.unlink() if not there else None
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "latest.dcz"
    link.symlink_to("../net.dcz")
    with replacing(link) as file:
        file.write(NEW)
    assert link.is_symlink() and target.read_bytes() == NEW and os.listdir(tmp_path / "links") == ["latest.dcz"]


@pytest.mark.parametrize("name", ["n" * 255, "ü" * 127, "-o", " ", "ｎet.dcz"])
def test_every_name_that_the_system_takes_can_be_written(name, tmp_path):
    check_output(tmp_path / name)
    with replacing(tmp_path / name) as file:
        file.write(NEW)
    assert os.listdir(tmp_path) == [name]


def test_writers_of_the_same_file_do_not_meet(target):
    with replacing(target) as first, replacing(target) as second:
        first.write(b"1" * 1000)
        second.write(b"2" * 1000)
    assert target.read_bytes() == b"1" * 1000 and os.listdir(target.parent) == [target.name]


def test_threads_that_replace_a_file_leave_one_of_theirs(target):
    def replace(content: bytes):
        with replacing(target) as file:
            file.write(content)

    threads = [threading.Thread(target=replace, args=(bytes([i]) * 10_000,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(target.read_bytes())) == 1 and os.listdir(target.parent) == [target.name]


# -- check_output ------------------------------------------------------------------------------------------------------


def test_good_outputs_pass_and_are_not_touched(target):
    check_output(target)
    check_output(target.with_name("new.dcz"), force=False)
    check_output("new.dcz")  # no folder named: the current one
    assert untouched(target)


def refused(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "lost").symlink_to("gone/net.dcz")
    return {
        "folder": (tmp_path / "folder", "is a folder"),
        "missing folder": (tmp_path / "no" / "net.dcz", "no does not exist; create it first"),
        "in a file": (tmp_path / "file" / "net.dcz", "file does not exist"),
        "link into nothing": (tmp_path / "lost", "gone does not exist"),
        "pipe": (tmp_path / "pipe", "device or pipe"),
        "device": (Path("/dev/null"), "device or pipe"),  # root could rename a file over it
        "long name": (tmp_path / ("n" * 256), "File name too long"),
        "exists": (tmp_path / "file", "exists already; give --force"),
    }


@pytest.mark.parametrize(
    "case", ["folder", "missing folder", "in a file", "link into nothing", "pipe", "device", "long name", "exists"]
)
def test_bad_outputs_are_refused_before_any_work(case, tmp_path):
    path, message = refused(tmp_path)[case]
    with pytest.raises(FileAccess, match=message):
        check_output(path, force=case != "exists")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into any folder")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(FileAccess, match="no permission"):
            check_output(tmp_path / "net.dcz")
    finally:
        tmp_path.chmod(0o700)


def test_permission_is_asked_of_the_system(tmp_path, monkeypatch):
    """The same for root, who has every permission: the answer of the system is what counts."""
    monkeypatch.setattr(os, "access", lambda path, mode: not (Path(path) == tmp_path and mode & os.W_OK))
    with pytest.raises(FileAccess, match="no permission to write into"):
        check_output(tmp_path / "net.dcz")


def test_a_temporary_folder_goes_or_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_folder("dcz-test-") as folder:
        (tmp_path / folder / "a").write_bytes(b"a")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", f"{tmp_path}/gone")
    with pytest.raises(FileAccess, match=f"{tmp_path}/gone: temporary files cannot be .*; set TMPDIR to a folder"):
        with temporary_folder("dcz-test-"):
            pass


@pytest.mark.parametrize(("code", "is_told"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)])
def test_a_temporary_folder_without_room_says_where_there_may_be_some(code, is_told, tmp_path):
    for folder in (None, tmp_path):  # the output's folder is another matter
        with pytest.raises(FileAccess) as raised, temporary_folder("dcz-") as made:
            target = Path(folder or made, "made.dcz")
            with replacing(target):
                raise OSError(code, os.strerror(code))
        assert str(raised.value).startswith(f"{target}: cannot be written: {os.strerror(code)}")
        assert ("set TMPDIR to a folder with room" in str(raised.value)) == (is_told and folder is None)
