"""Charts as inline SVG: bars, lines with error bars, a funnel, shares, intervals in a table cell.

Colours and fonts are classes of the page's style sheet, so charts follow light, dark and print. Each chart has a title
and a description in words. All are 400 units wide and drawn for a phone first; a page shows them side by side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from potstill.evaluation.page.markup import Child, Html, element

WIDTH = 400


@dataclass(frozen=True, slots=True)
class Bar:
    """One value with its interval; `tone` is a class of the style sheet."""

    label: str
    value: float | None
    low: float | None
    high: float | None
    tone: str = "other"
    hint: str = ""
    note: str = ""
    """A word or two after the label, in small print."""
    heading: str = ""
    """A line above the bar, where a group of bars begins."""


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a line, with its interval where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A named line; lines of one `label` (several seeds) are labelled once."""

    label: str
    points: tuple[Point, ...]
    tone: str = "other"
    marker: str = "circle"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a stacked bar."""

    label: str
    count: int
    tone: str


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale from data to drawing units."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return where a value lies."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        placed = math.log(value) if self.log else value
        share = (placed - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 2)


def bar_chart(bars: Sequence[Bar], title: str, *, left: int = 112, step: int = 32) -> Html:
    """Return horizontal bars on 0 to 100 %, each with its interval as a whisker and its value at the right."""
    top, above = 6, 24
    places, y = [], float(top)
    for bar in bars:
        y += above if bar.heading else 0
        places.append(y + step / 2)
        y += step
    axis = Axis(0, 1, left, WIDTH - 48)
    body = [_vertical_grid(axis, (0, 0.25, 0.5, 0.75, 1), top, y + 2)]
    for bar, place in zip(bars, places, strict=True):
        body += [_text(0, place - step / 2 - 4, bar.heading, "heading")] if bar.heading else []
        body.append(_bar(bar, axis, place))
    return _svg(title, _in_words(bars), y + 22, *body)


def _in_words(bars: Sequence[Bar]) -> str:
    said = []
    for bar in bars:
        name = f"{bar.heading}: {bar.label}" if bar.heading else bar.label
        name += f" ({bar.note})" if bar.note else ""
        said.append(f"{name}: {_percent(bar.value)} % (interval {_percent(bar.low)} to {_percent(bar.high)})")
    return "; ".join(said)


def line_chart(
    lines: Sequence[Line],
    title: str,
    *,
    x_label: str,
    x_ticks: Sequence[float],
    log_x: bool = False,
    y_label: str = "",
    y_ticks: Sequence[float] | None = None,
    as_percent: bool = True,
) -> Html:
    """Return lines over a common x, with error bars where points have intervals, each named at its right end."""
    height, bottom = 270, 228
    ticks = list(y_ticks) if y_ticks is not None else nice_ticks([p.y for line in lines for p in line.points])
    x = Axis(x_ticks[0], x_ticks[-1], 58 if log_x else 46, WIDTH - 110, log=log_x)
    y = Axis(ticks[0], ticks[-1], bottom, 22)
    spell = _whole_percent if as_percent else _plain_number
    body = [_horizontal_grid(y, ticks, spell, 46, WIDTH - 100)]
    body += [_text(x.at(tick), bottom + 17, f"{tick:g}", "tick", anchor="middle") for tick in x_ticks]
    body.append(_text((x.start + x.end) / 2, bottom + 36, x_label, "axis", anchor="middle"))
    body.append(_text(4, 10, y_label, "axis"))
    names = list(dict.fromkeys(line.label for line in lines))
    body += [_line(line, x, y, shift=3 * (names.index(line.label) - (len(names) - 1) / 2)) for line in lines]
    body.append(_end_labels(lines, x, y))
    words = "; ".join(f"{line.label}: " + ", ".join(f"{p.x:g} → {spell(p.y)}" for p in line.points) for line in lines)
    return _svg(title, words[:2000], height, *body)


def funnel_chart(rows: Sequence[tuple[str, Sequence[Part]]], title: str) -> Html:
    """Return stacked bars on one scale, one under the other, each with its total."""
    step, left = 44, 4
    height = step * len(rows) + 4
    most = max((sum(part.count for part in parts) for _, parts in rows), default=1) or 1
    axis = Axis(0, most, left, WIDTH - 4)
    body: list[Html] = []
    for at, (label, parts) in enumerate(rows):
        y = step * at
        body.append(_text(left, y + 15, label, "label"))
        body.append(_text(WIDTH - 4, y + 15, f"{sum(part.count for part in parts):,}", "value", anchor="end"))
        body += _stacked(parts, axis, y + 21)
    words = "; ".join(f"{label}: " + ", ".join(f"{p.count:,} {p.label}" for p in parts) for label, parts in rows)
    return _svg(title, words, height, *body)


def share_chart(rows: Sequence[tuple[str, Sequence[Part]]], title: str) -> Html:
    """Return stacked bars, each cut into the shares of its own total, which stand above it in percent."""
    step, body, words = 46, list[Html](), list[str]()
    for at, (label, parts) in enumerate(rows):
        total = sum(part.count for part in parts) or 1
        said = ", ".join(f"{part.label} {100 * part.count / total:.0f} %" for part in parts)
        words.append(f"{label}: {said}")
        body.append(_text(0, step * at + 15, label, "label"))
        body.append(_text(WIDTH, step * at + 15, said, "value", anchor="end"))
        body += _stacked(parts, Axis(0, total, 0, WIDTH), step * at + 21)
    return _svg(title, "; ".join(words), step * len(rows), *body)


def _stacked(parts: Sequence[Part], axis: Axis, y: float) -> list[Html]:
    drawn, so_far, total = list[Html](), 0, sum(part.count for part in parts)
    for part in parts:
        start, end = axis.at(so_far), axis.at(so_far + part.count)
        so_far += part.count
        hint = element("title", f"{part.label}: {part.count:,}")
        width = max(0.0, end - start - (0.8 if so_far < total else 0))
        drawn.append(element("rect", hint, x=start, y=y, width=width, height=15, class_=f"fill {part.tone}"))
    return drawn


def interval_cell(value: float, low: float, high: float, *, bounds: tuple[float, float], tone: str = "main") -> Html:
    """Return a dot with its interval, for a table cell; all cells of a table share `bounds`, and 0 is marked."""
    axis = Axis(*bounds, 6, 194)
    dot = element("circle", cx=axis.at(value), cy=9, r=4, class_=f"fill {tone}")
    whisker = element("line", x1=axis.at(low), x2=axis.at(high), y1=9, y2=9, class_=f"stroke {tone}")
    zero = element("line", x1=axis.at(0), x2=axis.at(0), y1=-8, y2=26, class_="zero")
    return element("svg", zero, whisker, dot, viewBox="0 0 200 18", class_="cell", aria_hidden="true")


def swatch(tone: str) -> Html:
    """Return a small square of a tone, for a legend."""
    square = element("rect", x=0, y=0, width=12, height=12, rx=2, class_=f"fill {tone}")
    return element("svg", square, viewBox="0 0 12 12", class_="swatch", aria_hidden="true")


def nice_ticks(values: Sequence[float], most: int = 5) -> list[float]:
    """Return at most `most` + 2 round numbers that span the values, from 0 where they are not negative."""
    low, high = min([0.0, *values]), max([0.0, *values])
    if high <= low:
        return [0.0, 1.0]
    rough = (high - low) / most
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(step * at, 10) for at in range(first, last + 1)]


def _bar(bar: Bar, axis: Axis, y: float) -> Html:
    value = _text(WIDTH - 4, y + 5, _percent(bar.value), f"value {bar.tone}-text", anchor="end")
    note = element("tspan", f"  {bar.note}", class_="note") if bar.note else None
    label = _text(axis.start - 10, y + 5, (_short(bar.label, 16), note), "label", anchor="end")
    if bar.value is None:
        return element("g", label, value)
    length = axis.at(bar.value) - axis.start
    shape = element("rect", x=axis.start, y=y - 8, width=length, height=16, class_=f"fill {bar.tone}")
    hint = element("title", bar.hint) if bar.hint else None
    return element("g", hint, shape, _whisker(axis, bar, y), label, value)


def _whisker(axis: Axis, bar: Bar, y: float) -> Html | None:
    if bar.low is None or bar.high is None:
        return None
    low, high = axis.at(bar.low), axis.at(bar.high)
    halo = element("line", x1=low, x2=high, y1=y, y2=y, class_="halo")
    line = element("line", x1=low, x2=high, y1=y, y2=y, class_="whisker")
    caps = [element("line", x1=x, x2=x, y1=y - 4, y2=y + 4, class_="whisker") for x in (low, high)]
    return element("g", halo, line, *caps)


def _line(line: Line, x: Axis, y: Axis, shift: float) -> Html:
    bounded = [point for point in line.points if point.low is not None and point.high is not None]
    shift = shift if bounded else 0.0
    places = [(x.at(point.x) + shift, y.at(point.y)) for point in line.points]
    path = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
    bars = [
        element("line", x1=x.at(p.x) + shift, x2=x.at(p.x) + shift, y1=y.at(p.low or 0), y2=y.at(p.high or 0),
                class_=f"stroke thin {line.tone}")
        for p in bounded
    ]  # fmt: skip
    dots = [_marker(line.marker, px, py, line.tone) for px, py in places] if len(places) <= 12 else []
    joined = element("polyline", points=path, class_=f"stroke line {line.tone}")
    return element("g", *bars, joined, *dots)


def _marker(kind: str, x: float, y: float, tone: str) -> Html:
    if kind == "square":
        return element("rect", x=round(x - 4, 2), y=round(y - 4, 2), width=8, height=8, class_=f"fill {tone}")
    if kind in ("triangle", "diamond"):
        corners = [(0, -5.5), (5.2, 4), (-5.2, 4)] if kind == "triangle" else [(0, -5.5), (5.5, 0), (0, 5.5), (-5.5, 0)]
        points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
        return element("polygon", points=points, class_=f"fill {tone}")
    return element("circle", cx=round(x, 2), cy=round(y, 2), r=4.2, class_=f"fill {tone}")


def _end_labels(lines: Sequence[Line], x: Axis, y: Axis) -> Html:
    """Place one name per label right of the lines, pushed apart where they would overlap."""
    ends: dict[str, tuple[float, str]] = {}
    for line in lines:
        if line.points:
            ends.setdefault(line.label, (y.at(line.points[-1].y), line.tone))
    order = sorted(ends, key=lambda name: ends[name][0])
    places = spread([ends[name][0] for name in order], 16, y.end, y.start)
    return element(
        "g",
        *(
            _text(x.end + 16, place + 4.5, _short(name, 14), f"label {ends[name][1]}-text")
            for name, place in zip(order, places, strict=True)
        ),
    )


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Return ascending places moved as little as needed to be at least `gap` apart, inside the bounds if they fit."""
    moved = list(places)
    for _ in range(50):
        is_settled = True
        for at, (above, below) in enumerate(pairwise(moved)):
            if below - above < gap - 1e-6:
                middle = (above + below) / 2
                moved[at], moved[at + 1] = middle - gap / 2, middle + gap / 2
                is_settled = False
        if is_settled:
            break
    if moved and moved[-1] > high:
        moved = [place - (moved[-1] - high) for place in moved]
    if moved and moved[0] < low:
        moved = [place + (low - moved[0]) for place in moved]
    return moved


