"""The suite `serving`: every run of some workloads, on as few servers as they allow."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from weft.bench.ceilings import MIB, measure_ceilings
from weft.bench.errors import DiskTooSmall
from weft.bench.machine import find_hardware, find_versions
from weft.bench.record import Beginning, Cell, Check, Gap, Record, Value
from weft.bench.shapes import SHAPES
from weft.bench.suite import Invocation, Say

from .figures import WEFT, make_cells, make_ratios
from .goals import judge_serving
from .host import Host, HostOptions, open_host
from .measure import MAX_LATE_MS, Window, is_saturated, late_ms, trim
from .outcome import OK, Outcome
from .plan import Run, Setting
from .rate import SMALL_SHARE, find_knee, measure_capacity
from .script import Arrival, draw_script
from .senders import Senders
from .workloads import SMALL_U, U, make_runs

DRAIN_S = {True: 10.0, False: 15.0}
"""After a run's last arrival, by whether it is small."""
STEADY_LOAD = 0.7
"""The share of the knee that most workloads run at."""


@dataclass(frozen=True, slots=True)
class ServingOptions:
    """What runs, and on what.

    Attributes:
        small_shape: Of the small variants; None = the workloads themselves.
        seconds: Of each workload, in place of its own time.
        rate: The knee, in requests per second; None = it is measured.
        trace: CSV of W3's lengths.
        num_senders: Processes of the generator.
    """

    workloads: Sequence[str]
    small_shape: str | None
    host: HostOptions
    seconds: float | None = None
    rate: float | None = None
    trace: Path | None = None
    num_senders: int = 1

    @property
    def small(self) -> bool:
        return self.small_shape is not None


@dataclass(slots=True)
class Found:
    """What the runs have come to."""

    cells: list[Cell] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    knees: dict[str, float] = field(default_factory=dict)
    num_calls: int = 0
    wrong: list[str] = field(default_factory=list)


def run_serving(options: ServingOptions, *, invocation: Invocation, say: Say) -> Record:
    """Run the workloads one after another.

    Raises:
        StartFailed: A server did not come up.
    """
    beginning = Beginning()
    device = torch.device(options.host.device)
    say("measuring the ceilings")
    sizes = {"copy_bytes": 64 * MIB, "matmul_size": 1024} if options.small else {}
    ceilings = measure_ceilings(device, torch.bfloat16, **sizes)
    found = Found()
    with Senders(options.num_senders) as senders:
        for setting, runs in groupby(list_runs(options), key=lambda run: run.setting):
            _hold_setting(setting, list(runs), options, senders, found, say)
    ratios = make_ratios(found.cells)
    return Record(
        suite=f"serving-{options.small_shape}" if options.small else "serving",
        conditions=beginning.conditions(
            **invocation._asdict(),
            seed=options.host.seed,
            hardware=find_hardware(device),
            versions=find_versions(),
            ceilings=ceilings,
        ),
        parameters=_parameters(options, found),
        checks=[_check(found)],
        cells=found.cells,
        ratios=ratios,
        loads=[],
        verdicts=judge_serving(found.cells, ratios, small=options.small),
        gaps=found.gaps,
    )


def list_runs(options: ServingOptions) -> Iterator[Run]:
    for name in options.workloads:
        yield from make_runs(
            name, small=options.small_shape, seconds=options.seconds, trace=options.trace
        )


def _hold_setting(
    setting: Setting,
    runs: Sequence[Run],
    options: ServingOptions,
    senders: Senders,
    found: Found,
    say: Say,
) -> None:
    """Start a server and hold its runs; one that the disk has no room for leaves gaps."""
    say(f"building {setting.shape}, {len(setting.adapters)} adapters, starting a server")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="weft-serving-")))
        try:
            host = stack.enter_context(open_host(setting, options.host, folder))
        except DiskTooSmall as error:
            found.gaps += [Gap(WEFT, run.case, str(error)) for run in runs]
            return
        knee = _knee(setting, host, options, senders, found, say)
        for run in runs:
            _hold_run(run, host, knee, options, senders, found, say)


