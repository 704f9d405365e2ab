"""The table of a record."""

from dataclasses import replace

from weft.bench.record import Gap
from weft.bench.table import write_summary, write_table

from .kernel_records import SIDE_BY_SIDE
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


def test_kernels_have_a_summary_and_every_case_behind_it() -> None:
    summary, whole = write_summary(SIDE_BY_SIDE), write_table(SIDE_BY_SIDE)
    assert whole.startswith(summary)
    assert len(summary.splitlines()) <= 40
    assert "| lora qkv" in summary
    assert "| qkv r16 1 distinct" in whole.removeprefix(summary)


def test_ceilings_of_a_gpu_are_shown_and_flagged() -> None:
    text = write_summary(replace(SIDE_BY_SIDE, part="1of4", num_left=7))
    assert "# kernels 1of4" in text
    assert "host to device 50.0 GB/s, 1 to 2 empty kernels 2.0 3.0 µs" in text
    assert "product 700 TFLOP/s is -10% of 780" in text
    assert "* out of time: 7 cases left" in text


def test_package_that_is_absent_takes_no_place() -> None:
    conditions = replace(RECORD.conditions, versions={"torch": "2.13.0", "peft": "not installed"})
    text = write_summary(replace(RECORD, conditions=conditions))
    assert "torch 2.13.0" in text
    assert "peft" not in text
