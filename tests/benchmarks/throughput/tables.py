"""Results (JSON) -> the page.

tables.page(json.loads(Path("results.json").read_text()))  ->  markdown
"""

from .rows import Measured, rows
from .subjects import KINDS

WRITE = "write, page-cached"
HEAD = """# Throughput

VGG-16's exact layers with drawn weights (138 million float32, 553 MB). Throughput is in MB of float32 a second: those
that went in, or came back. A row marked * was timed on a slice of fc7 and extrapolated. Every row is a process of its
own; `peak` is what it held above its imports and its input. The wall clock depends on what else the machine does;
processor seconds, of all threads together, do so less, and all ratios are of those; the load is given. What dcz does to
compress includes reading the ONNX file, pruning, sharing, coding, syncing the file and decoding it once more; others
only code what is in memory: zstd and bitarray what pruning and sharing have left, nncodec the weights with its own
quantization. KMeans is the time that scikit-learn would take for the sharing alone.
"""


def page(known: dict) -> str:
    """The whole page from the results of each kind."""
    text = HEAD
    for kind in (kind for kind in KINDS if kind in known):
        machine, found = known[kind]["machine"], [Measured(**row) for row in known[kind]["rows"]]
        text += f"\n## {kind.capitalize()}: {KINDS[kind]}\n\n`{machine['command']}`, "
        text += ", ".join(
            f"{key} {value}" for key, value in machine.items() if key not in ("command", "divisor") and value
        )
        if machine["divisor"] != "1":
            text += (
                f"\n\nMeasured on a network with {machine['divisor']} times fewer units a layer, at the same densities."
            )
        if kind != "default" and len(found) < len(rows()) + 2:
            text += "\n\nThe run was stopped before all rows were measured: run the command again."
        text += "\n\n" + _table(found) + _goals(found)
    return text


def _table(found: list[Measured]) -> str:
    by_name = {each.row: each for each in found}
    text = "| | MB/s | MB/s of processor | times nncodec | of the write | ratio | peak, MB |\n"
    text += "|---|---|---|---|---|---|---|\n"
    for each in found:
        if each.missing:
            text += f"| {each.row} | {each.missing} | | | | | |\n"
            continue
        ratio = f"{each.handled / each.made:.1f}" if each.made else ""
        cells = [_mb(each.rate), _mb(each.cpu_rate), _times(each, by_name), _of_write(each, by_name), ratio]
        text += f"| {each.row}{'*' if each.slice else ''} | {' | '.join(cells)} | {each.peak / 1e6:,.0f} |\n"
    return text


def _mb(rate: float) -> str:
    return f"{rate / 1e6:,.3g}" if rate < 1e9 else f"{rate / 1e6:,.0f}"


def _rival(each: Measured, by_name: dict[str, Measured]) -> Measured | None:
    rival = by_name.get("nncodec, " + each.row.rsplit(", ")[-1])
    return rival if rival is not None and not rival.missing else None


def _times(each: Measured, by_name: dict[str, Measured]) -> str:
    rival = _rival(each, by_name)
    return f"{each.cpu_rate / rival.cpu_rate:.1f}" if rival else ""


def _of_write(each: Measured, by_name: dict[str, Measured]) -> str:
    floor = by_name.get(WRITE)
    return f"{floor.cpu_rate / each.cpu_rate:.2f}" if floor and not each.row.endswith(" compress") else ""


def _goals(found: list[Measured]) -> str:
    """What was aimed at, and what it came to: one thread, with isal."""
    by_name, kind = {each.row: each for each in found}, found[0].kind
    if "nncodec, compress" not in by_name:
        return ""
    ours = [by_name.get(f"dcz, 1 threads, isal, {way}") for way in ("compress", "decompress")]
    if any(each is None or each.missing for each in ours):  # not installed, or a run that was stopped
        return ""
    most = {"sparse": 2.5}.get(kind, 6)
    lines = [
        f"compression {_times(ours[0], by_name) or '?'} times nncodec's (goal: 20)",
        f"decompression {_times(ours[1], by_name) or '?'} times nncodec's (goal: 10)",
        f"decompression takes {_of_write(ours[1], by_name)} of the page-cached write (goal: at most {most:g})",
    ]
    return "\nOne thread, with isal: " + "; ".join(lines) + ".\n"


def line(each: Measured) -> str:
    """A row in a line, for those who wait."""
    if each.missing:
        return f"{each.row}: {each.missing}"
    return f"{each.row}: {_mb(each.rate)} MB/s, {_mb(each.cpu_rate)} of processor, peak {each.peak / 1e6:,.0f} MB"
