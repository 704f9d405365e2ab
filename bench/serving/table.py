"""The figures of a serving record: a row for every run and group."""

from collections.abc import Iterator

from weft.bench.markdown import align_table
from weft.bench.record import Record

COLUMNS = {
    "tokens/s:": "rate",
    "requests/s:": "requests",
    "TTFT p50:": "ttft_p50",
    "p99:": "ttft_p99",
    "ITL p50:": "itl_p50",
    "p99: ": "itl_p99",
    "E2E p50:": "e2e_p50",
    "p99:  ": "e2e_p99",
}
TIERS = ("gpu", "host", "disk", "store")


def summarise_serving(record: Record) -> list[str]:
    """Rates, latencies in ms, and of the adapted calls who came from which tier."""
    found: dict[str, dict[str, float]] = {}
    for cell in record.cells:
        if cell.figure != "knee":
            found.setdefault(cell.case, {})[cell.figure] = cell.median
    rows = [
        (case, *(_number(figures.get(name)) for name in COLUMNS.values()), _tiers(figures))
        for case, figures in found.items()
    ]
    headings = ["run", *(heading.strip() for heading in COLUMNS), "from"]
    lines = ["", *align_table(headings, rows)]
    gaps = [f"* {gap.case}: {gap.reason}" for gap in record.gaps]
    facts = list(_facts(record))
    return [*lines, *([""] if gaps or facts else []), *gaps, *facts]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"


def _tiers(figures: dict[str, float]) -> str:
    shares = [(tier, figures.get(f"from_{tier}")) for tier in TIERS]
    return ", ".join(f"{tier} {share:.0%}" for tier, share in shares if share)


def _facts(record: Record) -> Iterator[str]:
    """What was not answered, how late the generator was, and fairness."""
    for cell in record.cells:
        if cell.figure == "rate":
            codes = {name: value for name, value in cell.parameters.items() if name.isupper()}
            if refused := {name: value for name, value in codes.items() if name != "OK"}:
                yield f"* {cell.case}: {refused} of {cell.parameters['due']}"
        elif cell.figure == "knee":
            yield f"* {cell.case}: knee {cell.median:.2f} requests/s"
        elif cell.figure == "in_6s" and cell.median < 1:
            yield f"* {cell.case}: {cell.median:.1%} of first tokens within 6 s"
        elif cell.figure in ("jain", "reused"):
            name = "Jain fairness" if cell.figure == "jain" else "share of prompts reused"
            yield f"* {cell.case}: {name} {cell.median:.2f}"
    late = [c.parameters["late_p99_ms"] for c in record.cells if c.figure == "rate"]
    if late:
        yield f"* the generator was at most {max(map(float, late)):.1f} ms late (p99 of a run)"
