"""`dcz compress`"""

from typing import TYPE_CHECKING, Any

import click

from ..plan import BEST_QUALITY, CODEBOOKS, PRESETS, SAFE_QUALITY, STARTS, WORST_QUALITY
from .common import (
    FILE,
    SHARE,
    Share,
    as_json,
    beside,
    force,
    labels_option,
    no_fold_option,
    plan_option,
    threads,
)
from .sample_options import DATA, WHAT, batch_axis_option, check_batch_axis, measure_option, ops_option
from .sections import sectioned
from .several import is_many, recursive_option
from .streams import FILE_OR_STREAM

if TYPE_CHECKING:
    from ..evaluation.chosen_measures import AnyMeasure

QUALITY = f"{WORST_QUALITY:g} to {BEST_QUALITY:g}; default {SAFE_QUALITY:g}, and more for small and depthwise networks"

SECTIONS = {
    "Result": ("output", "output_dir", "recursive", "force", "resume"),
    "How good, how small": ("preset", "lossless", "quality", "max_size", "ratio"),
    "With inputs of your own": ("calibrate", "batch_axis", "max_drop", "strict", "labels", "measure", "distill"),
    "Pruning": ("sparsity", "threshold", "index_bits"),
    "Sharing": ("bits", "init", "seed", "step", "rate", "no_share", "codebook"),
    "Which tensors": ("plan", "include", "exclude", "no_fold"),
    "Run": ("ops", "threads", "workers", "cluster"),
}


