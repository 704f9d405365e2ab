"""Weft's own shrink and expand as a contender: an arena of 256 slots, launches for 256 rows."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from weft.kernels import ALIGNMENT_BYTES, Arena, Half, Segments, Site, group_rows
from weft.kernels.expand import expand
from weft.kernels.outer import outer
from weft.kernels.shrink import shrink
from weft.kernels.tiles import ExpandTile, ShrinkTile

from .errors import NotApplicable
from .lora_contender import AddDelta, LoraInputs
from .trials import OURS

CAPACITY = 256
DECODE_TILE = 16
PREFILL_TILE = 64


def tile_of(*, has_prefill: bool) -> int:
    """Rows of a work item, as the engine chooses them."""
    return PREFILL_TILE if has_prefill else DECODE_TILE


@dataclass(frozen=True, slots=True)
class WeftLora:
    """Two launches, sized for the capacity; what the step holds is read on the device.

    Attributes:
        overlap: expand begins before shrink ends (sm_90 and later).
        shrink_tile: None = the one in use, as for expand_tile.
    """

    name: str = OURS
    overlap: bool = False
    shrink_tile: ShrinkTile | None = None
    expand_tile: ExpandTile | None = None

    def prepare(self, inputs: LoraInputs) -> AddDelta:
        if self.overlap and not can_overlap(inputs.x_TK.device):
            raise NotApplicable("launches overlap from sm_90 on")
        loaded = load_arena(inputs)

        def add_delta(y_TN: Tensor) -> None:
            v = loaded.shrink(inputs.x_TK, tile=self.shrink_tile, overlap=self.overlap)
            loaded.expand(y_TN, v, tile=self.expand_tile, overlap=self.overlap)

        return add_delta


def can_overlap(device: torch.device) -> bool:
    """Whether a launch can begin before the one that precedes it ends."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (9, 0)


@dataclass(frozen=True, slots=True)
class LoadedSite:
    """An arena with the adapters of one cell, and the segments of its rows."""

    arena: Arena
    site: Site
    segments: Segments

    def shrink(
        self,
        x_TK: Tensor,
        half: Half = Half.A,
        *,
        tile: ShrinkTile | None = None,
        overlap: bool = False,
    ) -> Tensor:
        return shrink(
            x_TK,
            self.segments,
            arena=self.arena.data,
            table=self.arena.table,
            site=self.site,
            half=half,
            tile=tile,
            overlap=overlap,
        )

    def expand(
        self,
        y_TN: Tensor,
        v: Tensor,
        half: Half = Half.B,
        *,
        tile: ExpandTile | None = None,
        overlap: bool = False,
    ) -> None:
        expand(
            y_TN,
            v,
            self.segments,
            arena=self.arena.data,
            table=self.arena.table,
            site=self.site,
            half=half,
            tile=tile,
            overlap=overlap,
        )

    def outer(self, x_TK: Tensor, v: Tensor, gradients: Tensor, half: Half) -> None:
        outer(
            x_TK,
            v,
            self.segments,
            gradients=gradients,
            table=self.arena.table,
            site=self.site,
            half=half,
        )


def load_arena(inputs: LoraInputs) -> LoadedSite:
    """Pack the adapters one behind another, and group the rows."""
    x_TK, num_slices = inputs.x_TK, len(inputs.site.out_features)
    matrices = [m for slot in zip(inputs.a, inputs.b, strict=True) for half in slot for m in half]
    unit = ALIGNMENT_BYTES // x_TK.element_size()
    ends = np.cumsum([-(-m.numel() // unit) * unit for m in matrices], dtype=np.int64)
    starts = np.concatenate([[0], ends])
    capacity = max(CAPACITY, len(x_TK))
    arena = Arena(
        int(starts[-1]),
        num_slots=max(CAPACITY, inputs.num_slots),
        num_slices=num_slices,
        dtype=x_TK.dtype,
        device=x_TK.device,
    )
    for at, matrix in zip(starts[:-1].tolist(), matrices, strict=True):
        arena.data[at : at + matrix.numel()] = matrix.flatten()
    places = starts[:-1].reshape(-1, 2, num_slices)
    for slot, ((a_at_J, b_at_J), rank) in enumerate(zip(places, inputs.ranks, strict=True)):
        arena.write_row(slot, a_at_J, b_at_J, np.full(num_slices, rank, np.int32))
    segments = group_rows(
        inputs.slot_T,
        m_tile=tile_of(has_prefill=inputs.has_prefill),
        capacity=capacity,
        rank_C=arena.table.rank_C,
    )
    site = replace(inputs.site, first=0)
    return LoadedSite(arena, site, segments.to(x_TK.device))
