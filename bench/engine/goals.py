"""Goals P2 and P3, which are stated for an 8B on an H200, and judged by whole steps; and whether
drafts change tokens, on any machine."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from weft.bench.cases import BASE, WEFT
from weft.bench.goals import Verdict
from weft.bench.record import Cell, Ratio, Value

from .names import DIFFERING, SHARED, STEP, decode_name, distinct_name, tax_name

P2_SHARED, P2_DISTINCT = 0.03, 0.08
P3_FLOOR = 1.25
TOKENS = "tokens with drafts"
CONTEXT, BATCHES, TAX_BATCH, RANK = 1024, (1, 32, 128), 32, 16


def judge_engine(
    cells: Sequence[Cell],
    ratios: Sequence[Ratio],
    *,
    shape: str,
    hardware: Mapping[str, Value],
) -> list[Verdict]:
    """The price of LoRA at batch 32, decode steps over the time that their bytes take, and tokens
    with drafts."""
    verdicts = [_judge_tax(cells, ratios), _judge_steps(cells)]
    if shape != "8b" or "H200" not in str(hardware.get("gpu", "")):
        verdicts = [
            replace(verdict, met=None, margin=f"{verdict.margin}; stated for an 8B on an H200")
            for verdict in verdicts
        ]
    return [*verdicts, _judge_drafts(cells)]


def _judge_tax(cells: Sequence[Cell], ratios: Sequence[Ratio]) -> Verdict:
    case = tax_name(TAX_BATCH, CONTEXT)
    shared = _tax(ratios, case, f"{SHARED} r{RANK}")
    distinct = _tax(ratios, case, distinct_name(TAX_BATCH, RANK))
    base = _step(cells, case, BASE)
    adapted = _step(cells, case, distinct_name(TAX_BATCH, RANK))
    if shared is None or distinct is None or base is None or adapted is None:
        return Verdict("P2", None, "batch 32 was not timed")
    limit = float(adapted.parameters["adapter_ms"]) / base.median + P2_DISTINCT
    margin = (
        f"one shared r16 {shared:.1%} (goal {P2_SHARED:.0%}), "
        f"32 distinct {distinct:.1%} (goal {limit:.1%}: their bytes and {P2_DISTINCT:.0%})"
    )
    return Verdict("P2", shared <= P2_SHARED and distinct <= limit, margin)


def _judge_steps(cells: Sequence[Cell]) -> Verdict:
    """All of the batches; one that is missing can be missed by the others, but not met."""
    found = {batch: _step(cells, decode_name(batch, CONTEXT), BASE) for batch in BATCHES}
    times = {b: cell.over_floor for b, cell in found.items() if cell and cell.over_floor}
    if not times:
        return Verdict("P3", None, "no step of the goal's was timed")
    margin = ", ".join(f"batch {batch} {over:.2f} x the floor" for batch, over in times.items())
    met = all(over <= P3_FLOOR for over in times.values())
    judged = None if met and len(times) < len(BATCHES) else met
    return Verdict("P3", judged, f"{margin} (goal {P3_FLOOR:g})")


def _judge_drafts(cells: Sequence[Cell]) -> Verdict:
    """In float32 none may differ; in 16 bits rounding decides near-ties, as company does."""
    own = [cell for cell in cells if cell.figure == DIFFERING]
    if not own:
        return Verdict(TOKENS, None, "no drafts were timed")
    num = sum(int(sample) for cell in own for sample in cell.samples)
    num_all = sum(int(cell.parameters["sequences"]) * len(cell.samples) for cell in own)
    margin = f"{num} of {num_all} sequences differ from those without"
    if not num:
        return Verdict(TOKENS, True, margin)
    if all(cell.parameters["dtype"] == "float32" for cell in own):
        return Verdict(TOKENS, False, margin)
    return Verdict(TOKENS, None, f"{margin}; rounding decides near-ties")


def _tax(ratios: Sequence[Ratio], case: str, name: str) -> float | None:
    above = f"{WEFT} {name}"
    own = (r.median for r in ratios if (r.case, r.above, r.figure) == (case, above, STEP))
    return next((median - 1 for median in own), None)


def _step(cells: Sequence[Cell], case: str, name: str) -> Cell | None:
    key = (case, f"{WEFT} {name}", STEP)
    return next((c for c in cells if (c.case, c.contender, c.figure) == key), None)
