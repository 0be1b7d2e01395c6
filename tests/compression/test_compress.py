"""Whole models: every way in and out, the same bytes each time, never larger, and nothing lost where it fails."""

import errno
import hashlib
import multiprocessing
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import dcz
from dcz import deflate, parallel
from dcz import model as onnx_model
from dcz.compression import task
from dcz.errors import BadPlan, CorruptFile, FileAccess, UnsuitableModel
from dcz.files import temporaries
from dcz.format.container import Archive
from dcz.format.directory import write_head
from dcz.plan import LOSSLESS, Plan, Rule, Settings
from dcz.tensor import DTYPES, round_to
from tests import ROOT, models, networks

LOSSY = Settings(quality=30.0)
ALL = Plan(LOSSY, include=("*",))


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    """An ONNX file with tensors of several sizes and kinds."""
    sizes = [200, 150, 40, 64, 3]
    proto = models.dense(*(models.normal(*shape, seed=i) for i, shape in enumerate(zip(sizes, sizes[1:]))))
    proto.graph.initializer.append(models.tensor("ids", np.arange(3000)))
    proto.graph.initializer.append(models.tensor("bias", np.ones(7, np.float32)))
    return models.save(proto, tmp_path_factory.mktemp("net") / "net.onnx")


@pytest.fixture(scope="module")
def packed(net) -> Path:
    """The same, compressed with the settings that nobody chose."""
    return dcz.compress(net, net.with_name("net.dcz"))


# -- the same bytes ----------------------------------------------------------------------------------------------------


class Inline(Executor):
    """An executor with no workers at all."""

    def submit(self, function, /, *args, **kwargs):
        future = Future()
        future.set_result(function(*args, **kwargs))
        return future


def test_any_number_of_threads_gives_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(parallel, "BIG", 1 << 16)  # so that one tensor is spread over threads too
    proto = models.dense(models.normal(700, 400), models.normal(400, 40))  # the first has two segments
    packed = [dcz.compress(proto, tmp_path / f"{n}.dcz", threads=n).read_bytes() for n in (1, 2, 4)]
    restored = [dcz.load(tmp_path / "1.dcz", threads=n).SerializeToString() for n in (1, 2, 4)]
    assert len(set(packed)) == len(set(restored)) == 1


@pytest.mark.parametrize(
    "executor",
    [Inline, lambda: ThreadPoolExecutor(3), lambda: ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))],
    ids=["inline", "threads", "processes"],
)
def test_any_executor_gives_the_same_bytes_and_stays_open(executor, net, packed, tmp_path):
    with executor() as pool:
        assert dcz.compress(net, tmp_path / "net.dcz", executor=pool).read_bytes() == packed.read_bytes()
        assert pool.submit(abs, -1).result() == 1


@pytest.mark.parametrize("given", ["path", "str", "proto"])
def test_a_path_and_a_model_in_memory_give_the_same_bytes(given, net, packed, tmp_path):
    model = {"path": net, "str": str(net), "proto": onnx.load(net)}[given]
    assert dcz.compress(model, tmp_path / "net.dcz").read_bytes() == packed.read_bytes()


def test_neither_the_hash_seed_nor_the_process_matters(tmp_path):
    code = """if True:
        import sys, hashlib, dcz
        from tests import models
        path = dcz.compress(models.everything(), sys.argv[1], dcz.Plan(include=("*",)))
        print(hashlib.sha256(path.read_bytes()).hexdigest())
    """
    ours = dcz.compress(models.everything(), tmp_path / "ours.dcz", Plan(include=("*",)))
    found = {hashlib.sha256(ours.read_bytes()).hexdigest()}
    for seed in ("0", "1234"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code, tmp_path / f"{seed}.dcz"]
        found.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip())
    assert len(found) == 1


def test_weights_whose_squares_float64_cannot_hold_stay_exact(tmp_path):
    proto = models.dense(np.random.default_rng(0).uniform(-1, 1, (200, 100)) * 1e308)
    assert dcz.load(dcz.compress(proto, tmp_path / "net.dcz")) == proto


def test_a_model_in_memory_is_not_modified(tmp_path):
    proto = models.everything()
    dcz.compress(proto, tmp_path / "net.dcz", ALL)
    assert proto == models.everything()


def test_metadata_say_what_was_compressed_and_how(net, packed):
    with dcz.open(packed) as tensors:
        metadata = tensors.metadata
    assert metadata["writer"] == f"dcz {dcz.__version__}"
    assert metadata["source-sha256"] == hashlib.sha256(net.read_bytes()).hexdigest()
    assert metadata["source-bytes"] == str(net.stat().st_size)
    assert float(metadata["settings"].removeprefix("quality=")) > Plan().default.quality  # of a small network


