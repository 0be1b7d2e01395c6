"""`dcz sensitivity`"""

import click

from .common import FILE, as_json, force, print_json, progress, threads


@click.command("sensitivity")
@click.argument("model", type=FILE)
@click.option("--calibrate", type=FILE, required=True, metavar="X.NPZ", help="Unlabelled inputs, some dozens.")
@click.option("--bits", default="2,3,4,6", show_default=True, help="Shared to so many bits, by k-means.")
@click.option("--sparsity", default="0.5,0.7,0.9", show_default=True, help="Pruned of such shares of the weights.")
@click.option("--samples", type=click.IntRange(1), default=64, show_default=True, help="How many inputs to use.")
@click.option("--rate", type=float, default=4.0, show_default=True, help="Bits a weight that the plan spends.")
@click.option("--plan", type=FILE, metavar="PLAN.TOML", help="Write a rule for each tensor, for `compress --config`.")
@click.option("--config", type=FILE, metavar="PLAN.TOML", help="A plan whose rules and exclusions are left alone.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave these tensors alone. May be repeated.")
@click.option("--no-fold", is_flag=True, help="Leave BatchNormalizations apart from the layers before them.")
@threads
@as_json
@force
def command(
    model, calibrate, bits, sparsity, samples, rate, plan, config, exclude, no_fold, threads, as_json, force
) -> None:  # fmt: skip
    """Compress each tensor of MODEL alone, and tell how far the answers move, in nats (0: not at all).

    With --plan, write what to spend on each tensor so that a bit buys as much everywhere, to edit and pass on.

    \b
    Example:
      dcz sensitivity model.onnx --calibrate samples.npz --plan plan.toml
      dcz compress model.onnx --config plan.toml
    """
    from dataclasses import replace

    from ..plan import Plan, load
    from ..tuning import sensitivity
    from . import show

    chosen = load(config) if config else Plan()
    chosen = replace(chosen, exclude=chosen.exclude + exclude, fold=chosen.fold and not no_fold)
    target = {"output": plan, "force": force}
    ways = {"bits": _numbers(bits, int), "sparsities": _numbers(sparsity, float)}
    with progress("measuring", samples=True) as tell:
        found = sensitivity.measure(
            model, calibrate, samples=samples, rate=rate, plan=chosen, threads=threads, progress=tell, **ways, **target
        )
    print_json(found.to_dict()) if as_json else show.sensitivity(found)


def _numbers(text: str, kind: type) -> tuple:
    from ..errors import BadPlan

    try:
        return tuple(kind(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise BadPlan(f"{text!r} is no list of numbers, such as 2,3,4") from error
