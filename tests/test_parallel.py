"""dcz.parallel: blocks over the threads of a pool, in order, whoever makes them; and the same bytes for any number."""

import gc
import threading
import time
import weakref

import numpy as np
import pytest

from dcz import arrays, parallel
from dcz.codec import decode, encode
from dcz.format import record
from dcz.parallel import BIG, each, helped, in_order, thread_pool
from dcz.plan import Settings
from dcz.tensor import FLOAT32, Tensor


def slowly(number):
    time.sleep(0.002)
    return number, threading.get_ident()


def test_results_are_in_order_whoever_made_them():
    assert [number for number, _ in each(slowly, range(40))] == list(range(40))
    with helped(BIG, 4):
        results = each(slowly, range(40))
    assert [number for number, _ in results] == list(range(40))
    assert 2 <= len({thread for _, thread in results}) <= 4


def test_a_thread_that_nobody_helps_does_it_all():
    with helped(BIG - 1, 4):
        assert len({thread for _, thread in each(slowly, range(20))}) == 1
    with helped(BIG, 1):
        assert len({thread for _, thread in each(slowly, range(20))}) == 1


def test_many_tasks_that_ask_for_help_take_no_more_threads_than_their_pool_has():
    seen = set()

    def task(number):
        results = each(slowly, range(10))
        seen.update(thread for _, thread in results)
        return [number for number, _ in results]

    with thread_pool(3) as pool:
        made = [result for _, result in in_order(pool, task, ((n, (n,), 1) for n in range(12)), 3)]
    assert made == [list(range(10))] * 12 and len(seen) <= 3


def test_the_first_failure_is_raised_and_nothing_else_is_begun():
    begun = []

    def fails(number):
        begun.append(number)
        time.sleep(0.002)
        if number in (3, 5):
            raise ValueError(f"part {number}")

    for threads in (1, 3):
        begun.clear()
        with helped(BIG, threads), pytest.raises(ValueError, match="part 3"):
            each(fails, range(100))
        assert len(begun) < 20


def test_parts_cover_an_array_and_are_as_many_for_any_number_of_threads():
    for length in (1, arrays.WIDE_BLOCK, 5 * arrays.WIDE_BLOCK + 3, 40 * arrays.WIDE_BLOCK + 1):
        for size in (arrays.BLOCK, 9 * 7000):
            parts = arrays.over_parts(lambda part: part, length, size)
            assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
            assert parts[-1].stop == length and len(parts) <= arrays.PARTS
            assert all(part.start % size == 0 for part in parts)
            assert arrays.over_blocks(lambda block: block, length, size) == list(arrays.blocks(length, size))


SETTINGS = {
    "quality": Settings(quality=34.0),
    "bits": Settings(bits=8),
    "sparsity": Settings(sparsity=0.9, bits=5),
    "sparsity and quality": Settings(sparsity=0.9, quality=30.0),
    "lossless": Settings(lossless=True),
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("rows", [1, -1])
def test_bytes_do_not_depend_on_the_number_of_threads(settings, rows):
    weights = np.random.default_rng(0).laplace(0, 0.01, (1650, 2600)).astype(np.float32)  # more than four wide blocks
    if settings.lossless:
        weights = np.round(weights, 2)
    tensor = Tensor("w", FLOAT32, weights.shape, weights.reshape(-1).view(np.uint8), rows=rows)
    made, decoded = set(), set()
    for threads in (1, 3):  # `make determinism` has others
        with helped(BIG, threads):
            found = encode.encode(tensor, settings, record.parts)
            encoded = record.read(found.data, found.info.encoding, FLOAT32, weights.shape)
            decoded.add(decode.decode(encoded, FLOAT32, weights.shape).tobytes())
        made.add((bytes(found.data), found.info.tensor_crc))
    assert len(made) == len(decoded) == 1
    assert parallel._crew.current == (None, 0)


def test_something_is_done_beside_where_somebody_may_help():
    assert parallel.beside(threading.get_ident)() == threading.get_ident()
    with helped(BIG, 1):
        assert parallel.beside(threading.get_ident)() == threading.get_ident()
    with helped(BIG, 2):
        made = parallel.beside(threading.get_ident)
        time.sleep(0.05)
        assert made() != threading.get_ident()


def test_what_takes_memory_is_made_a_few_parts_ahead():
    made = []
    for ahead, first in ((3, 3), (8, parallel.MIN_PARTS)):  # fewer where nobody helps
        numbers = parallel.each_ahead(lambda number: made.append(number) or number, range(100), ahead)
        assert next(numbers) == 0 and made == list(range(first))
        assert list(numbers) == list(range(1, 100))
        made.clear()


def test_pools_of_generators_that_end_in_any_order_leave_nothing_behind():
    def tasks():
        with thread_pool(3) as pool:
            yield from (result for _, result in in_order(pool, abs, ((n, (n,), 1) for n in range(4)), 2))

    first, second = tasks(), tasks()
    assert (next(first), next(second)) == (0, 0)
    first.close()
    assert len({thread for _, thread in each(slowly, range(40))}) > 1
    second.close()
    assert parallel._crew.current == (None, 0)
    assert parallel.beside(threading.get_ident)() == threading.get_ident()


class _Held:
    """Something that takes memory."""


@pytest.mark.parametrize("way", ["each", "beside"])
def test_a_pool_whose_threads_are_busy_keeps_nothing_of_what_is_done(way):
    busy, release = threading.Event(), threading.Event()

    def wait() -> None:
        busy.set()
        release.wait(10)

    def work() -> list[weakref.ref]:
        held = _Held()
        if way == "each":
            made = each(lambda part: (held, _Held()), range(8))
        else:
            made = [parallel.beside(lambda: (held, _Held()))()]
        return [weakref.ref(one) for pair in made for one in pair]

    with thread_pool(2) as pool:
        others = [pool.submit(wait) for _ in range(2)]
        busy.wait(10)
        left = work()
        gc.collect()
        kept = [reference for reference in left if reference() is not None]
        release.set()
        for other in others:
            other.result()
    assert left and not kept


def test_a_caller_that_wants_no_more_has_nothing_else_begun():
    begun = []
    with helped(BIG, 3):
        numbers = parallel.each_ahead(lambda number: begun.append(number) or slowly(number), range(100))
        assert [next(numbers)[0] for _ in range(3)] == [0, 1, 2]
        numbers.close()
        many = len(begun)
        time.sleep(0.02)
        assert len(begun) == many < 20
        assert [number for number, _ in parallel.each_ahead(slowly, range(41))] == list(range(41))
