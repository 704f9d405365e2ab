"""Other tiles than the ones in use, each with one thing changed: what a table of tiles rests on."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch

from weft.kernels.tiles import EXPAND, SHRINK

from .lora_case import make_lora_case
from .lora_cells import P1_CELL, SMALL_SITES, Batch, LoraCell
from .record import Value
from .trials import Case
from .weft_lora import WeftLora, tile_of

TILES = "tiles"

Choices = Mapping[str, tuple[int, ...]]

SHRINK_CHOICES: Choices = {
    "block_k": (64, 128),
    "block_r": (32, 64, 128),
    "num_warps": (2, 4, 8),
    "num_stages": (2, 3, 4),
    "programs_per_sm": (1, 2, 3, 4, 6),
}
EXPAND_CHOICES: Choices = {
    "block_n": (64, 128, 256),
    "strip": (256, 512, 1024, 2048),
    "num_warps": (4, 8),
    "num_stages": (1, 2, 3, 4),
    "programs_per_sm": (1, 2, 3, 4),
}


def tile_cells(*, small: bool) -> Iterator[LoraCell]:
    """Decode and prefill, short and wide; or one that an interpreter can run."""
    if small:
        yield LoraCell(next(iter(SMALL_SITES)), (4,), Batch(2))
        return
    yield P1_CELL
    yield LoraCell("qkv", (64,), Batch(32))
    yield LoraCell("down", (16,), Batch(32))
    yield LoraCell("gate_up", (16,), Batch(8, "identical"))
    yield LoraCell("gate_up", (16,), Batch(prefill_rows=512, prefill_adapters=1))
    yield LoraCell("qkv", (64,), Batch(prefill_rows=8192, prefill_adapters=8))


def make_tile_case(cell: LoraCell, *, seed: int, device: torch.device, dtype: torch.dtype) -> Case:
    """The tiles in use, and all candidates."""
    contenders = [WeftLora(), *candidates(tile_of(has_prefill=cell.batch.has_prefill))]
    case = make_lora_case(cell, contenders, seed=seed, device=device, dtype=dtype)
    parameters: dict[str, Value] = {**case.parameters, "op": TILES}
    return replace(case, name=f"{TILES} {cell}", parameters=parameters)


def candidates(m_tile: int) -> Iterator[WeftLora]:
    """Ours with one field of one tile changed. Which of them compile, the run will tell."""
    shrink, expand = SHRINK[m_tile], EXPAND[m_tile]
    for name, values in SHRINK_CHOICES.items():
        for value in values:
            if value != getattr(shrink, name):
                changed = replace(shrink, **{name: value})
                yield WeftLora(f"shrink {name}={value}", shrink_tile=changed)
    for name, values in EXPAND_CHOICES.items():
        for value in values:
            if value != getattr(expand, name):
                other = replace(expand, **{name: value})
                yield WeftLora(f"expand {name}={value}", expand_tile=other)