def _vertical_grid(axis: Axis, ticks: Sequence[float], top: float, bottom: float) -> Html:
    lines = [element("line", x1=axis.at(t), x2=axis.at(t), y1=top, y2=bottom, class_="grid") for t in ticks]
    names = [_text(axis.at(t), bottom + 15, f"{100 * t:.0f}", "tick", anchor="middle") for t in ticks]
    return element("g", *lines, *names)


def _horizontal_grid(
    axis: Axis, ticks: Sequence[float], spell: Callable[[float], str], left: float, right: float
) -> Html:
    lines = [element("line", x1=left, x2=right, y1=axis.at(t), y2=axis.at(t), class_="grid") for t in ticks]
    names = [_text(left - 8, axis.at(t) + 4, spell(t), "tick", anchor="end") for t in ticks]
    return element("g", *lines, *names)


def _svg(title: str, words: str, height: float, *body: Html) -> Html:
    heading = element("title", title)
    described = element("desc", words)
    return element("svg", heading, described, *body, viewBox=f"0 0 {WIDTH} {height:g}", role="img", aria_label=title)


def _text(x: float, y: float, words: Child, tone: str, *, anchor: str | None = None) -> Html:
    return element("text", words, x=round(x, 2), y=round(y, 2), class_=tone, text_anchor=anchor)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _short(label: str, limit: int) -> str:
    return label if len(label) <= limit else label[: limit - 1] + "…"


def _whole_percent(value: float) -> str:
    return f"{100 * value:.0f}"


def _plain_number(value: float) -> str:
    return f"{value:g}"
