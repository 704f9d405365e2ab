"""Sites and the offset table: where in the arena each slot's matrices start, and their ranks."""

from dataclasses import dataclass
from enum import Enum
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Offsets = npt.NDArray[np.int64]
Ranks = npt.NDArray[np.int32]


class Half(Enum):
    """One of a slice's two matrices. Serving shrinks through A and expands through B.

    Both are stored rank by rank, so training's products of gradients are the same ops with the
    halves exchanged.
    """

    A = "a"  # [r, K]: every slice meets all columns of the site's input
    B = "b"  # [r, n]: each slice meets its own columns of the merged output


@dataclass(frozen=True, slots=True)
class Site:
    """Linears that share an input, each a slice of the merged output.

    Attributes:
        in_features: K of every slice.
        out_features: The width of each slice, in the order of the output's columns.
        first: The offset table's column of slice 0; the others follow it.
    """

    in_features: int
    out_features: tuple[int, ...]
    first: int

    @property
    def shape(self) -> tuple[int, tuple[int, ...]]:
        """What sites of other layers have in common with this one."""
        return self.in_features, self.out_features

    @property
    def columns(self) -> slice:
        """The site's columns of the offset table."""
        return slice(self.first, self.first + len(self.out_features))

    @property
    def outputs(self) -> tuple[slice, ...]:
        """Each slice's columns of the merged output."""
        ends = accumulate(self.out_features)
        return tuple(slice(end - n, end) for n, end in zip(self.out_features, ends, strict=True))

    def width(self, half: Half) -> int:
        """The columns of the tensor that a half meets: the site's input or its merged output."""
        return self.in_features if half is Half.A else sum(self.out_features)

    def met_by(self, half: Half) -> tuple[slice, ...]:
        """Which of these columns each slice's matrix meets."""
        if half is Half.B:
            return self.outputs
        return (slice(0, self.in_features),) * len(self.out_features)


class Row(NamedTuple):
    """One slot, on the host: elements from the arena's start, and ranks; rank 0 = absent."""

    a_at: Offsets
    b_at: Offsets
    rank: Ranks


class OffsetTable:
    """A row per slot, a column per site slice: `a_at`, `b_at` int64 and `rank` int32.

    Kernels read the tensors; the host keeps a mirror of its own for what it has to plan, and
    `rank_C`, the sum of each slot's ranks: the weights that `group_rows` takes.
    """

    def __init__(
        self, num_slots: int, num_slices: int, *, max_rank: int, device: torch.device
    ) -> None:
        self.num_slots = num_slots
        self.num_slices = num_slices
        self.max_rank = max_rank
        shape = (num_slots, num_slices)
        self.a_at = torch.zeros(shape, dtype=torch.int64, device=device)
        self.b_at = torch.zeros(shape, dtype=torch.int64, device=device)
        self.rank = torch.zeros(shape, dtype=torch.int32, device=device)
        self.rank_C: Ranks = np.zeros(num_slots, np.int32)
        self._host = Row(
            np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int32)
        )

    def at(self, half: Half) -> Tensor:
        """Where the matrices of a half start: `a_at` or `b_at`."""
        return self.a_at if half is Half.A else self.b_at

    def row(self, slot: int, site: Site) -> Row:
        """The mirror's entries of one slot at one site."""
        a_at, b_at, rank = self._host
        at = slot, site.columns
        return Row(a_at[at], b_at[at], rank[at])

    def write(self, slot: int, row: Row) -> None:
        """Set a row: mirror first, then the device on the current stream, without waiting.

        Raises:
            ValueError: The slot, a shape or a rank is out of range.
        """
        self._check(slot, row)
        self.rank_C[slot] = row.rank.sum()
        tensors: tuple[Tensor, ...] = (self.a_at, self.b_at, self.rank)
        mirrors: tuple[npt.NDArray[np.integer], ...] = self._host
        columns: tuple[npt.NDArray[np.integer], ...] = row
        for tensor, mirror, values in zip(tensors, mirrors, columns, strict=True):
            mirror[slot] = values
            staged = torch.from_numpy(mirror[slot].copy())
            tensor[slot].copy_(staged.pin_memory() if tensor.is_cuda else staged, non_blocking=True)

    def clear(self, slot: int) -> None:
        """Make every slice of a slot absent."""
        offsets = np.zeros(self.num_slices, np.int64)
        self.write(slot, Row(offsets, offsets, np.zeros(self.num_slices, np.int32)))

    def _check(self, slot: int, row: Row) -> None:
        if not 0 <= slot < self.num_slots:
            raise ValueError(f"slot {slot} is outside the table of {self.num_slots} slots")
        shapes = {row.a_at.shape, row.b_at.shape, row.rank.shape}
        if shapes != {(self.num_slices,)}:
            raise ValueError(f"a row of {shapes}, the table has {self.num_slices} slices")
        if row.rank.min(initial=0) < 0 or row.rank.max(initial=0) > self.max_rank:
            raise ValueError(
                f"ranks {row.rank.min()} to {row.rank.max()} exceed max_rank {self.max_rank}"
            )
