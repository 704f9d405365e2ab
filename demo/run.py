"""The demo from start to end."""

import asyncio
import tempfile
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from weft.client import Answer, AsyncClient, WeftError

from .errors import StepFailed
from .measure import Rates, measure_rates
from .places import BASE
from .serving import serve
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
    """
    with tempfile.TemporaryDirectory(prefix="weft-demo-") as folder:
        console.print("[bold]1. weft serve[/] with the demo's base model")
        with serve(BASE, Path(folder)) as address:
            try:
                asyncio.run(run_steps(console, address))
            except (WeftError, TimeoutError) as err:
                raise StepFailed(f"{err or 'out of time'}") from err


async def run_steps(console: Console, address: str) -> None:
    """Go through the steps against a running server."""
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
        rates = await measure_rates(client, base, (*DESKS, LEARNT), PROMPT)
    console.print(make_table(rates, load_times(answers, base=base), first_ms))


def load_times(answers: Mapping[str, Answer], *, base: str) -> list[float]:
    """Collect what the adapters' first requests waited for their adapter, in milliseconds."""
    usages = [answer.usage for model, answer in answers.items() if model != base]
    return [usage.load_ms for usage in usages if usage is not None]


def make_table(rates: Rates, load_ms: list[float], first_ms: float) -> Table:
    """Put the figures together."""
    table = Table("figure", "value")
    table.add_row(f"base only, {rates.batch} streams", f"{rates.base:.0f} tokens/s")
    table.add_row(f"base and {len(DESKS) + 1} adapters mixed", f"{rates.mixed:.0f} tokens/s")
    table.add_row("mixed / base only", f"{rates.mixed / rates.base:.2f}")
    table.add_row("adapter load, slowest of the first requests", f"{max(load_ms):.0f} ms")
    table.add_row("from publish to first token", f"{first_ms:.0f} ms")
    return table