# -- what comes out ----------------------------------------------------------------------------------------------------


def test_onnxruntime_answers_nearly_as_before(net, packed, tmp_path):
    x = np.random.default_rng(5).normal(size=(20, 200)).astype(np.float32)
    restored = dcz.decompress(packed, tmp_path / "net.onnx")
    (before,), (after,) = models.run(net, x=x), models.run(restored, x=x)
    assert 0 < np.square(before - after).mean() < 0.01 * np.square(before).mean()
    assert packed.stat().st_size < net.stat().st_size / 4


@pytest.mark.parametrize(
    "settings",
    [
        LOSSLESS,
        LOSSY,
        Settings(bits=4),
        Settings(step=0.1),
        Settings(sparsity=0.9, bits=5),
        Settings(threshold=2.0, share=False),
    ],
    ids=str,
)
def test_compressing_what_was_decompressed_changes_no_bit_and_no_size(settings, net, tmp_path):
    proto = onnx.load(net)
    for name in ("float16", "bfloat16", "float64"):
        dtype = next(dtype for dtype in DTYPES.values() if dtype.name == name)
        data = round_to(models.normal(3000, seed=4).astype(np.float64), dtype)
        proto.graph.initializer.append(models.patterns(name, dtype, (30, 100), data))
    plan = Plan(settings, include=("*",))
    first = dcz.compress(proto, tmp_path / "first.dcz", plan)
    restored = dcz.decompress(first, tmp_path / "restored.onnx")
    second = dcz.compress(restored, tmp_path / "second.dcz", plan)
    assert dcz.load(second) == onnx.load(restored)
    sizes = [
        [(entry.name, entry.info.encoding, entry.info.length) for entry in models.entries(path)]
        for path in (first, second)
    ]
    assert len(sizes[0]) >= 8 and sizes[0] == sizes[1]


def test_a_model_that_is_no_tensors_is_deflated_once(tmp_path, monkeypatch):
    """As trees are, whose numbers are attributes: it is its own graph, and there is nothing to compare it with."""
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml")
    node.attribute.append(helper.make_attribute("nodes_values", models.normal(20000).tolist()))
    proto = models.model([node], {"x": ["n", 4]}, {"y": ["n", 1]}, domains=["ai.onnx.ml"])
    path, made = models.save(proto, tmp_path / "trees.onnx"), []
    compressor = deflate._compressor
    monkeypatch.setattr(deflate, "_compressor", lambda search: made.append(search) or compressor(search))
    packed = dcz.compress(path, tmp_path / "trees.dcz")
    assert len(made) == 2  # of the graph and of the directory
    assert dcz.load(packed) == onnx.load(path)


def test_rows_with_scales_are_as_they_were_when_they_are_compressed_again(tmp_path):
    first = dcz.compress(networks.separable(), tmp_path / "first.dcz")
    assert any(report.scales for report in dcz.inspect(first).rows)
    restored = dcz.decompress(first, tmp_path / "restored.onnx")
    second = dcz.compress(restored, tmp_path / "second.dcz")
    assert dcz.load(second) == onnx.load(restored)
    assert second.stat().st_size == pytest.approx(first.stat().st_size, rel=0.01)


@pytest.mark.parametrize("quality", [1.0, 44.0])
def test_every_quality_that_settings_allow_works_on_tensors_of_any_size(quality, net, tmp_path):
    """The quality of a model is spread over its tensors; what each gets must stay a quality."""
    path = dcz.compress(net, tmp_path / "net.dcz", Settings(quality=quality))
    with dcz.open(path) as tensors:
        for name, before in models.arrays(onnx.load(net)).items():
            if before.dtype == np.float32 and before.size > 256:
                error = np.square(tensors[name].astype(np.float64) - before).sum() / np.square(before).sum()
                assert error < (1 if quality == 1 else 1e-3)


def test_records_lie_in_the_order_of_the_model(tmp_path):
    names = ["b", "c", "a", "d"]
    proto = models.bag(*(models.tensor(name, models.normal(40, 30 + i % 2, seed=i)) for i, name in enumerate(names)))
    assert [entry.name for entry in models.entries(dcz.compress(proto, tmp_path / "net.dcz", ALL))] == names


