"""How much a `.dcz` file may decode to (spec, section 10): a small file may truthfully ask for terabytes.

Limit.of("net.dcz", 1_000_000, None).check(2_000_000_000)     refused: more than 1024 times the file
"""

from dataclasses import dataclass

from ..arguments import parse_limit
from ..errors import UnsuitableModel

# Without a limit of the caller's own. Trained networks become 5 to 250 times smaller; only a model of zeros, or of
# layers that are all but pruned away, passes the factor, and then only where it takes more than the floor.
FLOOR = 50_000_000  # bytes that any file may decode to: with the four copies that reading may make, 300 MB of memory
FACTOR = 1 << 10  # times its own size


@dataclass(frozen=True)
class Limit:
    """The bytes that the file `path` may decode to."""

    path: str
    nbytes: float

    @classmethod
    def of(cls, path: str, file_size: int, max_bytes: float | str | None) -> "Limit":
        """`max_bytes` (a number, or text such as "1MB"); None: the default for a file of this size."""
        limit = parse_limit(max_bytes)
        return cls(path, max(FLOOR, FACTOR * file_size) if limit is None else limit)

    def check(self, nbytes: int) -> int:
        """`nbytes`; raises UnsuitableModel where they are too many."""
        if nbytes > self.nbytes:
            raise UnsuitableModel(
                f"{self.path}: decodes to {nbytes} bytes, more than the limit of {self.nbytes:.0f}; if you trust the "
                "file, allow as many: --max-bytes, max_bytes="
            )
        return nbytes
