"""`dcz compress`"""

from functools import partial

import click

from ..plan import BEST_QUALITY, CODEBOOKS, PRESETS, SAFE_QUALITY, STARTS, WORST_QUALITY
from .common import FILE, as_json, force, labels_option, print_json, threads

QUALITY = f"{WORST_QUALITY:g} to {BEST_QUALITY:g}; default {SAFE_QUALITY:g}"


@click.command("compress")
@click.argument("models", type=FILE, nargs=-1, required=True, metavar="MODEL...")
@click.option("-o", "--output", type=FILE, help="The .dcz file of one MODEL; default: MODEL with the suffix .dcz.")
@click.option("--output-dir", type=FILE, metavar="OUT", help="The folder of the .dcz files; made where it is missing.")
@click.option("--preset", type=click.Choice(tuple(PRESETS)), help="A starting point: see above.")
@click.option("--lossless", is_flag=True, help="Keep every tensor bit for bit.")
@click.option(
    "--quality",
    type=float,
    metavar="DB",
    help=f"How many decibels the error lies below the weights, on average: {QUALITY}.",
)
@click.option("--max-size", metavar="SIZE", help="The most quality in so many bytes, such as 1.5MB, within 1 %.")
@click.option("--ratio", type=float, metavar="R", help="The most quality in a file R times smaller.")
@click.option(
    "--calibrate", type=FILE, metavar="X.NPZ", help="Inputs of the model, a few hundred: smaller for the same."
)
@click.option(
    "--max-drop",
    type=float,
    metavar="P",
    help="With --calibrate: percent of answers that may change; with --labels, points of top-1 accuracy that may be "
    "lost; default 1.",
)
@labels_option
@click.option(
    "--distill", is_flag=True, help="With --calibrate: then train toward the original's answers (dcz[train])."
)
@click.option("--step", type=float, metavar="S", help="Round to multiples of S standard deviations of each tensor.")
@click.option("--rate", type=float, metavar="B", help="Round each tensor as finely as B bits a weight allow.")
@click.option("--bits", type=int, metavar="B", help="Share 2^B centroids, found by k-means (1 to 8).")
@click.option("--seed", type=int, metavar="N", help="Seed of the start forgy.")
@click.option("--init", type=click.Choice(STARTS), help="Where k-means starts; default cuberoot.")
@click.option(
    "--sparsity", type=float, metavar="F", help="Set this share of each tensor's weights to zero, smallest first."
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
@click.option(
    "--config", type=FILE, metavar="PLAN.TOML", help="Rules by tensor name; options above change its defaults."
)
@click.option("--include", multiple=True, metavar="PATTERN", help="Count these tensors as weights. May be repeated.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Keep these tensors exact. May be repeated.")
@click.option(
    "--resume/--no-resume",
    default=None,
    help="Whether the same command shall go on after it was stopped, from OUTPUT.partial; default: from 1 GB on.",
)
@click.option("--no-fold", is_flag=True, help="Leave BatchNormalizations apart from the layers before them.")
@click.option("--quiet", "-q", is_flag=True, help="No progress, and of the result only the last line.")
@threads
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Work in so many processes, sharing --threads.")
@click.option("--cluster", metavar="TCP://HOST:PORT", help="Work on a running Dask cluster (dcz[cluster]).")
@as_json
@force
def command(
    models, output, output_dir, preset, config, include, exclude, max_size, ratio, calibrate, max_drop, labels, distill,
    resume, quiet, threads, workers, cluster, as_json, force, lossless, no_share, no_fold, **options,
) -> None:  # fmt: skip
    """Compress the ONNX file MODEL into a .dcz file, or each of several.

    Without options the weights are rounded so finely that a network's answers hardly change. Whatever is no weight
    stays exact; but BatchNormalizations are folded into the layers before them (--no-fold: are not), whatever way of
    sharing is asked for. The file is decoded once more before it replaces OUTPUT.

    Several models become OUT/NAME.dcz, or NAME.dcz beside each; those of one name keep the folders that tell them
    apart. Every option is for each of them, --calibrate for models that take the same inputs. One that fails does not
    stop the rest: it is told at the end, and the exit code is that of the failures, or 8 where these differ.

    \b
    Presets, and what they made of SqueezeNet 1.1 (650 images, ImageNet validation):
      lossless   every tensor bit for bit; real models get 1.2 to 1.6 times smaller
      safe       34 dB, the default: 5.03 times smaller, same top class on 98.31 %
      balanced   30 dB: 5.58 times smaller, same top class on 98.15 %
      small      26 dB: 6.29 times smaller, same top class on 96.31 %
    With --calibrate they are a --max-drop: safe 0.5, balanced 1 (the default), small 5.

    \b
    Example:
      dcz compress model.onnx -o model.dcz
      dcz compress model.onnx --preset small
      dcz compress model.onnx --max-size 1.5MB
      dcz compress model.onnx --sparsity 0.8 --bits 5 --exclude 'stem.*'
      dcz compress model.onnx --calibrate samples.npz --labels y --max-drop 0.5
      dcz compress models/*.onnx --output-dir packed
    """
    from dataclasses import replace

    from ..arguments import optional_size
    from ..errors import BadPlan
    from ..plan import DROPS
    from ..reading.inspect import inspect
    from . import show, ways

    _check_goal(preset, lossless, calibrate, labels, distill, max_size, ratio, max_drop)
    options["preset"] = None if calibrate else preset
    plan = make_plan(config, include, exclude, lossless, no_share, options)
    plan = replace(plan, fold=False) if no_fold else plan
    limit = optional_size(max_size, minimum=1)
    if calibrate is not None and (workers, cluster) != (None, None):
        raise BadPlan("calibration works on this machine's threads: leave --workers and --cluster out")
    common = {"plan": plan, "threads": threads, "force": force, "resume": resume}
    goal = {"max_bytes": limit, "ratio": ratio}
    crew = {"workers": workers, "cluster": cluster}
    if calibrate is not None:
        drop = DROPS.get(preset) if max_drop is None else max_drop / 100
        goal |= {"max_drop": drop, "labels": labels, "distill": distill}
        work = partial(ways.by_samples, samples=calibrate, quiet=quiet, **goal, **common)
    elif max_size is None and ratio is None:
        work = partial(ways.by_plan, quiet=quiet, **crew, **common)
    else:
        work = partial(ways.for_size, quiet=quiet, **goal, **crew, **common)
    if len(models) > 1 or output_dir is not None:
        ways.fleet(models, output, output_dir, work, as_json, quiet)
        return
    output = output or _beside(models[0])
    work(models[0], output)
    result = inspect(output)
    if not quiet and "folded" in result.metadata:
        click.echo(f"{result.metadata['folded']} BatchNormalizations folded into the layers before them", err=True)
    print_json(result.to_dict()) if as_json else show.compressed(result, quiet)


def _beside(model: str) -> str:
    """Where the file of a model goes that nobody named."""
    from pathlib import Path

    from ..errors import BadPlan

    if Path(model).exists() and not Path(model).is_file() and not Path(model).is_dir():
        raise BadPlan(f"{model}: is no ordinary file beside which another could lie; name the output with -o")
    return str(Path(model).with_suffix(".dcz"))


def _check_goal(preset, lossless, calibrate, labels, distill, max_size, ratio, max_drop) -> None:
    """Raise BadPlan for options that ask for different things, before any work."""
    from ..errors import BadPlan

    if max_drop is not None and calibrate is None:
        raise BadPlan("--max-drop is judged by inputs of the model: give --calibrate too")
    if labels is not None and calibrate is None:
        raise BadPlan("--labels are those of the samples that calibrate: give --calibrate too")
    if distill and calibrate is None:
        raise BadPlan("--distill trains on inputs of the model: give --calibrate too")
    if max_drop is not None and not 0 <= max_drop < 100:
        raise BadPlan(f"--max-drop is a percentage from 0 to below 100, not {max_drop:g}")
    rivals = {"--lossless": lossless or None, "--max-size": max_size, "--ratio": ratio, "--max-drop": max_drop}
    rivals = [option for option, given in rivals.items() if given is not None]
    if preset is not None and rivals:
        raise BadPlan(f"--preset {preset} and {rivals[0]} each say what the result shall be: leave one of them out")
    if preset == "lossless" and calibrate is not None:
        raise BadPlan("--preset lossless leaves nothing to calibrate: leave one of them out")


def make_plan(config, include, exclude, lossless, no_share, options):
    """The plan that a plan.toml and the command's options ask for together; raises BadPlan."""
    from dataclasses import replace

    from ..errors import BadPlan
    from ..plan import LOSSLESS, Plan, load, overlay

    changes = {name: value for name, value in options.items() if value is not None}
    if no_share:
        changes["share"] = False
    if lossless and (changes or config or include):
        raise BadPlan("--lossless leaves nothing to choose: give it alone")
    if lossless:
        return Plan(LOSSLESS, exclude=exclude)
    plan = load(config) if config else Plan()
    return replace(
        plan,
        default=overlay(plan.default, changes),
        include=plan.include + include,
        exclude=plan.exclude + exclude,
    )
