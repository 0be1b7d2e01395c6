"""`dcz evaluate`"""

import click

from .common import FILE, as_json, data_option, labels_option, print_json, printable, progress, threads, warn


@click.command("evaluate")
@click.argument("file", type=FILE)
@data_option
@labels_option
@click.option("--against", type=FILE, metavar="MODEL", help="Compare with the answers of this .dcz or .onnx.")
@click.option("--output", metavar="NAME", help="The output to look at; default: the first with rows of classes.")
@click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Samples a run; default 32.")
@click.option("--min-top1", type=float, metavar="F", help="Fail below this share of right top classes, such as 0.985.")
@click.option("--min-agreement", type=float, metavar="F", help="Fail below this share of equal top classes.")
@threads
@as_json
@click.pass_context
def command(ctx, file, data, labels, against, output, batch_size, min_top1, min_agreement, threads, as_json) -> None:
    """Count how often FILE (.dcz or .onnx) is right on labelled samples, or agrees with another model.

    Samples lie along the first axis of each array. Numbers are cast to what an input wants (pixels of 0 to 255 stay
    that); axes are never moved. A label is the number of its class, from 0.

    \b
    Example:
      dcz evaluate model.dcz --data test.npz --labels y --min-top1 0.985
      dcz evaluate model.dcz --data test.npz --against model.onnx --json
    """
    from ..errors import BadPlan
    from ..evaluation.evaluate import evaluate

    gates = [("top1", "--labels", labels, min_top1), ("agreement", "--against", against, min_agreement)]
    for name, option, given, least in gates:
        if least is not None and given is None:
            raise BadPlan(f"--min-{name} needs something to compare with: give {option} too")
        if least is not None and not 0 <= least <= 1:
            raise BadPlan(f"--min-{name} is a share from 0 to 1, not {least}")
    with progress("evaluating", samples=True) as tell:
        result = evaluate(
            file, data, labels, against, output=output, batch_size=batch_size, threads=threads, progress=tell
        )
    print_json(result.to_dict()) if as_json else click.echo(_text(result))
    if result.unanswered:
        warn(
            f"{result.path}: no finite answer for {result.unanswered} of {result.samples} samples; they count as wrong"
        )
    missed = [(name, getattr(result, name), least) for name, _, _, least in gates if least is not None]
    missed = [(name, share, least) for name, share, least in missed if share < least]
    for name, share, least in missed:
        click.echo(f"dcz: {name} {share:.4f} is below {least:g}", err=True)
    ctx.exit(1 if missed else 0)


def _text(result) -> str:
    rows = []
    if result.errors is not None:
        rows.append(("top 1", _share(result.top1, result.errors, "errors")))
        if result.top5_errors is not None:
            rows.append(("top 5", _share(result.top5, result.top5_errors, "errors")))
        rows.append(("loss", f"{result.loss:.4f} nats"))
    if result.against is not None:
        far = "equal" if result.decibels == float("inf") else f"{result.decibels:.1f} dB"
        rows.append(("agreement", _share(result.agreement, result.disagreements, f"differ from {result.against}")))
        rows += [("divergence", f"{result.divergence:.3g} nats"), ("difference", far)]
    head = f"{result.path}: {result.samples:,} samples, output {result.output} of {result.classes:,} classes"
    return "\n".join([printable(head), *(f"  {name:<12}{printable(text)}" for name, text in rows)])


def _share(share: float, others: int, word: str) -> str:
    return f"{100 * share:.2f} %, {others:,} {word}"