def test_rules_choose_settings_by_name(net, tmp_path):
    plan = Plan(LOSSLESS, rules=(Rule(("w1", "w2"), Settings(sparsity=0.5)), Rule(("w2",), Settings(bits=1))))
    path = dcz.compress(net, tmp_path / "net.dcz", plan)
    before = models.arrays(onnx.load(net))
    with dcz.open(path) as after:
        assert np.array_equal(after["w0"], before["w0"])
        assert np.count_nonzero(after["w1"]) == before["w1"].size / 2
        assert len(np.unique(after["w2"])) == 2


def test_a_pattern_that_matches_nothing_is_refused(net, tmp_path):
    with pytest.raises(BadPlan, match="typo"):
        dcz.compress(net, tmp_path / "net.dcz", Plan(exclude=("typo*",)))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_stay_exact_with_a_warning(value, tmp_path):
    weight = models.WEIGHT.copy()
    weight[3, 5] = value
    warnings = []
    path = dcz.compress(models.dense(weight), tmp_path / "net.dcz", ALL, warn=warnings.append)
    assert len(warnings) == 1 and "w0" in warnings[0] and "NaN" in warnings[0]
    with dcz.open(path) as tensors:
        assert tensors["w0"].tobytes() == weight.tobytes()
    (out,) = models.run(dcz.load(path), x=models.INPUT)
    assert not np.isfinite(out[0, 5]) and np.isfinite(np.delete(out, 5)).all()


def test_big_tensors_that_stay_exact_are_pointed_out_with_their_users(tmp_path):
    proto = models.parsed("(float[128,64] x) => (float[128,64] y) { y = Mul(x, S) }", shape=(128, 64))
    warnings = []
    dcz.compress(proto, tmp_path / "net.dcz", warn=warnings.append, force=True)
    assert len(warnings) == 1 and "S: 32768 bytes stay exact, being used by Mul" in warnings[0]
    for quiet in (LOSSLESS, Plan(exclude=("S",)), Plan(include=("S",))):
        dcz.compress(proto, tmp_path / "net.dcz", quiet, warn=warnings.append, force=True)
    assert len(warnings) == 1, "they were asked for"


def test_a_small_weight_that_is_much_of_the_model_is_pointed_out_as_such(tmp_path):
    warnings = []
    dcz.compress(models.dense(models.normal(15, 16)), tmp_path / "net.dcz", warn=warnings.append)
    assert "960 bytes stay exact, being fewer than 256 weights" in warnings[0]


# -- external data -----------------------------------------------------------------------------------------------------


def outside(path: Path) -> dict[str, dict[str, str]]:
    """The external data of a model's initializers, as its file says."""
    proto = onnx.load(path, load_external_data=False)
    found = {t.name: t for t in proto.graph.initializer if t.data_location == TensorProto.EXTERNAL}
    return {name: {entry.key: entry.value for entry in tensor.external_data} for name, tensor in found.items()}


def data_of(path: Path) -> Path:
    """The one file of external data beside a model."""
    (found,) = path.parent.glob(f"{path.name}.*.data")
    return found


def test_always_puts_initializers_into_a_file_beside_the_model(net, packed, tmp_path):
    path = dcz.decompress(packed, tmp_path / "again.onnx", external_data="always")
    assert sorted(os.listdir(tmp_path)) == ["again.onnx", data_of(path).name]
    assert re.fullmatch(r"again\.onnx\.[0-9a-f]{12}\.data", data_of(path).name)
    found = outside(path)
    assert set(found) == {entry.name for entry in models.entries(packed)}
    data = data_of(path).read_bytes()
    with dcz.open(packed) as tensors:
        for name, where in found.items():
            offset, length = int(where["offset"]), int(where["length"])
            assert where["location"] == data_of(path).name and offset % onnx_model.ALIGNMENT == 0
            assert data[offset : offset + length] == tensors[name].tobytes()
    assert models.arrays(onnx.load(path)).keys() == models.arrays(onnx.load(net)).keys()


@pytest.mark.parametrize("place", models.PLACES)
def test_onnxruntime_runs_external_data_from_wherever_it_was(place, tmp_path):
    proto = models.place(place)
    path = dcz.compress(proto, tmp_path / "net.dcz", LOSSLESS)
    restored = dcz.decompress(path, tmp_path / "net.onnx", external_data="always")
    onnx.checker.check_model(restored)
    assert np.array_equal(*models.run(proto, x=models.INPUT), *models.run(restored, x=models.INPUT))


def test_never_keeps_everything_inside(packed, tmp_path):
    path = dcz.decompress(packed, tmp_path / "again.onnx", external_data="never")
    assert os.listdir(tmp_path) == ["again.onnx"] and onnx.load(path) == dcz.load(packed)


