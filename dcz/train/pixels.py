"""The numbers that a network takes for the pixels of its images, which no ONNX model says.

    Pixels.parse("0..1")                                     0 to 255 become 0 to 1
    Pixels.parse("imagenet")                                 these, less the mean of ImageNet's, over their deviation
    Pixels.parse("0..255,mean=104/117/123,bgr")              as Caffe's networks take them

apply() needs PyTorch; the rest of this module does not.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InvalidArgument

if TYPE_CHECKING:
    from .pytorch import Tensor

RANGES = {"0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0), "0..255": (0.0, 255.0)}
# Mean and standard deviation of ImageNet's training images, red, green, blue, as torchvision's networks take them.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
WHITE = 255  # of a pixel of eight bits


@dataclass(frozen=True)
class Pixels:
    """Pixels of eight bits, 0 to 255, become numbers from `low` to `high`, less `mean`, over `std`.

    `mean` and `std` have a number for each channel in the network's order, or one for all; `bgr`: that order is blue,
    green, red.
    """

    low: float = 0.0
    high: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    bgr: bool = False

    @classmethod
    def parse(cls, text: str) -> "Pixels":
        """What a text such as "0..1,mean=0.5,std=0.25" or "imagenet" stands for; raises InvalidArgument."""
        if not isinstance(text, str):
            raise InvalidArgument(f"pixels is a text such as 0..1 or imagenet, not {text!r}")
        (first, *others) = (item.strip() for item in text.split(","))
        if first != "imagenet" and first not in RANGES:
            raise InvalidArgument(f"pixels begins with {', '.join(RANGES)} or imagenet, not {first!r}")
        low, high = RANGES.get(first, (0.0, 1.0))
        mean: tuple[float, ...] = (0.0,)
        std: tuple[float, ...] = (1.0,)
        if first == "imagenet":
            mean, std = IMAGENET
        for item in others:
            name, _, value = item.partition("=")
            if name == "mean" and first != "imagenet":
                mean = _numbers(value)
            elif name == "std" and first != "imagenet" and all(_numbers(value)):
                std = _numbers(value)
            elif item != "bgr":
                raise InvalidArgument(
                    f"after its range, pixels takes mean=M, std=S (numbers, or one a channel as 104/117/123) and bgr; "
                    f"imagenet has its own; not {item!r}"
                )
        return cls(low, high, mean, std, "bgr" in others)

    def apply(self, images: "Tensor", channel_axis: int) -> "Tensor":
        """Images of numbers from 0 to 255, red, green, blue along `channel_axis`, as the network takes them: float32.

        Raises InvalidArgument for another number of channels than of means, and for numbers that are no such pixels.
        """
        from .pytorch import torch

        channels = images.shape[channel_axis]
        for numbers in (self.mean, self.std):
            if len(numbers) not in (1, channels):
                raise InvalidArgument(f"pixels has {len(numbers)} means or deviations for {channels} channels")
        if images.numel() and not 0 <= float(images.min()) <= float(images.max()) <= WHITE:
            raise InvalidArgument(
                f"pixels wants numbers from 0 to {WHITE}; the data have {float(images.min()):g} to "
                f"{float(images.max()):g}: leave pixels out where they are prepared already"
            )
        shape = [1] * images.dim()
        shape[channel_axis] = -1
        mean, std = (torch.tensor(numbers, device=images.device).reshape(shape) for numbers in (self.mean, self.std))
        values = images.float().flip(channel_axis) if self.bgr else images.float()
        return (self.low + values * ((self.high - self.low) / WHITE) - mean) / std


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split("/"))
    except ValueError as error:
        raise InvalidArgument(f"pixels: numbers are written as 0.5, or 104/117/123, not {text!r}") from error
    if not all(map(math.isfinite, numbers)):
        raise InvalidArgument(f"pixels: finite numbers are wanted, not {text!r}")
    return numbers
