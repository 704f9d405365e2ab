"""The table of a record."""

from dataclasses import replace
from io import StringIO

from rich.console import Console

from weft.bench.record import Record
from weft.bench.table import show

from .test_record import RECORD


def lines_of(record: Record) -> list[str]:
    console = Console(file=StringIO(), width=80)
    show(record, console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def test_table_gives_figures_ratios_and_conditions() -> None:
    text = "\n".join(lines_of(RECORD))
    assert "commit 0123456789ab (dirty), seed 3" in text
    assert "copy 4.0 GB/s" in text
    assert "tokens: holds  4 of 4 equal" in text
    assert "weft base / peer, tokens/s: 2.50  (2.00 to 4.00)" in text
    assert "load r9, 2.0 MB: 2.0 ms, 1.0 GB/s" in text
    assert "P6: not judged  another shape" in text
    assert "conditions: shared" in text


def test_row_shows_median_spread_floor_and_factor() -> None:
    row = next(line for line in lines_of(RECORD) if line.startswith("weft base  decode step ms"))
    assert row.split()[-4:] == ["5.0", "40%", "2.0", "2.50"]


def test_record_without_figures_shows_its_checks() -> None:
    lines = lines_of(replace(RECORD, cells=[], ratios=[], loads=[], verdicts=[]))
    assert any(line.startswith("tokens: holds") for line in lines)
