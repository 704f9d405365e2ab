"""The CPU path of shrink and expand: one pass over each adapter's own matrices, read in place.

Nothing is stacked, packed or copied, so a set of adapters that was never seen together costs what
any other costs, and a row's bits do not depend on the rest of its batch. numba compiles the loops.
Threads share the tiles of a step evenly, each a contiguous run of them.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from numba import carray, njit
from torch import Tensor

from .cpu_tiles import add_tile, four, fours, project, times
from .segments import Segments
from .simd import STORED
from .table import OffsetTable, Site
from .threads import barrier, compile_loop, num_threads, pointer, run_loop, share, thread_num

COLUMNS = 512  # of a unit of expand: 1 KiB runs of y and B, a B that stays in the L2 cache

TENSORS = ("y", "x", "arena", "order", "slot", "indptr", "a_at", "b_at", "rank", "v", "widths")
SIZES = (
    "T", "K", "N", "num_elements", "num_adapted", "num_segments", "num_slots",
    "num_columns", "first", "num_slices", "max_ranks",
)  # fmt: skip
FRAME = np.dtype([(name, np.int64) for name in TENSORS + SIZES])


class CpuLora:
    """Adds the adapters of one arena. One thread uses it; the loop takes torch's threads."""

    def __init__(self, arena: Tensor, table: OffsetTable) -> None:
        self._arena = arena
        self._table = table
        self._loop = compile_lora(arena.dtype)
        self._widths: dict[Site, Tensor] = {}

    def add_lora(self, y_TN: Tensor, x_TK: Tensor, segments: Segments, site: Site) -> None:
        """Add every row's own adapter at `site` to y_TN, in place.

        Semantics: those of `Arena.add_lora`; sums are fp32, rounded once to y's dtype.

        Args:
            y_TN: Contiguous; dtype of the arena.
            x_TK: dtype of the arena.

        Raises:
            ValueError: Dtypes disagree, y_TN is not contiguous, or a width is not the site's.
        """
        width = sum(site.out_features)
        if not x_TK.dtype == y_TN.dtype == self._arena.dtype:
            raise ValueError(f"x is {x_TK.dtype}, y {y_TN.dtype}, the arena {self._arena.dtype}")
        if x_TK.shape[1] != site.in_features:
            raise ValueError(f"x {tuple(x_TK.shape)} is not [T, {site.in_features}]")
        if not y_TN.is_contiguous() or y_TN.shape[1] != width:
            raise ValueError(f"y {tuple(y_TN.shape)} is not contiguous [T, {width}]")
        if not segments.spans:
            return
        if site not in self._widths:
            self._widths[site] = torch.tensor(site.out_features)
        table, num_slices = self._table, len(site.out_features)
        x32_TK = x_TK.float().contiguous()
        v = torch.empty(segments.num_adapted, num_slices * table.max_rank)
        tensors = (
            y_TN, x32_TK, self._arena, segments.order, segments.slot, segments.indptr,
            table.a_at, table.b_at, table.rank, v, self._widths[site],
        )  # fmt: skip
        run_loop(
            self._loop,
            *(tensor.data_ptr() for tensor in tensors),
            *x_TK.shape, width, self._arena.numel(), len(v),
            len(segments.spans), *table.rank.shape, site.first, num_slices, v.shape[1],
        )  # fmt: skip


