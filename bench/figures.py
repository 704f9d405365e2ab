"""Cells, floors and ratios of the batches that a suite has timed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from .bed import Bed
from .cases import BASE, WEFT, Case, Entry, Heat
from .contest import Rounds
from .floors import Ceilings
from .record import Cell, Ratio

UNITS = {
    "rate": "tokens/s",
    "prefill_rate": "tokens/s",
    "decode_rate": "tokens/s",
    "step_ms": "ms",
}

Held: TypeAlias = Mapping[str, Rounds]
"""What everybody did in a heat, by the entry's name; who did not run is not there."""


def make_cells(
    bed: Bed,
    heats: Sequence[Heat],
    held: Sequence[Held],
    ceilings: Ceilings,
    *,
    figures: Sequence[str],
) -> list[Cell]:
    """A cell for every figure of every entry; who runs in several heats counts in the first."""
    cells: dict[tuple[str, str], Cell] = {}
    for heat, rounds in zip(heats, held, strict=False):
        for entry in heat.entries:
            for cell in _cells(bed, entry, rounds, ceilings, figures):
                cells.setdefault((cell.contender, cell.figure), cell)
    return list(cells.values())


def _cells(
    bed: Bed, entry: Entry, held: Held, ceilings: Ceilings, figures: Sequence[str]
) -> Iterator[Cell]:
    if entry.name not in held:
        return
    floors = _floors(bed, entry.case, ceilings) if entry.who == WEFT else {}
    for figure in figures:
        if samples := held[entry.name].samples(figure):
            yield Cell(entry.name, figure, UNITS[figure], samples, floors.get(figure))


def _floors(bed: Bed, case: Case, ceilings: Ceilings) -> dict[str, float]:
    """The best that the ceilings allow, by figure."""
    cost = bed.batch_cost(case)
    prefill_s, decode_s = cost.prefill().floor_s(ceilings), cost.decode_s(ceilings)
    return {
        "rate": cost.batch * cost.new_tokens / (prefill_s + decode_s),
        "prefill_rate": cost.batch * cost.prompt_tokens / prefill_s,
        "decode_rate": cost.batch * (cost.new_tokens - 1) / decode_s,
        "step_ms": 1000 * cost.middle_step_s(ceilings),
    }


def make_ratios(
    heats: Sequence[Heat], held: Sequence[Held], *, figures: Sequence[str]
) -> list[Ratio]:
    """Everybody over their own base, and Weft over everybody else, never across heats."""
    return [
        ratio
        for heat, rounds in zip(heats, held, strict=False)
        for entry in heat.entries
        if entry.name in rounds
        for ratio in _ratios(entry, rounds, figures)
    ]


def _ratios(entry: Entry, held: Held, figures: Sequence[str]) -> Iterator[Ratio]:
    own_base, weft = f"{entry.who} {BASE}", f"{WEFT} {entry.case.name}"
    pairs = [(entry.name, own_base), (weft, entry.name)]
    for above, below in pairs:
        if above == below or above not in held or below not in held:
            continue
        for figure in figures:
            if held[above].samples(figure) and held[below].samples(figure):
                yield Ratio(above, below, figure, held[above].ratios_to(held[below], figure))
