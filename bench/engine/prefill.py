"""Prompts without a known prefix: one sequence, or several with an adapter each."""

from collections.abc import Mapping, Sequence
from functools import partial

from weft.bench.cases import WEFT
from weft.bench.contest import alternate
from weft.bench.driver import Driver, Request
from weft.bench.record import Cell
from weft.bench.trials import Outcome

from .decode import make_ratios
from .names import PREFILL
from .workbench import Rows, Workbench


def time_prefills(
    bench: Workbench, case: str, *, num_tokens: int, contenders: Mapping[str, Rows]
) -> Outcome:
    """Time contenders in turn; their rows share `num_tokens` evenly.

    Args:
        contenders: The adapter of every row, by name; BASE first.
    """
    num_rows = len(next(iter(contenders.values())))
    length = num_tokens // num_rows
    loras = [lora for rows in contenders.values() for lora in rows if lora is not None]
    with bench.open_driver(
        num_sequences=num_rows,
        tokens=length + 1,
        loras=list(dict.fromkeys(loras)),
        graphs=False,
    ) as driver:
        visits = {
            name: partial(_visit, bench, driver, rows, length) for name, rows in contenders.items()
        }
        for visit in visits.values():
            visit()  # loads the adapters, compiles
        found = alternate(visits, bench.options.rounds)
    outcome = Outcome()
    for name, rounds in found.items():
        outcome.cells.append(_cell(bench, case, name, contenders[name], rounds, length))
    outcome.ratios += list(make_ratios(case, PREFILL, found))
    return outcome


def _visit(bench: Workbench, driver: Driver, rows: Rows, length: int) -> float:
    """Milliseconds from submitting to the last of the first tokens."""
    prompts = zip(bench.prompts(len(rows), length), rows, strict=True)
    requests = [
        Request(tokens, None if lora is None else lora.digest, 1) for tokens, lora in prompts
    ]
    return 1000 * driver.run(requests).seconds


def _cell(
    bench: Workbench,
    case: str,
    name: str,
    rows: Rows,
    rounds: Sequence[tuple[float, float]],
    length: int,
) -> Cell:
    floor_s = bench.cost(rows, length).prefill().floor_s(bench.ceilings)
    return Cell(
        f"{WEFT} {name}",
        PREFILL,
        "ms",
        [round(ms, 4) for pair in rounds for ms in pair],
        floor=1000 * floor_s,
        case=case,
        parameters={"tokens": len(rows) * length, "rows": len(rows)},
    )
