"""The record of `weft bench kernels` as a person reads it: a summary, and behind it every case."""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from statistics import geometric_mean

from .floors import Ceilings
from .lora_case import BASE_GEMM, LORA
from .markdown import align_table
from .record import Cell, Record
from .trials import COLD, EAGER, FAILED, OURS, WARM, WRONG

NOT_INSTALLED = "not installed"


def summarise_kernels(record: Record) -> list[str]:
    """Ours per op and site against the floor, and everyone else's time over ours."""
    missing = dict.fromkeys(gap.contender for gap in record.gaps if gap.reason == NOT_INSTALLED)
    parts = [
        _ops(record),
        _contenders(record),
        [f"* {NOT_INSTALLED}: {', '.join(missing)}"] if missing else [],
    ]
    return [line for part in parts if part for line in ("", *part)]


def list_cases(record: Record) -> list[str]:
    """Every case with all its contenders, in µs; whoever has no time says why."""
    cells = {(cell.case, cell.contender, cell.figure): cell for cell in record.cells}
    gaps = {(gap.case, gap.contender): gap.reason for gap in record.gaps}
    names = [*(cell.contender for cell in record.cells), *(gap.contender for gap in record.gaps)]
    others = [name for name in dict.fromkeys(names) if name != OURS]

    def row(case: str) -> Iterator[str]:
        ours = cells.get((case, OURS, COLD))
        yield case
        yield gaps.get((case, OURS), "") if ours is None else f"{ours.median:.1f}"
        yield from ("",) * 4 if ours is None else _judged(ours, record.conditions.ceilings)
        for name, figure in ((OURS, EAGER), (OURS, WARM), *((name, COLD) for name in others)):
            cell = cells.get((case, name, figure))
            yield gaps.get((case, name), "") if cell is None else f"{cell.median:.1f}"

    headings = ["case", f"{OURS}:", "÷ floor:", "÷ launches:", "rate:", "err:"]
    headings += [f"{name}:" for name in (EAGER, WARM, *others)]
    cases = dict.fromkeys([*(cell.case for cell in record.cells), *(g.case for g in record.gaps)])
    return align_table(headings, map(list, map(row, cases)))


def _judged(cell: Cell, ceilings: Ceilings) -> Iterator[str]:
    """Times the floor and the launch floor, the rate of what bounds it, and the error."""
    yield _over(cell, cell.floor)
    yield _over(cell, cell.launch_floor)
    yield _rate(cell, ceilings)
    yield "" if cell.error is None else f"{cell.error:.0e}"


def _rate(cell: Cell, ceilings: Ceilings) -> str:
    if "num_bytes" not in cell.parameters:
        return ""
    num_bytes, flops = (float(cell.parameters[name]) for name in ("num_bytes", "flops"))
    if num_bytes / ceilings.copy_bytes_s >= flops / ceilings.matmul_flops_s:
        return f"{num_bytes / cell.median / 1e3:,.0f} GB/s"
    return f"{flops / cell.median / 1e6:,.0f} TFLOP/s"


def _over(cell: Cell | None, floor: float | None) -> str:
    return "" if cell is None or floor is None else f"{cell.median / floor:.2f}"


def _ops(record: Record) -> list[str]:
    """A row per op, and of LoRA per site, with means over its cases.

    Times the floor, and where that is short the launch floor; the best other's time over ours.
    """
    groups: dict[str, list[Cell]] = {}
    for cell in record.cells:
        if (cell.contender, cell.figure) == (OURS, COLD):
            groups.setdefault(_group(cell), []).append(cell)
    if not groups:
        return []
    headings = ["weft, cold", "cases:", "x floor:", "worst:", "in", "x launches:", "best other:"]
    rows = [_op_row(name, cells, record) for name, cells in groups.items()]
    return align_table(headings, rows)


def _group(cell: Cell) -> str:
    return " ".join(str(cell.parameters[key]) for key in ("op", "site") if key in cell.parameters)


def _op_row(name: str, cells: Sequence[Cell], record: Record) -> list[str]:
    over = {cell.case: cell.over_floor for cell in cells if cell.over_floor is not None}
    worst = max(over, key=lambda case: over[case], default="")
    best: dict[str, float] = {}
    for ratio in record.ratios:
        is_variant = name.startswith(LORA) and ratio.above.startswith(OURS)
        if ratio.case in over and ratio.above != BASE_GEMM and not is_variant:
            best[ratio.case] = min(ratio.median, best.get(ratio.case, math.inf))
    return [
        name,
        f"{len(cells)}",
        _mean(over.values()),
        f"{over[worst]:.2f}" if over else "",
        worst,
        _mean(times for cell in cells for times in _launches(cell)),
        _mean(best.values()),
    ]


def _launches(cell: Cell) -> Iterator[float]:
    """Times the launch floor, where launches alone take longer than the floor."""
    if cell.launch_floor and cell.floor and cell.floor < cell.launch_floor:
        yield cell.median / cell.launch_floor


def _contenders(record: Record) -> list[str]:
    """A row per contender in LoRA's cells: its time over ours, and where it is closest to us."""
    cells = {cell.case for cell in record.cells if cell.parameters.get("op") == LORA}
    rows = []
    for name in _contender_names(record, cells):
        ratios = {r.case: r.median for r in record.ratios if r.above == name and r.case in cells}
        reasons = [gap.reason for gap in record.gaps if gap.contender == name]
        least = min(ratios, key=lambda case: ratios[case], default="")
        rows.append(
            [
                name,
                f"{len(ratios)}",
                f"{sum(reason.startswith('n/a') for reason in reasons)}",
                f"{sum(reason.startswith((WRONG, FAILED)) for reason in reasons)}",
                _mean(ratios.values()),
                f"{ratios[least]:.2f}" if ratios else "",
                least,
            ]
        )
    if not rows:
        return []
    headings = ["contender", "cases:", "n/a:", "wrong:", "time ÷ weft's:", "least:", "in"]
    return align_table(headings, rows)


def _contender_names(record: Record, cells: Collection[str]) -> Iterable[str]:
    """Who met us in these cells, but for those who are not installed."""
    met = [ratio.above for ratio in record.ratios if ratio.case in cells]
    refused = [gap for gap in record.gaps if gap.case in cells and gap.reason != NOT_INSTALLED]
    return dict.fromkeys([*met, *(gap.contender for gap in refused if gap.contender != OURS)])


def _mean(values: Iterable[float]) -> str:
    known = list(values)
    return f"{geometric_mean(known):.2f}" if known else ""
