"""What can be reached in a graph: the same as by walking it from every node, at the price of one walk."""

import random

import pytest

from dcz.model.reach import Reached


def by_walking(graph: dict[int, list[int]], start: int) -> set[int]:
    waiting, seen = [start], {start}
    while waiting:
        fresh = [node for node in graph[waiting.pop()] if node not in seen]
        seen.update(fresh)
        waiting += fresh
    return seen


@pytest.mark.parametrize("seed", range(40))
def test_graphs_with_cycles_are_searched_whole(seed):
    rng = random.Random(seed)
    count = rng.randrange(1, 25)
    graph = {node: [rng.randrange(count) for _ in range(rng.choice([0, 1, 1, 2, 3]))] for node in range(count)}
    labels = {node: rng.choice([[], [node], [node, -node]]) for node in graph}
    reached = Reached(graph.__getitem__, labels.__getitem__)
    for start in rng.sample(range(count), count):
        expected = {label for node in by_walking(graph, start) for label in labels[node]}
        assert set(reached.of(start)) == expected


def test_a_long_chain_is_no_deep_recursion_and_each_node_is_asked_once():
    asked = []
    reached = Reached(lambda node: [node + 1] if node < 50_000 else [], lambda node: asked.append(node) or [])
    assert all(not reached.of(node) for node in range(0, 50_000, 100))
    assert len(asked) == 50_001
    assert reached.of(0) == reached.of(49_999)


def test_answers_are_bounded():
    reached = Reached(lambda node: [node + 1] if node < 5000 else [], lambda node: [node], most=7)
    assert len(reached.of(0)) == 7 and set(reached.of(5000)) == {5000}


def test_a_survey_leaves_no_cycle_that_holds_the_model():
    """Or the next model would be read before this one is given up."""
    import gc
    import weakref

    from dcz import model as onnx_model
    from tests.networks import perceptron

    gc.collect()
    gc.disable()
    try:
        loaded = onnx_model.from_proto(perceptron())
        gone = weakref.ref(loaded.tensors[0])
        del loaded
        assert gone() is None
    finally:
        gc.enable()
