"""What a step's segments cost, once for all its sites: building them, and their copy."""

from collections.abc import Iterator

import torch

from weft.kernels import group_rows

from .lora_cells import Batch
from .record import Value
from .stopwatch import do_nothing
from .trials import OURS, Case, Run, Trial, relative_error
from .weft_lora import CAPACITY, tile_of

METADATA = "metadata"


def metadata_batches(*, small: bool) -> Iterator[Batch]:
    """Decode and prefill steps, or what is quick on a CPU."""
    yield Batch(3 if small else 1)
    if not small:
        yield from (Batch(128), Batch(prefill_rows=8192, prefill_adapters=8))


def make_metadata_case(
    batch: Batch, *, seed: int, device: torch.device, dtype: torch.dtype
) -> Case:
    """In a graph, the copy alone; eagerly, grouping the rows on the host as well.

    Args:
        dtype: Of no consequence here.
    """
    slot_T, m_tile = batch.draw_slots(seed), tile_of(has_prefill=batch.has_prefill)
    capacity = max(CAPACITY, len(slot_T))
    segments = group_rows(slot_T, m_tile=m_tile, capacity=capacity)
    pinned = segments.buffer.pin_memory() if device.type == "cuda" else segments.buffer
    target = torch.empty_like(pinned, device=device)

    def copy() -> None:
        target.copy_(pinned, non_blocking=True)

    def build_and_copy() -> None:
        built = group_rows(slot_T, m_tile=m_tile, capacity=capacity)
        pinned.copy_(built.buffer)
        copy()

    def error_of(run: Run) -> float:
        target.fill_(-1)
        run()
        return relative_error(target.cpu().double(), segments.buffer.double())

    trial = Trial(copy, do_nothing, error_of, eager=build_and_copy)
    parameters: dict[str, Value] = {"op": METADATA, "rows": len(slot_T)}
    return Case(f"{METADATA} {batch}", parameters, 0.0, {OURS: lambda: trial})
