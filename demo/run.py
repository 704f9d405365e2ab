"""The demo from start to end."""

import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.table import Table

from weft.client import AsyncClient, WeftError
from weft.server.child import run_server

from .errors import StepFailed
from .measure import Rates, measure_rates, read_load_ms
from .places import BASE
from .story import (
    DESKS,
    LEARNT,
    PROMPT,
    ask_all,
    ask_learnt,
    check_answers,
    publish_desks,
    train,
)


def run_demo(console: Console) -> None:
    """Start a server in a temporary folder, go through the steps, and stop it.

    Raises:
        DemoFailed: A step did not show what it says.
        StartFailed: The server does not come up.
    """
    with tempfile.TemporaryDirectory(prefix="weft-demo-") as folder, ExitStack() as stack:
        console.print("[bold]1. weft serve[/] with the demo's base model")
        with console.status("loading"):
            served = stack.enter_context(run_server(BASE, Path(folder)))
        try:
            rates, first_ms = asyncio.run(run_steps(console, served.address))
        except (WeftError, TimeoutError) as err:
            raise StepFailed(f"{err or 'out of time'}") from err
        console.print(make_table(rates, read_load_ms(served.metrics), first_ms))


async def run_steps(console: Console, address: str) -> tuple[Rates, float]:
    """Go through the steps; the rates, and the time from publish to first token in milliseconds."""
    async with AsyncClient(address) as client:
        base = (await client.models())[0].model
        console.print("[bold]2. Three adapters[/], uploaded with the CLI")
        digests = await publish_desks(console, address)
        console.print(f"[bold]3. One batch:[/] the base and each adapter are asked: {PROMPT}")
        answers = await ask_all(console, client, (base, *DESKS))
        check_answers(answers, digests, base=base)
        console.print("[bold]4. A fine-tuning job[/] learns to answer in JSON")
        learnt = await train(console, client)
        console.print("[bold]5. The new adapter[/], asked by name")
        first_ms = await ask_learnt(console, client, learnt)
        console.print("[bold]6. Figures[/] of this run")
        return await measure_rates(client, base, (*DESKS, LEARNT), PROMPT), first_ms


def make_table(rates: Rates, load_ms: float, first_ms: float) -> Table:
    """Put the figures together."""
    table = Table("figure", "value")
    table.add_row(f"base only, {rates.batch} streams", f"{rates.base:.0f} tokens/s")
    table.add_row(f"base and {len(DESKS) + 1} adapters mixed", f"{rates.mixed:.0f} tokens/s")
    table.add_row("mixed / base only", f"{rates.mixed / rates.base:.2f}")
    table.add_row("adapter load, mean", f"{load_ms:.1f} ms")
    table.add_row("from publish to first token", f"{first_ms:.0f} ms")
    return table
