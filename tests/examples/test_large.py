"""The AlexNet and VGG-16 example: true shapes, the paper's scheme by hand, the fit, and all of it on few units."""

import math
from dataclasses import replace

import numpy as np
import onnx
import pytest

from examples.large import reproduce, rows, scheme, sources, tables
from examples.large.networks import ALEXNET, NETWORKS, VGG_16

FC6, FC7 = ALEXNET.paper.layers["fc6"], ALEXNET.paper.layers["fc7"]
SHAPE = (256, 2048)
FEW = ("conv1", "fc6", "fc7", "fc8")  # layers that are enough to see that everything runs


def cost(drawn: sources.Drawn, stated, gap_bits: int = 4) -> scheme.Cost:
    return scheme.cost(drawn.mask, drawn.codes, stated.bits, gap_bits)


# -- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("network, weights, biases", [(ALEXNET, 60_954_656, 10_568), (VGG_16, 138_344_128, 13_416)])
def test_networks_have_the_papers_layers_and_their_true_sizes(network, weights, biases):
    assert sum(math.prod(shape) for shape in network.weights.values()) == weights
    assert network.parameters == weights + biases
    assert list(network.weights) == list(network.paper.layers)


def test_groups_halve_what_a_kernel_sees():
    shapes = ALEXNET.weights
    assert shapes["conv2"] == (256, 48, 5, 5) and shapes["conv4"] == (384, 192, 3, 3)
    assert shapes["fc6"] == (4096, 256 * 6 * 6) and VGG_16.weights["fc6"] == (4096, 512 * 7 * 7)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_graphs_of_few_units_are_valid(network):
    small = network.scaled(64)
    tensors = {f"{name}.weight": np.zeros(shape, np.float32) for name, shape in small.weights.items()}
    tensors |= {f"{name}.bias": np.zeros(shape[0], np.float32) for name, shape in small.weights.items()}
    onnx.checker.check_model(small.model(tensors), full_check=True)


# -- the paper's scheme -----------------------------------------------------------------------------------------------


def test_a_gap_as_long_as_the_span_needs_one_filler():
    mask = np.zeros(40, bool)
    mask[[2, 2 + 16, 19 + 16]] = True  # gaps of 2, 15 and 16 zeros
    counts, fillers = scheme.count_gaps(mask, 4)
    assert fillers == 1 and counts[[0, 2, 15]].tolist() == [1, 1, 2] and counts.sum() == 4


@pytest.mark.parametrize("gap_bits", [2, 4, 5])
def test_counts_are_those_of_entries_made_one_by_one(gap_bits):
    mask = np.random.default_rng(0).random(5000) < 0.05
    entries, zeros = [], 0
    for kept in mask:
        if kept or zeros == (1 << gap_bits) - 1:
            entries.append((zeros, bool(kept)))
            zeros = 0
        else:
            zeros += 1
    while entries and not entries[-1][1]:  # nothing is stored behind the last kept weight
        entries.pop()
    counts, fillers = scheme.count_gaps(mask, gap_bits)
    assert counts.tolist() == np.bincount([gap for gap, _ in entries], minlength=1 << gap_bits).tolist()
    assert fillers == sum(not kept for _, kept in entries)


def test_rates_count_codes_gaps_and_a_codebook():
    mask = np.array([True, False, True, True, False, True, True, True])
    found = scheme.cost(mask, np.array([0, 1, 0, 0, 2, 0], np.uint8), bits=2, gap_bits=1)
    assert (found.kept, found.entries, found.fixed_weights, found.fixed_index) == (6, 6, 12, 6)
    assert (found.coded_weights, found.coded_index, found.codebook) == (4 + 2 + 2, 6, 4 * 32)
    assert found.rate == (8 + 6 + 128) / (32 * 8) and found.shared_rate == (12 + 6 + 128) / (32 * 8)


# -- weights ----------------------------------------------------------------------------------------------------------


