"""The suite `soak`: rounds of churn, and between them a look at a server that rests."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from weft.bench.ceilings import MIB, measure_ceilings
from weft.bench.machine import find_hardware, find_versions
from weft.bench.record import Beginning, Cell, Invocation, Record
from weft.bench.serving.host import Host, open_host
from weft.bench.serving.options import HostOptions
from weft.bench.serving.plan import AdapterSpec, Setting
from weft.bench.serving.workloads import make_adapters
from weft.bench.shapes import SHAPES
from weft.bench.suite import Say
from weft.client import AsyncClient

from .churn import DEADLINES_S, Client, Material, Tally
from .reference import Question, find_questions
from .verdict import check_soak
from .watch import Rest, rest

Find = Callable[[str], Awaitable[list[Question]]]

SHAPE = "tiny"
STD = 0.15
"""Of weights: large, so that answers differ, and the likeliest tokens are far apart."""
RANKS = (4, 8, 16, 32)
NUM_STANDING, NUM_PASSING, NUM_RESIDENT = 10, 6, 5
NUM_QUESTIONS = 4
NUM_CLIENTS = 12
NUM_DRAFTS = 4
"""Tokens that a decode may draft from its own text; no answer changes by it."""
KV_BYTES = 1024 * 1024
"""2,048 tokens of the tiny shape: sequences are preempted."""


@dataclass(frozen=True, slots=True)
class SoakOptions:
    """How long, and how long each round is."""

    seconds: float
    round_s: float
    seed: int


def soak_setting() -> Setting:
    """Adapters that stay and ones that pass, in an arena for half of the former."""
    standing = make_adapters(NUM_STANDING, RANKS)
    passing = make_adapters(NUM_PASSING, RANKS, prefix="passing")
    return Setting(SHAPE, standing, standing[:NUM_RESIDENT], passing)


def run_soak(options: SoakOptions, folder: Path, *, invocation: Invocation, say: Say) -> Record:
    """Start a server, soak it, and judge.

    Raises:
        StartFailed: The server did not come up.
    """
    beginning = Beginning()
    device = torch.device("cpu")
    ceilings = measure_ceilings(device, torch.float32, copy_bytes=64 * MIB, matmul_size=1024)
    setting = soak_setting()
    budgets = f"--kv-bytes {KV_BYTES} --host-bytes {setting.arena_bytes}"
    more = f"{budgets} --speculate {NUM_DRAFTS}"
    host_options = HostOptions("cpu", options.seed, more, dtype="float32", std=STD)
    say("starting a server")
    with open_host(setting, host_options, folder) as host:
        tally, rests = asyncio.run(_soak(options, setting, host, say))
        log = host.server.log.read_text(errors="replace")
    return Record(
        suite="soak",
        conditions=beginning.conditions(
            **invocation._asdict(),
            seed=options.seed,
            hardware=find_hardware(device),
            versions=find_versions(),
            ceilings=ceilings,
        ),
        parameters={
            "shape": SHAPE,
            "dtype": "float32",
            "adapters": NUM_STANDING,
            "resident": NUM_RESIDENT,
            "drafts": NUM_DRAFTS,
            "clients": NUM_CLIENTS,
            "rounds": len(rests),
            **{f"num_{kind}": num for kind, num in sorted(tally.done.items())},
        },
        checks=check_soak(tally, rests, log),
        cells=make_cells(rests),
        ratios=[],
        loads=[],
        verdicts=[],
    )


def make_cells(rests: list[Rest]) -> list[Cell]:
    """Memory and files of every process, rest by rest."""
    return [
        Cell(part, figure, unit, [float(getattr(rest.holdings[part], name)) for rest in rests])
        for part in rests[0].holdings
        for figure, unit, name in (
            ("rss", "MiB", "rss_mib"),
            ("files", "files", "num_files"),
        )
    ]


async def _soak(
    options: SoakOptions, setting: Setting, host: Host, say: Say
) -> tuple[Tally, list[Rest]]:
    target = host.target
    [key] = target.api_keys
    async with AsyncExitStack() as stack:
        weft = await stack.enter_async_context(AsyncClient(target.address, api_key=key))
        impatient = [
            await stack.enter_async_context(
                AsyncClient(target.address, api_key=key, timeout_s=deadline_s)
            )
            for deadline_s in DEADLINES_S
        ]
        say("asking single requests")
        material = await _find_material(weft, setting, host, options.seed)
        tally = Tally()
        clients = [
            Client(weft, impatient, material, tally, name=f"churn-{i}", seed=options.seed + i)
            for i in range(NUM_CLIENTS)
        ]
        return tally, await _hold_rounds(clients, options, host, tally, say)


async def _hold_rounds(
    clients: list[Client], options: SoakOptions, host: Host, tally: Tally, say: Say
) -> list[Rest]:
    rests: list[Rest] = []
    told = 0
    ends = time.monotonic() + options.seconds
    while not rests or time.monotonic() < ends:
        until = time.monotonic() + options.round_s
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client.run(until))
        rests.append(await asyncio.to_thread(rest, host.server))
        engine = rests[-1].holdings["engine"]
        say(
            f"round {len(rests)}: {sum(tally.done.values())} acts, {len(tally.wrong)} wrong, "
            f"engine {engine.rss_mib:.0f} MiB, {engine.num_files} files"
        )
        for line in tally.wrong[told:]:
            say(line)
        told = len(tally.wrong)
    return rests


async def _find_material(weft: AsyncClient, setting: Setting, host: Host, seed: int) -> Material:
    draw = np.random.default_rng(seed)

    async def find(model: str) -> list[Question]:
        vocab_size = SHAPES[setting.shape].vocab_size
        return await find_questions(
            weft, model, num=NUM_QUESTIONS, vocab_size=vocab_size, draw=draw
        )

    names = [host.target.base, *(spec.name for spec in setting.adapters)]
    standing = {name: await find(name) for name in names}
    passing = {}
    for spec in setting.cold:
        folder = host.target.folders[spec.name]
        passing[folder] = await _find_passing(weft, spec, folder, find)
    return Material(standing, passing)


async def _find_passing(
    weft: AsyncClient, spec: AdapterSpec, folder: Path, find: Find
) -> list[Question]:
    """Publish a content, ask it, and remove it again."""
    version = await weft.publish(spec.name, folder, latest=False)
    reference = f"{spec.name}@{version.version}"
    questions = await find(reference)
    await weft.retire(reference)
    await weft.delete(reference)
    return questions
