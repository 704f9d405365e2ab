"""The work list of prefill attention: the new tokens of a step, cut into tiles."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class QueryTiles:
    """The rows of one step in tiles of one sequence each, those with most keys first.

    The two tensors are int32 views of `buffer`, so that one copy moves them.

    Attributes:
        items: `[I, 4]`: sequence, first row, rows (1 to `max_rows`), position of the first row in
            its sequence. What lies behind the valid ones is zero.
        counts: `[1]`: how many items are valid. The kernel reads it on the device.
        max_rows: Largest number of rows in an item: a constant of a captured graph.
    """

    buffer: Tensor
    items: Tensor
    counts: Tensor
    max_rows: int

    def to(self, device: torch.device) -> "QueryTiles":
        """Copy to `device`, in one transfer, without waiting."""
        return self.lay_over(self.buffer.to(device, non_blocking=True))

    def lay_over(self, buffer: Tensor) -> "QueryTiles":
        """These tiles as views of a buffer that holds their content, or will."""
        return _view(buffer.view(self.buffer.shape), self.max_rows)


def cut_queries(
    indptr_B1: Sequence[int],
    kv_len_B: Sequence[int],
    *,
    max_rows: int,
    capacity: int | None = None,
) -> QueryTiles:
    """Cut the rows of every sequence into tiles, on the host.

    Args:
        indptr_B1: Sequence b owns rows `indptr_B1[b]:indptr_B1[b + 1]`; none is legal.
        kv_len_B: Keys of the sequence, its own rows included.
        max_rows: Tokens in a tile of the kernel.
        capacity: Items to make room for; None = exactly what this step needs.

    Raises:
        ValueError: More items than `capacity`.
    """
    indptr, kv_len = np.asarray(indptr_B1), np.asarray(kv_len_B)
    num_rows = np.diff(indptr)
    tiles = -(-num_rows // max_rows)
    sequence = np.repeat(np.arange(len(tiles)), tiles)
    tile = np.arange(len(sequence)) - np.repeat(np.cumsum(tiles) - tiles, tiles)
    skipped = tile * max_rows
    rows = np.minimum(num_rows[sequence] - skipped, max_rows)
    position = kv_len[sequence] - num_rows[sequence] + skipped
    longest_first = np.argsort(-(position + rows), kind="stable")
    items = np.stack([sequence, indptr[sequence] + skipped, rows, position], 1)[longest_first]
    if capacity is None:
        capacity = len(items)
    if len(items) > capacity:
        raise ValueError(f"{len(items)} tiles exceed the capacity of {capacity}")
    buffer = torch.zeros(capacity + 1, 4, dtype=torch.int32)
    buffer[0, 0] = len(items)
    buffer[1 : len(items) + 1] = torch.from_numpy(items.astype(np.int32))
    return _view(buffer, max_rows)


def _view(buffer: Tensor, max_rows: int) -> QueryTiles:
    """The count lies in a row of its own, so that the items stay aligned to 16 bytes."""
    return QueryTiles(buffer, items=buffer[1:], counts=buffer[0, :1], max_rows=max_rows)
