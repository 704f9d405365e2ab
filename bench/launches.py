"""The launch floor: what a graph takes whose kernels do nothing."""

from functools import partial
from statistics import median

import triton

from .stopwatch import Stopwatch, do_nothing

MAX_LAUNCHES = 4
SAMPLES = 50


def measure_launches(stopwatch: Stopwatch) -> tuple[float, ...]:
    """Microseconds of a graph with one empty kernel, with two, and so on, flushed as any other."""
    floors = []
    for num in range(1, MAX_LAUNCHES + 1):
        replay = stopwatch.capture(partial(launch_empty, num))
        floors.append(median(stopwatch.cold_us(replay, do_nothing, SAMPLES)))
    return tuple(floors)


def launch_empty(num: int) -> None:
    """Launch kernels that do nothing, one behind the other."""
    for _ in range(num):
        empty_kernel[(1,)]()


@triton.jit  # type: ignore[untyped-decorator]
def empty_kernel() -> None:
    pass
