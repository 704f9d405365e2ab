"""The plot of a record."""

from .record import Cell, Record
from .svg import Bar, draw_bars

MAIN_FIGURE = {"engine": "rate", "cpu": "rate"}


def draw_record(record: Record) -> str:
    """Bars of the suite's main figure, a contender each."""
    figure = MAIN_FIGURE[record.suite.partition("-")[0]]
    cells = [cell for cell in record.cells if cell.figure == figure]
    unit = cells[0].unit if cells else ""
    return draw_bars(_title(record), unit, [_bar(cell) for cell in cells])


def _title(record: Record) -> str:
    hardware = record.conditions.hardware
    machine = hardware.get("gpu", hardware["cpu"])
    return f"{record.suite}, commit {record.conditions.source.commit}, {machine}"


def _bar(cell: Cell) -> Bar:
    label = f"{cell.case} {cell.contender}".strip()
    return Bar(label, cell.median, min(cell.samples), max(cell.samples), cell.floor)
