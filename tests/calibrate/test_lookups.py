"""Tables of which rows are read by number: which, how often each row is read, and how finely it is rounded."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import dcz
from dcz import calibrate
from dcz.calibrate.rounding import round_data_free
from dcz.codec.stages import scale
from dcz.evaluation.batches import SampleBatches
from dcz.model import from_proto
from dcz.plan import Plan
from dcz.tuning.session import TuningSession
from tests.models import model, normal, run, tensor

ROWS, WIDTH = 4000, 32
ADDED = helper.make_node("ReduceMean", ["h", "axes"], ["m"], keepdims=0)
LAST = helper.make_node("MatMul", ["m", "w"], ["y"])


def network(*nodes, inputs=("ids",), table=(ROWS, WIDTH), more=()):
    """Nodes that make a value h [n, s, WIDTH] of ids and a table, and a layer on its mean."""
    initializers = [tensor("table", normal(*table)), tensor("w", normal(WIDTH, 12, seed=1)), *more]
    initializers.append(helper.make_tensor("axes", TensorProto.INT64, [1], [1]))
    declared = {name: ["n", "s"] for name in inputs}
    proto = model([*nodes, ADDED, LAST], declared, {"y": ["n", 12]}, initializers)
    for each in proto.graph.input:
        each.type.tensor_type.elem_type = TensorProto.INT64
    return proto


def gather(table="table", numbers="ids", output="h", **attributes):
    return helper.make_node("Gather", [table, numbers], [output], **attributes)


def ids(samples, seed=0):
    """Numbers of rows as words have them: the more seldom, the more of them there are."""
    often = 1 / np.arange(1, ROWS + 1)
    return np.random.default_rng(seed).choice(ROWS, (samples, 8), p=often / often.sum())


def drawn_alike(samples):
    """Numbers of rows of which none is read more often than others, but by chance."""
    return np.random.default_rng(0).integers(0, ROWS, (samples, 8))


TABLES = {
    "a table": ([gather()], {}, {"table": ("ids",)}),
    "rows by the other number of their axis": ([gather(axis=-2)], {}, {"table": ("ids",)}),
    "numbers that are computed": (
        [helper.make_node("Cast", ["ids"], ["c"], to=TensorProto.INT32), gather(numbers="c")], {}, {"table": ("c",)},
    ),
    "two that read it": (
        [gather(output="a"), gather(numbers="more", output="b"), helper.make_node("Add", ["a", "b"], ["h"])],
        {"inputs": ("ids", "more")}, {"table": ("ids", "more")},
    ),
    "columns": ([gather(axis=1, output="t"), helper.make_node("Transpose", ["t"], ["h"], perm=[1, 2, 0])],
                {"table": (WIDTH, ROWS)}, {}),
    "the table turned": ([helper.make_node("Transpose", ["table"], ["t"], perm=[1, 0]), gather("t")],
                         {"table": (WIDTH, ROWS)}, {}),
    "always the same rows": ([gather(numbers="fixed")],
                             {"more": [helper.make_tensor("fixed", TensorProto.INT64, [1, 2], [3, 5])]}, {}),
    "a layer's weights too": (
        [gather(output="g"), helper.make_node("Transpose", ["table"], ["t"], perm=[1, 0]),
         helper.make_node("MatMul", ["g", "t"], ["s"]), helper.make_node("MatMul", ["s", "table"], ["h"])], {}, {},
    ),
    "a small one beside others": ([gather()], {"table": (100, WIDTH), "more": [tensor("large", normal(4096, 64))]}, {}),
    "numbers that a layer gives": (
        [gather(output="g"), helper.make_node("MatMul", ["g", "w"], ["l"]),
         helper.make_node("ArgMax", ["l"], ["k"], axis=2, keepdims=0), gather("late", "k")],
        {"more": [tensor("late", normal(ROWS, WIDTH, seed=2))]}, {"table": ("ids",)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_tables_are_what_rows_are_looked_up_in_and_nothing_else(case):
    nodes, more, expected = TABLES[case]
    net = from_proto(network(*nodes, **more))
    assert calibrate.find_tables(net, [each.name for each in net.tensors]) == expected


def test_weights_that_levels_of_other_rows_could_lead_beyond_float32_make_no_table():
    proto, largest = network(gather()), normal(ROWS, WIDTH)
    largest[7, 7] = 3e38
    proto.graph.initializer[0].CopyFrom(tensor("table", largest))
    assert calibrate.find_tables(from_proto(proto), ["table"]) == {}


def test_weights_so_small_that_they_vanish_in_units_of_scales_make_no_table():
    for size in (1e-44, 1e-40):
        proto = network(gather())
        proto.graph.initializer[0].CopyFrom(tensor("table", normal(ROWS, WIDTH) * np.float32(size)))
        assert calibrate.find_tables(from_proto(proto), ["table"]) == {}


def test_lookups_are_counted_over_all_that_read_a_table_and_from_its_end():
    nodes = [gather(output="a"), gather(numbers="more", output="b"), helper.make_node("Add", ["a", "b"], ["h"])]
    net = from_proto(network(*nodes, inputs=("ids", "more")))
    batches = [
        {"ids": np.array([[0, 3, 3]]), "more": np.array([[-1, 0, 9]])},
        {"ids": np.array([[3]]), "more": np.array([[3]])},
    ]
    counts = calibrate.count_lookups(net, batches, {"table": ("ids", "more")})["table"]
    assert counts.sum() == 8 and counts[[0, 3, 9, ROWS - 1]].tolist() == [2, 4, 1, 1]
    assert calibrate.count_lookups(net, batches, {}) == {}


def test_the_more_often_a_row_is_read_the_finer_it_is():
    counts = np.array([100, 3, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    # Two were read once, so the eight that were not are read a quarter of a time each.
    found = calibrate.scales_by_use(counts, (12, 4))
    assert found.scales.tolist() == [8, 8, 16, 16] + [32] * 8 and found.axis == 0 and found.shape == (12, 4)
    assert np.array_equal(scale.of_steps(found.steps, 0, (12, 4)).scales, found.scales)


def test_only_what_looks_like_a_vocabulary_tells_use():
    assert calibrate.tells_use(np.array([9, 1, 1, 2, 0, 0]))
    assert not calibrate.tells_use(np.array([9, 1, 1, 2]))  # nothing that is unseen
    assert not calibrate.tells_use(np.array([9, 8, 9, 7, 9, 0, 0]))  # places of sequences that are all as long
    assert not calibrate.tells_use(np.zeros(4, np.int64))


def test_scales_are_for_tables_where_they_save_more_than_one_code_for_all_rows_loses():
    words, alike = (np.bincount(each.ravel(), minlength=ROWS) for each in (ids(600), drawn_alike(600)))
    assert calibrate.tells_use(words) and calibrate.tells_use(alike)
    assert calibrate.saves_bits(normal(ROWS, WIDTH), words)
    assert not calibrate.saves_bits(normal(ROWS, WIDTH), alike)
    assert not calibrate.saves_bits(normal(ROWS, 1), words)  # a scale takes as much as a weight


def session_of(samples):
    return TuningSession(network(gather()), {"ids": samples}, Plan(), 1)


def test_samples_that_judge_do_not_make_rows_finer():
    """Neither those on which tensors are tried alone nor those that are held out."""
    samples = np.zeros((40, 8), np.int64) + np.arange(40)[:, None]  # each of them reads a row of its own
    session = session_of(samples)
    calibrating = SampleBatches(session.predictor, np.arange(30))
    session.count_lookups(calibrating)
    session._tables = {"table": ("ids",)}  # whatever the counts tell
    assert set(np.flatnonzero(session.fine_for(calibrating)["table"].scales < 32)) == set(range(30))
    seen = []
    original = calibrate.survey

    def survey(model, statistics, names, fine, *rest):
        seen.append((set(np.flatnonzero(fine["table"].scales < 32)), {int(batch["ids"][0, 0]) for batch in rest[2]}))
        return original(model, statistics, names, fine, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrate, "survey", survey)
        with session.survey(calibrating, session.fine_for(calibrating)) as found:
            assert (found.fine["table"].scales[:30] < 32).all()
    ((fine, tried),) = seen
    assert fine < set(range(30)) and not fine & tried


def test_rows_of_a_table_may_have_more_levels_than_a_codebook():
    weights, row_scales = normal(400, 16), calibrate.scales_by_use(np.arange(400) // 300, (400, 16))
    for step in (2e-5, 2e-3):
        rounded = round_data_free(weights, step, row_scales)
        errors = np.abs(rounded - weights) / row_scales.scales[:, None]
        assert (errors <= (0.51 if step < 1e-3 else 2) * step).all()
        assert not np.signbit(rounded[rounded == 0]).any()


@pytest.mark.parametrize("max_bytes", [40_000, 110_000])
def test_a_table_is_nearer_for_samples_alike_in_as_many_bytes(max_bytes, tmp_path, monkeypatch):
    net, others = network(gather()), ids(2000, seed=5)
    (before,) = run(net, ids=others)
    errors, sizes = [], []
    for by_use in (True, False):
        if not by_use:
            monkeypatch.setattr(calibrate, "tells_use", lambda counts: False)
        path = tmp_path / f"{by_use}.dcz"
        dcz.tune(net, path, {"ids": ids(128, seed=1)}, max_bytes=max_bytes, threads=1)
        (after,) = run(dcz.load(path), ids=others)
        errors.append(np.square(after - before).mean())
        sizes.append(path.stat().st_size)
    assert errors[0] < 0.8 * errors[1] and sizes[0] < 1.01 * sizes[1]