@pytest.mark.parametrize("spare, count", [(100_000, 1), (-100_000, 2)], ids=["just fits", "too big"])
def test_auto_goes_outside_when_a_message_could_not_hold_the_model(spare, count, net, packed, tmp_path, monkeypatch):
    # compression leaves 1 MB for what tensors and their fields take beside their data
    monkeypatch.setattr(onnx_model, "PROTOBUF_LIMIT", net.stat().st_size + (1 << 20) + spare)
    path = dcz.decompress(packed, tmp_path / "again.onnx")
    assert len(os.listdir(tmp_path)) == count
    assert models.arrays(onnx.load(path)).keys() == models.arrays(onnx.load(net)).keys()


def test_tensors_that_share_a_record_share_their_external_data(tmp_path):
    twins = [models.tensor(name, models.WEIGHT) for name in ("first", "second")]
    path = dcz.compress(models.bag(*twins), tmp_path / "net.dcz")
    found = outside(dcz.decompress(path, tmp_path / "net.onnx", external_data="always"))
    assert found["first"] == found["second"] and data_of(tmp_path / "net.onnx").stat().st_size == models.WEIGHT.nbytes


@pytest.mark.parametrize("plan", [LOSSLESS, ALL], ids=["lossless", "lossy"])
def test_compressing_from_external_data_gives_the_same_graph_and_records(plan, net, tmp_path):
    inside = dcz.decompress(dcz.compress(net, tmp_path / "a.dcz", plan), tmp_path / "inside.onnx")
    apart = dcz.decompress(tmp_path / "a.dcz", tmp_path / "apart.onnx", external_data="always")
    first, second = dcz.compress(inside, tmp_path / "b.dcz", plan), dcz.compress(apart, tmp_path / "c.dcz", plan)
    with Archive(first) as a, Archive(second) as b:
        assert a.graph() == b.graph() and len(a.directory.entries) >= 5
        for mine, other in zip(a.directory.entries, b.directory.entries, strict=True):
            assert mine.name == other.name and a.record(mine) == b.record(other)


def test_an_unknown_choice_is_refused(packed, tmp_path):
    with pytest.raises(BadPlan, match="auto, never, always"):
        dcz.decompress(packed, tmp_path / "net.onnx", external_data="maybe")


# -- open --------------------------------------------------------------------------------------------------------------


class Counting:
    """A file that counts the bytes read from it."""

    def __init__(self, file):
        self.file, self.count = file, 0

    def read(self, size=-1):
        data = self.file.read(size)
        self.count += len(data)
        return data

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.fixture
def counted(packed):
    """The open file, and what counts the bytes read since."""
    with dcz.open(packed) as tensors:
        tensors._archive._file = Counting(tensors._archive._file)
        yield tensors, tensors._archive._file


def test_open_lists_every_tensor(net, packed):
    with dcz.open(packed) as tensors:
        assert sorted(tensors) == sorted(models.arrays(onnx.load(net))) and len(tensors) == len(set(tensors)) == 6


@pytest.mark.parametrize("name", ["w0", "w3", "ids"])
def test_looking_a_tensor_up_reads_its_record_and_no_more(name, counted, packed):
    tensors, file = counted
    (entry,) = (entry for entry in models.entries(packed) if entry.name == name)
    tensors[name]
    assert file.count == entry.info.length


def test_asking_whether_a_tensor_is_there_decodes_nothing(counted):
    tensors, file = counted
    assert "w0" in tensors and file.count == 0
    assert "bias" in tensors and "no" not in tensors


def test_small_tensors_come_from_the_graph_which_is_read_once(counted, packed):
    tensors, file = counted
    with Archive(packed) as archive:
        graph = archive.directory.graph_stored
    assert tensors["bias"].tolist() == [1.0] * 7 and tensors["bias"].shape == (7,) and len(tensors) == 6
    assert file.count == graph


def test_unknown_names_are_key_errors(packed):
    with dcz.open(packed) as tensors:
        with pytest.raises(KeyError, match="no such"):
            tensors["no such"]
        assert tensors.get("no such") is None


def test_every_name_of_a_tensor_that_is_written_once_opens_it(tmp_path):
    twins = [models.tensor("first", models.WEIGHT), models.typed("second", models.WEIGHT)]
    path = dcz.compress(models.bag(*twins), tmp_path / "net.dcz", LOSSLESS)
    with dcz.open(path) as tensors:
        assert list(tensors) == ["first", "second"] and "second" in tensors and len(tensors) == 2
        assert np.array_equal(tensors["second"], models.WEIGHT)


