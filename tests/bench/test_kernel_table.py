"""What the kernel suite shows of its cases."""

import pytest

from weft.bench.kernel_table import list_cases, summarise_kernels
from weft.bench.record import Value

from .kernel_records import SIDE_BY_SIDE, cell, kernel_record


def row(lines: list[str], name: str) -> list[str]:
    (found,) = [line for line in lines if line.startswith(f"| {name} ")]
    return [text.strip() for text in found.strip("|").split("|")]


def test_summary_has_a_row_per_site_with_mean_and_worst() -> None:
    found = row(summarise_kernels(SIDE_BY_SIDE), "lora qkv")
    assert found == ["lora qkv", "2", "4.00", "8.00", "qkv r64 8 distinct", "", "1.73"]


def test_other_ops_have_a_row_each() -> None:
    record = kernel_record([cell("rmsnorm 32", 6.0, parameters={"op": "rmsnorm"})])
    assert row(summarise_kernels(record), "rmsnorm")[:3] == ["rmsnorm", "1", "1.50"]


def test_launches_are_shown_where_they_outweigh_the_floor() -> None:
    record = kernel_record([cell("o a", 6.0, floor=1.0), cell("o b", 90.0, floor=9.0)])
    assert row(summarise_kernels(record), "lora o")[-2:] == ["3.00", ""]


@pytest.mark.parametrize(
    ("num_bytes", "flops", "rate"),
    [(43e9, 1e9, "4,300 GB/s"), (1e6, 6.5e12, "650 TFLOP/s")],
)
def test_rate_is_of_what_bounds_the_case(num_bytes: float, flops: float, rate: str) -> None:
    parameters: dict[str, Value] = {"op": "any", "num_bytes": num_bytes, "flops": flops}
    record = kernel_record([cell("any 1", 10_000.0, parameters=parameters)])
    assert rate in row(list_cases(record), "any 1")


def test_summary_ends_with_every_contender() -> None:
    lines = summarise_kernels(SIDE_BY_SIDE)
    assert row(lines, "vllm") == ["vllm", "2", "0", "1", "1.73", "1.50", "qkv r64 8 distinct"]
    assert row(lines, "bmm") == ["bmm", "0", "1", "0", "", "", ""]
    assert lines[-1] == "* not installed: sglang-v2"
    assert not any(line.startswith("| sglang-v2") for line in lines)


def test_cases_show_times_or_reasons() -> None:
    lines = list_cases(SIDE_BY_SIDE)
    headings = row(lines, "case")
    first, last = (
        dict(zip(headings, row(lines, case), strict=True))
        for case in ("qkv r16 1 distinct", "p1 r16 64 distinct")
    )
    assert [first[name] for name in ("weft", "÷ floor", "÷ launches", "err")] == [
        "8.0",
        "2.00",
        "4.00",
        "1e-03",
    ]
    assert [first[name] for name in ("eager", "warm", "vllm", "base gemm", "bmm")] == [
        "30.0",
        "6.0",
        "16.0",
        "80.0",
        "",
    ]
    assert last["vllm"] == "WRONG err=3.0e-01"
    assert last["sglang-v2"] == "not installed"
