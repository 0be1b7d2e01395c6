"""The windows of convolutions and pools: strides, dilations and pads, by ONNX's attributes.

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
class WindowAttributes:
    """A node's attributes; None for one that it has not."""

    strides: list[int] | None
    dilations: list[int] | None
    pads: list[int] | None
    auto_pad: str

    @classmethod
    def of(cls, call: Call) -> "WindowAttributes":
        """Read the attributes that all these operators have."""
        auto = call.choice("auto_pad", "NOTSET", AUTO_PADS)
        strides, dilations, pads = (call.attribute(name, None) for name in ("strides", "dilations", "pads"))
        return cls(strides, dilations, pads, auto)

    def over(self, sizes: Sequence[int], kernel: Sequence[int]) -> "WindowLayout":
        """The windows over an input of these spatial sizes.

        Raises ValueError where the attributes are for another number of dims.
        """
        rank = len(sizes)
        strides, dilations = self.strides or [1] * rank, self.dilations or [1] * rank
        pads = self.pads or [0] * 2 * rank
        if not len(kernel) == len(strides) == len(dilations) == len(pads) / 2 == rank:
            raise ValueError(f"kernel, strides, dilations or pads are not for {rank} spatial dims")
        extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        before, after = pads[:rank], pads[rank:]
        if self.auto_pad == "VALID":
            before, after = [0] * rank, [0] * rank
        elif self.auto_pad != "NOTSET":
            outputs = [-(-n // s) for n, s in zip(sizes, strides, strict=True)]
            total = [max((o - 1) * s + r - n, 0) for o, s, r, n in zip(outputs, strides, extents, sizes, strict=True)]
            before, after = halves(total, first_larger=self.auto_pad == "SAME_LOWER")
        return WindowLayout(list(sizes), list(kernel), strides, dilations, before, after, extents)


@dataclass(frozen=True)
class WindowLayout:
    """Windows over an input of known size; each list has one number for each spatial dim."""

    sizes: list[int]
    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]
    extents: list[int]  # of the dilated kernel

    @property
    def is_symmetric(self) -> bool:
        """Whether both sides are padded by the same, not negative sizes, as torch's operators can."""
        return self.before == self.after and min(self.before, default=0) >= 0

    def ends(self, ceil: bool) -> list[int]:
        """Sizes to pad by (crop, where negative) after the input, so that the windows cover it exactly.

        `ceil` adds a last, partial window, if it starts before the padding after the input.
        """
        sizes_after = []
        for n, s, b, a, r in zip(self.sizes, self.strides, self.before, self.after, self.extents, strict=True):
            steps = -(-(n + b + a - r) // s) if ceil else (n + b + a - r) // s
            if ceil and steps * s >= n + b:
                steps -= 1
            sizes_after.append(steps * s + r - n - b)
        return sizes_after


def halves(totals: Sequence[int], first_larger: bool) -> tuple[list[int], list[int]]:
    """Each total in two halves; of an odd one, the first or the second is larger by one."""
    first = [(total + first_larger) // 2 for total in totals]
    return first, [total - half for total, half in zip(totals, first, strict=True)]


def pad(x: torch.Tensor, before: Sequence[int], after: Sequence[int], value: float = 0.0) -> torch.Tensor:
    """Pad (crop, where negative) the last dims of `x`; torch counts them from the last."""
    flat = [size for sides in zip(reversed(before), reversed(after), strict=True) for size in sides]
    return F.pad(x, flat, value=value) if any(flat) else x