@click.command("compress", cls=sectioned(SECTIONS))
@click.argument("models", type=FILE_OR_STREAM, nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "-o", "--output", type=FILE_OR_STREAM, help="The .dcz file of one MODEL; default: MODEL with the suffix .dcz."
)
@click.option("--output-dir", type=FILE, metavar="OUT", help="The folder of the .dcz files; made where it is missing.")
@recursive_option
@click.option("--preset", type=click.Choice(tuple(PRESETS)), help="A starting point: see above.")
@click.option("--lossless", is_flag=True, help="Keep every tensor bit for bit.")
@click.option(
    "--quality",
    type=float,
    metavar="DB",
    help=f"SQNR of the weights in dB (signal to quantization noise ratio), on average: {QUALITY}.",
)
@click.option("--max-size", metavar="SIZE", help="The best quality within this size, such as 1.5MB, met within 1 %.")
@click.option("--ratio", type=float, metavar="R", help="The best quality in a file R times smaller.")
@click.option(
    "--calibrate",
    "--data",
    "calibrate",
    type=FILE,
    metavar=DATA,
    help=f"Samples, a few hundred, for a smaller file at the same answers: {WHAT}.",
)
@batch_axis_option
@click.option(
    "--max-drop",
    type=Share(bare_is_percent=True),
    metavar="P%",
    help="With --calibrate: percentage of answers that may change; with --labels, points of top-1 accuracy that may "
    "be lost; default 1%.",
)
@click.option("--strict", is_flag=True, help="Exit with 1 where the samples do not show that drop; the file is kept.")
@labels_option
@measure_option
@click.option(
    "--distill", is_flag=True, help="With --calibrate: then train toward the original's answers (dcz[train])."
)
@click.option("--step", type=float, metavar="S", help="Round to multiples of S standard deviations of each tensor.")
@click.option("--rate", type=float, metavar="B", help="Round each tensor as finely as B bits a weight allow.")
@click.option("--bits", type=int, metavar="B", help="Share 2^B centroids, found by k-means (1 to 8).")
@click.option("--seed", type=int, metavar="N", help="Seed of the start forgy.")
@click.option("--init", type=click.Choice(STARTS), help="Where k-means starts; default cuberoot.")
@click.option(
    "--sparsity",
    type=SHARE,
    metavar="P%",
    help="Set this percentage of each tensor's weights to zero, smallest first, such as 80%.",
)
@click.option(
    "--threshold",
    type=float,
    metavar="T",
    help="Set weights within T standard deviations of zero to zero, such as 0.5.",
)
@click.option("--no-share", is_flag=True, help="Keep the values that pruning leaves.")
@click.option(
    "--index-bits", type=int, metavar="B", help="Width of the index's gaps (2 to 8); default: the smallest file."
)
@click.option("--codebook", type=click.Choice(CODEBOOKS), help="float16 rounds the shared values.")
@plan_option
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="Count these tensors as weights: a name with wildcards, or op:TYPE, node:NAME or layer:NAME. May be repeated.",
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Keep these tensors exact. May be repeated.")
@click.option(
    "--resume/--no-resume",
    default=None,
    help="Whether the same command goes on from OUTPUT.partial after it was stopped; default: from 1 GB on.",
)
@no_fold_option
@ops_option
@threads
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Work in N processes, which share --threads.")
@click.option("--cluster", metavar="TCP://HOST:PORT", help="Work on a running Dask cluster (dcz[cluster]).")
@as_json
@force
def command(
    models: tuple[str, ...],
    output: str | None,
    output_dir: str | None,
    recursive: bool,
    preset: str | None,
    plan: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    max_size: str | None,
    ratio: float | None,
    calibrate: str | None,
    batch_axis: dict[str, int | None] | None,
    max_drop: float | None,
    strict: bool,
    labels: str | None,
    measure: "AnyMeasure | None",
    distill: bool,
    resume: bool | None,
    threads: int | None,
    workers: int | None,
    cluster: str | None,
    as_json: bool,
    force: bool,
    lossless: bool,
    no_share: bool,
    no_fold: bool,
    **options: Any,
) -> None:
    """Compress the ONNX file MODEL into a .dcz file, or each of several.

    Without options the weights are rounded so finely that a network's answers hardly change. Whatever is no weight
    stays exact; but BatchNormalizations are folded into the layers before them (--no-fold: are not), whatever way of
    sharing is asked for, and weights that the model rounds itself (QuantizeLinear) are rounded beforehand, which
    changes no output (--no-fold: are not). The file is decoded once more before it replaces OUTPUT.

    Several models become OUT/NAME.dcz, or NAME.dcz beside each; those of one name keep the folders that tell them
    apart. A folder stands for the ONNX files in it, with -r in its subfolders too, which OUT then has likewise. Every
    option is for each of them, --calibrate for models that take the same inputs. One that fails does not stop the rest:
    it is reported at the end, and the exit code is that of the failures, or 8 where these differ.

    MODEL and OUTPUT may be `-`, standard input and output: the one is spooled to a temporary file, the other written
    when the file is complete, and never to a terminal without -f. `-` alone writes to standard output.

    \b
    Presets, and what they made of SqueezeNet 1.1 (650 images of ImageNet):
      lossless   every tensor bit for bit: most models, 1.2 to 1.6 times smaller
      safe       33 dB, the default: 5.06 times smaller, same top class on 98.46 %
      balanced   30 dB: 5.49 times smaller, same top class on 98.31 %
      small      26 dB: 6.21 times smaller, same top class on 96.00 %
    With --calibrate, a --max-drop: safe 0.5%, balanced 1% (default), small 5%.

    \b
    Example:
      dcz compress model.onnx -o model.dcz
      dcz compress model.onnx --preset small
      dcz compress model.onnx --max-size 1.5MB
      dcz compress model.onnx --sparsity 80% --bits 5 --exclude 'stem.*'
      dcz compress model.onnx --calibrate samples.npz --labels y --max-drop 0.5%
      dcz compress models/ -r --output-dir packed
    """
    from dataclasses import replace

    from ..arguments import parse_limit
    from ..errors import InvalidArgument
    from ..plan import DROPS
    from . import compress_modes as modes
    from . import streams
    from .compress_goal import check_goal, make_plan

    check_goal(preset, lossless, calibrate, labels, measure, distill, max_size, ratio, max_drop, strict)
    check_batch_axis(batch_axis, calibrate)
    options["preset"] = None if calibrate else preset
    settings = make_plan(plan, include, exclude, lossless, no_share, options)
    settings = replace(settings, fold=False) if no_fold else settings
    limit = parse_limit(max_size)
    if calibrate is not None and (workers, cluster) != (None, None):
        raise InvalidArgument("calibration works on this machine's threads: leave --workers and --cluster out")
    common: dict[str, Any] = {"plan": settings, "threads": threads, "force": force, "resume": resume}
    goal: dict[str, Any] = {"max_bytes": limit, "ratio": ratio}
    executor: dict[str, Any] = {"workers": workers, "cluster": cluster}
    mode: modes.Mode
    if calibrate is not None:
        drop = DROPS.get(preset or "") if max_drop is None else max_drop
        goal |= {"max_drop": drop, "labels": labels, "measure": measure, "distill": distill, "batch_axis": batch_axis}
        mode = modes.Calibrated(calibrate, goal | common, strict)
    elif max_size is None and ratio is None:
        mode = modes.ByPlan(executor | common)
    else:
        mode = modes.ToBudget(goal | executor | common)
    if is_many(models, output_dir):
        if streams.STREAM in (*models, output):
            raise InvalidArgument("- is for one model, and one file: give no other, and no --output-dir")
        modes.compress_several(models, output, output_dir, recursive, mode, as_json)
        return
    (model,) = models
    output = output or (streams.STREAM if model == streams.STREAM else _beside(model))
    streams.check_no_json(output, as_json)
    with streams.reading(model, "input.onnx") as source, streams.writing(output, force, "output.dcz") as target:
        modes.compress_one(source, target, mode, as_json, streams.name_of(output, model))


def _beside(model: str) -> str:
    """The output of a model where none is named: the same name with the suffix .dcz."""
    from pathlib import Path

    from ..errors import InvalidArgument

    if Path(model).exists() and not Path(model).is_file() and not Path(model).is_dir():
        raise InvalidArgument(f"{model}: is no ordinary file beside which another could lie; name the output with -o")
    return beside(model, ".dcz")
