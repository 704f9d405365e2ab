"""Which row of a step uses which slot: the rows grouped by slot, and the kernels' work list."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Ints = npt.NDArray[np.integer]


class Span(NamedTuple):
    """One segment on the host: `slot` owns `order[start:stop]`."""

    slot: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """The adapted rows of one step, grouped by slot. Base rows do not appear.

    The five tensors are int32 views of `buffer`, so that one copy moves them all. Each has room for
    `capacity` rows; what lies behind the valid part is zero.

    Attributes:
        order: `[Ta]` rows, sorted by slot, stable.
        slot: `[S]` slot of each segment, ascending.
        indptr: `[S + 1]`; segment s owns `order[indptr[s]:indptr[s + 1]]` and is never empty.
        items: `[I, 3]` work list: slot, first position in `order`, rows (1 to `m_tile`).
        counts: `[3]`: Ta, I and S. Kernels read them on the device.
        spans: The segments again, on the host, for the CPU path.
        num_rows: Rows of the step, base rows included.
        m_tile: Largest number of rows in an item.
    """

    buffer: Tensor
    order: Tensor
    slot: Tensor
    indptr: Tensor
    items: Tensor
    counts: Tensor
    spans: tuple[Span, ...]
    num_rows: int
    m_tile: int

    @property
    def num_adapted(self) -> int:
        """Ta, the rows that have an adapter."""
        return self.spans[-1].stop if self.spans else 0

    def to(self, device: torch.device | str) -> "Segments":
        """Copy to `device`, in one transfer."""
        return self.copy_into(torch.empty_like(self.buffer, device=device))

    def copy_into(self, buffer: Tensor) -> "Segments":
        """Copy into `buffer`, without waiting, and return the view of it.

        A captured graph keeps the addresses of one buffer: build its steps with one `capacity`.

        Raises:
            ValueError: `buffer` is not an int32 vector of this capacity.
        """
        laid = self.lay_over(buffer)
        buffer.copy_(self.buffer, non_blocking=True)
        return laid

    def lay_over(self, buffer: Tensor) -> "Segments":
        """These segments as views of a buffer that holds their content, or will.

        Raises:
            ValueError: `buffer` is not an int32 vector of this capacity.
        """
        if buffer.shape != self.buffer.shape or buffer.dtype != torch.int32:
            raise ValueError(
                f"buffer is {buffer.dtype} {tuple(buffer.shape)}, segments need int32 "
                f"{tuple(self.buffer.shape)}"
            )
        sizes = (self.order.numel(), self.slot.numel(), self.items.shape[0])
        order, slot, indptr, items, counts = _views(buffer, *sizes)
        return replace(
            self, buffer=buffer, order=order, slot=slot, indptr=indptr, items=items, counts=counts
        )


def group_rows(
    slot_T: Ints,
    *,
    m_tile: int = 16,
    capacity: int | None = None,
    rank_C: Ints | None = None,
) -> Segments:
    """Group the rows of a step by slot, on the host.

    Args:
        slot_T: The slot of every row; -1 = a base row.
        m_tile: Largest number of rows in a work item: a constant of a captured graph.
        capacity: Rows to make room for; None = exactly what this step needs.
        rank_C: Weight of each slot. Items of the heaviest come first, so that none starts last.

    Raises:
        ValueError: More rows than `capacity`.
    """
    num_rows = len(slot_T)
    if capacity is not None and num_rows > capacity:
        raise ValueError(f"{num_rows} rows exceed the capacity of {capacity}")
    adapted = np.flatnonzero(slot_T >= 0)
    order = adapted[np.argsort(slot_T[adapted], kind="stable")]
    slot_of = slot_T[order]
    starts = np.flatnonzero(np.diff(slot_of, prepend=-1))
    indptr = np.append(starts, len(order))
    slot = slot_of[starts]
    items = _work_items(slot, indptr, m_tile=m_tile, rank_C=rank_C)
    sizes = (len(order), len(slot), len(items)) if capacity is None else (capacity,) * 3
    buffer = torch.zeros(_total(*sizes), dtype=torch.int32)
    views = _views(buffer, *sizes)
    counts = np.array([len(order), len(items), len(slot)])
    for view, values in zip(views, (order, slot, indptr, items, counts), strict=True):
        view[: len(values)] = torch.from_numpy(values.astype(np.int32))
    spans = zip(slot.tolist(), indptr[:-1].tolist(), indptr[1:].tolist(), strict=True)
    return Segments(buffer, *views, tuple(Span(*span) for span in spans), num_rows, m_tile)


def _work_items(slot: Ints, indptr: Ints, *, m_tile: int, rank_C: Ints | None) -> Ints:
    """`[I, 3]`: every segment cut into items of at most `m_tile` rows, heaviest slot first."""
    heaviest = np.arange(len(slot)) if rank_C is None else np.argsort(-rank_C[slot], kind="stable")
    tiles = -(-np.diff(indptr)[heaviest] // m_tile)
    segment = np.repeat(heaviest, tiles)
    tile = np.arange(tiles.sum()) - np.repeat(np.cumsum(tiles) - tiles, tiles)
    first = indptr[segment] + tile * m_tile
    rows = np.minimum(m_tile, indptr[segment + 1] - first)
    return np.stack([slot[segment], first, rows], axis=1)


def buffer_elements(capacity: int) -> int:
    """Elements of the buffer of segments that have room for `capacity` rows."""
    return _total(capacity, capacity, capacity)


def _lengths(num_adapted: int, num_segments: int, num_items: int) -> tuple[int, ...]:
    return num_adapted, num_segments, num_segments + 1, 3 * num_items, 3


def _total(*sizes: int) -> int:
    return sum(_aligned(length) for length in _lengths(*sizes))


def _aligned(length: int) -> int:
    """16-byte boundaries: Triton compiles anew for a pointer of another alignment."""
    return -(-length // 4) * 4


def _views(buffer: Tensor, *sizes: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Cut `buffer` into order, slot, indptr, items and counts."""
    views, at = [], 0
    for length in _lengths(*sizes):
        views.append(buffer[at : at + length])
        at += _aligned(length)
    order, slot, indptr, items, counts = views
    return order, slot, indptr, items.view(-1, 3), counts
