"""What this machine can do: measured in the run whose figures are divided by it."""

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from .floors import Ceilings
from .launches import measure_launches
from .stopwatch import Stopwatch

MIB = 1024**2
REPEATS = 8
COPY_BYTES = {"cuda": 2048 * MIB, "cpu": 256 * MIB}
HOST_COPY_BYTES = 256 * MIB
MATMUL_SIZE = {"cuda": 8192, "cpu": 2048}


def measure_ceilings(
    device: torch.device,
    dtype: torch.dtype,
    *,
    copy_bytes: int | None = None,
    matmul_size: int | None = None,
) -> Ceilings:
    """Measure a large copy and a square product of random numbers: the best of some tries.

    On a CPU also a read: the dot product of two large vectors.
    """
    source = torch.ones(copy_bytes or COPY_BYTES[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    size = matmul_size or MATMUL_SIZE[device.type]
    a = torch.randn(size, size, device=device).to(dtype)
    b = torch.randn(size, size, device=device).to(dtype)
    product = torch.empty_like(a)
    return Ceilings(
        copy_bytes_s=2 * source.nbytes / best_s(device, lambda: target.copy_(source)),
        matmul_flops_s=2 * size**3 / best_s(device, lambda: torch.mm(a, b, out=product)),
        read_bytes_s=_read_bytes_s(device, source) if device.type == "cpu" else None,
    )


def _read_bytes_s(device: torch.device, source: torch.Tensor) -> float:
    a, b = source.view(torch.float32).chunk(2)
    return source.nbytes / best_s(device, lambda: torch.dot(a, b))


def measure_gpu_ceilings(
    device: torch.device, dtype: torch.dtype, stopwatch: Stopwatch
) -> Ceilings:
    """What `measure_ceilings` finds, and copies from the host, and launches of nothing."""
    source = torch.empty(HOST_COPY_BYTES, dtype=torch.uint8, pin_memory=True)
    target = torch.empty_like(source, device=device)
    copy_s = best_s(device, lambda: target.copy_(source, non_blocking=True))
    return replace(
        measure_ceilings(device, dtype),
        host_copy_bytes_s=source.nbytes / copy_s,
        launches_us=measure_launches(stopwatch),
    )


def best_s(device: torch.device, work: Callable[[], object]) -> float:
    """The shortest of some runs of `work`, after one to warm up."""
    work()
    return min(_time_s(device, work) for _ in range(REPEATS))


def _time_s(device: torch.device, work: Callable[[], object]) -> float:
    synchronize(device)
    began = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - began


def synchronize(device: torch.device) -> None:
    """Wait until the device has nothing left to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
