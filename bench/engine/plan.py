"""The cases of every part, built when their turn comes."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from weft.bench.cases import BASE
from weft.bench.trials import Outcome

from .decode import time_decodes
from .drafts import Text, time_drafts
from .loads import time_loads
from .names import SHARED, decode_name, distinct_name, tax_name
from .options import Grid, Part, StepOptions
from .prefill import time_prefills
from .start import time_start
from .workbench import Rows, Workbench

RANKS = (16, 64)
TAX_RANK = 16


class Planned(NamedTuple):
    """A case and what runs it."""

    part: Part
    name: str
    run: Callable[[Workbench], Outcome]


def plan_cases(options: StepOptions) -> list[Planned]:
    """The cases of the parts that are asked for, those of this slice, but for what is done."""
    own = [case for case in _all_cases(options.grid) if case.part in options.parts]
    own = own[options.part.first - 1 :: options.part.num]
    return [case for case in own if case.name not in options.done]


def _all_cases(grid: Grid) -> Iterator[Planned]:
    yield Planned(Part.START, Part.START, partial(time_start, case=Part.START))
    for batch, context in _decodes(grid):
        name = decode_name(batch, context)
        run = partial(_decode, case=name, batch=batch, context=context)
        yield Planned(Part.DECODE, name, run)
    _, batch, wide = grid.batches
    for width, mixes in ((batch, _mixes), (wide, _wide_mixes)):
        name = tax_name(width, grid.context)
        run = partial(_tax, case=name, batch=width, mixes=mixes)
        yield Planned(Part.TAX, name, run)
    for num_tokens in grid.prompts:
        for num_rows in (1, grid.few):
            name = f"{Part.PREFILL} {num_tokens} in {num_rows}"
            run = partial(_prefill, case=name, num_tokens=num_tokens, num_rows=num_rows)
            yield Planned(Part.PREFILL, name, run)
    for rank in RANKS:
        name = f"{Part.LOADS} r{rank}"
        run = partial(time_loads, case=name, rank=rank, batch=batch, context=grid.context)
        yield Planned(Part.LOADS, name, run)
    for num_rows in grid.drafted:
        for text in Text:
            name = f"{Part.DRAFTS} {num_rows} x {grid.drafted_tokens} {text}"
            run = partial(_drafts, case=name, num_rows=num_rows, text=text)
            yield Planned(Part.DRAFTS, name, run)


def _decodes(grid: Grid) -> Iterator[tuple[int, int]]:
    for batch in grid.batches:
        yield batch, grid.context
    for batch in grid.batches[:2]:
        yield batch, grid.long_context


def _decode(bench: Workbench, *, case: str, batch: int, context: int) -> Outcome:
    return time_decodes(bench, case, context=context, contenders={BASE: [None] * batch})


def _tax(
    bench: Workbench, *, case: str, batch: int, mixes: Callable[[Workbench, int], dict[str, Rows]]
) -> Outcome:
    contenders: dict[str, Rows] = {BASE: [None] * batch, **mixes(bench, batch)}
    context = bench.options.grid.context
    return time_decodes(bench, case, context=context, contenders=contenders)


def _mixes(bench: Workbench, batch: int) -> dict[str, Rows]:
    """Adapters shared, few and distinct, of a small and a large rank, and beside base rows."""
    few, half = bench.options.grid.few, batch // 2
    small, large = (bench.loras(rank, batch) for rank in RANKS)
    beside = [lora for own in small[:half] for lora in (None, own)]
    return {
        f"{SHARED} r{TAX_RANK}": [small[0]] * batch,
        f"{few} r{TAX_RANK}": [small[i % few] for i in range(batch)],
        distinct_name(batch, TAX_RANK): small,
        distinct_name(batch, RANKS[1]): large,
        f"{batch - half} base and {distinct_name(half, TAX_RANK)}": beside,
    }


def _wide_mixes(bench: Workbench, batch: int) -> dict[str, Rows]:
    small = bench.loras(TAX_RANK, batch)
    return {
        f"{SHARED} r{TAX_RANK}": [small[0]] * batch,
        distinct_name(batch, TAX_RANK): small,
    }


def _prefill(bench: Workbench, *, case: str, num_tokens: int, num_rows: int) -> Outcome:
    contenders: dict[str, Rows] = {BASE: [None] * num_rows}
    contenders |= {f"{num_rows} r{rank}": bench.loras(rank, num_rows) for rank in RANKS}
    return time_prefills(bench, case, num_tokens=num_tokens, contenders=contenders)


def _drafts(bench: Workbench, *, case: str, num_rows: int, text: Text) -> Outcome:
    """Every other row has an adapter of its own."""
    loras = bench.loras(RANKS[0], num_rows // 2)
    rows = [loras[i // 2] if i % 2 else None for i in range(num_rows)]
    return time_drafts(bench, case, rows=rows, text=text)