@pytest.mark.parametrize("elements", [10, 3000], ids=["in the graph", "in a record"])
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=lambda dtype: dtype.name)
def test_tensors_have_the_nearest_numpy_type(dtype, elements, tmp_path):
    shape = (2, elements // 2)
    data = np.random.default_rng(dtype.code).integers(0, 2, dtype.nbytes(shape), np.uint8)  # also fit for bool
    proto = models.bag(models.patterns("w", dtype, shape, data), models.tensor("other", models.WEIGHT))
    with dcz.open(dcz.compress(proto, tmp_path / "net.dcz", LOSSLESS)) as tensors:
        found = tensors["w"]
    if dtype.bits < 8 or dtype.name.startswith("float8"):
        assert found.dtype == np.uint8 and found.tobytes() == data.tobytes()
        return
    expected = numpy_helper.to_array(proto.graph.initializer[0])
    expected = expected.astype(np.float32) if dtype.name == "bfloat16" else expected
    assert found.dtype == expected.dtype and found.shape == shape and np.array_equal(found, expected)


def test_threads_may_share_an_open_file(packed):
    with dcz.open(packed) as tensors, ThreadPoolExecutor(8) as pool:
        expected = {name: tensors[name].tobytes() for name in tensors}
        names = [*expected] * 10
        assert [array.tobytes() for array in pool.map(tensors.__getitem__, names)] == [expected[name] for name in names]


def test_a_closed_file_gives_nothing(packed):
    with dcz.open(packed) as tensors:
        pass
    with pytest.raises(FileAccess, match="net.dcz"):
        tensors["w0"]


# -- never larger ------------------------------------------------------------------------------------------------------


def near_duplicates():
    base = models.normal(512)
    copies = np.repeat(base[None], 64, 0)
    copies[np.arange(64), np.arange(64) * 7] = 1
    return models.bag(*(models.tensor(f"copy{i}", copy) for i, copy in enumerate(copies)))


def noise():
    bits = np.random.default_rng(8).integers(0, 1 << 32, 20_000, np.uint32) & 0xBFFFFFFF  # any float32 below 2
    return models.bag(models.tensor("noise", bits.view(np.float32).reshape(100, 200)))


ODD = {
    "zeros": lambda: models.dense(np.zeros((300, 200), np.float32)),
    "constant": lambda: models.dense(np.full((300, 200), 0.1, np.float32)),
    "noise": noise,
    "near duplicates": near_duplicates,
    "int64": lambda: models.bag(*(models.tensor(f"i{i}", np.arange(i, 900 + i)) for i in range(9))),
    "no weights": lambda: models.bag(),
    "tiny": lambda: models.dense(models.normal(3, 3)),
    "many small": lambda: models.bag(*(models.tensor(f"s{i}", models.normal(130, seed=i)) for i in range(80))),
    "repeated": lambda: models.dense(np.tile(models.normal(64, 64), (8, 4))),
    "stored twice": lambda: models.bag(*(models.tensor(f"t{i}", models.WEIGHT) for i in range(5))),
    "two values": lambda: models.dense(np.where(models.normal(256, 256) > 0, 0.3, -0.3).astype(np.float32)),
    "half": lambda: models.bag(models.tensor("w", models.normal(200, 100, dtype=np.float16))),
    "every corner": models.everything,
}


@pytest.mark.parametrize("plan", [LOSSLESS, ALL, None], ids=["lossless", "lossy", "default"])
@pytest.mark.parametrize("case", ODD)
def test_a_file_is_never_larger_than_the_deflated_model_and_a_directory(case, plan, tmp_path):
    proto = ODD[case]()
    if isinstance(plan, Plan) and case == "no weights":
        pytest.skip("a lossy option is refused where there are no weights")
    path = dcz.compress(proto, tmp_path / "net.dcz", plan)
    assert path.stat().st_size <= models.deflated(proto.SerializeToString()) + models.overhead(path)
    assert models.without_data(dcz.load(path)) == models.without_data(proto)


# -- failing -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path):
    """Where an older output lies; `untouched()` says whether that is still all there is."""

    class Old:
        path = tmp_path / "old"

        @staticmethod
        def untouched() -> bool:
            return Old.path.read_bytes() == b"old" and os.listdir(tmp_path) == ["old"]

    Old.path.write_bytes(b"old")
    return Old


@pytest.fixture
def tasks(net, packed):
    """The two ways of writing a file, by name."""
    return {
        "compress": partial(dcz.compress, net, force=True),
        "decompress": partial(dcz.decompress, packed, force=True),
    }


both = pytest.mark.parametrize("task", ["compress", "decompress"])


@both
def test_progress_ends_at_the_whole_and_names_every_tensor(task, tasks, packed, tmp_path):
    seen = []
    tasks[task](tmp_path / "out", progress=lambda *step: seen.append(step))
    entries = models.entries(packed)
    total = sum(entry.nbytes for entry in entries)
    assert [name for name, _, _ in seen] == [entry.name for entry in entries]
    assert seen[-1][1:] == (total, total) and all(before[1] < after[1] for before, after in zip(seen, seen[1:]))


@both
@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError, BrokenPipeError])
def test_an_interrupt_half_way_leaves_the_old_output_and_no_other_file(error, task, tasks, old):
    def interrupt(name, done, total):
        if done > total / 2:
            raise error

    with pytest.raises(error):
        tasks[task](old.path, progress=interrupt)
    assert old.untouched()
    for thread in threading.enumerate():
        if "ThreadPoolExecutor" in thread.name:
            thread.join(30)  # an interrupt does not wait for the tensor in work, which the thread ends with
    assert not [thread for thread in threading.enumerate() if "ThreadPoolExecutor" in thread.name], "workers are left"