def test_independent_weights_cost_what_theory_says():
    drawn = sources.draw("independent", SHAPE, FC7, 4, (0,))
    found = cost(drawn, FC7)
    density, none = 0.09, 0.91**16
    assert found.kept == round(density * found.weights) == np.count_nonzero(drawn.weights)
    assert 20 <= len(np.unique(drawn.weights)) <= 1 + (1 << FC7.bits)  # a linear start leaves some unused
    assert found.entries / found.kept == pytest.approx(1 / (1 - none), rel=0.02)
    closest = np.abs(drawn.dense[drawn.mask] - drawn.weights[drawn.mask])
    assert closest.max() < 0.5 * np.abs(drawn.dense).max() and closest.mean() < 0.1 * np.abs(drawn.weights).max()


@pytest.mark.parametrize("stated, gap_bits", [(FC6, 4), (VGG_16.paper.layers["fc6"], 5)])
def test_a_layer_matched_at_its_density_costs_the_stated_bits(stated, gap_bits):
    drawn = sources.draw("density", SHAPE, stated, gap_bits, (0,))
    found = cost(drawn, stated, gap_bits)
    assert found.kept == round(stated.kept * found.weights) == np.count_nonzero(drawn.weights)
    assert found.coded_index / found.entries == pytest.approx(stated.index_bits, abs=0.05)
    assert found.coded_weights / found.entries == pytest.approx(stated.weight_bits, abs=0.05)
    assert len(np.unique(drawn.weights)) <= 1 << stated.bits


def test_a_layer_matched_at_its_rate_takes_the_stated_bytes_and_bits():
    found = cost(sources.draw("rate", SHAPE, FC6, 4, (0,)), FC6)
    assert found.rate == pytest.approx(FC6.rate, rel=0.02)
    assert found.coded_index / found.entries == pytest.approx(FC6.index_bits, abs=0.05)
    assert found.kept < 0.085 * found.weights


def test_bits_beyond_independent_places_are_not_reached():
    found = cost(sources.draw("density", SHAPE, replace(FC7, index_bits=3.9), 4, (0,)), FC7)
    assert 3.6 < found.coded_index / found.entries < 3.75


def test_the_same_seed_draws_the_same_layer():
    first, again, other = (sources.draw("density", (64, 512), FC6, 4, (seed,)) for seed in (0, 0, 1))
    assert np.array_equal(first.weights, again.weights) and not np.array_equal(first.weights, other.weights)


# -- all of it --------------------------------------------------------------------------------------------------------


def test_small_networks_are_compressed_decoded_run_and_tabulated(tmp_path):
    kept = [replace(layer, pad=5) if layer.kernel else layer for layer in ALEXNET.layers if layer.name in FEW]
    small = replace(ALEXNET, size=47, layers=tuple(kept)).scaled(64)
    made = [rows.make(small, source, tmp_path / "work") for source in ("independent", "density")]
    for result in made:
        assert result.same_weights and result.same_answers and result.largest > 0
        for width, file in result.files.items():
            assert (tmp_path / "work" / f"alexnet-{result.source}-{width}.dcz").stat().st_size == file.bytes
        assert result.files["auto"].bytes <= result.files["paper"].bytes
        assert result.files["auto"].bytes * 8 > sum(result.entropies.values()) * 0.9
    rows.write_results(made[1:], tmp_path / "results.json")
    results = rows.write_results(made[:1], tmp_path / "results.json")
    assert results == made == rows.read_results(tmp_path / "results.json")
    page = tables.page(results)
    assert all(f"**{result.files['auto'].bytes:,}**" in page for result in made)
    assert "35x with the paper's gap width" in page and "**missed**" in page


def test_a_quick_run_does_not_overwrite_the_results(capsys):
    with pytest.raises(SystemExit):
        reproduce.main(["--quick"])
    assert "give --out" in capsys.readouterr().err


def test_the_recorded_page_is_of_the_recorded_results_at_full_size():
    results = rows.read_results(reproduce.HERE / "results.json")
    page = (reproduce.HERE / "RESULTS.md").read_text()
    assert {(each.network, each.source) for each in results} == {(n, s) for n in NETWORKS for s in sources.SOURCES}
    for each in results:
        assert each.parameters == NETWORKS[each.network].parameters and each.same_weights and each.same_answers
        assert f"{each.files['auto'].bytes:,}" in page
    assert tables.goals_table(results) in page and tables.files_table(results) in page
