"""Results (JSON) -> the page, and the table that the README has of it.

tables.page(json.loads(Path("results.json").read_text()))  ->  markdown
tables.summary(...)  ->  the README's table
"""

from typing import Any

from .measuring import Result

COLUMNS = ["", "bytes", "of the original", "alike, %", "right, %", "load, ms", "run, ms", "runs as it is"]
SUMMARY = {  # rows of the README's table, and the ways that they are
    "original, float32": "original",
    "original + xz": "original + xz -9e",
    "float16": "float16",
    "onnxruntime dynamic uint8": "onnxruntime dynamic uint8",
    "the same + xz": "onnxruntime dynamic uint8 + xz -9e",
    "onnxruntime static int8": "onnxruntime static int8",
    "the same + xz ": "onnxruntime static int8 + xz -9e",
    "nncodec (its default)": "nncodec, qp -38",
    "`dcz --lossless`": "dcz --lossless",
    "**`dcz`**, default": "dcz",
    "**`dcz`**, calibrated": "dcz --calibrate --ratio 7",
}
HEAD = """# dcz beside other ways

Written by `make compare`: {machine}.

Bytes are those of whole files. `alike` is how far the answers are those of the original, by the network's own task;
`right` is how far they are true, where that is known. `load` is decoding and an onnxruntime session, `run` one sample;
both are milliseconds of processor on one thread, the best of several, on a machine that did other things too.
onnxruntime's dynamic quantizers have a scale for a tensor; its static one has a scale for a channel, and activations
calibrated on other inputs than those that are scored, as is dcz where it is calibrated. float16 is
`onnxruntime.transformers.float16`, with inputs and outputs as they were. nncodec codes the tensors that dcz compresses,
qp -38 is its default, and the rest of the model is added, deflated. Its decoding runs in a process of its own. Its
rows, and some of the transformer's, were measured on another day, when the machine had more to do: what runs there is a
float32 model, which takes the original's time whatever the row says.
"""


def page(known: dict[str, Any]) -> str:
    """The whole page."""
    text = HEAD.format(machine=", ".join(f"{key} {value}" for key, value in known["machine"].items()))
    for name, network in known["networks"].items():
        results = {way: Result(**result) for way, result in network["results"].items()}
        text += f"\n## {name}\n\nScored on {network['about']}: {network['measure']}.\n\n{table(results)}"
        failed = [f"- {way}: {result.missing}" for way, result in results.items() if result.missing]
        if failed:
            text += "\nNot to be had:\n\n" + "\n".join(failed) + "\n"
    return text


def summary(known: dict[str, Any]) -> str:
    """The table of the README: a row a way, a column a network, of bytes and how far the answers are the original's."""
    networks = known["networks"]
    lines = [f"| | {' | '.join(networks)} | runs as it is |", "|---" * (len(networks) + 2) + "|"]
    for label, way in SUMMARY.items():
        results = [Result(**network["results"].get(way, {})) for network in networks.values()]
        cells = ["-" if one.bytes is None else f"{one.bytes:,} ({percent(one.alike)} %)" for one in results]
        runs = "yes" if any(one.as_it_is for one in results) else "no"
        lines.append(f"| {label.strip()} | {' | '.join(cells)} | {runs} |")
    return "\n".join(lines) + "\n"


def table(results: dict[str, Result]) -> str:
    """A row a way."""
    original = results["original"].bytes
    assert original is not None
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for way, result in results.items():
        if result.bytes is None:
            continue
        cells = [f"{result.bytes:,}", f"{100 * result.bytes / original:.1f} %", percent(result.alike)]
        cells += [percent(result.right), _milliseconds(result.load), _milliseconds(result.run)]
        lines.append(f"| {way} | {' | '.join(cells)} | {'yes' if result.as_it_is else 'no'} |")
    return "\n".join(lines) + "\n"


def percent(share: float | None) -> str:
    """A share with two digits; nothing where there is none."""
    return "" if share is None else f"{100 * share:.2f}"


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.1f}"
