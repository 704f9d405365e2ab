"""Records of the kernel suite, made by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from weft.bench.floors import Ceilings
from weft.bench.kernel_goals import judge_kernels
from weft.bench.record import Cell, Check, Gap, Ratio, Record, Value

from .test_record import RECORD


def cell(
    case: str,
    us: float,
    *,
    contender: str = "weft",
    figure: str = "graph",
    floor: float | None = 4.0,
    parameters: Mapping[str, Value] | None = None,
) -> Cell:
    return Cell(
        contender,
        figure,
        "µs",
        [us, us, us],
        floor,
        case=case,
        parameters=parameters or {"op": "lora", "site": case.split()[0]},
        launch_floor=2.0 if contender == "weft" else None,
        error=1e-3,
    )


def ratio(case: str, contender: str, times: float) -> Ratio:
    return Ratio(contender, "weft", "graph", [times] * 3, case=case)


def kernel_record(
    cells: Sequence[Cell], ratios: Sequence[Ratio] = (), gaps: Sequence[Gap] = ()
) -> Record:
    hardware = {**RECORD.conditions.hardware, "gpu": "H200", "gpu_sms": 132, "driver": "1.2"}
    ceilings = Ceilings(4.3e12, 700e12, host_copy_bytes_s=50e9, launches_us=[2.0, 3.0])
    return replace(
        RECORD,
        suite="kernels",
        conditions=replace(RECORD.conditions, hardware=hardware, ceilings=ceilings),
        checks=[Check("weft by the definition in float64", True, "2 of 2 cases", {})],
        cells=cells,
        ratios=ratios,
        gaps=gaps,
        loads=[],
        verdicts=judge_kernels(cells, ratios, hardware=hardware),
    )


SIDE_BY_SIDE = kernel_record(
    [
        cell("qkv r16 1 distinct", 8.0),
        cell("qkv r16 1 distinct", 30.0, figure="eager"),
        cell("qkv r16 1 distinct", 6.0, figure="warm"),
        cell("qkv r16 1 distinct", 16.0, contender="vllm"),
        cell("qkv r16 1 distinct", 80.0, contender="base gemm", floor=70.0),
        cell("qkv r64 8 distinct", 32.0),
        cell("qkv r64 8 distinct", 48.0, contender="vllm"),
        cell("p1 r16 64 distinct", 6.0),
    ],
    [
        ratio("qkv r16 1 distinct", "vllm", 2.0),
        ratio("qkv r64 8 distinct", "vllm", 1.5),
        ratio("qkv r64 8 distinct", "weft overlap", 0.9),
        ratio("qkv r16 1 distinct", "base gemm", 10.0),
    ],
    [
        Gap("vllm", "p1 r16 64 distinct", "WRONG err=3.0e-01"),
        Gap("sglang-v2", "p1 r16 64 distinct", "not installed"),
        Gap("bmm", "p1 r16 64 distinct", "n/a (too large)"),
    ],
)
