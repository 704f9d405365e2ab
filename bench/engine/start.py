"""What a start takes: choosing tiles, laying an engine out, and capturing its graphs."""

import time
from collections.abc import Callable

import torch

from weft.bench.cases import WEFT
from weft.bench.driver import Driver
from weft.bench.record import Cell, Gap
from weft.bench.trials import Outcome
from weft.kernels.tune import tuned_tiles
from weft.server.config import MIB, EngineConfig
from weft.server.model.adapt import kernel_sites

from .workbench import Workbench, free_memory

NO_GRAPHS = "n/a (neither tiles nor graphs on a CPU)"


def time_start(bench: Workbench, case: str) -> Outcome:
    """Start an engine of a server's sizes, without graphs and with them, and take the difference.

    The first of all to compile is the choice of tiles, which is timed by itself.
    """
    outcome = Outcome()
    cuda = bench.device.type == "cuda"
    sites = kernel_sites(bench.base.facts).values()
    tune_s = _time(lambda: tuned_tiles(sites, dtype=bench.base.model.dtype, device=bench.device))
    plain_s, plain_bytes = _start(bench, graphs=False)
    figures = {"start": (plain_s, "s")}
    if cuda:
        graph_s, graph_bytes = _start(bench, graphs=True)
        figures |= {
            "tiles": (tune_s, "s"),
            "graphs": (graph_s - plain_s, "s"),
            "graphs_mib": ((graph_bytes - plain_bytes) / MIB, "MiB"),
        }
    else:
        outcome.gaps.append(Gap(WEFT, case, NO_GRAPHS))
    outcome.cells += [
        Cell(WEFT, figure, unit, [value], case=case) for figure, (value, unit) in figures.items()
    ]
    return outcome


def _start(bench: Workbench, *, graphs: bool) -> tuple[float, int]:
    """Seconds until the engine stands, and the bytes that it holds on the device."""
    free_memory(bench.device)
    before = _free_bytes(bench.device)
    config = EngineConfig(graphs=graphs, kv_bytes=_kv_bytes(bench), host_bytes=MIB)
    drivers: list[Driver] = []

    def start() -> None:
        drivers.append(Driver(bench.base.model, bench.base.facts, config, {}))

    seconds = _time(start)
    held = before - _free_bytes(bench.device)
    drivers.pop().close()
    return seconds, held


def _kv_bytes(bench: Workbench) -> int:
    """Of one sequence of the base's whole context."""
    return (bench.base.facts.max_context + 1) * bench.base.cost.kv_token_bytes


def _free_bytes(device: torch.device) -> int:
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0


def _time(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
