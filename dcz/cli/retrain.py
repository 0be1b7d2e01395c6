"""`dcz retrain`"""

from typing import Any

import click

from .common import (
    FILE,
    SHARE,
    as_json,
    beside,
    force,
    is_quiet,
    is_verbose,
    plan_option,
    print_json,
    printable,
    threads,
    warn,
)
from .sample_options import DATA, WHAT, batch_axis_option
from .sections import sectioned

SECTIONS = {
    "Data": ("data", "batch_axis", "batches", "labels", "validation", "validation_labels", "pixels", "augment"),
    "Loss": ("loss", "distill", "temperature", "label_share", "output_weights"),
    "Result": ("output", "force", "sparsity", "bits", "plan", "bias_bits", "max_drop", "strict"),
    "Pruning": (
        "epochs",
        "learning_rate",
        "optimizer",
        "momentum",
        "weight_decay",
        "warmup",
        "normalize",
        "schedule",
        "start",
        "ramp",
        "rounds",
        "prune_every",
        "scope",
        "score",
        "pattern",
        "regrow",
        "prune_biases",
        "keep_idle",
    ),
    "Sharing": ("share_epochs", "share_rate", "reassign"),
    "Run": ("batch", "holdout", "patience", "seed", "threads", "device", "checkpoint", "no_checkpoint"),
}


