"""Records side by side."""

from dataclasses import replace
from pathlib import Path

import pytest

from weft.bench.machine import Source
from weft.bench.record import Cell, Check, Record
from weft.bench.record_file import store_record
from weft.bench.report import are_slices, compare_records, list_records, merge_slices

from .kernel_records import SIDE_BY_SIDE
from .test_record import RECORD


def with_cells(*cells: Cell, commit: str = "0123456789ab", gpu: str = "H200") -> Record:
    hardware = {**RECORD.conditions.hardware, "gpu": gpu}
    conditions = replace(
        RECORD.conditions, source=Source(commit, "clean"), hardware=hardware, seconds=100
    )
    return replace(RECORD, suite="engine-tiny", conditions=conditions, cells=cells)


def timed(case: str, samples: list[float], floor: float | None = 2.0) -> Cell:
    return Cell("weft", "graph", "µs", samples, floor, case=case)


ONE = with_cells(timed("a", [4, 4, 4]), timed("b", [10, 10, 11]))


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_list_has_a_line_per_record(tmp_path: Path) -> None:
    store_record(RECORD, tmp_path)
    wrong = replace(RECORD, suite="engine-8b", checks=[Check("tokens", False, "", {})])
    store_record(wrong, tmp_path)
    assert [row[2] for row in rows(list_records(tmp_path))] == [
        "WRONG results",
        "P6: not judged  another shape",
    ]


def test_slices_are_of_one_commit_suite_and_machine_and_share_no_figure() -> None:
    other = with_cells(timed("c", [1]))
    assert are_slices([ONE, other])
    assert not are_slices([ONE, ONE])
    assert not are_slices([ONE, with_cells(timed("c", [1]), commit="ba9876543210")])
    assert not are_slices([ONE, with_cells(timed("c", [1]), gpu="H100")])
    assert not are_slices([ONE, replace(other, suite="engine-8b")])


def test_slices_become_one_record() -> None:
    other = replace(with_cells(timed("c", [1])), part="2of2", num_left=3)
    whole = merge_slices([replace(ONE, part="1of2"), other])
    assert [cell.case for cell in whole.cells] == ["a", "b", "c"]
    assert (whole.part, whole.num_left, whole.conditions.seconds) == ("", 3, 200)


def test_goals_are_judged_by_the_whole() -> None:
    halves = [
        replace(SIDE_BY_SIDE, cells=cells, verdicts=[])
        for cells in (SIDE_BY_SIDE.cells[:4], SIDE_BY_SIDE.cells[4:])
    ]
    assert merge_slices(halves).verdicts == SIDE_BY_SIDE.verdicts


def test_difference_is_told_beyond_the_spread_only() -> None:
    after = with_cells(timed("a", [3, 3, 3]), timed("b", [10.5, 10.5, 10]), commit="ba9876543210")
    faster, same = rows(compare_records(ONE, after))
    assert faster == ["a", "weft", "graph", "4.0", "3.0", "µs", "2.00", "1.50", "25% faster"]
    assert same[-1] == "no difference (spread 10%)"
    slower, _ = rows(compare_records(after, ONE))
    assert slower[-1] == "33% slower"
    assert "2 figures, 1 differ" in compare_records(ONE, after)


def test_difference_is_of_times_the_floor_and_not_of_absolute_figures() -> None:
    """Twice the time on a machine that can do half."""
    after = with_cells(timed("a", [8, 8, 8], floor=4.0), gpu="slow")
    text = compare_records(ONE, after)
    assert rows(text)[0][-1] == "no difference (spread 0%)"
    assert "machines differ" in text


def test_figure_without_a_floor_or_of_one_run_only_is_left_out() -> None:
    after = with_cells(timed("a", [4], floor=None), timed("new", [1]))
    assert rows(compare_records(ONE, after)) == []


def test_suites_do_not_compare() -> None:
    with pytest.raises(ValueError, match="engine-tiny and engine-8b have no figure in common"):
        compare_records(ONE, replace(ONE, suite="engine-8b"))
