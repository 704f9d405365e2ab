"""The suite `serving`: every run of some workloads, on as few servers as they allow."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from weft.bench.ceilings import MIB, measure_ceilings
from weft.bench.errors import DiskTooSmall
from weft.bench.machine import find_hardware, find_versions
from weft.bench.record import Beginning, Check, Gap, Invocation, Record, Value
from weft.bench.suite import Say

from .figures import WEFT, make_ratios
from .generator import Target
from .goals import judge_serving
from .host import open_host
from .options import ServingOptions
from .plan import Run, Setting
from .remote import find_lack, open_remote
from .senders import Senders
from .session import Found, Session
from .workloads import make_runs


def run_serving(options: ServingOptions, *, invocation: Invocation, say: Say) -> Record:
    """Run the workloads one after another.

    Raises:
        StartFailed: A server did not come up.
        BenchError: A server that runs has another base, or takes no load at all.
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
    is_stated = not options.small and options.remote is None
    return Record(
        suite=_suite_name(options),
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
        verdicts=judge_serving(found.cells, ratios, is_stated=is_stated),
        gaps=found.gaps,
    )


def list_runs(options: ServingOptions) -> Iterator[Run]:
    """The runs of all workloads; a sweep has capacities of its own."""
    for name in options.workloads:
        runs = make_runs(
            name, small=options.small_shape, seconds=options.seconds, trace=options.trace
        )
        for run in runs:
            if not (options.sweep and run.at_capacity):
                yield run


def _hold_setting(
    setting: Setting,
    runs: Sequence[Run],
    options: ServingOptions,
    senders: Senders,
    found: Found,
    say: Say,
) -> None:
    """Hold runs on one server; what the disk or the server has no room for leaves gaps."""
    lacks = {run.case: _find_lack(run, options) for run in runs}
    found.gaps += [Gap(WEFT, case, lack) for case, lack in lacks.items() if lack]
    runs = [run for run in runs if not lacks[run.case]]
    if not runs:
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="weft-serving-")))
        try:
            target = _open_target(setting, options, folder, stack, say)
        except DiskTooSmall as error:
            found.gaps += [Gap(WEFT, run.case, str(error)) for run in runs]
            return
        Session(target, options, senders, found, say).hold_all(setting, runs)


def _find_lack(run: Run, options: ServingOptions) -> str | None:
    if options.sweep and run.churn is not None:
        return "n/a (publications have no rate to sweep)"
    return None if options.remote is None else find_lack(run, options.remote)


def _open_target(
    setting: Setting, options: ServingOptions, folder: Path, stack: ExitStack, say: Say
) -> Target:
    num = len(setting.adapters)
    if options.remote is not None:
        say(f"publishing {num} adapters at {options.remote.address}")
        opened = open_remote(setting, options.remote, options.host, folder)
        return stack.enter_context(opened)
    say(f"building {setting.shape}, {num} adapters, starting a server")
    return stack.enter_context(open_host(setting, options.host, folder)).target


def _check(found: Found) -> Check:
    text = f"{found.num_calls} calls" if not found.wrong else "; ".join(found.wrong[:3])
    values: dict[str, Value] = {"calls": found.num_calls, "wrong": len(found.wrong)}
    return Check("answers by whom they were asked of", not found.wrong, text, values)


def _suite_name(options: ServingOptions) -> str:
    parts = ["serving"]
    if options.remote is not None:
        parts += ["remote", *(["small"] if options.small else [])]
    elif options.small_shape is not None:
        parts.append(options.small_shape)
    return "-".join([*parts, *(["sweep"] if options.sweep else [])])


def _parameters(options: ServingOptions, found: Found) -> dict[str, Value]:
    return {
        "workloads": " ".join(options.workloads),
        **_place(options),
        "senders": options.num_senders,
        **{f"knee_{shape}": round(knee, 3) for shape, knee in found.knees.items()},
        **({"serve": options.host.more} if options.host.more else {}),
    }


def _place(options: ServingOptions) -> dict[str, Value]:
    """Where the requests went; of a server that runs, nothing is known of the device."""
    if options.remote is not None:
        return {"address": options.remote.address, "arena": "the server's own"}
    return {"device": options.host.device, "dtype": options.host.dtype}