@cache
def compile_lora(dtype: torch.dtype) -> Any:
    """Compile the loop for arenas of `dtype`: seconds, once in a process."""
    stored = STORED[dtype]

    def loop(arguments):
        f = carray(arguments, 1, FRAME)[0]
        y_TN = carray(pointer(f.y), (f.T, f.N), stored)
        x_TK = carray(pointer(f.x), (f.T, f.K), np.float32)
        arena = carray(pointer(f.arena), f.num_elements, stored)
        order = carray(pointer(f.order), f.num_adapted, np.int32)
        slot = carray(pointer(f.slot), f.num_segments, np.int32)
        indptr = carray(pointer(f.indptr), f.num_segments + 1, np.int32)
        a_at = carray(pointer(f.a_at), (f.num_slots, f.num_columns), np.int64)
        b_at = carray(pointer(f.b_at), (f.num_slots, f.num_columns), np.int64)
        rank = carray(pointer(f.rank), (f.num_slots, f.num_columns), np.int32)
        v = carray(pointer(f.v), (f.num_adapted, f.max_ranks), np.float32)
        widths = carray(pointer(f.widths), f.num_slices, np.int64)
        _shrink(
            thread_num(), num_threads(), x_TK, arena, order, slot, indptr, a_at, rank, f.first,
            f.num_slices, v,
        )  # fmt: skip
        barrier()
        _expand(
            thread_num(), num_threads(), y_TN, arena, order, slot, indptr, b_at, rank, f.first,
            widths, v,
        )  # fmt: skip

    return compile_loop(loop)


@njit
def _shrink(
    i_thread, num_threads, x_TK, arena, order, slot, indptr, a_at, rank, first, num_slices, v
):
    """v = x Aᵀ, for this thread's share of all tiles; the slices' ranks stand side by side."""
    K = x_TK.shape[1]
    x = x_TK.reshape(-1)
    num_tiles = 0
    for s in range(len(slot)):
        for j in range(first, first + num_slices):
            num_tiles += fours(indptr[s + 1] - indptr[s]) * fours(rank[slot[s], j])
    begin, end = share(i_thread, num_threads, num_tiles)
    tile = 0
    for s in range(len(slot)):
        last_row = indptr[s + 1] - 1
        for i in range(indptr[s], indptr[s + 1], 4):
            x_at = _starts(order, four(i, last_row), K, 0)
            column = 0
            for j in range(first, first + num_slices):
                last_rank = rank[slot[s], j] - 1
                for r in range(0, last_rank + 1, 4):
                    if begin <= tile < end:
                        a_from = times(four(r, last_rank), K, a_at[slot[s], j])
                        dots = project(x, x_at, arena, a_from, K)
                        for q in range(min(4, last_rank + 1 - r)):
                            for t in range(min(4, last_row + 1 - i)):
                                v[i + t, column + r + q] = dots[q][t]
                    tile += 1
                column += last_rank + 1


@njit
def _expand(i_thread, num_threads, y_TN, arena, order, slot, indptr, b_at, rank, first, widths, v):
    """y += v B, for this thread's share; a unit is a segment's rows at COLUMNS columns."""
    N = y_TN.shape[1]
    y = y_TN.reshape(-1)
    cost = 0
    for s in range(len(slot)):
        for j in range(len(widths)):
            cost += fours(indptr[s + 1] - indptr[s]) * rank[slot[s], first + j] * widths[j]
    begin, end = share(i_thread, num_threads, cost)
    at = 0
    for s in range(len(slot)):
        last_row = indptr[s + 1] - 1
        column, y_column = 0, 0
        for j in range(len(widths)):
            num_ranks = rank[slot[s], first + j]
            b_from = b_at[slot[s], first + j]
            for n in range(0, widths[j], COLUMNS):
                width = min(COLUMNS, widths[j] - n)
                if num_ranks > 0 and begin <= at < end:
                    for i in range(indptr[s], last_row + 1, 4):
                        rows = four(i, last_row)
                        add_tile(
                            y, _starts(order, rows, N, y_column + n), min(4, last_row + 1 - i),
                            width, arena, b_from + n, widths[j], num_ranks, v, rows, column,
                        )  # fmt: skip
                at += fours(indptr[s + 1] - indptr[s]) * num_ranks * width
            column += num_ranks
            y_column += widths[j]


@njit
def _starts(order, rows, stride, begin):
    """Where the rows start that stand at these places of the order."""
    return times((order[rows[0]], order[rows[1]], order[rows[2]], order[rows[3]]), stride, begin)
