"""Cells and ratios of the runs."""

from collections.abc import Iterator, Mapping, Sequence

from weft.bench.record import Cell, Ratio, Value

from .measure import (
    Window,
    count_codes,
    jain,
    late_ms,
    latencies,
    prompt_share,
    rates,
    reused_share,
    tier_shares,
)
from .outcome import Outcome
from .plan import Churn, Run

WEFT = "weft"
UNITS = {"rate": "tokens/s", "requests": "requests/s"}
QUIET, CHURNED = "quiet", "churn"


def make_cells(
    run: Run, outcomes: Sequence[Outcome], window: Window, *, latency: bool
) -> list[Cell]:
    """Figures of a run, and of each of its groups.

    Args:
        latency: False for a run that is saturated: its latencies rank queues, not servers.
    """
    due = window.due(outcomes)
    facts: dict[str, Value] = {
        "due": len(due),
        "late_p99_ms": round(late_ms(due), 3),
        **count_codes(due),
    }
    cells = [*_cells(run.case, rates(outcomes, window), facts)]
    groups = split(run, due)
    for name, own in groups.items():
        if latency or name == "polite":
            cells += _cells(f"{run.case} {name}".rstrip(), _details(own), {})
    if "polite" in groups:
        cells += _cells(run.case, {"jain": jain(outcomes, window)}, {})
    return cells


def _details(outcomes: Sequence[Outcome]) -> dict[str, float]:
    figures = latencies(outcomes) | tier_shares(outcomes)
    figures["in_6s"] = prompt_share(outcomes)
    if reused := reused_share(outcomes):
        figures["reused"] = reused
    return figures


def _cells(
    case: str, figures: Mapping[str, float], parameters: Mapping[str, Value]
) -> Iterator[Cell]:
    for figure, value in figures.items():
        unit = UNITS.get(figure, "ms" if figure.endswith("_ms") or "_p" in figure else "share")
        yield Cell(WEFT, figure, unit, [value], case=case, parameters=parameters)


def split(run: Run, outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """By group; whoever is warm beside a churn by its phases as well."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        name = outcome.group
        if run.churn is not None and name == "warm":
            name = f"warm, {phase_of(outcome.due_s, run.churn)}"
        groups.setdefault(name, []).append(outcome)
    return groups


def phase_of(at_s: float, churn: Churn) -> str:
    return CHURNED if int(at_s / churn.phase_s) % 2 else QUIET


def make_ratios(cells: Sequence[Cell]) -> list[Ratio]:
    """What the workloads ask for: the price of LoRA, the shift by churn, the harm by abuse."""
    found = {(cell.case, cell.figure): cell.median for cell in cells}
    return [
        Ratio(above, below, figure, [found[above, figure] / found[below, figure]])
        for above, below, figure in _pairs({case: None for case, _ in found})
        if found.get((below, figure)) and (above, figure) in found
    ]


def _pairs(cases: Mapping[str, None]) -> Iterator[tuple[str, str, str]]:
    for case in cases:
        if case.startswith("W1 ") and not case.startswith("W1 base"):
            if case.endswith(", capacity"):
                yield case, "W1 base, capacity", "rate"
            else:
                yield case, "W1 base", "itl_p50"
    for figure in ("ttft_p99", "itl_p99"):
        yield f"W4 churn warm, {CHURNED}", f"W4 churn warm, {QUIET}", figure
    yield "W6 with polite", "W6 without polite", "ttft_p99"
    yield "W2 S1 n=2000, capacity", "W2 S1 n=5, capacity", "rate"
    yield "W2 cliff n=32", "W2 cliff n=16", "ttft_p50"
