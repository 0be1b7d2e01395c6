"""What a worker does: a tensor and its settings -> its record.

    encode_task(Tensor("fc1.weight", FLOAT32, (300, 784), FileRange("net.data", 4096, 940800), 1), settings)  ->  Record

Such a tensor is a few hundred bytes, whatever it weighs, so that any executor, elsewhere too, can be given it.
"""

from ..codec.encode import encode
from ..encoded import Record
from ..format import record
from ..parallel import map_over_parts
from ..plan import Settings
from ..tensor import Tensor


def encode_task(tensor: Tensor, settings: Settings, threads: int = 1) -> Record:
    """The smallest record of `tensor`. Executors of any kind can run it. Raises FileAccess."""
    with map_over_parts(len(tensor.data) // max(1, tensor.dtype.bits // 8), threads) as run_parts:
        return encode(tensor, settings, record.parts, run_parts)
