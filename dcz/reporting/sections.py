"""The sections of a report: each a function of the figures, and nothing where there are none for it."""

import math

from ..display.elements import Html, tag
from ..evaluation.metrics import distance
from ..reading.distributions import Distribution
from ..reading.inspect import PURPOSES, TensorReport
from ..text import counted, size
from .figures import count_chart, stacked, treemap, value_chart
from .gather import MOST_DRAWN, Facts
from .samples import changed_list

FLOAT32 = 4  # bytes
WORST = 20  # tensors whose errors are drawn
SERVES = {
    "weights": "codes, and exact values",
    "index": "where kept weights are",
    "codebook": "shared values",
    "tables": "Huffman tables, and heads of records",
    "directory": "names, types and places",
    "graph": "the model without its weights",
}
FULL_BAR = 60.0  # decibels of the longest bar
BAR_EM = 8.0


def section(title: str, *children: object, anchor: str | None = None) -> Html:
    """A section under a heading."""
    return tag("section", tag("h2", title), *children, id=anchor)


def _wide(table: Html, name: str) -> Html:
    """A table that scrolls by itself where the page is narrow, by the keyboard too."""
    return tag("div", table, class_="wide", role="region", aria_label=name, tabindex=0)


def _card(name: str, figure: str, more: str = "") -> Html:
    return tag("div", tag("dt", name), tag("dd", figure, tag("small", more) if more else None))


def cards(facts: Facts) -> Html:
    """The figures that matter most."""
    report = facts.report
    found = [_card("Size", size(report.file_bytes), f"{report.file_bytes:,} bytes")]
    if report.ratio:
        found.append(_card("Times smaller", f"{report.ratio:.2f}", f"than {report.source_bytes or 0:,} bytes"))
    found.append(_card("Tensors", f"{len(report.rows):,}", counted(report.total.elements, "value")))
    if facts.weights is not None:
        same = facts.weights.decibels == math.inf
        figure = "the same" if same else f"{facts.weights.decibels:.1f} dB"
        found.append(
            _card(
                "Weights",
                figure,
                "signal to error" if same else f"signal to error; {facts.weights.worst:.1f} dB of the worst tensor",
            )
        )
    found += [
        _card("Answers", f"{100 * output.score:.2f} %", f"{output.measure}, of {output.samples:,}")
        for output in (facts.verified.outputs if facts.verified is not None and facts.data is not None else ())
        if output.score is not None and output.samples
    ][:2]
    if facts.data is None and report.kind == "dcz":
        found.append(_card("Answers", "not measured", "give --against and --data"))
    return tag("dl", found, class_="cards")


def maps(facts: Facts) -> Html:
    """Treemaps of the bytes, by the prefixes of names, and the switch between them."""
    numbers = {row.name: number for number, row in enumerate(_by_bytes(facts))}
    kinds = [
        ("file", "in the file", lambda row: float(row.huffman)),
        ("memory", "in memory, decoded", lambda row: float(row.original)),
        ("float32", "as float32", lambda row: float(FLOAT32 * row.elements)),
    ]
    kinds = kinds if facts.report.kind == "dcz" else kinds[1:]
    switch = tag(
        "fieldset",
        tag("legend", "Bytes of the tensors", class_="soft"),
        [
            tag(
                "label", tag("input", type="radio", name="map", id=f"map-{name}", checked=number == 0), " ", words,
            )
            for number, (name, words, _) in enumerate(kinds)
        ],
        class_="switch",
    )  # fmt: skip
    drawn = [
        tag(
            "div",
            treemap(facts.tree, size, f"Bytes {words}, by the prefixes of names", numbers),
            class_=f"map map-{name}",
        )
        for name, words, size in kinds
    ]
    encodings = list(dict.fromkeys(row.encoding for row in _by_bytes(facts)))
    legend = [tag("li", tag("span", class_=f"key e-{name}"), name) for name in encodings]
    return section("Where the bytes are", switch, drawn, tag("ul", legend, class_="legend"))


def _by_bytes(facts: Facts) -> list[TensorReport]:
    return sorted(facts.report.rows, key=lambda row: -row.huffman)