@click.command("retrain", cls=sectioned(SECTIONS))
@click.argument("model", type=FILE)
@click.option(
    "--data",
    type=FILE,
    metavar=DATA,
    help=f"Samples: {WHAT}; or a folder of images.",
)
@batch_axis_option
@click.option(
    "--batches",
    metavar="MODULE:NAME",
    help="Instead: a function of yours, of the epoch's number, that gives batches (inputs, labels); or a DataLoader.",
)
@click.option(
    "--labels",
    metavar="Y",
    help="The targets: an array of X.NPZ or DIR, or a file; of a folder of images: class; of several outputs: "
    "NAME=Y,NAME=Y.",
)
@click.option(
    "--validation", type=FILE, metavar=DATA, help="More samples, to choose the best epoch by; or MODULE:NAME."
)
@click.option("--validation-labels", metavar="Y", help="Their labels; default: its array that --labels names.")
@click.option(
    "--pixels",
    metavar="RANGE",
    help="What the network takes for pixels of 0 to 255: 0..1, -1..1, 0..255 or imagenet; then ,mean=M,std=S,bgr.",
)
@click.option(
    "--loss",
    metavar="LOSS",
    help="cross-entropy (default for classes), mse (default for numbers), cosine, distill, or your MODULE:NAME.",
)
@click.option("--output-weights", metavar="NAME=W,...", help="How much each of several outputs counts.")
@click.option(
    "--distill", is_flag=True, help="Learn the answers of MODEL itself (and the labels, where there are some)."
)
@click.option("-o", "--output", type=FILE, help="The .dcz file; default: MODEL with the suffix .dcz.")
@click.option("--sparsity", type=SHARE, metavar="P%", help="The percentage of weights that becomes zero, such as 97%.")
@click.option("--bits", type=int, metavar="B", help="Share 2^B centroids in each tensor (1 to 8).")
@plan_option
@click.option("--epochs", type=int, metavar="N", help="Epochs of pruning; default 30.")
@click.option("--share-epochs", type=int, metavar="N", help="Epochs of sharing, in four parts; default 4.")
@click.option("--learning-rate", type=float, metavar="R", help="The highest of pruning; default: found by short runs.")
@click.option("--optimizer", help="adam (default), or sgd.")
@click.option("--momentum", type=float, metavar="M", help="That of sgd; default 0.9.")
@click.option("--weight-decay", type=float, metavar="D", help="Weights shrink by this times the rate; default 0.")
@click.option("--warmup", type=SHARE, metavar="P%", help="The percentage of epochs in which the rate rises at first.")
@click.option(
    "--normalize/--no-normalize",
    default=None,
    help="Normalize layers while they train that have no normalization; default: with a rate that is found.",
)
@click.option(
    "--share-rate",
    type=float,
    metavar="R",
    help="Adam's for centroids; found, or 0.0015 with the above.",
)
@click.option("--max-drop", type=SHARE, metavar="P%", help="Say so where the error rises by more points than this.")
@click.option("--strict", is_flag=True, help="Exit with 1 then, as `dcz check` does.")
@click.option("--temperature", type=float, metavar="T", help="Softens the answers to distill; default 1.")
@click.option("--label-share", type=SHARE, metavar="P%", help="Of the labels in the loss of --distill; default 50%.")
@click.option(
    "--augment",
    metavar="CHANGES",
    help="Change training images at random: some of flip,shift=PIXELS,crop=P%,pad=zero (or edge, the default).",
)
@click.option("--batch-size", "batch", type=int, metavar="N", help="Samples a step; default 128.")
@click.option("--schedule", help="cubic: prune steadily (default); steps: in rounds, as the paper does.")
@click.option(
    "--start", type=SHARE, metavar="P%", help="Of a steady schedule: the percentage kept at first; default 50%."
)
@click.option(
    "--ramp", type=SHARE, metavar="P%", help="The percentage of epochs by which it is at its end; default 62%."
)
@click.option("--rounds", type=int, metavar="N", help="How many rounds --schedule steps takes; default 5.")
@click.option("--prune-every", type=int, metavar="N", help="Prune after every N batches; default 45.")
@click.option("--scope", help="global: one threshold for all tensors (default); layer: as many in each.")
@click.option(
    "--score", help="magnitude (default); gradient: the loss that a weight would cost (with --learning-rate)."
)
@click.option("--pattern", metavar="P", help="Prune whole rows, columns or channels; or 2:4: two of each four stay.")
@click.option("--regrow", is_flag=True, default=None, help="Let pruned weights return while training.")
@click.option("--prune-biases", is_flag=True, default=None, help="Let biases compete with the weights.")
@click.option("--keep-idle", is_flag=True, help="Keep weights that change no output on the training data.")
@click.option(
    "--reassign", type=float, metavar="P", help="Let weights change codes, at P a bit; default .01 if rate is found."
)
@click.option("--bias-bits", type=int, metavar="B", help="16: biases in float16 (default); 1 to 8: 2^B shared values.")
@click.option("--holdout", type=SHARE, metavar="P%", help="The percentage of samples kept for validation; default 10%.")
@click.option("--patience", type=int, metavar="N", help="Stop a phase after N epochs that bring nothing.")
@click.option("--seed", type=int, metavar="N", help="Decides the order of samples; default 0.")
@click.option("--device", metavar="D", help="cpu (default), cuda, mps, or auto: a GPU where there is one.")
@click.option("--checkpoint", type=FILE, help="Written after each epoch, continued from; default: OUTPUT.checkpoint.")
@click.option("--no-checkpoint", is_flag=True, help="Write none.")
@threads
@as_json
@force
@click.pass_context
def command(
    ctx: click.Context,
    /,
    model: str,
    data: str | None,
    batch_axis: dict[str, int | None] | None,
    batches: str | None,
    labels: str | None,
    validation: str | None,
    validation_labels: str | None,
    loss: str | None,
    distill: bool,
    output: str | None,
    plan: str | None,
    keep_idle: bool,
    checkpoint: str | None,
    no_checkpoint: bool,
    max_drop: float | None,
    strict: bool,
    as_json: bool,
    force: bool,
    **options: Any,
) -> None:
    """Prune the ONNX file MODEL while training it, share its weights, train the shared values, and write a .dcz file.

    With --labels it learns these, with --distill or without labels the answers of MODEL itself; a --loss of your own is
    a function (outputs, inputs, labels) that gives a tensor, or a class that is made of the network and its original.
    The epoch that does best on the validation samples is kept. Without --learning-rate, short runs find one that suits
    MODEL, and layers whose normalization was folded away have one while they train. A run that was stopped goes on
    where it was when the same command is given again. Needs PyTorch: pip install 'dcz[train]'.

    \b
    Example:
      dcz retrain model.onnx --data train.npz --labels y --distill \\
        --sparsity 97% --bits 3 -o model.dcz
    """
    import os

    from .. import train
    from ..errors import InvalidArgument
    from ..reading.inspect import inspect

    train.backend.check_installed()  # before rich: where both are missing, PyTorch is what to install
    from . import show_compress
    from .retrain_data import data_of, labels_of, loss_of, validation_of
    from .retrain_told import kept, progress, text

    training, chosen_loss = data_of(data, batches, labels), loss_of(loss, distill)
    output = output or beside(model, ".dcz")
    if checkpoint and no_checkpoint:
        raise InvalidArgument("give --checkpoint or --no-checkpoint, not both")
    if validation_labels and not validation:
        raise InvalidArgument("--validation-labels are those of --validation: give that too")
    if (
        labels
        and chosen_loss != "distill"
        and (options["temperature"] is not None or options["label_share"] is not None)
    ):
        raise InvalidArgument("--temperature and --label-share are those of --distill: give that too")
    if options["label_share"] is not None and not labels:
        raise InvalidArgument("--label-share is that of --labels: give them too")
    if strict and max_drop is None:
        raise InvalidArgument("--strict is about a drop: give --max-drop too")
    checkpoint = None if no_checkpoint else checkpoint or f"{output}.checkpoint"
    recipe = train.Recipe(
        **{name: value for name, value in options.items() if value is not None}, drop_idle=not keep_idle
    )
    if checkpoint and os.path.exists(checkpoint):
        click.echo(f"dcz: going on from {printable(checkpoint)}", err=True)
    with kept(checkpoint), progress(recipe) as report:
        result = train.retrain(
            model,
            output,
            training,
            labels=labels_of(labels),
            validation=validation_of(validation, validation_labels),
            batch_axis=batch_axis,
            recipe=recipe,
            plan=plan,
            loss=chosen_loss,
            checkpoint=checkpoint,
            progress=report,
            warn=warn,
            force=force,
            max_drop=max_drop,
        )
    if as_json:
        print_json(result.to_dict() | {"report": inspect(output).to_dict()})
    else:
        show_compress.retrained(inspect(output), text(result), is_verbose() and not is_quiet())
    ctx.exit(0 if result.holds or not strict else 1)
