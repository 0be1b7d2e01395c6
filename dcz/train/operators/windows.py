"""Where the windows of convolutions and pools lie: strides, dilations and pads as ONNX states them.

in         . . [x x x x x] .        pads before = 2, after = 1
windows    (* * *)                  kernel 3, stride 2, dilation 1
               (* * *)
                   (* * *)
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..pytorch import functional as F
from ..pytorch import torch
from .call import Call

AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


@dataclass(frozen=True)
class Windows:
    """A node's attributes, None where it states none."""

    strides: list[int] | None
    dilations: list[int] | None
    pads: list[int] | None
    auto_pad: str

    @classmethod
    def of(cls, call: Call) -> "Windows":
        """Read the attributes that all these operators share."""
        auto = call.choice("auto_pad", "NOTSET", AUTO_PADS)
        strides, dilations, pads = (call.attribute(name, None) for name in ("strides", "dilations", "pads"))
        return cls(strides, dilations, pads, auto)

    def over(self, sizes: Sequence[int], kernel: Sequence[int]) -> "Placed":
        """The same with every value known, for an input of the given spatial sizes.

        Raises ValueError where the attributes are not for so many dims.
        """
        rank = len(sizes)
        strides, dilations = self.strides or [1] * rank, self.dilations or [1] * rank
        pads = self.pads or [0] * 2 * rank
        if not len(kernel) == len(strides) == len(dilations) == len(pads) / 2 == rank:
            raise ValueError(f"kernel, strides, dilations or pads are not for {rank} spatial dims")
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
        before, after = pads[:rank], pads[rank:]
        if self.auto_pad == "VALID":
            before, after = [0] * rank, [0] * rank
        elif self.auto_pad != "NOTSET":
            outputs = [-(-n // s) for n, s in zip(sizes, strides)]
            total = [max((o - 1) * s + r - n, 0) for o, s, r, n in zip(outputs, strides, reach, sizes)]
            before, after = halves(total, first_larger=self.auto_pad == "SAME_LOWER")
        return Placed(list(sizes), list(kernel), strides, dilations, before, after, reach)


@dataclass(frozen=True)
class Placed:
    """Windows over an input of known size; one number a spatial dim in each list."""

    sizes: list[int]
    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]
    reach: list[int]

    @property
    def even(self) -> bool:
        """Whether both sides are padded alike, as torch's own operators pad."""
        return self.before == self.after and min(self.before, default=0) >= 0

    def ends(self, ceil: bool) -> list[int]:
        """How far to pad (or crop, where negative) behind the input, so that windows fill it exactly.

        `ceil` adds a last window that is not filled, if it starts before the padding behind.
        """
        found = []
        for n, s, b, a, r in zip(self.sizes, self.strides, self.before, self.after, self.reach):
            steps = -(-(n + b + a - r) // s) if ceil else (n + b + a - r) // s
            if ceil and steps * s >= n + b:
                steps -= 1
            found.append(steps * s + r - n - b)
        return found


def halves(totals: Sequence[int], first_larger: bool) -> tuple[list[int], list[int]]:
    """Each total in two; the odd one goes to the first or to the second."""
    first = [(total + first_larger) // 2 for total in totals]
    return first, [total - half for total, half in zip(totals, first)]


def pad(x: torch.Tensor, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> torch.Tensor:
    """Pad (crop, where negative) the last dims of `x`; torch counts them from the last."""
    flat = [size for sides in zip(reversed(before), reversed(after)) for size in sides]
    return F.pad(x, flat, value=value) if any(flat) else x
