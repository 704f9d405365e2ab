"""The suite `kernels`: every op of Weft against its floor and other people's, on one GPU."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypedDict

import torch

from .attention_cases import attention_cells, make_attention_case
from .backward_cases import DX, OUTER, backward_cells, make_backward_case
from .ceilings import measure_ceilings, measure_gpu_ceilings
from .floors import Ceilings
from .fused_cases import BASE_AND_LORA, case_name, fused_cells, make_fused_case
from .kernel_goals import judge_kernels
from .kernel_options import KernelOptions
from .lora_case import LORA, make_lora_case
from .lora_cells import core_cells, full_cells, small_cells
from .lora_contender import LoraContender
from .machine import Source, find_hardware, find_versions
from .metadata_cases import METADATA, make_metadata_case, metadata_batches
from .peers.sglang import V2, Csgmv, Sgemm
from .peers.torch_ops import Bmm, Loop
from .peers.vllm import Vllm
from .record import Beginning, Check, Record
from .row_cases import GROUPS, RowCases, row_shapes
from .stopwatch import Stopwatch
from .tile_cases import TILES, make_tile_case, tile_cells
from .trials import FAILED, OURS, WRONG, Case, Outcome, run_case
from .weft_lora import WeftLora

SUITE = "kernels"
GRIDS = {"core": core_cells, "full": full_cells, "small": small_cells}
CASES_PER_LINE = 20

Say = Callable[[str], None]


class Planned(NamedTuple):
    """A case that is built when its turn comes."""

    op: str
    name: str
    make: Callable[[], Case]


def run_kernel_suite(
    options: KernelOptions, *, command: str, source: Source, note: str, say: Say
) -> Record:
    """Run the cases that the options name, as long as the time allows.

    On a CPU, kernels are interpreted: results are checked, and nothing is timed.

    Args:
        command: The command line, for the record.
        say: Takes a line whenever a part begins.

    Raises:
        ValueError: The options name an op, a site or ranks that are in no case.
    """
    beginning = Beginning()
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    stopwatch = Stopwatch(device) if device.type == "cuda" else None
    cases = plan_cases(options)
    say("measuring the ceilings")
    ceilings = (
        measure_ceilings(device, dtype)
        if stopwatch is None
        else measure_gpu_ceilings(device, dtype, stopwatch)
    )
    hardware = find_hardware(device)
    say(f"running {len(cases)} cases")
    outcome, num_left = run_cases(
        cases, stopwatch, ceilings, until=beginning.clock_s + 60 * options.minutes, say=say
    )
    return Record(
        suite=_suite_name(options),
        conditions=beginning.conditions(
            command=command,
            source=source,
            seed=options.seed,
            note=note,
            hardware=hardware,
            versions=find_versions(),
            ceilings=ceilings,
        ),
        parameters={
            "grid": options.grid,
            "device": options.device,
            "dtype": options.dtype,
            "cases": len(cases) - num_left,
        },
        checks=list(check_ours(outcome)),
        cells=outcome.cells,
        gaps=outcome.gaps,
        ratios=outcome.ratios,
        loads=[],
        verdicts=judge_kernels(outcome.cells, outcome.ratios, hardware=hardware),
        part="" if options.part.num == 1 else str(options.part),
        num_left=num_left,
    )


def _suite_name(options: KernelOptions) -> str:
    parts = [SUITE, *(["small"] if options.grid == "small" else [])]
    return "-".join([*parts, *(["served"] if options.as_served else [])])


def plan_cases(options: KernelOptions) -> list[Planned]:
    """The cases of this slice, which has some of every op and site; tiles only if asked for.

    Raises:
        ValueError: The options name an op, a site or ranks that are in no case.
    """
    kinds = (
        _attention_cases,
        _row_cases,
        _backward_cases,
        _fused_cases,
        _tile_cases,
        _lora_cases,
    )
    planned = [case for cases in kinds for case in cases(options)]
    ops = {case.op for case in planned}
    _check_known("op", options.ops, ops)
    wanted = options.ops or ({LORA} if options.is_of_lora else ops - {TILES})
    own = [case for case in planned if case.op in wanted]
    own = own[options.part.first - 1 :: options.part.num]
    return [case for case in own if case.name not in options.done]


def _check_known(name: str, asked: Collection[str], known: Collection[str]) -> None:
    for value in asked:
        if value not in known:
            raise ValueError(f"{name} {value!r} is not one of {', '.join(sorted(known))}")


def _lora_cases(options: KernelOptions) -> Iterator[Planned]:
    contenders = lora_contenders(as_served=options.as_served)
    cells = list(GRIDS[options.grid]())
    sites, ranks = {cell.site for cell in cells}, {cell.rank_name for cell in cells}
    _check_known("site", options.sites, sites)
    _check_known("rank", options.ranks, ranks)
    for cell in cells:
        if cell.site in (options.sites or sites) and cell.rank_name in (options.ranks or ranks):
            make = partial(make_lora_case, cell, contenders, **_target(options))
            yield Planned(LORA, str(cell), make)


def _fused_cases(options: KernelOptions) -> Iterator[Planned]:
    small = options.grid == "small"
    for cell in fused_cells(small=small):
        make = partial(make_fused_case, cell, **_target(options))
        yield Planned(BASE_AND_LORA, case_name(cell), make)
    for batch in metadata_batches(small=small):
        make = partial(make_metadata_case, batch, **_target(options))
        yield Planned(METADATA, f"{METADATA} {batch}", make)


def _tile_cases(options: KernelOptions) -> Iterator[Planned]:
    for cell in tile_cells(small=options.grid == "small"):
        make = partial(make_tile_case, cell, **_target(options))
        yield Planned(TILES, f"{TILES} {cell}", make)


def _attention_cases(options: KernelOptions) -> Iterator[Planned]:
    for cell in attention_cells(small=options.grid == "small"):
        make = partial(make_attention_case, cell, **_target(options))
        yield Planned(cell.op, str(cell), make)


def _backward_cases(options: KernelOptions) -> Iterator[Planned]:
    for cell in backward_cells(small=options.grid == "small"):
        for op in (DX, OUTER):
            make = partial(make_backward_case, cell, op, **_target(options))
            yield Planned(op, f"{op} {cell}", make)


def _row_cases(options: KernelOptions) -> Iterator[Planned]:
    for shape in row_shapes(small=options.grid == "small"):
        cases = RowCases(shape, **_target(options))
        for op, make in cases.makers().items():
            yield Planned(GROUPS.get(op, op), cases.name(op), make)


class _Target(TypedDict):
    seed: int
    device: torch.device
    dtype: torch.dtype


def _target(options: KernelOptions) -> _Target:
    """What every case is drawn for."""
    return _Target(
        seed=options.seed,
        device=torch.device(options.device),
        dtype=getattr(torch, options.dtype),
    )


def lora_contenders(*, as_served: bool) -> list[LoraContender]:
    """Ours first, then everyone else's: at their best in each cell, or as a server holds them."""
    ours = [WeftLora(), WeftLora(f"{OURS} overlap", overlap=True)]
    peers: list[LoraContender] = [
        V2(as_served),
        Csgmv(split_k=False, as_served=as_served),
        Csgmv(split_k=True, as_served=as_served),
        Sgemm(as_served),
        Vllm(as_served),
    ]
    return [*ours, *peers] if as_served else [*ours, *peers, Loop(), Bmm()]


