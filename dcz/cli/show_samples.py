"""What `dcz samples` says of the samples that it made."""

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeAlias

from ..evaluation.image_samples import ImageSamples
from ..evaluation.sound_samples import SoundSamples
from ..evaluation.text_samples import TextSamples
from ..text import counted
from .common import printable, size

if TYPE_CHECKING:
    import numpy as np

Made: TypeAlias = ImageSamples | TextSamples | SoundSamples
COLOURS = {1: ("grey",), 3: ("red", "green", "blue")}


def told(made: Made, output: str, quiet: bool) -> str:
    """The arrays that were written, and what they are like."""
    lines = [f"{output}: " + "; ".join(_array(name, array) for name, array in made.samples.arrays.items())]
    if quiet:
        return lines[0]
    if isinstance(made, ImageSamples):
        return "\n".join([*lines, *_channels(made)])
    if isinstance(made, TextSamples):
        text = f"{made.tokens:.1f} of {made.length} tokens a line, {made.cut:.0%} of the lines cut off"
        return "\n".join([*lines, f"  {text}, {made.unknown:.1%} of the tokens unknown"])
    text = f"windows of {made.window / made.rate:g} s, {made.rate} numbers a second, the loudest {made.peak:.2g}"
    return "\n".join([*lines, f"  {text}, {made.silent:.0%} silence"])


def _array(name: str, array: "np.ndarray") -> str:
    shape = " x ".join(map(str, array.shape[1:]))
    what = " ".join(filter(None, (str(array.dtype), shape)))
    return f"{counted(len(array), 'sample')} of {printable(name)!r}, {what}, {size(array.nbytes)}"


def _channels(made: ImageSamples) -> list[str]:
    """The range of each channel, and what a classifier answers."""
    names = COLOURS[made.input.channels][:: -1 if made.preprocessing.bgr else 1]
    lines = [f"  {'channel':<8}{'least':>10}{'mean':>10}{'most':>10}"]
    for name, figures in zip(names, made.channels, strict=True):
        lines.append(f"  {name:<8}" + "".join(f"{figure:>10.4g}" for figure in figures))
    if own := made.answers.get(""):
        lines.append(
            f"  the answers to some of them: mean confidence {own.confidence:.0%}, "
            f"{own.one_class:.0%} of one class, {own.information:.2f} nats"
        )
    return lines


def plain(made: Made, output: str) -> dict[str, Any]:
    """Plain values, for JSON."""
    if isinstance(made, ImageSamples):
        return _images(made, output)
    shapes = {name: list(array.shape) for name, array in made.samples.arrays.items()}
    facts = {each.name: getattr(made, each.name) for each in fields(made) if each.name not in ("samples", "files")}
    return {"output": output, "arrays": shapes, **facts, "doubts": list(made.doubts)}


def _images(made: ImageSamples, output: str) -> dict[str, Any]:
    """What there is to say of images."""
    array = made.samples.arrays[made.input.name]
    channels = [dict(zip(("least", "mean", "most"), figures, strict=True)) for figures in made.channels]
    return {
        "output": output,
        "input": made.input.name,
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "arrays": list(made.samples.arrays),
        "preprocessing": asdict(made.preprocessing) | {"layout": made.input.layout},
        "channels": channels,
        "answers": {name or "chosen": asdict(answers) for name, answers in made.answers.items()},
        "doubts": list(made.doubts),
        "files": [str(file) for file in made.files],
    }
