"""Two kinds of plot as SVG, readable on light and dark paper: bars, and points over two decades."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple

WIDTH = 760
LABEL = 190
ROW = 22
STYLE = """
svg { color: #222; font: 12px sans-serif } .paper { fill: #fff }
text { fill: currentColor } line { stroke: currentColor } .grid { stroke-opacity: .15 }
.c0 { fill: #1f6fb4; stroke: #1f6fb4 } .c1 { fill: #d9730d; stroke: #d9730d }
.c2 { fill: #2e8b57; stroke: #2e8b57 } .c3 { fill: #b03a7a; stroke: #b03a7a }
.c4 { fill: #8a6d1d; stroke: #8a6d1d } .c5 { fill: #6a5acd; stroke: #6a5acd }
.c6 { fill: #777; stroke: #777 } .c7 { fill: #c0392b; stroke: #c0392b }
@media (prefers-color-scheme: dark) { svg { color: #ddd } .paper { fill: #14171a } }
"""
NUM_COLOURS = 8


class Bar(NamedTuple):
    """A value, the range it was seen in, and what it could be at best."""

    label: str
    value: float
    low: float
    high: float
    best: float | None


class Point(NamedTuple):
    x: float
    y: float
    label: str


def draw_bars(title: str, unit: str, bars: Sequence[Bar]) -> str:
    """Horizontal bars from zero, with a whisker each, and a tick where the best lies."""
    if not bars:
        return _nothing(title)
    top, right = 40, WIDTH - 70
    bottom = top + ROW * len(bars)
    end = _round_up(max(max(bar.high, bar.best or 0) for bar in bars))
    scale = (right - LABEL) / end

    def x(value: float) -> float:
        return LABEL + value * scale

    parts = [_text(LABEL, 20, title, weight="bold")]
    for value in (end * i / 4 for i in range(5)):
        parts += [_line(x(value), top, x(value), bottom, "grid")]
        parts += [_text(x(value), bottom + 16, _number(value), anchor="middle")]
    parts.append(_text((LABEL + right) / 2, bottom + 34, unit, anchor="middle"))
    for i, bar in enumerate(bars):
        y = top + ROW * i
        middle = y + ROW / 2
        parts += [
            _text(LABEL - 8, middle + 4, bar.label, anchor="end"),
            f'<rect class="c0" x="{LABEL}" y="{y + 4}" width="{bar.value * scale:.1f}" '
            f'height="{ROW - 8}"/>',
            _line(x(bar.low), middle, x(bar.high), middle),
            _text(x(max(bar.high, bar.value)) + 6, middle + 4, _number(bar.value)),
        ]
        if bar.best is not None:
            parts.append(_line(x(bar.best), y + 2, x(bar.best), y + ROW - 2, "c1", width=3))
    if any(bar.best is not None for bar in bars):
        parts.append(_key(right - 150, bottom + 30, 1, "floor of the machine"))
    return _page(bottom + 46, parts)


def draw_points(
    title: str,
    x_title: str,
    y_title: str,
    series: Mapping[str, Sequence[Point]],
    *,
    factors: Sequence[float],
) -> str:
    """Points on two logarithmic axes of one unit, and the lines where y is a multiple of x."""
    left, top, right, bottom = 70, 40, WIDTH - 170, 460
    points = [point for own in series.values() for point in own]
    if not points:
        return _nothing(title)
    x_low, x_high = _decades(point.x for point in points)
    y_low, y_high = _decades(point.y for point in points)

    def place(value: float, low: int, high: int, begin: float, end: float) -> float:
        return begin + (math.log10(value) - low) / (high - low) * (end - begin)

    def x(value: float) -> float:
        return place(value, x_low, x_high, left, right)

    def y(value: float) -> float:
        return place(value, y_low, y_high, bottom, top)

    parts = [_text(left, 20, title, weight="bold")]
    for value in _ticks(x_low, x_high):
        parts += [_line(x(value), top, x(value), bottom, "grid")]
        parts += [_text(x(value), bottom + 16, _number(value), anchor="middle")]
    for value in _ticks(y_low, y_high):
        parts += [_line(left, y(value), right, y(value), "grid")]
        parts += [_text(left - 8, y(value) + 4, _number(value), anchor="end")]
    parts.append(_text((left + right) / 2, bottom + 36, x_title, anchor="middle"))
    parts.append(_text(18, (top + bottom) / 2, y_title, anchor="middle", turn=True))
    for factor in factors:
        low = max(10.0**x_low, 10.0**y_low / factor)
        high = min(10.0**x_high, 10.0**y_high / factor)
        parts.append(_line(x(low), y(low * factor), x(high), y(high * factor)))
        parts.append(_text(x(high) + 4, y(high * factor) + 4, f"x{factor:g}"))
    for i, (name, own) in reversed(list(enumerate(series.items()))):  # the first lies on top
        parts.append(_key(right + 40, top + 10 + ROW * i, i, name))
        parts += [_dot(x(point.x), y(point.y), i, f"{name}: {point.label}") for point in own]
    return _page(bottom + 50, parts)


def _nothing(title: str) -> str:
    return _page(60, [_text(20, 20, title, weight="bold"), _text(20, 44, "Nothing was timed.")])


def _page(height: float, parts: Iterable[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" '
        f'width="{WIDTH}" height="{height:g}">\n<style>{STYLE}</style>\n'
        f'<path class="paper" d="M0 0H{WIDTH}V{height:g}H0Z"/>\n{body}\n</svg>\n'
    )


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", weight: str = "", turn: bool = False
) -> str:
    more = f' font-weight="{weight}"' if weight else ""
    if turn:
        more += f' transform="rotate(-90 {x:.1f} {y:.1f})"'
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str = "", *, width: float = 1) -> str:
    return (
        f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'stroke-width="{width:g}"/>'
    )


def _dot(x: float, y: float, colour: int, hint: str) -> str:
    return (
        f'<circle class="c{colour % NUM_COLOURS}" fill-opacity=".55" cx="{x:.1f}" cy="{y:.1f}" '
        f'r="3"><title>{escape(hint)}</title></circle>'
    )


def _key(x: float, y: float, colour: int, name: str) -> str:
    mark = f'<circle class="c{colour % NUM_COLOURS}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    return mark + _text(x + 10, y + 4, name)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


def _round_up(value: float) -> float:
    """The next 1, 2 or 5 of a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value)


def _decades(values: Iterable[float]) -> tuple[int, int]:
    known = list(values)
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    return low, max(high, low + 1)


def _ticks(low: int, high: int) -> list[float]:
    return [10.0**power for power in range(low, high + 1)]