def _knee(
    setting: Setting,
    host: Host,
    options: ServingOptions,
    senders: Senders,
    found: Found,
    say: Say,
) -> float:
    """The rate that loads are shares of; measured once for a shape."""
    if options.rate is not None:
        return found.knees.setdefault(setting.shape, options.rate)
    if setting.shape in found.knees:
        return found.knees[setting.shape]
    vocab_size = SHAPES[setting.shape].vocab_size

    def play(script: list[Arrival], ends_s: float) -> list[Outcome]:
        return senders.play(host.target, script, ends_s=ends_s)

    measure = partial(
        measure_capacity, play, setting, vocab_size=vocab_size, seed=options.host.seed
    )
    say("measuring what the server can take")
    if options.small:
        measure(SMALL_U, setting.adapters[:1], seconds=1.0)  # starts the senders, warms the server
        capacity = measure(SMALL_U, setting.adapters)
        knee = SMALL_SHARE / STEADY_LOAD * capacity
    else:
        capacity = measure(U, (), seconds=60.0)
        knee = find_knee(
            play, setting, U, capacity=capacity, vocab_size=vocab_size, seed=options.host.seed
        )
    say(f"knee {knee:.2f} requests/s")
    return found.knees.setdefault(setting.shape, knee)


def _hold_run(
    run: Run,
    host: Host,
    knee: float,
    options: ServingOptions,
    senders: Senders,
    found: Found,
    say: Say,
) -> None:
    vocab_size = SHAPES[run.setting.shape].vocab_size
    script = draw_script(run, knee=knee, vocab_size=vocab_size, seed=options.host.seed)
    say(f"{run.case}: {len(script)} arrivals in {run.seconds:.1f} s")
    ends_s = run.seconds + DRAIN_S[options.small]
    outcomes = senders.play(host.target, script, ends_s=ends_s)
    window = trim(run.seconds, small=options.small)
    found.num_calls += len(outcomes)
    found.wrong += _wrong(run, outcomes)
    found.cells += make_cells(
        run, outcomes, window, latency=_is_fair(run, outcomes, window, options)
    )
    if not options.small:
        found.gaps += _flaws(run, outcomes, window)


def _is_fair(
    run: Run, outcomes: Sequence[Outcome], window: Window, options: ServingOptions
) -> bool:
    """Whether latencies say something of the server, and not of a queue."""
    return options.small or not (run.at_capacity or is_saturated(outcomes, window))


def _flaws(run: Run, outcomes: Sequence[Outcome], window: Window) -> Iterator[Gap]:
    if not run.at_capacity and is_saturated(outcomes, window):
        yield Gap(WEFT, run.case, "SATURATED")
    if (late := late_ms(outcomes)) > MAX_LATE_MS:
        yield Gap(WEFT, run.case, f"VOID: the generator was {late:.1f} ms late at p99")


def _wrong(run: Run, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Answers of somebody else, or of another length."""
    for outcome in outcomes:
        if outcome.code == OK and not outcome.is_right:
            yield (
                f"{run.case}: {outcome.resolved or 'the base'} gave {outcome.num_tokens} tokens, "
                f"{outcome.model or 'the base'} was asked for {outcome.wanted}"
            )


def _check(found: Found) -> Check:
    text = f"{found.num_calls} calls" if not found.wrong else "; ".join(found.wrong[:3])
    values: dict[str, Value] = {"calls": found.num_calls, "wrong": len(found.wrong)}
    return Check("answers by whom they were asked of", not found.wrong, text, values)


def _parameters(options: ServingOptions, found: Found) -> dict[str, Value]:
    return {
        "workloads": " ".join(options.workloads),
        "device": options.host.device,
        "dtype": "bfloat16",
        "senders": options.num_senders,
        **{f"knee_{shape}": round(knee, 3) for shape, knee in found.knees.items()},
        **({"serve": options.host.more} if options.host.more else {}),
    }
