"""How training images are changed at random, so that a network sees other ones in each epoch.

    Augmentation.parse("flip,shift=4,crop=80%")     half of the images mirrored, each moved by up to 4 pixels, and a
                                                    window of 80 to 100 % of each side scaled back to the whole size

images.changed makes the changes; this module needs no PyTorch.
"""

from dataclasses import dataclass

from ..arguments import is_whole, parse_share
from ..errors import InvalidArgument

PADDINGS = ("edge", "zero")
MAX_SHIFT = 1024  # pixels
MIN_CROP = 0.01  # of a side


@dataclass(frozen=True)
class Augmentation:
    """What is done to each training image, with random numbers of its own.

    `flip`: mirrored left to right with probability 1/2. `shift`: moved by a whole number of pixels from -shift to shift
    along each axis, as by padding and cropping back (He et al., "Deep Residual Learning", 2016, section 4.2); `pad`
    says what comes in: "edge" repeats the outermost pixels, "zero" is the number 0. `crop` (None: the whole image): a
    window of this fraction to all of each side, at a random place, scaled back by linear interpolation (Szegedy et
    al., "Going Deeper with Convolutions", 2015, section 6, but with the image's own aspect ratio).
    """

    flip: bool = False
    shift: int = 0
    crop: float | None = None
    pad: str = "edge"

    def __post_init__(self) -> None:
        if not is_whole(self.shift, 0, MAX_SHIFT):
            raise InvalidArgument(f"shift is a whole number of pixels from 0 to {MAX_SHIFT}, not {self.shift!r}")
        if self.crop is not None and not MIN_CROP <= self.crop <= 1:  # nor NaN
            raise InvalidArgument(f"crop is the least part of a side, from 1% to 100%, not {self.crop!r}")
        if self.pad not in PADDINGS:
            raise InvalidArgument(f"pad is one of {', '.join(PADDINGS)}, not {self.pad!r}")

    @classmethod
    def parse(cls, text: str) -> "Augmentation":
        """The augmentation that a text such as "flip,shift=3,crop=80%,pad=zero" asks for; raises InvalidArgument."""
        if not isinstance(text, str):
            raise InvalidArgument(f"augment is a text such as flip,shift=3,crop=80%, not {text!r}")
        found: dict[str, str] = {}
        for item in text.split(","):
            name, equals, value = (part.strip() for part in item.partition("="))
            if name not in _NAMES or (name == "flip") == bool(equals):
                raise InvalidArgument(f"augment is some of flip, shift=3, crop=80% and pad=zero, not {item.strip()!r}")
            if name in found:
                raise InvalidArgument(f"augment has {name} twice")
            found[name] = value
        return cls(
            flip="flip" in found,
            shift=_whole(found["shift"]) if "shift" in found else 0,
            crop=parse_share(found["crop"]) if "crop" in found else None,
            pad=found.get("pad", "edge"),
        )


_NAMES = ("flip", "shift", "crop", "pad")


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise InvalidArgument(f"shift is a whole number of pixels, such as shift=3, not {text!r}") from error
