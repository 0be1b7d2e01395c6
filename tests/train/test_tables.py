"""Tables of embeddings: which rows are read, how often, and how finely they are rounded."""

import numpy as np
import pytest
from onnx import TensorProto, helper

import dcz
from dcz.encoded import step_scales
from dcz.plan import Plan, Rule, Settings
from tests.models import model, normal, tensor
from tests.train.samples import transformer

torch = pytest.importorskip("torch")

from dcz.errors import InvalidArgument
from dcz.train import (
    CrossEntropy,
    Group,
    Network,
    Pruner,
    Recipe,
    Weight,
    retrain,
    save_network,
    share_weights,
    tables,
)
from dcz.train.steps import backward

ROWS, WIDTH = 200, 16


def embedding(second: bool = False):
    """ids [n, 3] -> the rows of `table`, added up -> MatMul (w) -> y; `second`: the table is a layer's weight too."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        helper.make_node("ReduceSum", ["e", "axes"], ["s"], keepdims=0),
        helper.make_node("MatMul", ["s", "w"], ["y"]),
        *([helper.make_node("Transpose", ["table"], ["t"]), helper.make_node("MatMul", ["s", "t"], ["z"])] * second),
    ]
    weights = [
        tensor("table", 9 * normal(ROWS, WIDTH)),
        tensor("w", 9 * normal(WIDTH, 5)),
        tensor("axes", np.array([1])),
    ]
    outputs = {"y": ["n", 5]} | ({"z": ["n", ROWS]} if second else {})
    return model(nodes, {"ids": (TensorProto.INT64, ["n", 3])}, outputs, weights)


def zipf(count: int) -> np.ndarray:
    """ids [count, 3], of which few rows take most, and those from 150 on none."""
    return np.exp(np.random.default_rng(0).uniform(0, np.log(150), (count, 3))).astype(np.int64) - 1


def test_what_is_looked_up_and_nothing_else_is_a_table():
    assert Network(embedding())["table"].is_table and not Network(embedding())["w"].is_table
    assert not Network(embedding(second=True))["table"].is_table
    assert [weight.name for weight in Network(transformer()) if weight.is_table] == ["table"]


def test_rows_that_no_sample_reads_are_pruned_as_others_are():
    network = Network(embedding())
    table, labels = network["table"], torch.tensor([0, 1, 2, 3])
    pruner = Pruner([Group((table,), 0.5)], Recipe(score="gradient"))
    backward(network, CrossEntropy(network), np.array([[0, 1, 2], [1, 2, 3], [2, 3, 4], [0, 0, 4]]), labels)
    pruner.observe()
    assert not pruner.squares["table"].view(ROWS, WIDTH)[5:].any()  # their own say that they do not matter
    pruner.prune_to(lambda target: target)
    kept = table.mask.view(ROWS, WIDTH).float().mean(1)
    assert kept[5:].mean() == pytest.approx(float(kept[:5].mean()), abs=0.15)
    assert float(pruner.importance(table).view(ROWS, WIDTH).std(0).max()) == 0
    assert pruner.importance(network["w"]) is None


def test_a_column_counts_by_the_rows_that_were_read():
    assert torch.equal(tables.over_rows(torch.tensor([0.0, 0, 2, 4, 4, 0]), (3, 2)), torch.tensor([3.0, 2] * 3))
    assert torch.equal(tables.over_rows(torch.zeros(6), (3, 2)), torch.ones(6))


def test_reads_are_counted_row_by_row_and_from_the_end():
    batches = [(np.array([[0, 1, 1], [5, 1, -1]]), None), (np.array([[0, 0, 7]]), None)]
    reads = tables.count_reads(Network(embedding()), batches)["table"]
    assert {row: int(count) for row, count in enumerate(reads) if count} == {0: 3, 1: 3, 5: 1, 7: 1, ROWS - 1: 1}


def test_counting_runs_the_lookups_alone():
    network = Network(embedding())
    seen = []
    network.graph._operations = [
        each if each.node.op == "Gather" else type(each)(each.node, lambda *x: seen.append(1), each.last_uses)
        for each in network.graph._operations
    ]
    assert tables.count_reads(network, [(zipf(4), None)])["table"].sum() == 12 and not seen


def test_steps_go_by_the_fourth_root_of_reads_and_rows_not_read_are_no_more_than_twice_as_coarse():
    sizes = step_scales(tables.row_steps(np.array([16, 256, 1, 0, 1, 1])))
    assert sizes[0] / sizes[1] == pytest.approx(2, rel=0.07) and sizes[2] / sizes[0] == pytest.approx(2, rel=0.07)
    assert sizes[3] / sizes[2] == pytest.approx(2**0.25, rel=0.07)
    positions = step_scales(tables.row_steps(np.array([10**6] * 30 + [0] * 400)))
    assert positions[-1] / positions[0] == pytest.approx(2, rel=0.07)
    assert len(set(tables.row_steps(np.zeros(5, np.int64)).tolist())) == 1


def test_in_units_of_scales_a_network_says_the_same():
    network, ids = Network(embedding()), zipf(8)
    before = network(ids)["y"].detach()
    network["table"].in_units(tables.row_steps(np.arange(ROWS)), 0)
    assert torch.allclose(network(ids)["y"], before, rtol=1e-5)
    other = Network(embedding())
    other.restore(network.state())
    assert torch.equal(other(ids)["y"], network(ids)["y"])
    share_weights(network["table"], Settings(bits=3))
    with pytest.raises(InvalidArgument, match="shared already"):
        network["table"].in_units(tables.row_steps(np.arange(ROWS)), 0)


def test_a_scaled_table_is_in_the_file_as_codes_and_scales(tmp_path):
    network = Network(embedding())
    network["table"].in_units(tables.row_steps(np.arange(ROWS) ** 2), 0)
    share_weights(network["table"], Settings(rate=2.0, codebook="float16"))
    with torch.no_grad():
        network["table"].values.copy_(network["table"].values.half().float())
    save_network(network, tmp_path / "net.dcz")
    with dcz.open(tmp_path / "net.dcz") as tensors:
        assert np.array_equal(tensors["table"], network["table"].numpy())
    record = next(each for each in dcz.inspect(tmp_path / "net.dcz").rows if each.name == "table")
    assert record.scales == ROWS and record.huffman < 3 * ROWS * WIDTH / 8 + 2 * ROWS


def test_a_centroid_of_zero_stays_zero():
    weight = Weight("w", np.array([0.0, 0, 1, 1, -1, -1], np.float32), True)
    share_weights(weight, Settings(bits=2))
    optimizer = torch.optim.Adam(weight.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (weight() * torch.arange(1.0, 7)).sum().backward()
        optimizer.step()
    assert weight.numpy()[0] == weight.numpy()[1] == 0 and (weight.numpy()[2:] != [1, 1, -1, -1]).all()


def test_rows_that_are_read_often_are_rounded_finely_and_none_is_lost(tmp_path):
    ids = zipf(600)
    recipe = Recipe(epochs=0, share_epochs=1, share_rate=1e-5, reassign=0.02, batch=50, drop_idle=False)
    plan = Plan(Settings(), (Rule(("table",), Settings(rate=2.0)), Rule(("w",), Settings(rate=5.0))))
    result = retrain(embedding(), tmp_path / "net.dcz", {"ids": ids}, recipe=recipe, plan=plan)
    with dcz.open(tmp_path / "net.dcz") as tensors:
        found = np.asarray(tensors["table"])
    table = Network(embedding())["table"].numpy()
    errors = np.square(found - table).sum(1) / np.square(table).sum(1)
    assert errors[:3].mean() < errors[50:150].mean() / 4  # 3 dB for each factor of 4 in reads
    assert errors[150:].mean() < 0.5 and not result.is_plain
    assert result.decoded == result.after