def test_tensors_that_wait_are_not_compressed_after_an_interrupt(net, old, monkeypatch):
    honest, begun, gate = task.encode, [], threading.Event()

    def encode(*arguments):
        begun.append(arguments)
        assert len(begun) == 1 or gate.wait(10)
        return honest(*arguments)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(task, "encode", encode)
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(KeyboardInterrupt):
            dcz.compress(net, old.path, executor=pool, threads=2, progress=interrupt, force=True)
        gate.set()
    assert len(begun) <= 2, "only what was at work is finished"


class Failing:
    """A file whose writes fail after the first."""

    def __init__(self, file, error: BaseException):
        self.file, self.error, self.writes = file, error, 0

    def write(self, data):
        self.writes += 1
        if self.writes > 1:
            raise self.error
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("task, more", [("compress", {}), ("decompress", {"external_data": "always"})])
@pytest.mark.parametrize("error, seen", [(FULL, FileAccess), (KeyboardInterrupt(), KeyboardInterrupt)])
def test_a_write_that_fails_leaves_the_old_output_and_no_other_file(error, seen, task, more, tasks, old, monkeypatch):
    monkeypatch.setattr("dcz.parts.open", lambda *args: Failing(open(*args), error), raising=False)
    with pytest.raises(seen):
        tasks[task](old.path, **more)
    assert old.untouched()