def storage(facts: Facts) -> Html | None:
    """What the bytes of the file serve."""
    report = facts.report
    if report.kind != "dcz" or not report.file_bytes:
        return None
    parts = [(name, report.total.parts[name]) for name in PURPOSES]
    parts += [("directory", report.directory_bytes), ("graph", report.graph_bytes)]
    shares = [(name, nbytes / report.file_bytes, f"p-{name}") for name, nbytes in parts]
    rows = [
        tag("tr", tag("td", tag("span", class_=f"key p-{name}"), name), tag("td", f"{nbytes:,}"),
            tag("td", f"{100 * nbytes / report.file_bytes:.1f} %"), tag("td", SERVES[name], class_="l w"))
        for name, nbytes in parts
    ]  # fmt: skip
    head = tag("tr", [tag("th", "Purpose", scope="col"), tag("th", "Bytes", scope="col"),
                      tag("th", "Share", scope="col"), tag("th", "What it is", scope="col", class_="l")])  # fmt: skip
    table = tag("table", tag("thead", head), tag("tbody", rows))
    return section("What the bytes serve", stacked(shares), _wide(table, "What the bytes serve"))


def answers(facts: Facts) -> Html | None:
    """How much the answers changed, and which samples'."""
    if facts.verified is None or facts.data is None:
        return None
    rows = []
    for output in facts.verified.outputs:
        far = distance(output.decibels)
        words = output.describe() if output.samples else "nothing to compare"
        rows.append(tag("tr", tag("td", output.output), tag("td", words, class_="l w"), tag("td", far)))
    head = tag("tr", [tag("th", "Output", scope="col"), tag("th", "Answers", scope="col", class_="l"),
                      tag("th", "Signal to error", scope="col")])  # fmt: skip
    table = _wide(tag("table", tag("thead", head), tag("tbody", rows)), "Outputs")
    intro = tag("p", f"On {facts.data}, against {facts.against}.", class_="soft")
    return section("What the answers are worth", intro, table, changed_list(facts))


def errors(facts: Facts) -> Html | None:
    """The weights' signal to error, layer by layer, the worst first."""
    changed = facts.verified.worst_first if facts.verified is not None else []
    if not changed:
        return None
    rows = []
    for each in changed[:WORST]:
        width = BAR_EM * min(1.0, max(0.0, each.decibels / FULL_BAR)) if math.isfinite(each.decibels) else 0.0
        bar = tag("span", class_="db", style=f"width:{width:.2f}em")
        rows.append(tag("tr", tag("td", each.name), tag("td", bar, class_="l bar"), tag("td", _db(each.decibels)),
                        tag("td", _db(each.typical)), tag("td", _db(each.worst_row))))  # fmt: skip
    names = ("Tensor", "", "All weights, dB", "Typical ones", "Worst row")
    head = tag("tr", [tag("th", name, scope="col") if name else tag("td", "", class_="bar") for name in names])
    table = _wide(tag("table", tag("thead", head), tag("tbody", rows)), "Error by layer")
    more = f" The {WORST} worst are shown, the table below has all." if len(changed) > WORST else ""
    equal = sum(each.decibels == math.inf for each in facts.differences.values())
    corrected = len(facts.differences) - equal - len(changed)
    others = counted(equal, "is", "are")
    biases = (
        f"; {counted(corrected, 'other', 'others')}, biases and the like, were corrected for that" if corrected else ""
    )
    shown = counted(len(changed), "tensor")
    intro = f"Signal to error of {shown}, the worst first{biases}; {others} bit for bit the same.{more}"
    return section("Error by layer", tag("p", intro, class_="soft"), table)


def _db(decibels: float | None) -> str:
    return "" if decibels is None else "equal" if decibels == math.inf else f"{decibels:.1f}"


def tensors(facts: Facts) -> Html:
    """The table of all tensors."""
    report, compares = facts.report, bool(facts.differences)
    heads = [
        "Tensor",
        "Type",
        "Shape",
        "Encoding",
        "Values",
        "Kept",
        "Bits a weight",
        "In memory",
        "In the file",
        "Share",
    ]
    heads += ["Signal to error, dB"] if compares else []
    lefts = {"Tensor", "Type", "Shape", "Encoding"}
    head = tag("tr", [tag("th", name, scope="col", class_="l" if name in lefts else None) for name in heads])
    rows = [_row(facts, number, row, compares) for number, row in enumerate(_by_bytes(facts))]
    total = report.total
    foot = [tag("td", "all tensors"), tag("td", ""), tag("td", ""), tag("td", ""), tag("td", f"{total.elements:,}"),
            tag("td", ""), tag("td", _bits(total.huffman, total.elements)), tag("td", f"{total.original:,}"),
            tag("td", f"{total.huffman:,}"), tag("td", _percent(total.huffman, report.file_bytes))]  # fmt: skip
    foot += [tag("td", "")] if compares else []
    table = tag("table", tag("thead", head), tag("tbody", rows), tag("tfoot", tag("tr", foot)), id="tensors")
    find = tag(
        "p", tag("label", "Find tensors ", tag("input", type="search", autocomplete="off", spellcheck="false")), " ",
        tag("output", "", aria_live="polite"), class_="find", hidden=True,
    )  # fmt: skip
    return section("Tensors", find, _wide(table, "Tensors"), anchor="table")


