"""The plot of a record."""

from .lora_case import BASE_GEMM
from .record import Cell, Record
from .svg import Bar, Point, draw_bars, draw_points
from .table import is_of_kernels
from .trials import COLD, OURS

MAIN_FIGURES = {"engine": ("step", "rate"), "soak": ("rss",)}
RATE = ("rate",)


def draw_record(record: Record) -> str:
    """Of kernels, the time of every case over its floor; else bars of the main figure."""
    if is_of_kernels(record):
        return _draw_cases(record)
    figures = MAIN_FIGURES.get(record.suite.partition("-")[0], RATE)
    cells = [cell for cell in record.cells if cell.figure in figures]
    unit = cells[0].unit if cells else ""
    bars = [_bar(cell) for cell in cells if cell.unit == unit]
    return draw_bars(_title(record), unit, bars)


def _title(record: Record) -> str:
    hardware = record.conditions.hardware
    machine = hardware.get("gpu", hardware["cpu"])
    return f"{record.suite}, commit {record.conditions.source.commit}, {machine}"


def _bar(cell: Cell) -> Bar:
    label = f"{cell.case} {cell.contender}".strip()
    return Bar(label, cell.median, min(cell.samples), max(cell.samples), cell.floor)


def _draw_cases(record: Record) -> str:
    """Contenders of LoRA's cells, by the floor that they share, and our other ops."""
    ours = {c.case: c for c in record.cells if (c.contender, c.figure) == (OURS, COLD)}
    series: dict[str, list[Point]] = {}
    for cell in record.cells:
        own = ours.get(cell.case)
        if cell.figure == COLD and cell.contender != BASE_GEMM and own and own.floor:
            point = Point(own.floor, cell.median, f"{cell.case}, {cell.median:.1f} µs")
            series.setdefault(cell.contender, []).append(point)
    return draw_points(
        _title(record), "floor, µs", "time in a graph, cache flushed, µs", series, factors=(1, 2)
    )
