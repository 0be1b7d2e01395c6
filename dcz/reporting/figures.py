"""Inline SVG: treemaps, bars and histograms. Each says in words what it shows."""

from collections.abc import Sequence

from ..display.elements import Html, tag
from ..reading.distributions import Distribution, Histogram
from ..reading.inspect import TensorReport
from ..reading.prefixes import Node
from ..text import counted, shorten
from ..text import size as size_of
from .treemap import Rect, Size, Tile, tiles

WIDTH, HEIGHT = 960.0, 440.0  # of a treemap, in units of its own: it is scaled to the page
CHARACTER, BOLD_CHARACTER = 6.9, 7.7  # units, about, of the 11-unit font
LINE = 13.0
CHART_WIDTH, CHART_HEIGHT = 300.0, 90.0
MAX_TICKS = 256  # of a codebook that are drawn


def treemap(root: Node[TensorReport], size: Size, title: str, numbers: dict[str, int]) -> Html:
    """The tensors as rectangles by `size`; `numbers` are those of their rows in the table."""
    drawn = list(tiles(root, size, Rect(0, 0, WIDTH, HEIGHT)))
    total = root.sum(size) or 1.0
    top = sorted((tile for tile in drawn if tile.depth == 0), key=lambda tile: -tile.nbytes)[:5]
    words = ", ".join(f"{tile.name} {100 * tile.nbytes / total:.0f} %" for tile in top)
    return tag(
        "svg",
        [_tile(tile, total, numbers) for tile in drawn],
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        role="img",
        aria_label=f"{title}. The largest: {words}. The table below has all tensors.",
        class_="treemap",
    )


def _tile(tile: Tile, total: float, numbers: dict[str, int]) -> Html:
    """One rectangle, with its name where there is room, and all that is known of it as its title."""
    rect = tile.rect
    share = 100 * tile.nbytes / total
    count = f", {len(tile.rows)} tensors" if len(tile.rows) > 1 else f", {tile.rows[0].encoding}"
    title = tag("title", f"{tile.name}: {size_of(tile.nbytes)}, {share:.1f} %{count}")
    texts = []
    width = int((rect.width - 6) / (BOLD_CHARACTER if tile.is_group else CHARACTER))
    if width >= 3 and rect.height >= LINE + 2:
        texts.append(
            tag(
                "text",
                shorten(tile.label.rstrip("/.:") or tile.label, width),
                x=_round(rect.x + 4),
                y=_round(rect.y + 11),
            )
        )
        if not tile.is_group and rect.height >= 2 * LINE + 4 and width >= 7:
            figure = shorten(size_of(tile.nbytes), width)
            texts.append(tag("text", figure, x=_round(rect.x + 4), y=_round(rect.y + 11 + LINE), class_="minor"))
    by_encoding: dict[str, int] = {}
    for row in tile.rows:
        by_encoding[row.encoding] = by_encoding.get(row.encoding, 0) + row.huffman
    encoding = max(by_encoding, key=lambda name: by_encoding[name])
    number = numbers.get(tile.rows[0].name) if len(tile.rows) == 1 else None
    box = tag(
        "rect",
        x=_round(rect.x),
        y=_round(rect.y),
        width=_round(max(0.0, rect.width)),
        height=_round(max(0.0, rect.height)),
    )
    kind = "group" if tile.is_group else f"e-{encoding}"
    return tag("g", title, box, texts, class_=kind, data_row=number)


def _round(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _bars(counts: Sequence[float], x: float, width: float, base: float, height: float) -> str:
    """The path of bars of equal width upon a base line."""
    largest = max(counts, default=0) or 1
    step = width / max(1, len(counts))
    parts = []
    for number, count in enumerate(counts):
        if count:
            tall = max(0.6, height * count / largest)
            left = x + number * step
            parts.append(
                f"M{_round(left)} {_round(base)}v-{_round(tall)}h{_round(max(0.5, step - 0.4))}v{_round(tall)}z"
            )
    return "".join(parts)


def value_chart(values: Histogram, found: Distribution, of_model: bool) -> Html:
    """The histogram of a tensor's weights, and its codebook as lines below."""
    base, ticks = CHART_HEIGHT - 26, ""
    span = values.high - values.low
    shown = found.entries if len(found.entries) <= MAX_TICKS and not found.has_scales else ()
    for entry in shown:
        place = CHART_WIDTH * (entry - values.low) / span if span else 0.0
        if 0 <= place <= CHART_WIDTH:
            ticks += f"M{_round(place)} {_round(base + 2)}v8"
    kind = "of the model" if of_model else "as decoded"
    words = f"Weights {kind}, from {values.low:.4g} to {values.high:.4g}"
    if found.entries:
        words += f"; {counted(len(found.entries), 'shared value')}" + (
            ", before the scales of rows" if found.has_scales else ""
        )
    if values.outside:
        words += f"; {counted(values.outside, 'is', 'are')} not finite"
    parts = [
        tag("path", d=_bars(values.counts, 0, CHART_WIDTH, base, base - 4), class_="bars"),
        tag("path", d=ticks, class_="ticks") if ticks else None,
        tag("text", f"{values.low:.3g}", x=0, y=CHART_HEIGHT - 4),
        tag("text", f"{values.high:.3g}", x=f"{CHART_WIDTH:g}", y=CHART_HEIGHT - 4, text_anchor="end"),
    ]
    if values.low < 0 < values.high:
        zero = CHART_WIDTH * -values.low / span
        if CHART_WIDTH * 0.15 < zero < CHART_WIDTH * 0.85:
            parts.append(tag("text", "0", x=_round(zero), y=CHART_HEIGHT - 4, text_anchor="middle"))
    return _chart(words, parts)


def count_chart(counts: Sequence[int], words: str, first: str, last: str) -> Html:
    """Bars of counts, as of codes or of gaps."""
    base = CHART_HEIGHT - 16
    parts = [
        tag("path", d=_bars(counts, 0, CHART_WIDTH, base, base - 4), class_="bars"),
        tag("text", first, x=0, y=CHART_HEIGHT - 4),
        tag("text", last, x=f"{CHART_WIDTH:g}", y=CHART_HEIGHT - 4, text_anchor="end"),
    ]
    return _chart(words, parts)


def _chart(words: str, parts: Sequence[Html | None]) -> Html:
    picture = tag(
        "svg",
        parts,
        viewBox=f"0 0 {CHART_WIDTH:g} {CHART_HEIGHT:g}",
        role="img",
        aria_label=words,
        class_="chart",
    )
    return tag("figure", picture, tag("figcaption", words))


def stacked(parts: Sequence[tuple[str, float, str]]) -> Html:
    """One bar of (name, share, CSS class) parts."""
    drawn, left = [], 0.0
    for name, share, kind in parts:
        width = WIDTH * share
        title = tag("title", f"{name}: {100 * share:.1f} %")
        drawn.append(tag("g", title, tag("rect", x=_round(left), y=0, width=_round(width), height=28), class_=kind))
        left += width
    words = ", ".join(f"{name} {100 * share:.1f} %" for name, share, _ in parts)
    return tag(
        "svg", drawn, viewBox=f"0 0 {WIDTH:g} 28", role="img", aria_label=words, class_="stacked",
        preserveAspectRatio="none",
    )  # fmt: skip
