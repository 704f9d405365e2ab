"""The record of `weft bench kernels` as a person reads it: a summary, and behind it every case."""

from collections.abc import Iterable, Iterator, Sequence
from statistics import geometric_mean

from .markdown import align_table
from .record import Cell, Record
from .trials import COLD, EAGER, FAILED, OURS, WARM, WRONG

NOT_INSTALLED = "not installed"


def summarise_kernels(record: Record) -> list[str]:
    """Ours per op and site against the floor, and everyone else's time over ours."""
    lines = [*_ops(record), *([""] if record.ratios else []), *_contenders(record)]
    missing = dict.fromkeys(gap.contender for gap in record.gaps if gap.reason == NOT_INSTALLED)
    lines += ["", f"* {NOT_INSTALLED}: {', '.join(missing)}"] if missing else []
    return lines


def list_cases(record: Record) -> list[str]:
    """Every case with all its contenders, in µs; whoever has no time says why."""
    cells = {(cell.case, cell.contender, cell.figure): cell for cell in record.cells}
    gaps = {(gap.case, gap.contender): gap.reason for gap in record.gaps}
    others = dict.fromkeys(
        name
        for name in (*(c.contender for c in record.cells), *(g.contender for g in record.gaps))
        if name != OURS
    )

    def row(case: str) -> Iterator[str]:
        ours = cells.get((case, OURS, COLD))
        yield case
        yield gaps.get((case, OURS), "") if ours is None else f"{ours.median:.1f}"
        yield _over(ours, None if ours is None else ours.floor)
        yield _over(ours, None if ours is None else ours.launch_floor)
        yield "" if ours is None or ours.error is None else f"{ours.error:.0e}"
        for name, figure in ((OURS, EAGER), (OURS, WARM), *((name, COLD) for name in others)):
            cell = cells.get((case, name, figure))
            yield gaps.get((case, name), "") if cell is None else f"{cell.median:.1f}"

    headings = ["case", "weft:", "÷ floor:", "÷ launches:", "err:", f"{EAGER}:", f"{WARM}:"]
    cases = dict.fromkeys([*(cell.case for cell in record.cells), *(g.case for g in record.gaps)])
    return align_table(headings + [f"{name}:" for name in others], map(list, map(row, cases)))


def _over(cell: Cell | None, floor: float | None) -> str:
    return "" if cell is None or floor is None else f"{cell.median / floor:.2f}"


def _ops(record: Record) -> list[str]:
    """A row per op, and of LoRA per site: times the floor, the worst case and the launch floor."""
    groups: dict[str, list[Cell]] = {}
    for cell in record.cells:
        if (cell.contender, cell.figure) == (OURS, COLD):
            groups.setdefault(_group(cell), []).append(cell)
    headings = ["weft, cold", "cases:", "x floor:", "worst:", "in", "x launches:"]
    return align_table(headings, [_op_row(name, cells) for name, cells in groups.items()])


def _group(cell: Cell) -> str:
    return " ".join(str(cell.parameters[key]) for key in ("op", "site") if key in cell.parameters)


def _op_row(name: str, cells: Sequence[Cell]) -> list[str]:
    over = {cell.case: cell.over_floor for cell in cells if cell.over_floor is not None}
    worst = max(over, key=lambda case: over[case], default="")
    launches = [cell.median / cell.launch_floor for cell in cells if cell.launch_floor]
    return [
        name,
        f"{len(cells)}",
        _mean(over.values()),
        f"{over[worst]:.2f}" if over else "",
        worst,
        _mean(launches),
    ]


def _contenders(record: Record) -> list[str]:
    """A row per contender: its time over ours in the mean, and where it comes closest to us."""
    by_name: dict[str, dict[str, float]] = {}
    for ratio in record.ratios:
        by_name.setdefault(ratio.above, {})[ratio.case] = ratio.median
    names = dict.fromkeys([*by_name, *(g.contender for g in record.gaps if g.contender != OURS)])
    rows = []
    for name in names:
        ratios = by_name.get(name, {})
        reasons = [gap.reason for gap in record.gaps if gap.contender == name]
        if not ratios and set(reasons) == {NOT_INSTALLED}:
            continue
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


def _mean(values: Iterable[float]) -> str:
    known = list(values)
    return f"{geometric_mean(known):.2f}" if known else ""
