"""Reading a server's metrics until they say what is expected."""

import asyncio
import time
import urllib.request
from collections.abc import Callable

Figures = dict[str, float]


def read_metrics(address: str) -> Figures:
    """Every sample by its name and labels, as the exposition format writes them."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    samples = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return {name: float(value) for name, _, value in samples}


async def wait_for_metrics(
    address: str, holds: Callable[[Figures], bool], *, timeout_s: float = 20
) -> Figures:
    """Answer the first figures of which `holds` is true; raise TimeoutError with the last."""
    deadline = time.monotonic() + timeout_s
    while True:
        figures = await asyncio.to_thread(read_metrics, address)
        if holds(figures):
            return figures
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s} s: {figures}")
        await asyncio.sleep(0.1)
