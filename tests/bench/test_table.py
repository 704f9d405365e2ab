"""The table of a record."""

from dataclasses import replace

from weft.bench.record import Gap
from weft.bench.table import write_table

from .test_record import RECORD


def test_table_gives_figures_ratios_and_conditions() -> None:
    text = write_table(replace(RECORD, gaps=[Gap("vllm", "", "not installed")]))
    assert text.startswith("# engine-tiny\n")
    assert "* dtype float32, device cpu, batch 4, prompt_tokens 12" in text
    assert "* commit 0123456789ab (dirty), seed 3, 2026-01-02" in text
    assert "copy 4.0 GB/s" in text
    assert "* tokens: holds  4 of 4 equal" in text
    assert "* vllm: not installed" in text
    assert "* weft base / peer, tokens/s: 2.50  (2.00 to 4.00)" in text
    assert "* load r9, 2.0 MB: 2.0 ms, 1.0 GB/s" in text
    assert "* P6: not judged  another shape" in text
    assert "* conditions: shared" in text


def test_row_shows_median_spread_floor_and_factor() -> None:
    (row,) = [line for line in write_table(RECORD).splitlines() if "| decode step ms" in line]
    assert row.replace("|", " ").split()[-4:] == ["5.0", "40%", "2.0", "2.50"]


def test_record_without_figures_shows_its_checks() -> None:
    text = write_table(replace(RECORD, cells=[], ratios=[], loads=[], verdicts=[]))
    assert "* tokens: holds" in text
    assert "|" not in text