@pytest.fixture
def small_files():
    """A limit that the system sets on the size of files: writing past it fails for real."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@both
def test_a_disk_that_takes_no_more_leaves_the_old_output(task, tasks, old, small_files):
    with pytest.raises(FileAccess, match="old: cannot be written: File too large"):
        tasks[task](old.path)
    assert old.untouched()


def test_a_disk_that_does_not_take_the_records_is_named_too(tasks, old, small_files, monkeypatch):
    monkeypatch.setattr(temporaries, "IN_MEMORY", 1000)
    with pytest.raises(FileAccess, match="old: cannot be written: File too large"):
        tasks["compress"](old.path)
    assert old.untouched()


def test_records_that_do_not_fit_in_memory_give_the_same_bytes(net, packed, tmp_path, monkeypatch):
    monkeypatch.setattr(temporaries, "IN_MEMORY", 1000)
    assert dcz.compress(net, tmp_path / "net.dcz").read_bytes() == packed.read_bytes()
    assert os.listdir(tmp_path) == ["net.dcz"]


@pytest.fixture(scope="module")
def generations(packed, tmp_path_factory) -> tuple[Path, np.ndarray]:
    """A folder of net.onnx, with external data, and other.dcz, of other weights for the same model; the weights."""
    folder = tmp_path_factory.mktemp("generations")
    with dcz.open(packed) as tensors:
        name, weights = next(iter(tensors.items()))
    other = dcz.load(packed)
    for tensor in other.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(onnx.numpy_helper.from_array(-weights, name))
    path = dcz.decompress(packed, folder / "net.onnx", external_data="always")
    dcz.compress(other, folder / "other.dcz", LOSSLESS)
    return folder, models.arrays(onnx.load(path))[name]


def written_over(tmp_path, generations) -> tuple[Path, np.ndarray, Path]:
    """Such a model in a folder of its own, its weights, and the other file."""
    folder, weights = generations
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return tmp_path / "net.onnx", weights, tmp_path / "other.dcz"


@pytest.mark.parametrize("name", ["fsync", "replace", "link", "chmod"])
@pytest.mark.parametrize("nth", range(1, 6))
@pytest.mark.parametrize("death", [False, True], ids=["error", "death"])
def test_a_model_and_its_external_data_are_of_one_generation(death, nth, name, generations, tmp_path, monkeypatch):
    """Whatever fails, or dies just after it has been done, when the new model takes the place of the old one."""
    path, old, other = written_over(tmp_path, generations)
    before = sorted(os.listdir(tmp_path))
    call, calls = getattr(os, name), []

    def fail(*arguments, **more):
        calls.append(name)
        if len(calls) == nth and death:
            call(*arguments, **more)
            os._exit(9)
        if len(calls) == nth:
            raise FULL
        return call(*arguments, **more)

    child = os.fork() if death else 0
    if child == 0:
        monkeypatch.setattr(os, name, fail)
        try:
            dcz.decompress(other, path, external_data="always", threads=1, force=True)
            failed = False
        except FileAccess:
            failed = True
        if death:
            os._exit(0)
        monkeypatch.undo()
    else:
        failed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    found = next(array for array in models.arrays(onnx.load(path)).values() if array.shape == old.shape)
    is_new = np.array_equal(found, -old)
    assert is_new or np.array_equal(found, old)
    if failed and not death and not is_new:
        assert sorted(os.listdir(tmp_path)) == before
    dcz.decompress(other, path, external_data="always", force=True)  # and the next run cleans up what is left of both
    assert len([each for each in os.listdir(tmp_path) if each.endswith(".part")]) == 0


def test_the_data_of_the_old_model_goes_and_no_other(generations, tmp_path):
    path, _, other = written_over(tmp_path, generations)
    first = data_of(path)
    (tmp_path / "net.onnx.0123456789ab.data").write_bytes(b"of a model that was renamed")
    dcz.decompress(other, path, external_data="always", force=True)
    assert not first.exists() and (tmp_path / "net.onnx.0123456789ab.data").exists()
    second = next(each for each in tmp_path.glob("net.onnx.*.data") if each.name != "net.onnx.0123456789ab.data")
    dcz.decompress(other, path, external_data="always", force=True)
    assert second.exists()
    dcz.decompress(other, path, external_data="never", force=True)
    assert not second.exists()


@both
@pytest.mark.parametrize("name, message", [("no/out", "does not exist"), ("", "is a folder")])
def test_outputs_that_cannot_be_written_are_refused(name, message, task, tasks, tmp_path):
    with pytest.raises(FileAccess, match=message):
        tasks[task](tmp_path / name)
    assert os.listdir(tmp_path) == []


@both
def test_an_output_that_exists_is_replaced_only_by_force(task, tasks, old):
    with pytest.raises(FileAccess, match="exists already"):
        tasks[task](old.path, force=False)
    assert old.untouched()
    assert tasks[task](old.path, force=True) == old.path and not old.untouched()


@pytest.mark.parametrize("way", ["itself", "by another path", "hard link", "link"])
def test_the_model_is_never_its_own_output(way, net, tmp_path):
    model = tmp_path / "net.onnx"
    model.write_bytes(net.read_bytes())
    detour = tmp_path / ".." / tmp_path.name / "net.onnx"
    output = {"itself": model, "by another path": detour}.get(way, tmp_path / "other")
    if way == "hard link":
        output.hardlink_to(model)
    if way == "link":
        output.symlink_to(model)
    with pytest.raises(FileAccess, match="is the input"):
        dcz.compress(model, output, force=True)
    assert model.read_bytes() == net.read_bytes()


def test_the_models_external_data_is_never_the_output(net, tmp_path):
    model = models.save(onnx.load(net), tmp_path / "net.onnx", location="weights.bin")
    before = (tmp_path / "weights.bin").read_bytes()
    with pytest.raises(FileAccess, match="weights.bin: is the input"):
        dcz.compress(model, tmp_path / "weights.bin", force=True)
    assert (tmp_path / "weights.bin").read_bytes() == before


def test_a_dcz_file_is_never_its_own_output(packed, tmp_path):
    path = tmp_path / "net.dcz"
    path.write_bytes(packed.read_bytes())
    with pytest.raises(FileAccess, match="net.dcz: is the input"):
        dcz.decompress(path, path, external_data="always")
    assert path.read_bytes() == packed.read_bytes() and os.listdir(tmp_path) == ["net.dcz"]


def test_a_file_that_would_decode_to_more_than_allowed_is_refused(packed, tmp_path):
    most = sum(entry.nbytes for entry in models.entries(packed))
    for unpack in (dcz.load, partial(dcz.decompress, output=tmp_path / "net.onnx")):
        with pytest.raises(UnsuitableModel, match=f"more than the limit of {most}"):
            unpack(packed, max_bytes=most)  # the graph comes on top
    assert os.listdir(tmp_path) == []
    assert dcz.load(packed, max_bytes=most + 10_000) == dcz.load(packed)


def test_a_graph_whose_own_tensors_do_not_fit_is_corrupt(tmp_path):
    bad = models.bag(TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], raw_data=bytes(3)))
    (tmp_path / "bad.dcz").write_bytes(write_head(bad.SerializeToString(), {}, []))
    with dcz.open(tmp_path / "bad.dcz") as tensors, pytest.raises(CorruptFile, match="graph-reference"):
        tensors["w"]


# What is written is decoded before it takes its place: a fault of ours must not cost anyone a model.


def test_a_record_that_does_not_decode_is_never_put_in_place(net, old, monkeypatch):
    honest = task.encode

    def wrong(*arguments):
        record = honest(*arguments)
        return replace(record, info=replace(record.info, tensor_crc=record.info.tensor_crc ^ 1))

    monkeypatch.setattr(task, "encode", wrong)
    with pytest.raises(CorruptFile, match="tensor-crc"):
        dcz.compress(net, old.path, force=True)
    assert old.untouched()


def test_a_graph_that_refers_to_the_wrong_records_is_never_put_in_place(net, old, monkeypatch):
    honest = onnx_model.ModelTensor.replace_with_reference
    monkeypatch.setattr(
        onnx_model.ModelTensor, "replace_with_reference", lambda weight, record, turned: honest(weight, record + 1)
    )
    with pytest.raises(CorruptFile, match="graph-reference"):
        dcz.compress(net, old.path, force=True)
    assert old.untouched()


# What a file holds must not be made to take time that grows faster than it.


def test_many_tensors_of_one_name_are_named_in_linear_time(tmp_path):
    """20,000 took a minute and a half when each name was looked for from ~2 on."""
    twin = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], float_data=[1])
    twins = models.bag(*[twin] * 20_000)
    (tmp_path / "net.dcz").write_bytes(write_head(twins.SerializeToString(), {}, []))
    with dcz.open(tmp_path / "net.dcz") as tensors:
        assert len(tensors) == 20_000 and "w~20000" in tensors


def test_functions_within_functions_are_followed_in_bounded_time():
    """Each calls the next twice: 2^40 ways lead to the innermost."""
    depth = 40
    functions = [
        models.function(f"f{i}", ["a"], ["c"], [
            helper.make_node(f"f{i + 1}", ["a"], ["b"], domain="local"),
            helper.make_node(f"f{i + 1}", ["b"], ["c"], domain="local"),
        ])
        for i in range(depth)
    ]  # fmt: skip
    functions.append(models.function(f"f{depth}", ["a"], ["c"], [helper.make_node("Identity", ["a"], ["c"])]))
    nodes = [helper.make_node("f0", ["w"], ["v"], domain="local"), models.matmul("v")]
    proto = models.model(nodes, initializers=[models.tensor("w", models.WEIGHT)], functions=functions)
    (weight,) = onnx_model.from_proto(proto).tensors
    assert weight.is_weight


def test_a_limit_is_checked_before_the_graph_is_parsed(packed, monkeypatch):
    monkeypatch.setattr(onnx_model, "parse_graph", None)
    with pytest.raises(UnsuitableModel, match="more than the limit of 1000"):
        dcz.load(packed, max_bytes=1000)


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"threads": -1}, {"threads": 1.5}, {"plan": {"bits": 4}}])
def test_wrong_arguments_are_bad_plans(net, tmp_path, wrong):
    with pytest.raises(dcz.BadPlan):
        dcz.compress(net, tmp_path / "net.dcz", **wrong)


def test_paths_with_a_nul_are_refused(net, tmp_path):
    for call in (
        lambda: dcz.compress("a\0b", tmp_path / "net.dcz"),
        lambda: dcz.compress(net, f"{tmp_path}/a\0b"),
        lambda: dcz.load("a\0b"),
    ):
        with pytest.raises(FileAccess):
            call()


@pytest.mark.parametrize("settings", [{}, {"bits": 2}, {"quality": 10.0}, {"share": False}], ids=str)
def test_pruning_may_leave_nothing(settings, tmp_path):
    """Of layers whose rows may have scales, too."""
    packed = dcz.compress(networks.perceptron(), tmp_path / "net.dcz", threshold=10.0, **settings)
    found = models.arrays(dcz.load(packed))
    assert not found["fc1.weight"].any() and not found["fc2.weight"].any() and found["fc1.bias"].any()
