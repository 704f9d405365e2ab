"""Which figures of a record are drawn."""

from dataclasses import replace

from weft.bench.plot import draw_record
from weft.bench.record import Cell

from .kernel_records import SIDE_BY_SIDE
from .test_record import RECORD
from .test_svg import numbers, texts


def test_engine_suite_is_drawn_by_its_rates() -> None:
    svg = draw_record(RECORD)
    assert len(numbers(svg, "rect", "width")) == 2
    assert "engine-tiny, commit 0123456789ab, one" in texts(svg)
    assert {"weft base", "peer", "tokens/s"} <= set(texts(svg))


def test_bars_have_one_unit() -> None:
    step = Cell("weft base", "step", "ms", [5.0])
    svg = draw_record(replace(RECORD, cells=[step, *RECORD.cells]))
    assert len(numbers(svg, "rect", "width")) == 1
    assert "tokens/s" not in texts(svg)


def test_record_without_figures_is_drawn_too() -> None:
    assert "Nothing was timed." in texts(draw_record(replace(RECORD, cells=[])))


def test_cases_of_kernels_are_drawn_over_their_floors() -> None:
    svg = draw_record(SIDE_BY_SIDE)
    assert len([radius for (radius,) in numbers(svg, "circle", "r") if radius == 3]) == 5
    assert {"weft", "vllm", "floor, µs"} <= set(texts(svg))
    assert "base gemm" not in texts(svg)
