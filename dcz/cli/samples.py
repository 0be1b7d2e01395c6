"""`dcz samples`"""

from typing import TYPE_CHECKING, Any

import click

from .common import FILE, as_json, force, print_json, progress, quiet_option, threads, warn
from .sample_options import ops_option
from .sections import sectioned

if TYPE_CHECKING:
    from ..evaluation.preprocessing import Preprocessing
    from .show_samples import Made

PRESETS = ("imagenet", "0..1", "-1..1", "0..255", "caffe", "clip", "yolo")  # of evaluation.preprocessing
TEXT, SOUND = ("length",), ("rate", "seconds")  # options of these alone


SECTIONS = {
    "Result": ("model", "output", "force", "limit"),
    "Images": ("preset", "range_", "mean", "std", "bgr", "layout", "resize", "crop", "fit"),
    "Text": ("tokenizer", "length"),
    "Sound": ("rate", "seconds"),
    "Run": ("ops", "threads"),
}


@click.command("samples", cls=sectioned(SECTIONS))
@click.argument("source", type=FILE)
@click.option("--for", "model", type=FILE, required=True, metavar="MODEL", help="The .onnx or .dcz that takes them.")
@click.option("-o", "--output", type=FILE, default="samples.npz", show_default=True, help="The .npz file.")
@click.option("--preset", type=click.Choice(PRESETS), help="A usual preprocessing: see above.")
@click.option("--range", "range_", metavar="LOW..HIGH", help="What pixels of 0 to 255 become: 0..1, -1..1 or 0..255.")
@click.option("--mean", metavar="M,M,M", help="What is subtracted then, in the order of the network's channels.")
@click.option("--std", metavar="S,S,S", help="What that is divided by.")
@click.option("--bgr/--rgb", default=None, help="The order of the colours.")
@click.option(
    "--layout", type=click.Choice(("nchw", "nhwc")), help="Where the channels are; default: as the model has."
)
@click.option("--resize", metavar="N|HxW", help="First scale the short side to N, or images to HxW.")
@click.option("--crop", metavar="N|HxW", help="Then cut this out about the centre; default: what the model takes.")
@click.option(
    "--fit",
    type=click.Choice(("cover", "letterbox", "stretch")),
    help="How images of another shape become HxW: cut, padded with grey, or stretched; default cover.",
)
@click.option(
    "--tokenizer", type=FILE, metavar="T.JSON", help="SOURCE is text, a sample a line, by this tokenizer.json."
)
@click.option(
    "--length", type=click.IntRange(1), metavar="N", help="Tokens a line; default: the model's, or 128 at most."
)
@click.option("--rate", type=click.IntRange(1), metavar="HZ", help="Resample .wav files to what the model takes.")
@click.option("--seconds", type=float, metavar="S", help="Length of a window of sound; default: the model's.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="So many samples at most, evenly out of all.")
@quiet_option
@ops_option
@threads
@as_json
@force
def command(
    source: str,
    model: str,
    output: str,
    limit: int | None,
    quiet: bool,
    threads: int | None,
    as_json: bool,
    force: bool,
    **options: Any,
) -> None:
    """Prepare images, text or sounds as samples for a model, to calibrate, verify and evaluate with.

    SOURCE is a folder of images (dcz[images]); with --tokenizer a text, a sample a line (dcz[text]); or a folder of
    .wav files, of which windows are taken. What is written fits the size, layout and type of the model's inputs.

    What a model takes for the pixels of images, it does not say: without options that is "imagenet", or 0..255 for an
    input of whole numbers. Options change single parts of a preset. A warning says where a classifier's answers speak
    against the preprocessing. Where all images lie in subfolders, their numbers become the array "class", for --labels
    class.

    \b
    Presets:
      imagenet   0..1, less 0.485,0.456,0.406, over 0.229,0.224,0.225; 7/8 cut
      0..1, -1..1, 0..255   these ranges alone
      caffe      0..255, blue first, less 104,117,123
      clip       0..1, less 0.481,0.458,0.408, over 0.269,0.261,0.276; bicubic
      yolo       0..1, padded with grey

    \b
    Example:
      dcz samples images/ --for model.onnx -o samples.npz
      dcz samples images/ --for model.onnx --preset caffe --limit 300
      dcz samples images/ --for model.onnx --mean 0.5 --std 0.25 --resize 256
      dcz samples sentences.txt --for model.onnx --tokenizer tokenizer.json
      dcz samples sounds/ --for model.onnx --rate 16000
    """
    from ..evaluation.samples import write_samples
    from ..files import check_output
    from . import show_samples

    check_output(output, force, inputs=[model, source])
    made = _made(source, model, {"limit": limit, "threads": threads}, options, quiet)
    write_samples(output, made.samples, force)
    print_json(show_samples.plain(made, output)) if as_json else click.echo(show_samples.told(made, output, quiet))
    for doubt in made.doubts:
        warn(doubt)


def _made(source: str, model: str, common: dict[str, Any], options: dict[str, Any], quiet: bool) -> "Made":
    """The samples of a text, sounds or images; raises InvalidArgument for options of another kind."""
    from ..errors import InvalidArgument
    from ..evaluation import image_samples, sound_samples, text_samples

    tokenizer = options.pop("tokenizer")
    given = {name: value for name, value in options.items() if value is not None}
    kind, own = ("text", TEXT) if tokenizer else ("sounds", SOUND) if sound_samples.holds_sounds(source) else ("", ())
    others = given.keys() - set(own) if kind else given.keys() & {*TEXT, *SOUND}
    if others:
        option = f"--{min(others).strip('_')}"
        raise InvalidArgument(f"{option} is for another kind of samples than {kind or 'images'}: leave it out")
    if kind == "text":
        return text_samples.text_samples(source, model, tokenizer, **given, **common)
    if kind == "sounds":
        return sound_samples.sound_samples(source, model, **given, **common)
    layout = given.pop("layout", None)
    way, changes = _preprocessing(given.pop("preset", None), given)
    with progress("preparing", quiet) as report:
        return image_samples.image_samples(
            source, model, way, changes=changes, layout=layout, progress=report, **common
        )


def _preprocessing(preset: str | None, parts: dict[str, Any]) -> "tuple[Preprocessing | None, dict[str, Any]]":
    """The preset that is asked for, None for the one that fits the model, and the parts that options change."""
    from ..evaluation import preprocessing

    readers = {
        "mean": preprocessing.parse_numbers,
        "std": preprocessing.parse_numbers,
        "resize": preprocessing.parse_side,
        "crop": preprocessing.parse_size,
    }
    given = {name.rstrip("_"): value for name, value in parts.items() if value is not None}
    changes: dict[str, Any] = {name: readers[name](text) if name in readers else text for name, text in given.items()}
    if preset is not None:
        return preprocessing.PRESETS[preset], changes
    # A range, mean or deviation of one's own says what pixels become: then nothing of a preset stays.
    return preprocessing.Preprocessing() if {"range", "mean", "std"} & given.keys() else None, changes
