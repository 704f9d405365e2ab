"""What a server's processes hold, and what its engine says that it holds, while nobody asks."""

import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from weft.server.child import Server

PARTS = ("redis", "engine", "front")
IDLE_S = 30.0
AFTER_S = 1.2
"""The engine tells its figures once a second."""
BUSY = ("weft_running_sequences", "weft_waiting_sequences")
USED = 'weft_kv_blocks{state="used"}'
ARENA = 'weft_tier_bytes{kind="used",tier="gpu"}'


class Holding(NamedTuple):
    """Of one process."""

    rss_mib: float
    num_files: int
    num_threads: int


class Rest(NamedTuple):
    """A server while nobody asks.

    Attributes:
        busy: Sequences and used blocks that should not be there, by the metric's name.
    """

    holdings: Mapping[str, Holding]
    pids: Mapping[str, int]
    busy: Mapping[str, float]
    arena_bytes: float


def rest(server: Server) -> Rest:
    """Wait until the engine says that it is idle, or IDLE_S have passed, and look."""
    deadline = time.monotonic() + IDLE_S
    while True:
        time.sleep(AFTER_S)
        figures = read_metrics(server.metrics)
        busy = {
            name: value
            for name, value in figures.items()
            if value and (name.startswith(BUSY) or name == USED)
        }
        if not busy or time.monotonic() > deadline:
            break
    pids = {part: server.starts_of(part)[-1] for part in PARTS} | {"supervisor": server.process.pid}
    return Rest({part: look(pid) for part, pid in pids.items()}, pids, busy, figures[ARENA])


def look(pid: int) -> Holding:
    """Read what the kernel says of a process."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return Holding(
        rss_mib=int(status["VmRSS"].split()[0]) / 1024,
        num_files=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        num_threads=int(status["Threads"]),
    )


def read_metrics(address: str) -> dict[str, float]:
    """Every sample by its name and labels, as the exposition format writes them."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    samples = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return {name: float(value) for name, _, value in samples}
