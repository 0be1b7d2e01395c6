"""Draw docs/comparison.svg, the figure of the README, from what `make compare` measured.

python docs/make_figure.py
"""

import html
import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "tests" / "benchmarks" / "compare" / "results.json"
FIGURE = HERE / "comparison.svg"
ROWS = {  # ways that are shown, and what they are called
    "original": "float32, as it is",
    "float16": "float16",
    "onnxruntime dynamic uint8 + xz -9e": "dynamic uint8 + xz",
    "onnxruntime static int8 + xz -9e": "static int8 + xz",
    "dcz": "dcz",
    "dcz --calibrate --ratio 7": "dcz, calibrated",
}
KINDS = {"SqueezeNet 1.1": "images", "paraphrase-MiniLM-L3": "text", "PP-OCRv4 rec": "OCR"}
LABELS, COLUMN, BAR, ROW, TOP = 156, 280, 112, 30, 66  # pixels
MARGIN = 14
ANSWERS = BAR + 58  # where in a column the answers are
STYLE = """
text { font: 13px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #24292f; }
.head { font-weight: 600; } .quiet { fill: #57606a; } .bad { fill: #b42318; }
.ground { fill: #ffffff; } .bar { fill: #8c959f; } .ours { fill: #0969da; }
.line { stroke: #8c959f; stroke-opacity: 0.4; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; } .quiet { fill: #9da7b3; } .bad { fill: #ff9b8a; }
  .ground { fill: #0d1117; } .bar { fill: #6e7681; } .ours { fill: #4493f8; }
}
"""
BAD = 0.97  # answers below this are printed in another colour


def main() -> None:
    """Write the figure."""
    FIGURE.write_text(figure(json.loads(RESULTS.read_text())))
    print(FIGURE)


def figure(known: dict) -> str:
    """The figure: a row for each way, a column for each network; a bar is the file, beside it how far answers agree."""
    width, height = LABELS + COLUMN * len(known["networks"]), TOP + ROW * len(ROWS) + 36
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title description">',
        '<title id="title">Size of the file, and how far the answers stay the same</title>',
        f'<desc id="description">{_described(known)}</desc>',
        f"<style>{STYLE}</style>",
        '<rect class="ground" width="100%" height="100%" rx="8"/>',  # legible on a page of any colour
    ]
    for number, row in enumerate(ROWS.values()):
        name = "head" if row.startswith("dcz") else "plain"
        parts.append(_text(MARGIN, TOP + ROW * number + 20, row, name))
    for column, (name, network) in enumerate(known["networks"].items()):
        left = LABELS + COLUMN * column
        parts.append(_text(left, 26, f"{name} ({KINDS[name]})", "head"))
        parts.append(_text(left, 46, "size", "quiet"))
        parts.append(_text(left + ANSWERS, 46, network["measure"].split(",")[0], "quiet"))
        parts.append(f'<line class="line" x1="{left}" x2="{left}" y1="{TOP}" y2="{TOP + ROW * len(ROWS)}"/>')
        for number, (way, row) in enumerate(ROWS.items()):
            result, top = network["results"].get(way, {"bytes": None}), TOP + ROW * number
            parts += _cell(left, top, result, network["results"]["original"]["bytes"], row.startswith("dcz"))
    below = (
        "By make compare. Bars: the file's share of the original's bytes. Beside them: how far answers stay the same."
    )
    parts.append(_text(MARGIN, height - 12, below, "quiet"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _cell(left: int, top: int, result: dict, original: int, ours: bool) -> list[str]:
    """A bar, its share of the original, and the answers."""
    if result["bytes"] is None:
        return [_text(left + 6, top + 20, "-", "quiet")]
    share, alike = result["bytes"] / original, result["alike"]
    bar = f'<rect class="{"ours" if ours else "bar"}" x="{left}" y="{top + 6}" width="{BAR * share:.1f}" height="18"/>'
    answers = _text(left + ANSWERS, top + 20, f"{100 * alike:.2f} %", "bad" if alike < BAD else "plain")
    return [bar, _text(round(left + BAR * share + 5), top + 20, f"{100 * share:.0f} %", "plain"), answers]


def _text(x: int, y: int, text: str, name: str) -> str:
    return f'<text class="{name}" x="{x}" y="{y}">{html.escape(text)}</text>'


def _described(known: dict) -> str:
    """The figure in words, for those who do not see it."""
    said = []
    for name, network in known["networks"].items():
        original = network["results"]["original"]["bytes"]
        for way, row in ROWS.items():
            result = network["results"].get(way, {"bytes": None})
            if result["bytes"] is not None:
                said.append(f"{name}, {row}: {result['bytes'] / original:.0%}, {100 * result['alike']:.2f} % kept.")
    return html.escape(" ".join(said))


if __name__ == "__main__":
    main()
