"""Going on after a kill: the same bytes as without it, from nothing that is not exactly what would be made again."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import dcz
from dcz.compression import journal, records, task
from dcz.errors import CorruptFile, FileAccess
from dcz.plan import Plan, Settings
from tests import ROOT, models

LAYERS = 5
SETTINGS = Settings(quality=30.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a model of five layers with external data."""
    proto = models.dense(*(models.normal(64, 64, seed=seed) for seed in range(LAYERS)))
    folder = tmp_path_factory.mktemp("made")
    onnx.save(proto, folder / "net.onnx", save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    return folder


@pytest.fixture
def net(made, tmp_path) -> Path:
    """The model, with the times of its files."""
    for name in ("net.onnx", "net.onnx.data"):
        shutil.copy2(made / name, tmp_path)
    return tmp_path / "net.onnx"


@pytest.fixture(scope="module")
def whole(made) -> bytes:
    """What comes of it without an interruption."""
    return dcz.compress(made / "net.onnx", made / "whole.dcz", SETTINGS).read_bytes()


@pytest.fixture(scope="module")
def killed(made) -> Path:
    """The journal of a run that was killed, for real, after its third record."""
    code = """if True:
        import os, signal, sys, dcz
        def stop(name, done, total):
            done < 0.55 * total or os.kill(os.getpid(), signal.SIGKILL)
        dcz.compress(sys.argv[1], sys.argv[2], dcz.Settings(quality=30.0), resume=True, threads=1, progress=stop)
    """
    command = [sys.executable, "-c", code, made / "net.onnx", made / "net.dcz"]
    assert subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}).returncode == -signal.SIGKILL
    assert not (made / "net.dcz").exists()
    return made / "net.dcz.partial"


@pytest.fixture
def partial(killed, net) -> Path:
    """That journal beside the model."""
    return Path(shutil.copy(killed, net.parent))


@pytest.fixture
def encoded(monkeypatch) -> list[str]:
    """The names of the tensors that are encoded from now on."""
    honest, names = task.encode, []

    def encode(tensor, *more):
        names.append(tensor.name)
        return honest(tensor, *more)

    monkeypatch.setattr(task, "encode", encode)
    return names


def again(net: Path, **changes) -> bytes:
    options = {"plan": SETTINGS, "resume": True} | changes
    return dcz.compress(net, net.with_suffix(".dcz"), **options, force=True).read_bytes()


def test_the_same_command_goes_on_after_a_kill_to_the_same_bytes(net, whole, partial, encoded):
    seen = []
    assert again(net, progress=lambda *step: seen.append(step)) == whole
    assert len(encoded) == LAYERS - 3 and not partial.exists()
    assert len(seen) == LAYERS and seen[-1][1] == seen[-1][2], "what was there already counts as progress"


