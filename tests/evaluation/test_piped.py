"""A path whose content is made while it is read: all of it arrives, and nobody waits for ever."""

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest

from dcz.evaluation.piped import read_through_pipe
from dcz.evaluation.runtime import reads_pipes

pytestmark = pytest.mark.skipif(not reads_pipes(), reason="pipes have no paths here")
MUCH = 1 << 20  # more than a pipe holds


def pieces(*sizes, error=None):
    for number, size in enumerate(sizes):
        yield memoryview(bytes([number]) * size)
    if error is not None:
        raise error


@pytest.fixture(autouse=True)
def _nothing_stays_open():
    before = os.listdir("/proc/self/fd"), threading.active_count()
    yield
    assert (os.listdir("/proc/self/fd"), threading.active_count()) == before


@pytest.mark.parametrize("sizes", [(), (0,), (3, 0, 5), (MUCH, 1, MUCH)])
def test_all_pieces_arrive_in_order(sizes):
    found = read_through_pipe(pieces(*sizes), lambda path: Path(path).read_bytes())
    assert found == b"".join(pieces(*sizes))


@pytest.mark.parametrize("sizes", [(), (MUCH,), (MUCH, MUCH)])
def test_what_the_pieces_raise_is_raised_whatever_the_reader_makes_of_the_rest(sizes):
    with pytest.raises(KeyError, match="broken"):
        read_through_pipe(pieces(*sizes, error=KeyError("broken")), lambda path: len(Path(path).read_bytes()))

    def refuse(path):
        raise ValueError(f"{len(Path(path).read_bytes())} bytes are too few")

    with pytest.raises(KeyError, match="broken"):
        read_through_pipe(pieces(*sizes, error=KeyError("broken")), refuse)


def test_a_reader_that_stops_early_ends_the_writer_and_its_pieces():
    closed = []

    def endless():
        try:
            while True:
                yield bytes(MUCH)
        finally:
            closed.append(True)

    def read_a_little(path):
        with open(path, "rb") as file:
            return file.read(7)

    assert read_through_pipe(endless(), read_a_little) == bytes(7) and closed == [True]

    def refuse(path):
        raise ValueError("not even opened")

    with pytest.raises(ValueError, match="not even opened"):
        read_through_pipe(endless(), refuse)
    assert closed == [True, True]


@pytest.mark.parametrize("count", [None, 0, 7])
def test_a_process_that_is_forked_meanwhile_keeps_nobody_waiting(count):
    """Neither a reader that takes all, nor the writer behind one that takes nothing or a few bytes."""
    children, forked = [], threading.Event()

    def forking():
        yield b"before-"
        child = os.fork()
        if child == 0:
            time.sleep(30)
            os._exit(0)
        children.append(child)
        forked.set()
        yield bytes(MUCH)

    def read(path):
        if count == 0:  # it is not even opened
            return b"" if forked.wait(20) else None
        with open(path, "rb", buffering=0) as file:
            found = file.read(count)
            assert forked.wait(20)  # the child has this file
            return found

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside other threads
        began = time.monotonic()
        assert read_through_pipe(forking(), read) == (b"before-" + bytes(MUCH))[:count]
    assert time.monotonic() - began < 20
    os.kill(children[0], signal.SIGKILL)
    os.waitpid(children[0], 0)


def test_a_thread_that_cannot_be_started_leaves_nothing_open(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="new thread"):
        read_through_pipe(pieces(3), lambda path: Path(path).read_bytes())


def test_no_signal_ends_a_program_whose_reader_stops_early():
    code = """
import signal
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
from dcz.evaluation.piped import read_through_pipe
print(read_through_pipe((bytes(1 << 20) for _ in range(9)), lambda path: open(path, "rb").read(7)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, repr(bytes(7)))
