"""Every part of `weft bench engine` on a tiny model, in slices. No time is judged."""

from dataclasses import replace

import pytest

from weft.bench.engine.options import Part, StepOptions
from weft.bench.engine.plan import plan_cases
from weft.bench.engine.suite import run_engine_suite
from weft.bench.kernel_options import Slice
from weft.bench.machine import Source
from weft.bench.record import Invocation, Record
from weft.bench.report import are_slices, merge_slices
from weft.bench.shapes import SHAPES
from weft.bench.table import write_summary, write_table

INVOCATION = Invocation("weft bench engine", Source("0123456789ab", "clean"), "a test")
TINY = StepOptions(
    shape=SHAPES["tiny"],
    device="cpu",
    dtype="float32",
    seed=0,
    threads=1,
    rounds=1,
    minutes=5,
)
TEXTS = ("repeating", "random")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    folder = tmp_path_factory.mktemp("engine")
    return run_engine_suite(TINY, folder, invocation=INVOCATION, say=lambda _: None)


def test_every_case_has_its_figures(record: Record) -> None:
    assert record.holds
    assert record.num_left == 0
    figures: dict[str, set[str]] = {}
    for cell in record.cells:
        figures.setdefault(cell.case, set()).add(cell.figure)
    steps, loads = {"step", "forward"}, {"visible", "copy", "step_p99"}
    drafts = {"rate", "drafts", "right_drafts", "differing"}
    assert figures == {
        "start-up": {"start"},
        "decode 1 x 16": steps,
        "decode 2 x 16": steps,
        "decode 4 x 16": steps,
        "decode 1 x 48": steps,
        "decode 2 x 48": steps,
        "tax 2 x 16": steps,
        "tax 4 x 16": steps,
        "prefill 8 in 1": {"prefill"},
        "prefill 8 in 2": {"prefill"},
        "prefill 48 in 1": {"prefill"},
        "prefill 48 in 2": {"prefill"},
        "loads r16": loads,
        "loads r64": loads,
        **{f"drafts {num} x 16 {text}": drafts for num in (1, 4) for text in TEXTS},
    }


def test_contenders_of_the_tax_share_a_case_and_its_rounds(record: Record) -> None:
    own = {c.contender: c for c in record.cells if (c.case, c.figure) == ("tax 2 x 16", "step")}
    assert list(own) == [
        "weft base",
        "weft 1 r16",
        "weft 2 r16",
        "weft 2 distinct r16",
        "weft 2 distinct r64",
        "weft 1 base and 1 distinct r16",
    ]
    assert {len(cell.samples) for cell in own.values()} == {2 * 4}
    above = {r.above for r in record.ratios if r.case == "tax 2 x 16"}
    assert above == own.keys() - {"weft base"}
    bytes_ms = {name: float(cell.parameters["adapter_ms"]) for name, cell in own.items()}
    assert bytes_ms["weft base"] == 0
    assert bytes_ms["weft 2 distinct r16"] == pytest.approx(2 * bytes_ms["weft 1 r16"])
    assert bytes_ms["weft 2 distinct r64"] == pytest.approx(4 * bytes_ms["weft 2 distinct r16"])


def test_loads_come_from_host_memory_and_beside_steps(record: Record) -> None:
    cells = {(c.contender, c.figure): c for c in record.cells if c.case == "loads r64"}
    assert len(cells["weft idle", "copy"].samples) == 8
    assert len(cells["weft beside decodes", "copy"].samples) >= 1
    for name in ("weft idle", "weft beside decodes"):
        visible, copied = (cells[name, figure] for figure in ("visible", "copy"))
        assert visible.median >= copied.median > 0
        assert visible.floor == copied.floor


@pytest.mark.parametrize("text", TEXTS)
def test_drafts_change_no_token_of_base_rows_and_adapted_ones(record: Record, text: str) -> None:
    own = [cell for cell in record.cells if cell.case == f"drafts 4 x 16 {text}"]
    rates = {cell.contender: cell for cell in own if cell.figure == "rate"}
    assert list(rates) == ["weft without drafts", "weft 4 drafts"]
    assert {len(cell.samples) for cell in own} == {2}
    assert all(cell.parameters["adapted"] == 2 for cell in own)
    figures = {cell.figure: cell.samples for cell in own}
    assert figures["differing"] == [0, 0]
    for num, num_right in zip(figures["drafts"], figures["right_drafts"], strict=True):
        assert num >= num_right >= 0
    [ratio] = [ratio for ratio in record.ratios if ratio.case == own[0].case]
    assert (ratio.above, ratio.below) == ("weft 4 drafts", "weft without drafts")


def test_slices_are_judged_together(record: Record) -> None:
    halves = [replace(record, part=f"{i + 1}of2", cells=record.cells[i::2]) for i in (0, 1)]
    assert are_slices(halves)
    assert merge_slices([replace(half, verdicts=[]) for half in halves]).verdicts == record.verdicts


def test_goals_are_of_another_shape(record: Record) -> None:
    assert [(verdict.goal, verdict.met) for verdict in record.verdicts] == [
        ("P2", None),
        ("P3", None),
        ("tokens with drafts", True),
    ]


def test_table_has_at_most_forty_lines_with_every_part(record: Record) -> None:
    lines = write_summary(record).splitlines()
    assert len(lines) <= 40
    for part in Part:
        assert any(part in line for line in lines), part


def test_drafts_have_a_row_behind_the_summary(record: Record) -> None:
    behind = write_table(record).removeprefix(write_summary(record)).splitlines()
    rows = [line for line in behind if "| drafts" in line]
    assert len(rows) == 2 * 2
    assert all(row.rstrip(" |").endswith(("0 of 2", "0 of 8")) for row in rows)


def test_parts_and_slices_choose_cases() -> None:
    loads = replace(TINY, parts=[Part.LOADS])
    assert [case.name for case in plan_cases(loads)] == ["loads r16", "loads r64"]
    assert [c.name for c in plan_cases(replace(loads, done={"loads r16"}))] == ["loads r64"]
    everything = {case.name for case in plan_cases(TINY)}
    halves = [{c.name for c in plan_cases(replace(TINY, part=Slice(i, 2)))} for i in (1, 2)]
    assert halves[0] | halves[1] == everything
    assert not halves[0] & halves[1]


def test_cases_of_an_8b_are_those_of_the_goals() -> None:
    names = [case.name for case in plan_cases(replace(TINY, shape=SHAPES["8b"]))]
    assert {f"decode {batch} x 1024" for batch in (1, 32, 128)} <= set(names)
    assert {"decode 1 x 8192", "decode 32 x 8192", "tax 32 x 1024", "tax 128 x 1024"} <= set(names)
    assert {f"drafts {batch} x 512 random" for batch in (1, 32, 128)} <= set(names)
    assert {f"prefill {n} in {k}" for n in (512, 2048, 8192) for k in (1, 8)} <= set(names)
