"""Adapters that come from host memory into the arena: while nothing runs, and beside decodes."""

from collections.abc import Sequence

import numpy as np

from weft.bench.cases import WEFT
from weft.bench.driver import Driver, Request, Steps
from weft.bench.loras import Lora
from weft.bench.record import Cell, Ratio
from weft.bench.trials import Outcome
from weft.server.channel import LoadSample

from .names import BESIDE, COPY, IDLE, QUIET, SHIFT, VISIBLE
from .workbench import Workbench

NUM_LORAS, NUM_RESIDENT = 4, 2
NUM_IDLE = 8
HOST = "host"


def time_loads(bench: Workbench, case: str, *, rank: int, batch: int, context: int) -> Outcome:
    """Bring adapters in turn into an arena that has room for half of them."""
    grid = bench.options.grid
    loras = bench.loras(rank, NUM_LORAS)
    tokens = context + 2 * grid.warm_up + 4 * grid.steps + batch
    with bench.open_driver(
        num_sequences=batch, tokens=tokens, loras=loras, num_resident=NUM_RESIDENT
    ) as driver:
        for lora in loras:
            driver.bring(lora.digest)  # from the disk
        driver.engine.stats()
        idle = [driver.bring(_next(driver, loras)) for _ in range(NUM_IDLE)]
        copies = _copies(driver.engine.stats().loads)
        prompts = bench.prompts(batch, context)
        with driver.decoding([Request(prompt, None, tokens - context) for prompt in prompts]):
            driver.time_steps(grid.warm_up, batch=batch)
            quiet = driver.time_steps(grid.steps, batch=batch).ms
            (steps, loads), visible = _load_beside(driver, loras, batch, grid.steps)
    num_bytes = loras[0].num_elements * bench.base.model.dtype.itemsize
    parameters = {"rank": rank, "num_bytes": num_bytes}
    floor = 1000 * num_bytes / _host_bytes_s(bench)

    def cell(name: str, figure: str, samples: Sequence[float], floor: float | None) -> Cell:
        rounded = [round(sample, 4) for sample in samples]
        return Cell(
            f"{WEFT} {name}", figure, "ms", rounded, floor=floor, case=case, parameters=parameters
        )

    outcome = Outcome()
    outcome.cells = [
        cell(IDLE, VISIBLE, idle, floor),
        cell(IDLE, COPY, copies, floor),
        cell(BESIDE, VISIBLE, visible, floor),
        cell(BESIDE, COPY, _copies(loads), floor),
        cell(QUIET, SHIFT, [p99(quiet)], None),
        cell(BESIDE, SHIFT, [p99(steps)], None),
    ]
    shift = p99(steps) / p99(quiet)
    outcome.ratios = [Ratio(f"{WEFT} {BESIDE}", f"{WEFT} {QUIET}", SHIFT, [shift], case=case)]
    return outcome


def _load_beside(
    driver: Driver, loras: Sequence[Lora], batch: int, num_steps: int
) -> tuple[Steps, list[float]]:
    """Steps while one load follows another, and how long each took to be visible, in ms."""
    found, visible = Steps([], []), list[float]()
    while len(found.ms) < num_steps or not visible:
        errand = driver.begin_bring(_next(driver, loras))
        while not errand.is_done:
            steps = driver.time_steps(1, batch=batch)
            found = Steps(found.ms + steps.ms, [*found.loads, *steps.loads])
        visible.append(errand.ms)
    return found, visible


def _next(driver: Driver, loras: Sequence[Lora]) -> str:
    """One that is not there; the ones that came last stay."""
    resident = driver.engine.residency.resident
    return next(lora.digest for lora in loras if lora.digest not in resident)


def _copies(loads: Sequence[LoadSample]) -> list[float]:
    """Milliseconds of the copies from host memory."""
    return [1000 * load.seconds for load in loads if load.origin == HOST]


def _host_bytes_s(bench: Workbench) -> float:
    """What can come from host memory; on a CPU a copy reads and writes the same memory."""
    ceilings = bench.ceilings
    return ceilings.host_copy_bytes_s or ceilings.copy_bytes_s / 2


def p99(samples: Sequence[float]) -> float:
    return float(np.percentile(samples, 99))
