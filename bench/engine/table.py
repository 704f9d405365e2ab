"""The figures of an engine's record: steps, prefills, drafts, loads and the start, in few lines."""

from collections.abc import Iterator

from weft.bench.cases import BASE, WEFT
from weft.bench.markdown import align_table
from weft.bench.record import Cell, Record

from .names import (
    BESIDE,
    COPY,
    DIFFERING,
    DRAFTED,
    FORWARD,
    GRAPH,
    IDLE,
    PREFILL,
    RATE,
    RIGHT,
    SHIFT,
    STEP,
    VISIBLE,
)
from .options import Part


def summarise_engine(record: Record) -> list[str]:
    """Steps and prefills over their floors and the base; loads; a start; what drafts bring."""
    lines = [*_loads(record), *_start(record), *_drafts(record)]
    tables = [_steps(record), _prefills(record), lines]
    return [line for table in tables if table for line in ("", *table)]


def _steps(record: Record) -> list[str]:
    """A row per contender, but for the base that the tax is of."""
    device = {(c.case, c.contender): c for c in record.cells if c.figure in (GRAPH, FORWARD)}
    name = GRAPH if any(cell.figure == GRAPH for cell in device.values()) else FORWARD
    rows = [
        (
            cell.case,
            _who(cell),
            f"{cell.median:.2f}",
            f"{device[cell.case, cell.contender].median:.2f}",
            f"{cell.floor:.2f}",
            f"{cell.over_floor:.2f}",
            _tax(record, cell),
        )
        for cell in record.cells
        if cell.figure == STEP and not (_who(cell) == BASE and cell.case.startswith(Part.TAX))
    ]
    headings = ["case", "rows", "step ms:", f"{name} ms:", "floor:", "step ÷ it:", "tax:"]
    return align_table(headings, rows) if rows else []


def _prefills(record: Record) -> list[str]:
    """A row per prompt: base rows and the tax of every rank, by the number of its sequences."""
    rows: dict[str, dict[str, str]] = {}
    for cell in record.cells:
        if cell.figure == PREFILL:
            num, num_rows = int(cell.parameters["tokens"]), cell.parameters["rows"]
            row = rows.setdefault(f"{PREFILL} {num}", {})
            if _who(cell) == BASE:
                row[f"tokens/s ({num_rows}):"] = f"{1000 * num / cell.median:,.0f}"
                row[f"÷ floor ({num_rows}):"] = f"{cell.over_floor:.2f}"
            else:
                row[f"tax {_who(cell)}:"] = _tax(record, cell)
    headings = list(dict.fromkeys(heading for row in rows.values() for heading in row))
    lines = [(case, *(row.get(heading, "") for heading in headings)) for case, row in rows.items()]
    return align_table(["case", *headings], lines) if lines else []


def _drafts(record: Record) -> Iterator[str]:
    """A line, for all batches of all texts."""
    ratios = [ratio for ratio in record.ratios if ratio.figure == RATE]
    if ratios:
        found = (f"{r.case.removeprefix(Part.DRAFTS).strip()} {r.median:.2f}" for r in ratios)
        yield f"* {Part.DRAFTS}, tokens/s over those without: {', '.join(found)}"


def list_drafts(record: Record) -> list[str]:
    """A row per batch and text."""
    cells = {(cell.case, cell.contender, cell.figure): cell for cell in record.cells}
    rows = []
    for ratio in record.ratios:
        if ratio.figure == RATE:
            with_drafts, without = (cells[ratio.case, c, RATE] for c in (ratio.above, ratio.below))
            num, num_right, differing = (
                sum(cells[ratio.case, ratio.above, figure].samples)
                for figure in (DRAFTED, RIGHT, DIFFERING)
            )
            num_all = int(with_drafts.parameters["sequences"]) * len(with_drafts.samples)
            row = (
                ratio.case,
                f"{without.median:,.1f}",
                f"{with_drafts.median:,.1f}",
                f"{ratio.median:.2f} ({min(ratio.rounds):.2f} to {max(ratio.rounds):.2f})",
                f"{num_right:.0f} of {num:.0f}" + (f" ({num_right / num:.0%})" if num else ""),
                f"{differing:.0f} of {num_all}",
            )
            rows.append(row)
    headings = ["case", "tokens/s:", "with drafts:", "ratio:", "drafts right:", "differ:"]
    return align_table(headings, rows) if rows else []


def _who(cell: Cell) -> str:
    return cell.contender.removeprefix(f"{WEFT} ")


def _tax(record: Record, cell: Cell) -> str:
    """What it takes beyond the base of its case."""
    key = (cell.case, cell.contender, cell.figure)
    found = (r.median for r in record.ratios if (r.case, r.above, r.figure) == key)
    return next((f"{median - 1:+.1%}" for median in found), "")


def _loads(record: Record) -> Iterator[str]:
    """A line per rank, idle and beside decodes."""
    cells = {(c.case, _who(c), c.figure): c for c in record.cells}
    for ratio in record.ratios:
        if ratio.figure == SHIFT:
            pairs = [(cells[ratio.case, who, COPY], who) for who in (IDLE, BESIDE)]
            ways = (
                f"{who} {copied.median:.2f} ms ({_rate(copied):.1f} GB/s, "
                f"{copied.over_floor:.2f} x the floor), "
                f"visible after {cells[ratio.case, who, VISIBLE].median:.2f} ms"
                for copied, who in pairs
            )
            yield f"* {ratio.case}: {'; '.join(ways)}; p99 of steps {ratio.median:.2f} x without"


def _rate(copied: Cell) -> float:
    """GB/s."""
    return float(copied.parameters["num_bytes"]) / copied.median / 1e6


def _start(record: Record) -> Iterator[str]:
    own = [cell for cell in record.cells if cell.case == Part.START]
    if own:
        figures = (f"{cell.figure} {cell.median:,.2f} {cell.unit}" for cell in own)
        yield f"* {Part.START}: {', '.join(figures)}"