def _row(facts: Facts, number: int, row: TensorReport, compares: bool) -> Html:
    name: object = row.name
    if row.name in facts.distributions:
        name = tag("a", row.name, href=f"#d{number}")
    kept = "" if row.kept is None else _percent(row.kept, row.elements)
    share = row.huffman / facts.report.file_bytes if facts.report.file_bytes else 0.0
    cells = [
        tag("td", name), tag("td", row.dtype, class_="l"), tag("td", _shape(row), class_="l"),
        tag("td", tag("span", class_=f"key e-{row.encoding}"), row.encoding, class_="l"),
        _figure(row.elements, f"{row.elements:,}"), _figure(None if not kept else (row.kept or 0) / row.elements, kept),
        _figure(8 * row.huffman / row.elements if row.elements else None, _bits(row.huffman, row.elements)),
        _figure(row.original, f"{row.original:,}"), _figure(row.huffman, f"{row.huffman:,}"),
        _figure(share, f"{100 * share:.1f} %"),
    ]  # fmt: skip
    if compares:
        found = facts.differences.get(row.name)
        decibels = None if found is None else found.decibels
        value = 1e9 if decibels == math.inf else decibels if decibels is not None and math.isfinite(decibels) else None
        cells.append(_figure(value, _db(decibels)))
    return tag("tr", cells, id=f"t{number}")


def _figure(value: float | None, text: str) -> Html:
    """A cell that sorts by a number."""
    return tag("td", text, data_v="" if value is None else f"{value:.6g}")


def _shape(row: TensorReport) -> str:
    return "\u00d7".join(map(str, row.shape)) or "scalar"


def _bits(nbytes: int, elements: int) -> str:
    return f"{8 * nbytes / elements:.2f}" if elements else ""


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def details(facts: Facts) -> Html | None:
    """Of the largest tensors: weights with their codebook, codes, gaps, and what limits the size."""
    drawn = [
        (n, row, facts.distributions[row.name])
        for n, row in enumerate(_by_bytes(facts))
        if row.name in facts.distributions
    ]
    if not drawn:
        return None
    intro = "Weights, codes and gaps of each tensor."
    if len(facts.report.rows) > len(drawn):
        intro = f"Weights, codes and gaps of the {min(MOST_DRAWN, len(drawn))} largest tensors of real numbers."
    parts = [_details(facts, number, row, found) for number, row, found in drawn]
    return section("Distributions", tag("p", intro, class_="soft"), parts)


def _details(facts: Facts, number: int, row: TensorReport, found: Distribution) -> Html:
    original = facts.originals.get(row.name)
    charts = [value_chart(original or found.decoded, found, original is not None)]
    if found.code_counts and found.code_entropy is not None:
        words = f"Codes: {counted(len(found.entries), 'shared value')}, by value; entropy {found.code_entropy:.2f} bits"
        if row.weight_bits_huffman is not None:
            words += f", coded in {row.weight_bits_huffman:.2f}"
        charts.append(count_chart(found.code_counts, words, f"{found.entries[0]:.3g}", f"{found.entries[-1]:.3g}"))
    if found.gap_counts and found.gap_entropy is not None:
        words = f"Gaps of {found.gap_bits} bits between kept weights: entropy {found.gap_entropy:.2f} bits a gap"
        charts.append(count_chart(found.gap_counts, words, "0", f"{len(found.gap_counts) - 1} (skips)"))
    limit = facts.limits.get(row.name)
    why = None
    if limit is not None:
        remedy = [" Smaller by ", tag("code", facts.remedies[row.name]), "."] if row.name in facts.remedies else []
        why = tag("p", f"{limit.reason[:1].upper()}{limit.reason[1:]}.", remedy)
    head = tag("summary", f"{row.name}: {row.huffman:,} bytes, {_shape(row)}, {row.encoding}")
    return tag("details", head, why, tag("div", charts, class_="charts"), id=f"d{number}")


def metadata(facts: Facts) -> Html | None:
    """What the file says of itself."""
    report = facts.report
    rows = [tag("tr", tag("td", key), tag("td", value, class_="l w")) for key, value in report.metadata.items()]
    if report.version:
        rows.insert(0, tag("tr", tag("td", "format"), tag("td", f".dcz {report.version}", class_="l")))
    if not rows:
        return None
    return section("Metadata", _wide(tag("table", tag("tbody", rows)), "Metadata"))
