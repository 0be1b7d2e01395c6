"""Who compresses: processes and a cluster give the same bytes, read weights from files, and fail with a reason."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import dcz
from dcz.compression import pooled, task
from dcz.errors import BadPlan, InvalidArgument, LostWorkers, MissingBackend
from dcz.files import FileRange
from dcz.plan import Settings
from dcz.tensor import FLOAT32, Tensor
from tests import ROOT, models

LOSSY = Settings(quality=30.0)


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    """An ONNX file, some of its tensors in external data, and beside it the file that threads make."""
    sizes = [300, 260, 220, 260, 180, 220, 260, 200, 10]
    proto = models.dense(*(models.normal(*shape, seed=i) for i, shape in enumerate(zip(sizes, sizes[1:]))))
    for number, initializer in enumerate(proto.graph.initializer):
        if number % 2:
            array = numpy_helper.to_array(initializer)
            initializer.CopyFrom(numpy_helper.from_array(array, initializer.name))
            onnx.external_data_helper.set_external_data(initializer, "net.data")
    path = tmp_path_factory.mktemp("net") / "net.onnx"
    onnx.save(proto, path)
    dcz.compress(path, path.with_suffix(".dcz"), LOSSY, threads=1, force=True)
    return path


@pytest.fixture
def expected(net) -> bytes:
    return net.with_suffix(".dcz").read_bytes()


def test_processes_give_the_same_bytes_and_leave_nothing_behind(net, expected, tmp_path):
    for number in (1, 3):
        assert (
            dcz.compress(net, tmp_path / f"{number}.dcz", LOSSY, workers=number, threads=2, force=True).read_bytes()
            == expected
        )
    assert sorted(os.listdir(tmp_path)) == ["1.dcz", "3.dcz"]


def test_processes_end_when_the_command_is_killed(net, tmp_path):
    code = """if True:
        import os, signal, sys, dcz
        def stop(name, done, total):
            os.kill(os.getpid(), signal.SIGKILL)
        if __name__ == "__main__":
            dcz.compress(sys.argv[1], sys.argv[2], workers=2, progress=stop)
    """
    command = [sys.executable, "-c", code, net, tmp_path / "net.dcz"]
    # Its workers have this pipe too: it stays open for as long as one of them lives.
    ended = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, timeout=60)
    assert ended.returncode == -signal.SIGKILL


def test_tasks_of_other_processes_carry_no_weights(net, tmp_path, monkeypatch):
    sent = []

    def note(pool, function, jobs, *limits):
        for key, arguments, _ in jobs:
            sent.append(arguments[0].source)
            assert {os.path.dirname(sent[-1].path)} <= set(arguments[3])
            yield key, function(*arguments)

    monkeypatch.setattr(pooled, "in_order", note)
    dcz.compress(net, tmp_path / "net.dcz", LOSSY, workers=1, force=True)
    assert len(sent) >= 8 and all(isinstance(data, tuple) for data in sent)
    files = {os.path.basename(source.path) for source in sent}
    assert len(files) == 2 and "net.data" in files  # external data is read where it lies


def test_a_search_for_a_size_works_in_processes(tmp_path):
    net = models.dense(models.normal(90, 80), models.normal(80, 70, seed=1), models.normal(70, 10, seed=2))
    found = [
        dcz.compress_to_size(net, tmp_path / f"{workers}.dcz", ratio=7, workers=workers, force=True)
        for workers in (None, 2)
    ]
    assert (found[0].quality, found[0].nbytes) == (found[1].quality, found[1].nbytes)
    assert (tmp_path / "None.dcz").read_bytes() == (tmp_path / "2.dcz").read_bytes()


def _die(*_) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _reads_another_file(tensor, settings, threads, folders):
    """What a worker makes of a file that is another one on its machine."""
    other = tensor.data.copy()
    other[0] ^= 1
    return task.encode_there(replace(tensor, source=other), settings, threads, folders)


def _sends_another_record(tensor, settings, threads, folders):
    """A whole record, of another tensor, with a claim to be of this one."""
    made = task.encode_there(replace(tensor, source=np.zeros_like(tensor.data)), settings, threads, folders)
    return made._replace(source_crc=task.encode_there(tensor, settings, threads, folders).source_crc)


def _sends_a_damaged_record(tensor, settings, threads, folders):
    made = task.encode_there(tensor, settings, threads, folders)
    return made._replace(record=replace(made.record, pieces=(made.record.data[:-1] + b"?",)))


@pytest.mark.parametrize("worker, words", [
    (_reads_another_file, "w0: a worker read other data than .* has here"),
    (_sends_another_record, "w0: a worker sent a record that is not this tensor's"),
    (_sends_a_damaged_record, "w0: a worker sent a record that is not this tensor's"),
])  # fmt: skip
def test_what_workers_send_is_held_against_the_source(worker, words, net, tmp_path, monkeypatch):
    (tmp_path / "net.dcz").write_bytes(b"old")
    monkeypatch.setattr(pooled, "encode_there", worker)
    with pytest.raises(LostWorkers, match=words):
        dcz.compress(net, tmp_path / "net.dcz", dcz.PRESETS["lossless"], workers=1, force=True)
    assert (tmp_path / "net.dcz").read_bytes() == b"old" and os.listdir(tmp_path) == ["net.dcz"]


def test_workers_open_no_file_outside_the_folders_of_the_model(net, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(16))
    (tmp_path / "model").mkdir()
    link = tmp_path / "model" / "net.data"
    link.symlink_to(secret)
    for path in (secret, link, tmp_path / "model" / ".." / "secret"):
        tensor = Tensor("w", FLOAT32, (4,), FileRange(str(path), 0, 16))
        with pytest.raises(dcz.FileAccess, match="secret: tensor 'w': lies outside the folders of the model"):
            task.encode_there(tensor, dcz.PRESETS["lossless"], 1, [str(tmp_path / "model")])
    assert task.encode_there(tensor, dcz.PRESETS["lossless"], 1, [str(tmp_path)]).source_crc == zlib.crc32(bytes(16))


def test_a_process_that_dies_is_told_and_the_old_file_stays(net, tmp_path, monkeypatch):
    (tmp_path / "net.dcz").write_bytes(b"old")
    monkeypatch.setattr(pooled, "encode_there", _die)
    with pytest.raises(LostWorkers, match="a worker process died.*fewer --workers"):
        dcz.compress(net, tmp_path / "net.dcz", LOSSY, workers=2, force=True)
    assert (tmp_path / "net.dcz").read_bytes() == b"old" and os.listdir(tmp_path) == ["net.dcz"]


@pytest.mark.parametrize("given, words", [
    ({"workers": 0}, "workers is a whole number"),
    ({"workers": 2.5}, "workers is a whole number"),
    ({"workers": 1, "cluster": "tcp://127.0.0.1:1"}, "give one of"),
])  # fmt: skip
def test_what_makes_no_crew_is_refused(given, words, net, tmp_path):
    with pytest.raises(BadPlan, match=words):
        dcz.compress(net, tmp_path / "net.dcz", LOSSY, **given, force=True)
    assert not os.listdir(tmp_path)


# -- a cluster ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster():
    """A Dask cluster of three processes on this machine."""
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 3, "threads_per_worker": 1, "dashboard_address": None, "processes": True}
    with distributed.LocalCluster(**options, silence_logs=60) as found:
        yield found


@pytest.mark.filterwarnings("ignore")  # of Dask's own
def test_a_cluster_gives_the_same_bytes(cluster, net, expected, tmp_path):
    told = []
    options = {"cluster": cluster.scheduler_address, "progress": lambda *each: told.append(each)}
    assert dcz.compress(net, tmp_path / "net.dcz", LOSSY, **options, force=True).read_bytes() == expected
    assert len(told) >= 8 and told[-1][1] == told[-1][2] and os.listdir(tmp_path) == ["net.dcz"]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """What Dask's configuration has where peers talk over TLS: one certificate, and its key, for all of them."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here, to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem"]
    command = ["openssl", "req", "-x509", *curve, "-out", "cert.pem", "-days", "2", "-subj", "/CN=dcz"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    files = {"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
    of_roles = {f"{role}.{kind}": path for role in ("scheduler", "worker", "client") for kind, path in files.items()}
    return {f"distributed.comm.tls.{name}": path for name, path in (of_roles | {"ca-file": files["cert"]}).items()}


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_over_tls_gives_the_same_bytes_and_wants_certificates(certificates, net, expected, tmp_path):
    distributed, dask = pytest.importorskip("distributed"), pytest.importorskip("dask")
    with dask.config.set(certificates):
        security = distributed.Security(require_encryption=True)
        options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "processes": False}
        options |= {"protocol": "tls://", "security": security}
        with distributed.LocalCluster(**options, silence_logs=60) as secured:
            address = secured.scheduler_address
            assert address.startswith("tls://")
            made = dcz.compress(net, tmp_path / "net.dcz", LOSSY, cluster=address)
            assert made.read_bytes() == expected
            with pytest.raises(LostWorkers, match="no Dask scheduler answers there"):
                dcz.compress(net, tmp_path / "x.dcz", LOSSY, cluster=address.replace("tls://", "tcp://"))
    with pytest.raises(InvalidArgument, match=r"tls://127.0.0.1:9: .* no certificates: set distributed.comm.tls"):
        dcz.compress(net, tmp_path / "x.dcz", LOSSY, cluster="tls://127.0.0.1:9")
    gone = certificates | {"distributed.comm.tls.ca-file": str(tmp_path / "gone.pem")}
    with dask.config.set(gone), pytest.raises(InvalidArgument, match="cannot be read: .*No such file"):
        dcz.compress(net, tmp_path / "x.dcz", LOSSY, cluster="tls://127.0.0.1:9")
    assert os.listdir(tmp_path) == ["net.dcz"]


def _slowly(tensor, settings, threads, folders):
    """Tell who is at work, and take long enough to be killed."""
    import time

    folder = Path(tensor.source.path).parent
    (folder / f"{os.getpid()}.pid").touch()
    time.sleep(0.5)
    return pooled.encode_there(tensor, settings, threads, folders)


@pytest.mark.filterwarnings("ignore")
def test_a_worker_killed_in_the_middle_costs_nothing(cluster, net, expected, tmp_path, monkeypatch):
    killed = []

    def kill() -> None:
        while not killed:
            found = [int(path.stem) for folder in (tmp_path, net.parent) for path in folder.glob("*.pid")]
            for pid in found[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
            stop.wait(0.02)

    stop, plain = threading.Event(), pooled.encode_there
    monkeypatch.setattr(pooled, "encode_there", _slowly)
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        path = dcz.compress(net, tmp_path / "net.dcz", LOSSY, cluster=cluster.scheduler_address, force=True)
    finally:
        monkeypatch.setattr(pooled, "encode_there", plain)
        killed.append(None)
        killer.join()
    assert path.read_bytes() == expected
    assert len(killed) == 2 and killed[0] not in _pids(cluster)


def _pids(cluster) -> set[int]:
    return {worker.pid for worker in cluster.workers.values()}


@pytest.mark.filterwarnings("ignore")
def test_workers_of_another_version_are_refused(cluster, net, tmp_path, monkeypatch):
    from dcz.compression import dask_cluster as dask

    monkeypatch.setattr(dask, "__version__", "99")
    with pytest.raises(LostWorkers, match="has dcz .*, not 99, which may make other bytes"):
        dcz.compress(net, tmp_path / "net.dcz", LOSSY, cluster=cluster.scheduler_address, force=True)


@pytest.mark.filterwarnings("ignore")
def test_no_scheduler_is_told(net, tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("dcz.compression.dask_cluster.PATIENCE", 1)
    with pytest.raises(LostWorkers, match="tcp://127.0.0.1:9: no Dask scheduler answers there"):
        dcz.compress(net, tmp_path / "net.dcz", LOSSY, cluster="tcp://127.0.0.1:9", force=True)


@pytest.mark.parametrize("address", ["tcp://a\nb:1", "tcp://[red]:1", "somewhere", "tcp://:1", "\x1b]0;x\x07:1", ""])
def test_what_is_no_address_is_refused_at_once(address, net, tmp_path):
    pytest.importorskip("distributed")
    with pytest.raises(BadPlan, match="is no address of a scheduler"):
        dcz.compress(net, tmp_path / "net.dcz", LOSSY, cluster=address, force=True)


def test_without_dask_it_is_told_how_to_install_it(net, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(MissingBackend, match=r"pip install 'dcz\[cluster\]'"):
        dcz.compress(net, tmp_path / "net.dcz", LOSSY, cluster="tcp://127.0.0.1:9", force=True)
