"""Lines on logarithmic axes, as SVG: no library is needed for that.

svg("weights", [("seconds", {"compress": [(1e6, 0.3), (1e7, 2.4)]})])   ->   "<svg ...>...</svg>"
"""

import math
from collections.abc import Sequence
from html import escape

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # Okabe and Ito's, for all eyes
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 460, 400, 70, 90, 20, 50  # of a panel, and its margins, in pixels
Points = Sequence[tuple[float, float]]


def svg(across: str, panels: Sequence[tuple[str, dict[str, Points]]]) -> str:
    """Panels side by side, each a title and its lines by name; `across` names the horizontal axis of all.

    A thin grey line in each grows in proportion to the horizontal axis.
    """
    body = "".join(
        f'<g transform="translate({WIDTH * number},0)">{_panel(across, title, lines)}</g>'
        for number, (title, lines) in enumerate(panels)
    )
    size = f'width="{WIDTH * len(panels)}" height="{HEIGHT}"'
    style = 'font-family="sans-serif" font-size="12" fill="#222"'
    ground = '<rect width="100%" height="100%" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{ground}{body}</svg>\n'


def _panel(across: str, title: str, lines: dict[str, Points]) -> str:
    points = [point for line in lines.values() for point in line]
    x, x_ticks = _axis([x for x, _ in points], LEFT, WIDTH - RIGHT)
    y, y_ticks = _axis([y for _, y in points], HEIGHT - BOTTOM, TOP)
    parts = [_text(WIDTH / 2, 18, title, "middle", "bold"), _text(WIDTH / 2, HEIGHT - 12, across, "middle")]
    for tick in x_ticks:
        parts.append(_line([(x(tick), TOP), (x(tick), HEIGHT - BOTTOM)], "#ddd"))
        parts.append(_text(x(tick), HEIGHT - BOTTOM + 18, _number(tick), "middle"))
    for tick in y_ticks:
        parts.append(_line([(LEFT, y(tick)), (WIDTH - RIGHT, y(tick))], "#ddd"))
        parts.append(_text(LEFT - 8, y(tick) + 4, _number(tick), "end"))
    parts.append(_proportional(x, y, x_ticks, y_ticks))
    for number, (name, line) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [(x(a), y(b)) for a, b in line]
        parts.append(_line(places, colour, 2))
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in places]
        column, row = number % 2, number // 2
        key = LEFT + 190 * column
        parts.append(_line([(key, 40 + 18 * row), (key + 20, 40 + 18 * row)], colour, 2))
        parts.append(_text(key + 26, 44 + 18 * row, name))
    return "".join(parts)


def _axis(values: Sequence[float], begin: float, end: float):
    """Where a value lies on an axis, in pixels, and the powers of ten along it."""
    low = math.floor(math.log10(min(values)))
    high = max(low + 1, math.ceil(math.log10(max(values)) - 1e-9))
    ticks = [10.0**power for power in range(low, high + 1)]
    return lambda value: begin + (end - begin) * (math.log10(value) - low) / (high - low), ticks


def _proportional(x, y, x_ticks: list[float], y_ticks: list[float]) -> str:
    """A line of slope one across the panel, through its lower left corner or below it."""
    span = min(x_ticks[-1] / x_ticks[0], y_ticks[-1] / y_ticks[0])
    return _line([(x(x_ticks[0]), y(y_ticks[0])), (x(x_ticks[0] * span), y(y_ticks[0] * span))], "#999", 1, "4 4")


def _line(points: Points, colour: str, width: float = 1, dashes: str = "none") -> str:
    places = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    look = f'fill="none" stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dashes}"'
    return f'<polyline points="{places}" {look}/>'


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}"'
    return f"<text {place}>{escape(text)}</text>"


def _number(value: float) -> str:
    """1000000 as 1 M."""
    for size, unit in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
