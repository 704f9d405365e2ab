"""The arena: one flat tensor that holds every loaded adapter, and the table that finds them."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .expand import expand
from .segments import Segments
from .shrink import shrink
from .table import Offsets, OffsetTable, Ranks, Row, Site
from .tiles import Tiles

if TYPE_CHECKING:
    from .cpu import CpuLora

__all__ = ["ALIGNMENT_BYTES", "Arena", "Site"]

ALIGNMENT_BYTES = 128


class Arena:
    """Memory for adapters on one device, and the op that adds them to a Linear's output.

    A is stored `[r, K]`, B as `[r, n]`, scaling folded in, each matrix at a 128-byte boundary. A
    load writes `data[offset:offset + n]` first and the table row last; a slot is named in
    `Segments` only after that.

    Threads: on the CPU one thread, the engine's, owns an arena and writes rows between steps. On
    CUDA rows are written on the current stream; who names the slot waits for its event.

    Attributes:
        data: `[num_elements]`, uninitialised.
        table: The offset table.
        tiles: Of the launches on CUDA.
    """

    def __init__(
        self,
        num_elements: int,
        *,
        num_slots: int,
        num_slices: int,
        dtype: torch.dtype,
        device: torch.device | str,
        max_rank: int = 256,
        tiles: Tiles | None = None,
    ) -> None:
        self.data = torch.empty(num_elements, dtype=dtype, device=device)
        self.tiles = tiles or Tiles()
        self.table = OffsetTable(num_slots, num_slices, max_rank=max_rank, device=self.data.device)
        self._cpu = _make_cpu_lora(self.data, self.table)

    def write_row(self, slot: int, a_at_J: Offsets, b_at_J: Offsets, rank_J: Ranks) -> None:
        """Make the adapter whose matrices lie at these elements answer for `slot`.

        Raises:
            ValueError: The slot, a shape, a rank, or the place or alignment of a matrix.
        """
        self._check_places("a_at", a_at_J, rank_J)
        self._check_places("b_at", b_at_J, rank_J)
        self.table.write(slot, Row(a_at_J, b_at_J, rank_J))

    def clear_row(self, slot: int) -> None:
        """Make every slice of `slot` absent."""
        self.table.clear(slot)

    def add_lora(self, y_TN: Tensor, x_TK: Tensor, segments: Segments, site: Site) -> None:
        """Add each row's adapter to the base Linear's output, in place.

        Semantics, for segment s with slot c, and slice j of the site with rank r > 0:
            rows = order[indptr[s]:indptr[s + 1]]
            y_TN[rows, columns j] += x_TK[rows] @ A(c, j).T @ B(c, j)
        Base rows and the columns of absent slices keep their bits.
        """
        if x_TK.is_cuda:
            narrow = self.tiles.for_shrink(site.shape, segments.m_tile)
            wide = self.tiles.for_expand(site.shape, segments.m_tile)
            arena, table = self.data, self.table
            v = shrink(x_TK, segments, arena=arena, table=table, site=site, tile=narrow)
            expand(y_TN, v, segments, arena=arena, table=table, site=site, tile=wide)
        else:
            assert self._cpu is not None
            self._cpu.add_lora(y_TN, x_TK, segments, site)

    def _check_places(self, name: str, at_J: Offsets, rank_J: Ranks) -> None:
        used = at_J[rank_J > 0]
        if used.min(initial=0) < 0 or used.max(initial=0) >= self.data.numel():
            raise ValueError(
                f"{name} {used.min()} to {used.max()} leaves the arena of "
                f"{self.data.numel()} elements"
            )
        misplaced = used[used * self.data.itemsize % ALIGNMENT_BYTES != 0]
        if misplaced.size > 0:
            raise ValueError(
                f"{name} {misplaced[0]} is not at a boundary of {ALIGNMENT_BYTES} bytes"
            )


def _make_cpu_lora(data: Tensor, table: OffsetTable) -> "CpuLora | None":
    """The CPU's path; nothing serves float64, in which gradients are checked."""
    if data.device.type != "cpu" or data.dtype == torch.float64:
        return None
    from .cpu import CpuLora  # here, for numba need not be there beside a GPU

    return CpuLora(data, table)
