"""Records that are made once."""

import numpy as np

from dcz.compression import known_records
from dcz.compression.known_records import KnownRecords
from dcz.plan import Settings
from dcz.tensor import FLOAT32, Tensor, ValueGrid
from tests.models import normal


def tensor(seed=0, **options):
    return Tensor("w", FLOAT32, (40, 30), np.round(normal(40, 30, seed=seed), 1).view(np.uint8).ravel(), **options)


def test_a_tensor_is_encoded_once_and_others_are_not_taken_for_it(monkeypatch):
    made, encode_task = [], known_records.encode_task

    def counted(*arguments):
        made.append(arguments)
        return encode_task(*arguments)

    monkeypatch.setattr(known_records, "encode_task", counted)
    encode = KnownRecords(1 << 20)
    grid = ValueGrid(0, np.full(40, 0.1, np.float32))
    different = [(tensor(), Settings()), (tensor(1), Settings()), (tensor(rows=1), Settings()),
                 (tensor(grid=grid), Settings()), (tensor(), Settings(quality=30))]  # fmt: skip
    for _ in range(2):
        for each, settings in different:
            assert encode(each, settings).data == encode_task(each, settings).data
    assert len(made) == len(different)


def test_the_oldest_records_are_forgotten(monkeypatch):
    encode, one = KnownRecords(1), tensor()
    first = encode(one, Settings())
    assert encode(one, Settings()) is first
    encode(tensor(1), Settings())
    assert encode(one, Settings()) is not first
