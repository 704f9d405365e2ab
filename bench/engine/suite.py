"""The suite `engine`: an engine's steps, prefills, loads and start against what bytes and products
take, and the price of LoRA in each."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import torch

from weft.bench.bed import Base, build_base, fill_bed
from weft.bench.ceilings import measure_ceilings, measure_gpu_ceilings
from weft.bench.floors import Ceilings
from weft.bench.machine import find_hardware, find_versions
from weft.bench.options import EngineOptions
from weft.bench.record import Beginning, Gap, Invocation, Record, Value
from weft.bench.stopwatch import Stopwatch
from weft.bench.suite import Say
from weft.bench.trials import Outcome
from weft.bench.verify import Baseline, check_engine

from .goals import judge_engine
from .options import StepOptions
from .plan import RANKS, Planned, plan_cases
from .workbench import Workbench

SUITE = "engine"
PEERS = ("vllm", "sglang")
CHECKED = 4
"""Rows of the batch that is checked, and its adapters."""


def run_engine_suite(
    options: StepOptions, folder: Path, *, invocation: Invocation, say: Say
) -> Record:
    """Check an engine, and run the cases as long as the time allows.

    Args:
        folder: For adapters; empty, of its caller.
        say: Takes a line whenever a part begins.

    Raises:
        BenchError: The engine failed.
    """
    beginning = Beginning()
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    torch.set_num_threads(options.threads)
    say("measuring the ceilings")
    ceilings = _measure(device, dtype)
    say(f"building {options.shape.name}")
    base = build_base(_checked_options(options))
    say("checking results")
    baseline = _check(options, base, folder / "checked")
    bench = Workbench(options, base, ceilings, folder)
    cases = plan_cases(options) if baseline.holds else []
    outcome, num_left = run_cases(
        cases, bench, until=beginning.clock_s + 60 * options.minutes, say=say
    )
    hardware = find_hardware(device)
    return Record(
        suite=f"{SUITE}-{options.shape.name}",
        conditions=beginning.conditions(
            **invocation._asdict(),
            seed=options.seed,
            hardware=hardware,
            versions=find_versions(),
            ceilings=ceilings,
        ),
        parameters=_parameters(options, bench, len(cases) - num_left),
        checks=baseline.checks,
        cells=outcome.cells,
        ratios=outcome.ratios,
        loads=[],
        verdicts=judge_engine(
            outcome.cells, outcome.ratios, shape=options.shape.name, hardware=hardware
        ),
        gaps=[*outcome.gaps, *find_peers()],
        part="" if options.part.num == 1 else str(options.part),
        num_left=num_left,
    )


def run_cases(
    cases: Sequence[Planned], bench: Workbench, *, until: float, say: Say
) -> tuple[Outcome, int]:
    """Run cases while the clock stands before `until`; say how many were left."""
    outcome = Outcome()
    for i, case in enumerate(cases):
        if time.monotonic() >= until:
            say(f"out of time: {len(cases) - i} cases left")
            return outcome, len(cases) - i
        say(case.name)
        outcome.add(case.run(bench))
    return outcome, 0


def find_peers() -> Iterator[Gap]:
    """Other people's engines."""
    for name in PEERS:
        reason = "not installed" if find_spec(name) is None else "n/a (its engine is not driven)"
        yield Gap(name, "", reason)


def _measure(device: torch.device, dtype: torch.dtype) -> Ceilings:
    if device.type == "cuda":
        return measure_gpu_ceilings(device, dtype, Stopwatch(device))
    return measure_ceilings(device, dtype)


def _check(options: StepOptions, base: Base, folder: Path) -> Baseline:
    """Check a small batch, on an engine that is given up after it."""
    bed = fill_bed(_checked_options(options), base, folder)
    with closing(bed.driver):
        return check_engine(bed)


def _checked_options(options: StepOptions) -> EngineOptions:
    """The batch whose results are checked before anything is timed."""
    return EngineOptions(
        shape=options.shape,
        device=options.device,
        dtype=options.dtype,
        num_adapters=CHECKED,
        ranks=RANKS,
        batch=CHECKED,
        prompt_tokens=options.shape.prompt_tokens,
        new_tokens=options.shape.new_tokens,
        threads=options.threads,
        seed=options.seed,
    )


def _parameters(options: StepOptions, bench: Workbench, num_cases: int) -> dict[str, Value]:
    grid, model = options.grid, bench.base.model
    return {
        "shape": options.shape.name,
        "device": options.device,
        "dtype": options.dtype,
        "parts": ",".join(options.parts),
        "cases": num_cases,
        "rounds": options.rounds,
        "warm_up": grid.warm_up,
        "steps": grid.steps,
        "weight_bytes": bench.base.cost.weight_bytes,
        **{f"swap_{swap.kind}": swap.made for swap in model.swaps},
    }
