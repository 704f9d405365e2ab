"""Plots as SVG: every value in its place, and well-formed."""

from xml.etree import ElementTree

import pytest

from weft.bench.svg import LABEL, WIDTH, Bar, Point, draw_bars, draw_points

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def numbers(svg: str, kind: str, *names: str) -> list[list[float]]:
    elements = ElementTree.fromstring(svg).iter(f"{SVG}{kind}")
    return [[float(element.attrib[name]) for name in names] for element in elements]


def test_bars_are_as_long_as_their_values() -> None:
    bars = [Bar("one & two", 100, 90, 120, best=200), Bar("half", 50, 50, 50, best=None)]
    svg = draw_bars("title", "tokens/s", bars)
    widths = [width for (width,) in numbers(svg, "rect", "width")]
    assert widths == [
        pytest.approx((WIDTH - 70 - LABEL) / 2, abs=0.1),
        pytest.approx(widths[0] / 2),
    ]
    assert {"title", "tokens/s", "one & two", "half", "floor of the machine"} <= set(texts(svg))
    ticks = [line for line in numbers(svg, "line", "x1", "x2", "stroke-width") if line[2] == 3]
    assert [x for x, _, _ in ticks] == [WIDTH - 70]


def test_points_lie_by_the_logarithm_and_the_first_series_on_top() -> None:
    series = {"a": [Point(1, 10, "first"), Point(10, 100, "last")], "b": [Point(1, 100, "other")]}
    svg = draw_points("t", "floor, µs", "time, µs", series, factors=(1, 2))
    places = numbers(svg, "circle", "cx", "cy", "r")
    other, first, last = [(x, y) for x, y, radius in places if radius == 3]
    assert first[0] < last[0]
    assert other == (first[0], last[1])
    assert first[1] > last[1]
    assert {"a", "b", "floor, µs", "time, µs", "x1", "x2"} <= set(texts(svg))


def test_both_kinds_of_paper_are_served() -> None:
    assert "prefers-color-scheme: dark" in draw_bars("t", "ms", [Bar("a", 1, 1, 1, None)])


@pytest.mark.parametrize(
    "svg",
    [draw_bars("t", "ms", []), draw_points("t", "x", "y", {"a": []}, factors=(1,))],
    ids=["bars", "points"],
)
def test_plot_of_nothing_says_so(svg: str) -> None:
    assert texts(svg) == ["t", "Nothing was timed."]
