"""The energy that it takes to fetch all weights once, before and after compression.

Energy of one access to 32 bits in a 45 nm process: 5 pJ from SRAM, 640 pJ from DRAM (Han, Mao and Dally, "Deep
Compression", ICLR 2016, section 1, after Horowitz, "Computing's energy problem", ISSCC 2014). Memory on the chip is
SRAM, memory beside it DRAM; what decoding takes is left out.
"""

from dataclasses import asdict, dataclass
from typing import Any

from ..arguments import parse_size
from .inspect import Report

SRAM, DRAM = 5.0, 640.0  # picojoules for 32 bits
BITS = 32


@dataclass(frozen=True)
class Energy:
    """Picojoules of one fetch of all tensors: `before`, as they are decoded, and `after`, as they lie in the file; from
    memory on the chip (`sram`) and beside it (`dram`).

    `on_chip`: bytes that the chip has room for, or None; `fits_before` and `fits_after` say whether the tensors fit.
    """

    bytes_before: int
    bytes_after: int
    on_chip: int | None = None

    def picojoules(self, nbytes: int, of_access: float) -> float:
        """The energy of fetching so many bytes."""
        return 8 * nbytes / BITS * of_access

    @property
    def sram(self) -> tuple[float, float]:
        """Before and after, from SRAM."""
        return self.picojoules(self.bytes_before, SRAM), self.picojoules(self.bytes_after, SRAM)

    @property
    def dram(self) -> tuple[float, float]:
        """Before and after, from DRAM."""
        return self.picojoules(self.bytes_before, DRAM), self.picojoules(self.bytes_after, DRAM)

    @property
    def fits(self) -> tuple[bool, bool] | None:
        """Whether the tensors fit on the chip, before and after; None where its size is not known."""
        if self.on_chip is None:
            return None
        return self.bytes_before <= self.on_chip, self.bytes_after <= self.on_chip

    @property
    def spent(self) -> tuple[float, float] | None:
        """What a fetch takes, before and after, where tensors that fit are on the chip and others are not."""
        if self.fits is None:
            return None
        before, after = ((self.sram if fits else self.dram)[number] for number, fits in enumerate(self.fits))
        return before, after

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; energies in picojoules."""
        pairs = {"sram": self.sram, "dram": self.dram, "fits": self.fits, "spent": self.spent}
        named = {key: None if pair is None else dict(zip(("before", "after"), pair, strict=True)) for key, pair in
                 pairs.items()}  # fmt: skip
        return asdict(self) | named


def energy(report: Report, on_chip: int | str | None = None) -> Energy:
    """The energy of a report's tensors; `on_chip` is the room on the chip, in bytes or text such as "8MB".

    Raises InvalidArgument for a size that is none.
    """
    total = report.total
    return Energy(total.original, total.huffman, None if on_chip is None else parse_size(on_chip))