def run_cases(
    cases: Sequence[Planned],
    stopwatch: Stopwatch | None,
    ceilings: Ceilings,
    *,
    until: float,
    say: Say,
) -> tuple[Outcome, int]:
    """Run cases while the clock stands before `until`; say how many were left."""
    outcome = Outcome()
    for i, case in enumerate(cases):
        if time.monotonic() >= until:
            say(f"out of time: {len(cases) - i} cases left")
            return outcome, len(cases) - i
        outcome.add(run_case(case.make(), stopwatch, ceilings))
        if stopwatch is not None:
            torch.cuda.empty_cache()
        if (i + 1) % CASES_PER_LINE == 0:
            say(f"{i + 1} of {len(cases)}: {case.name}")
    return outcome, 0


def check_ours(outcome: Outcome) -> Iterator[Check]:
    """A check for every contender of ours: were all its results right?"""
    names = [name for name, _ in outcome.errors] + [gap.contender for gap in outcome.gaps]
    for name in dict.fromkeys(name for name in names if name.split()[0] == OURS):
        errors = {case: error for (who, case), error in outcome.errors.items() if who == name}
        wrong = [
            gap
            for gap in outcome.gaps
            if gap.contender == name and gap.reason.startswith((WRONG, FAILED))
        ]
        if not errors and not wrong:
            continue  # no case was for it
        worst = max(errors, key=lambda case: errors[case], default="none")
        text = f"{len(errors)} of {len(errors) + len(wrong)} cases"
        if errors:
            text += f", worst error {errors[worst]:.1e} ({worst})"
        yield Check(
            f"{name} by the definition in float64",
            not wrong,
            text + "".join(f"; {gap.case}: {gap.reason}" for gap in wrong[:3]),
            {"right": len(errors), "wrong": len(wrong), "error": errors.get(worst, 0.0)},
        )
