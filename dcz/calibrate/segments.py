"""Trials of one tensor each, in networks of many layers: what lies behind a milestone ahead is opened once for many.

    trials = SegmentedTrials(cache, plain, program, groups, others=1)
    trials.reach(group)                                     as the cache advances from group to group
    trials.divergence(["conv7.weight"], copy, values)       0.013: see Comparison

To open a network for a trial takes about as long as to run it, and each trial changes a tensor in one place. So a trial
opens what lies between that and the next milestone; the rest, to the answers, is that of the original. Time and memory
of what is opened grow with the number of layers, where trials that all open the rest grow with its square. Where the
values at a milestone are larger than the weights behind it, as in convolutional networks, it is none.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from ..evaluation import runtime
from ..model import Program, WorkingCopy
from .operands import find_operands
from .padding import Padding
from .rate_distortion import Comparison
from .schedule import ActivationCache, LayerGroup, run_piece

SEGMENT = 18  # tensors that are tried between two milestones, about


class SegmentedTrials:
    """Trials on the batches of a cache that holds the network's inputs yet, or on those of the `numbers`.

    `groups`: all that the cache will be advanced to, in order; `others`: how many tensors are tried before the first.
    For `padding` see quantize_layers.
    """

    def __init__(
        self,
        cache: ActivationCache,
        plain: WorkingCopy,
        program: Program,
        groups: Sequence[LayerGroup],
        others: int,
        numbers: Sequence[int] | None = None,
        padding: Padding | None = None,
        threads: int = 0,
    ):
        self._cache, self._plain, self._numbers, self._threads = cache, plain, numbers, threads
        self._outputs = program.outputs
        self._ends = [groups[number] for number in milestones(groups, others)]
        self._readers = readers_of(program) if self._ends else {}
        self._rest: runtime.Session | None = None
        self._comparison = Comparison(cache, plain, program.outputs, numbers, padding, self._answers(plain))

    @property
    def _end(self) -> LayerGroup | None:
        """The milestone ahead; None behind the last one."""
        return self._ends[0] if self._ends else None

    def reach(self, group: LayerGroup) -> None:
        """Change this: the cache has been advanced to a group."""
        if group is self._end:
            self._ends, self._rest = self._ends[1:], None

    def divergence(self, copy: WorkingCopy, values: Mapping[str, np.ndarray]) -> float:
        """The mean divergence of the answers with these values in the copy, which is as it was afterwards."""
        end, changed = self._end, list(values)
        if end is None or not self._is_passed(changed, end):
            return self._comparison.divergence(copy, values)
        copy.put(values)
        del values  # which the copy has: they may be much of the model
        mean = self._comparison.compare(self._answers(copy))
        copy.restore(changed)
        return mean

    def _answers(self, model: WorkingCopy) -> Iterator[runtime.Inputs]:
        """The answers to each batch, from where the cache has come to, by a model that is the original behind the
        milestone ahead."""
        end = self._end
        if end is None:
            yield from self._cache.compute(model, self._outputs, self._numbers)
            return
        rest = self._rest
        for values in self._cache.compute(model, end.values, self._numbers):
            new = [name for name in self._outputs if name not in values]
            if new and rest is None:
                piece = self._plain.piece(values, new)
                rest = runtime.loaded(piece, "a piece of the model", self._threads)
                if self._nbytes(values) <= piece.nbytes:
                    self._rest = rest
                else:  # from now on, none of this
                    self._ends = [each for each in self._ends if each is not end]
            if new and rest is not None:
                read = [each.name for each in rest.get_inputs()]
                values |= zip(new, run_piece(rest, {name: values[name] for name in read}, new), strict=True)
            yield {name: values[name] for name in self._outputs}

    def _nbytes(self, values: runtime.Inputs) -> int:
        """About the bytes of all batches of values of which this is one: what it takes to stop there."""
        batches = len(self._cache) if self._numbers is None else len(self._numbers)
        return batches * sum(array.nbytes for array in values.values())

    def _is_passed(self, changed: Iterable[str], end: LayerGroup) -> bool:
        """Whether all that reads these tensors is computed before a milestone."""
        return all(name in self._readers and self._readers[name] <= end.known for name in changed)


def milestones(groups: Sequence[LayerGroup], others: int) -> list[int]:
    """The numbers of the groups that are milestones: those that cut the tensors, of which `others` are tried before the
    first group, into segments of about SEGMENT.

    Of the groups near such a cut, one where few values go on: behind a block, and not amid its branches.
    """
    before = list(itertools.accumulate((len(group.layers) for group in groups), initial=others))
    segments = max(1, round(before[-1] / SEGMENT))
    found: list[int] = []
    for number in range(1, segments):
        cut = before[-1] * number / segments
        near = [
            at for at in range(1, len(groups)) if abs(before[at] - cut) <= SEGMENT / 3 and at > max(found, default=0)
        ]
        if near:
            found.append(min(near, key=lambda at: (len(groups[at].values), abs(before[at] - cut))))
    return found


def readers_of(program: Program) -> dict[str, set[str]]:
    """The outputs of the nodes that read each tensor of the main graph, or what is computed from constants alone."""
    foldable = find_operands(program).foldable
    made_of: dict[str, set[str]] = {value: {tensor} for value, tensor in program.weights.items()}
    found: dict[str, set[str]] = defaultdict(set)
    for node in program.nodes:
        tensors = {tensor for name in node.inputs for tensor in made_of.get(name, ())}
        outputs = {name for name in node.outputs if name}
        if tensors and outputs <= foldable:
            made_of |= dict.fromkeys(outputs, tensors)
        elif tensors:
            for tensor in tensors:
                found[tensor] |= outputs
    return dict(found)