@pytest.mark.parametrize("stop", [1, 2])
def test_what_was_half_written_is_made_again(net, whole, partial, encoded, stop):
    data = partial.read_bytes()
    partial.write_bytes(data[: len(data) * stop // 3])
    assert again(net) == whole
    assert LAYERS - 3 < len(encoded) <= LAYERS


def test_a_journal_of_more_records_than_tensors_begins_anew(net, whole, partial, encoded):
    """Each of which would be copied into the file."""
    data = partial.read_bytes()
    head = len(journal.MAGIC) + journal.FINGERPRINT
    partial.write_bytes(data + 2 * data[head:])
    assert again(net) == whole
    assert len(encoded) == LAYERS and not partial.exists()


@pytest.mark.parametrize("place", [60, 1000, -40])
def test_damage_is_seen_and_what_lies_behind_it_made_again(net, whole, partial, encoded, place):
    data = bytearray(partial.read_bytes())
    data[place] ^= 4
    partial.write_bytes(data)
    assert again(net) == whole
    assert len(encoded) > LAYERS - 3


@pytest.mark.parametrize("change", ["plan", "data", "time", "graph", "version"])
def test_another_source_plan_or_version_begins_anew(net, partial, encoded, change, monkeypatch):
    options = {}
    data = net.with_name("net.onnx.data")
    if change == "plan":
        options["plan"] = Settings(quality=30.5)
    elif change == "data":
        data.write_bytes(data.read_bytes() + b"\0")
    elif change == "time":
        os.utime(data, ns=(1, 1))
    elif change == "graph":
        proto = onnx.load(net, load_external_data=False)
        proto.doc_string = "another"
        net.write_bytes(proto.SerializeToString())
    else:
        monkeypatch.setattr(records, "__version__", "0")
    again(net, **options)
    assert len(encoded) == LAYERS and not partial.exists()


@pytest.mark.parametrize("one, other", [("s", "s.2"), ("b", "b.2")])
def test_a_plan_that_folds_another_layer_begins_anew(tmp_path, one, other):
    """The layers' names, shapes and settings are the same; only what is folded into their weights is not."""
    channels = 16
    nodes, tensors = [], []
    for x, end in (("x", ""), ("y", ".2")):
        names = [name + end for name in "Wsbmv"]
        arrays = [
            models.normal(channels, channels, 3, 3),
            *(abs(models.normal(channels, seed=k)) + k for k in range(4)),
        ]
        tensors += map(models.tensor, names, arrays)
        nodes.append(helper.make_node("Conv", [x, names[0]], [f"h{end}"], pads=[1] * 4))
        nodes.append(helper.make_node("BatchNormalization", [f"h{end}", *names[1:]], [f"y{end}"]))
    shape = (TensorProto.FLOAT, [1, channels, 4, 4])
    proto = models.model(nodes, {"x": shape}, {"y.2": shape}, tensors)
    plans = [Plan(Settings(bits=4), exclude=(name,)) for name in (one, other)]

    def stop(name, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dcz.compress(proto, tmp_path / "net.dcz", plans[0], resume=True, threads=1, progress=stop, force=True)
    assert (tmp_path / "net.dcz.partial").exists()
    found = dcz.compress(proto, tmp_path / "net.dcz", plans[1], resume=True, force=True)
    assert found.read_bytes() == dcz.compress(proto, tmp_path / "whole.dcz", plans[1], force=True).read_bytes()


def test_not_to_resume_begins_anew_and_leaves_nothing(net, whole, partial, encoded):
    assert again(net, resume=False) == whole
    assert len(encoded) == LAYERS and not partial.exists()


def test_small_models_leave_nothing_behind(net, tmp_path):
    before = set(os.listdir(tmp_path))

    def stop(*_):
        assert set(os.listdir(tmp_path)) == before
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        again(net, resume=None, progress=stop)
    assert set(os.listdir(tmp_path)) == before


def test_from_a_size_on_a_journal_is_kept_unasked(net, whole, encoded, monkeypatch):
    monkeypatch.setattr(journal, "DEFAULT_FROM", 50_000)

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        again(net, resume=None, threads=1, progress=stop)
    assert stopped.value.__notes__ == ["the same command goes on from net.dcz.partial"]
    encoded.clear()
    assert again(net, resume=None) == whole and 0 < len(set(encoded)) < LAYERS  # a thread ends what it has in hand


def test_a_full_disk_keeps_what_was_made_and_the_old_output(net, whole, encoded, tmp_path, monkeypatch):
    import resource

    (tmp_path / "net.dcz").write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, hard))
    try:
        with pytest.raises(FileAccess, match="File too large.*the same command goes on from net.dcz.partial"):
            again(net)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "net.dcz").read_bytes() == b"old"
    encoded.clear()
    assert again(net) == whole and 0 < len(encoded) < LAYERS
    assert not (tmp_path / "net.dcz.partial").exists()


def test_a_fault_of_ours_leaves_no_journal_that_would_bring_it_again(net, tmp_path, monkeypatch):
    honest = task.encode

    def wrong(*arguments):
        record = honest(*arguments)
        return replace(record, info=replace(record.info, tensor_crc=record.info.tensor_crc ^ 1))

    monkeypatch.setattr(task, "encode", wrong)
    with pytest.raises(CorruptFile):
        again(net)
    assert sorted(os.listdir(tmp_path)) == ["net.onnx", "net.onnx.data"]


@pytest.mark.parametrize("kind", ["a file", "a folder", "a link"])
def test_what_is_not_ours_is_not_touched(net, whole, tmp_path, kind, monkeypatch):
    partial, target = tmp_path / "net.dcz.partial", tmp_path / "theirs"
    target.write_bytes(b"DCZ-PART of another")
    if kind == "a file":
        partial.write_bytes(b"theirs")
    else:
        partial.mkdir() if kind == "a folder" else partial.symlink_to(target)
    with pytest.raises(FileAccess, match="net.dcz.partial: is no journal"):
        again(net)
    monkeypatch.setattr(journal, "DEFAULT_FROM", 1)
    assert again(net, resume=None) == whole
    assert partial.is_dir() if kind == "a folder" else partial.read_bytes() in (b"theirs", b"DCZ-PART of another")


def test_two_commands_do_not_write_one_journal(net, whole, tmp_path):
    with journal.records(tmp_path / "net.dcz", True) as first:
        assert first.begin(lambda: b"1" * journal.FINGERPRINT, 1, 1) == []
        with pytest.raises(FileAccess, match="at work for another"):
            again(net)
        assert again(net, resume=False) == whole and (tmp_path / "net.dcz.partial").exists()
