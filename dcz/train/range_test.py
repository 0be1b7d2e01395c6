"""A learning rate that fits the network, found by short runs on its data.

    fitting_rate(task, "sgd", 0.9)      0.03: of some rates, the one that leaves the least loss after BATCHES steps

A pretrained network is lost at a rate that suits one that is trained from scratch, and learns nothing at one that is
too low; which is which differs a hundred times from network to network. This is the range test of Smith, "Cyclical
Learning Rates", 2017, section 3.3, but each rate from the same start: a network that one rate has spoiled says nothing
of the next.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .steps import Batch, backward_all, is_finite, make_optimizer, set_rate

if TYPE_CHECKING:
    from .task import TrainingTask

FIRST_RATES = {"sgd": 1e-2, "adam": 1e-3}  # where the search begins
FACTOR = math.sqrt(10)  # from one rate to the next
MAX_STEPS = 4  # up or down from the first
MAX_RUNS = 2 * MAX_STEPS + 1
# Short runs favour low rates: the noise that high ones leave goes when they fall, and what these reach in a whole phase
# is not seen yet. In five epochs a folded ResNet-32 came to a validation loss of 0.45 at the rate that was best after
# BATCHES, and to 0.39 at the next one, 1.36 times worse by then; the one after that was 2.7 times as bad.
LONG_RUN = 1.5
BATCHES = 30  # of a run, whose last third is judged; the first tenth warms up
MAX_RISE = 4.0  # times the first batch's loss (and 1 more): the rate has spoiled the network


def fitting_rate(
    task: "TrainingTask",
    optimizer: str,
    momentum: float,
    tolerance: float = 1.0,
    report: Callable[[int, int, float], None] = lambda run, batch, loss: None,
) -> float:
    """The rate that leaves the least training loss, or the highest within `tolerance` times that. The network is as it
    was after that. `report` gets the runs that are done, the batches of the next one, and the loss of the last."""
    start, was_training = task.network.state(), task.network.training

    runs = itertools.count()

    def try_rate(rate: float) -> float:
        task.network.restore(start)
        run = next(runs)
        return _loss_after(task, optimizer, rate, momentum, lambda batch, loss: report(run, batch, loss))

    try:
        task.network.train()
        return best_rate(FIRST_RATES[optimizer], try_rate, tolerance)
    finally:
        task.network.restore(start)
        task.network.train(was_training)


def best_rate(first: float, try_rate: Callable[[float], float], tolerance: float = 1.0) -> float:
    """The highest of the rates first * FACTOR^n, n from -MAX_STEPS to MAX_STEPS, for which `try_rate(rate)` is at most
    `tolerance` times the least.

    From `first` upward while they are within that, and downward while they bring less. `try_rate` gives infinity for a
    rate that spoils the network.
    """
    losses = {0: try_rate(first)}
    for number in range(1, MAX_STEPS + 1):
        losses[number] = try_rate(first * FACTOR**number)
        if not losses[number] <= tolerance * min(losses.values()) or losses[number] == math.inf:
            break
    if losses[0] == min(losses.values()):
        for number in range(-1, -MAX_STEPS - 1, -1):
            least = min(losses.values())
            losses[number] = try_rate(first * FACTOR**number)
            if not losses[number] < least and least < math.inf:
                break
    least = min(losses.values())
    return first * FACTOR ** max(number for number, loss in losses.items() if loss <= tolerance * least)


def first_steps(task: "TrainingTask", count: int) -> Iterator[list[Batch]]:
    """The batches of so many steps: those of the first epoch, and of the next ones where it has fewer."""
    epochs = (task.in_steps(task.training.epoch(number)) for number in range(count))
    return itertools.islice(itertools.chain.from_iterable(epochs), count)


def first_batches(task: "TrainingTask", count: int) -> Iterator[Batch]:
    """The same, batch by batch."""
    return itertools.chain.from_iterable(first_steps(task, count))


def _loss_after(
    task: "TrainingTask", name: str, rate: float, momentum: float, report: Callable[[int, float], None]
) -> float:
    """The mean loss of the last third of the batches that a run at this rate takes; infinity where it is lost."""
    optimizer = make_optimizer(task.network, name, rate, momentum, task.on_grid)
    losses: list[float] = []
    for number, together in enumerate(first_steps(task, BATCHES), 1):
        set_rate(optimizer, rate * min(1.0, number / (BATCHES / 10)))
        loss = backward_all(task.network, task.loss, together)
        if not loss <= MAX_RISE * abs((losses or [loss])[0]) + 1:
            return math.inf
        losses.append(loss)
        optimizer.step()
        report(number, loss)
    last = losses[-max(1, len(losses) // 3) :]
    return sum(last) / len(last) if is_finite(task.network) else math.inf
