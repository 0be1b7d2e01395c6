"""How images become what a network takes: usual preprocessings by name, and their parts.

PRESETS["imagenet"].numbers(pixels)         uint8 [h, w, 3], red, green, blue   ->   float32 [3, h, w]

No ONNX model says which one it wants; `judging` tells where the answers speak against one.
"""

import math
import re
from dataclasses import dataclass

import numpy as np

from ..arguments import expect
from ..errors import InvalidArgument

RANGES = {"0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0), "0..255": (0.0, 255.0)}
FITS = ("cover", "letterbox", "stretch")
FILTERS = ("bilinear", "bicubic")
LAYOUTS = ("nchw", "nhwc")
CENTRE = 0.875  # of the short side, which ImageNet's networks see: 224 of 256
MAX_SIDE = 1 << 14

Size = tuple[int, int]


@dataclass(frozen=True)
class Preprocessing:
    """Pixels of 0 to 255 become numbers of `range`, less `mean`, over `std`, in the order of the network's channels.

    `bgr`: blue, green, red. `resize`: the length of the short side (int), or (height, width), None for what `crop` or
    the model asks for; `crop`: (height, width) about the centre. `fit`: an image of another shape covers the size that
    it gets, and is cut ("cover"), is padded with grey ("letterbox"), or is stretched. `centre`: where no size to resize
    to is given, the part of the short side that `crop` is.
    """

    range: str = "0..1"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    bgr: bool = False
    resize: int | Size | None = None
    crop: Size | None = None
    fit: str = "cover"
    filter: str = "bilinear"
    centre: float = 1.0

    def __post_init__(self) -> None:
        expect(self.range in RANGES, f"a range of pixels is one of {', '.join(RANGES)}, not {self.range!r}")
        expect(self.fit in FITS, f"a way to fit images is one of {', '.join(FITS)}, not {self.fit!r}")
        expect(self.filter in FILTERS, f"a filter is one of {', '.join(FILTERS)}, not {self.filter!r}")
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            finite = len(numbers) in (1, 3) and all(map(math.isfinite, numbers))
            expect(finite, f"{name} is one number, or three, one a channel in the network's order, not {numbers!r}")
        expect(0 not in self.std, "std has a zero, which nothing can be divided by")

    def numbers(self, pixels: np.ndarray, dtype: np.dtype, layout: str) -> np.ndarray:
        """An image (uint8 [height, width, channels], red, green, blue) as the network takes it.

        Whole numbers are rounded, and cut to what the dtype holds. Raises InvalidArgument where the channels differ.
        """
        channels = pixels.shape[-1]
        if max(len(self.mean), len(self.std)) > channels:
            raise InvalidArgument(f"there are three means or deviations for {channels} channel of the network")
        values = pixels[..., ::-1] if self.bgr else pixels
        low, high = RANGES[self.range]
        scaled = (low + values * ((high - low) / 255) - np.array(self.mean)) / np.array(self.std)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            scaled = np.clip(np.rint(scaled), limits.min, limits.max)
        return np.ascontiguousarray(scaled.transpose(2, 0, 1) if layout == "nchw" else scaled, dtype)

    def target(self, model_size: tuple[int | None, int | None]) -> tuple[int | Size, Size]:
        """The size to resize to, and the one to cut out, for a model that takes (height, width), None where it is open.

        Raises InvalidArgument where neither says it.
        """
        exact = self.resize if isinstance(self.resize, tuple) else None
        crop = self.crop or exact
        if crop is None and None not in model_size:
            crop = (model_size[0] or 0, model_size[1] or 0)
        if crop is None and isinstance(self.resize, int):
            crop = (self.resize, self.resize)
        if crop is None:
            raise InvalidArgument("the model takes images of any size: say which, as --crop 224 or --resize 480x640")
        for wanted, have in zip(model_size, crop, strict=True):
            if wanted is not None and wanted != have:
                sizes = f"{model_size[0] or '?'}x{model_size[1] or '?'}, not {crop[0]}x{crop[1]}"
                raise InvalidArgument(f"the model takes images of {sizes} (height x width)")
        if self.resize is None:
            return (crop if self.centre == 1 else round(min(crop) / self.centre)), crop
        least = self.resize if isinstance(self.resize, tuple) else (self.resize, self.resize)
        if least[0] < crop[0] or least[1] < crop[1]:
            raise InvalidArgument(f"images resized to {_told(self.resize)} hold no {_told(crop)}: resize to more")
        return self.resize, crop


# The usual ones. Sources: torchvision's reference training; Keras's modes "tf" (-1..1) and "caffe"; the Caffe model
# zoo; OpenAI's CLIP; Ultralytics' YOLO.
PRESETS = {
    "imagenet": Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), centre=CENTRE),
    "0..1": Preprocessing(),
    "-1..1": Preprocessing("-1..1"),
    "0..255": Preprocessing("0..255"),
    "caffe": Preprocessing("0..255", mean=(104.0, 117.0, 123.0), bgr=True),
    "clip": Preprocessing(
        mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711), filter="bicubic"
    ),
    "yolo": Preprocessing(fit="letterbox"),
}


def parse_side(text: str) -> int | Size:
    """The size that "256" (the short side) or "480x640" (height x width) stands for; raises InvalidArgument."""
    match = re.fullmatch(r"\s*(\d{1,5})(?:\s*[xX,]\s*(\d{1,5}))?\s*", text)
    numbers = [int(number) for number in match.groups() if number is not None] if match else []
    if not numbers or not all(0 < number <= MAX_SIDE for number in numbers):
        raise InvalidArgument(f"{text!r} is no size of images, such as 256 or 480x640 (height x width)")
    return (numbers[0], numbers[1]) if len(numbers) == 2 else numbers[0]


def parse_size(text: str) -> Size:
    """The same of a size that is a square where one number is given."""
    side = parse_side(text)
    return side if isinstance(side, tuple) else (side, side)


def parse_numbers(text: str) -> tuple[float, ...]:
    """The numbers of "0.5", "0.485,0.456,0.406" or "104/117/123"; raises InvalidArgument."""
    try:
        return tuple(float(part) for part in re.split(r"[,/ ]+", text.strip()))
    except ValueError as error:
        raise InvalidArgument(f"{text!r} is no number, nor several such as 0.485,0.456,0.406") from error


def _told(size: int | Size) -> str:
    return f"a short side of {size}" if isinstance(size, int) else f"{size[0]}x{size[1]}"
