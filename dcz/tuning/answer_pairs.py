"""What the original and a changed network answer to the same samples, batch by batch.

pairs = AnswerPairs(predictor, take)
for before, after, count in pairs.of([(held_out, changed), (others, other)]): ...

The original is run once for each batch, however often it is asked, as far as there is room for its answers.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeAlias, TypeVar

from ..evaluation import runtime
from ..evaluation.batches import SampleBatches
from ..evaluation.predictor import Predictor

MAX_ORIGINALS = 1 << 26  # bytes of the original's answers that are kept from one trial to the next

T = TypeVar("T")
Part: TypeAlias = tuple[SampleBatches, runtime.Session]  # samples, and what judges them: it has seen none of them
Take: TypeAlias = Callable[[list[Any], runtime.Inputs, int, int], T]


class AnswerPairs(Generic[T]):
    """`original`: the original network. `take`: what is compared, of the outputs of one run, its inputs, the number
    of its samples, and that with those that fill up a fixed batch."""

    def __init__(self, original: Predictor, take: Take[T]):
        self._original, self._take = original, take
        self._kept: dict[bytes, T] = {}  # by the numbers of their samples
        self._room = MAX_ORIGINALS

    def of(self, parts: Iterable[Part]) -> Iterator[tuple[T, T, int]]:
        """The answers of the original, those of the changed session, and the number of samples, of each batch. Those of
        the original may be given out again: nobody changes them."""
        for batches, changed in parts:
            for number, batch in enumerate(batches):
                count, size = len(batches.indices_of(number)), batches.size_of(number)
                before = self._before(batches, number, batch)
                yield before, self._take(runtime.run(changed, batch), batch, count, size), count

    def prepare(self, samples: Iterable[SampleBatches]) -> None:
        """Ask the original about these samples, as far as there is room for its answers, and close it: it need not be
        open beside a changed session then."""
        for _ in self.originals(samples):
            if not self._room:
                break
        self._original.close()

    def originals(self, samples: Iterable[SampleBatches]) -> Iterator[T]:
        """The answers of the original alone."""
        for batches in samples:
            for number, batch in enumerate(batches):
                yield self._before(batches, number, batch)

    def _before(self, batches: SampleBatches, number: int, batch: runtime.Inputs) -> T:
        indices = batches.indices_of(number)
        before = self._kept.get(key := indices.tobytes())
        if before is None:
            outputs = runtime.run(self._original.session, batch)
            before = self._take(outputs, batch, len(indices), batches.size_of(number))
            if (nbytes := _nbytes(before)) <= self._room:
                self._kept[key], self._room = before, self._room - nbytes
            else:
                self._room = 0
        return before


def _nbytes(answers: Any) -> int:
    """The bytes of arrays; of what else models give, more than is kept."""
    if isinstance(answers, dict):
        return sum(map(_nbytes, answers.values()))
    return int(getattr(answers, "nbytes", MAX_ORIGINALS + 1))
