"""Decode steps at a steady batch and context, of base rows and of adapted ones."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from statistics import fmean, median
from typing import NamedTuple

import torch

from weft.bench.cases import BASE, WEFT
from weft.bench.contest import alternate
from weft.bench.driver import Driver, Request
from weft.bench.record import Cell, Ratio
from weft.bench.trials import Outcome
from weft.server.engine.batch import build_batch
from weft.server.engine.plan import Chunk, Plan

from .names import FORWARD, GRAPH, STEP
from .workbench import Rows, Workbench


class Visit(NamedTuple):
    """One contender's turn: milliseconds of every step, and of what the device does of it."""

    step_ms: list[float]
    device_ms: list[float]


def time_decodes(
    bench: Workbench, case: str, *, context: int, contenders: Mapping[str, Rows]
) -> Outcome:
    """Time contenders of one batch size in turn, each with sequences of its own.

    Args:
        contenders: The adapter of every row, by name; BASE first.
    """
    grid = bench.options.grid
    rows = next(iter(contenders.values()))
    loras = [lora for rows in contenders.values() for lora in rows if lora is not None]
    lead = grid.warm_up + grid.steps // 2
    prompt = max(1, context - lead)
    tokens = context + lead + grid.steps + len(rows)  # the first wait for the last one's prefill
    with bench.open_driver(
        num_sequences=len(rows), tokens=tokens, loras=list(dict.fromkeys(loras))
    ) as driver:
        visits = {
            name: partial(_visit, bench, driver, own, prompt, tokens)
            for name, own in contenders.items()
        }
        found = alternate(visits, bench.options.rounds)
    outcome = Outcome()
    for name, rounds in found.items():
        outcome.cells += _cells(bench, case, name, contenders[name], rounds, context)
    outcome.ratios += list(make_ratios(case, STEP, _medians(found)))
    return outcome


def _visit(bench: Workbench, driver: Driver, rows: Rows, prompt: int, tokens: int) -> Visit:
    grid = bench.options.grid
    prompts = bench.prompts(len(rows), prompt)
    requests = [
        Request(tokens_of, None if lora is None else lora.digest, tokens - prompt)
        for tokens_of, lora in zip(prompts, rows, strict=True)
    ]
    with driver.decoding(requests):
        driver.time_steps(grid.warm_up, batch=len(rows))
        steps = driver.time_steps(grid.steps, batch=len(rows))
        return Visit(steps.ms, _time_device(bench, driver, grid.steps // 4))


def _time_device(bench: Workbench, driver: Driver, num: int) -> list[float]:
    """Repeat what the device did for the last step: it writes the same keys again."""
    engine = driver.engine
    sequences = engine.scheduler.running
    if engine.graphs is not None:
        adapted = any(sequence.slot is not None for sequence in sequences)
        return _time_events(engine.graphs.replay_of(len(sequences), adapted=adapted), num)
    chunks = [Chunk(s, len(s.tokens) - 2, len(s.tokens) - 1) for s in sequences]
    batch = build_batch(
        Plan(tuple(chunks)), block_tokens=engine.budgets.block_tokens, device=bench.device
    )
    return _time_wall(lambda: bench.base.model.forward(batch, engine.cache, engine.arena), num)


def _time_wall(work: Callable[[], object], num: int) -> list[float]:
    times = []
    for _ in range(num):
        began = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - began))
    return times


def _time_events(work: Callable[[], object], num: int) -> list[float]:
    """Milliseconds on the device, run by run, without a wait between."""
    events = [torch.cuda.Event(enable_timing=True) for _ in range(num + 1)]  # type: ignore[no-untyped-call]
    events[0].record()
    for event in events[1:]:
        work()
        event.record()
    torch.cuda.synchronize()
    return [round(begin.elapsed_time(end), 4) for begin, end in pairwise(events)]


def _cells(
    bench: Workbench,
    case: str,
    name: str,
    rows: Rows,
    rounds: Sequence[tuple[Visit, Visit]],
    context: int,
) -> Iterator[Cell]:
    cost = bench.cost(rows, context)
    bytes_s = bench.ceilings.read_bytes_s or bench.ceilings.copy_bytes_s
    visits = [visit for pair in rounds for visit in pair]
    device = GRAPH if bench.device.type == "cuda" else FORWARD
    for figure, samples in (
        (STEP, [ms for visit in visits for ms in visit.step_ms]),
        (device, [ms for visit in visits for ms in visit.device_ms]),
    ):
        yield Cell(
            f"{WEFT} {name}",
            figure,
            "ms",
            [round(sample, 4) for sample in samples],
            floor=1000 * cost.decode_step(context).floor_s(bench.ceilings),
            case=case,
            parameters={
                "batch": len(rows),
                "context": context,
                "adapter_ms": 1000 * cost.adapter_bytes / bytes_s,
            },
        )


def _medians(
    found: Mapping[str, Sequence[tuple[Visit, Visit]]],
) -> dict[str, list[tuple[float, float]]]:
    return {
        name: [(median(there.step_ms), median(back.step_ms)) for there, back in rounds]
        for name, rounds in found.items()
    }


def make_ratios(
    case: str, figure: str, found: Mapping[str, Sequence[tuple[float, float]]]
) -> Iterator[Ratio]:
    """Everybody's time over the base's, round by round."""
    base = [fmean(pair) for pair in found[BASE]]
    for name, rounds in found.items():
        if name != BASE:
            own = [fmean(pair) for pair in rounds]
            ratios = [mine / theirs for mine, theirs in zip(own, base, strict=True)]
            yield Ratio(f"{WEFT} {name}", f"{WEFT} {BASE}", figure, ratios, case=case)
