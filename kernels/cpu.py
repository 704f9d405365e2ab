"""The CPU path of shrink and expand: one pass over each adapter's own matrices, read in place.

Nothing is stacked, packed or copied, so a set of adapters that was never seen together costs what
any other costs, and a row's bits do not depend on the rest of its batch. numba compiles the loops.

A tile is four rows of one segment and four ranks of its adapter; a shorter one repeats its last
row, or rank, and drops the result. Threads share the tiles evenly, each a contiguous run of them.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from numba import carray, njit
from torch import Tensor

from .segments import Segments
from .simd import LANES, STORED, add, fma, load, load_part, splat, store, store_part, total, zeros
from .table import OffsetTable, Site
from .threads import barrier, compile_loop, pointer, run_loop, thread_num

COLUMNS = 512  # of a unit of expand: 1 KiB runs of y and B, a B that stays in the L2 cache

TENSORS = ("y", "x", "arena", "order", "slot", "indptr", "a_at", "b_at", "rank", "v", "widths")
SIZES = (
    "num_threads", "T", "K", "N", "num_elements", "num_adapted", "num_segments", "num_slots",
    "num_columns", "first", "num_slices", "max_ranks",
)  # fmt: skip
FRAME = np.dtype([(name, np.int64) for name in TENSORS + SIZES])


class CpuLora:
    """Adds the adapters of one arena. One thread uses it; the loop takes torch's threads."""

    def __init__(self, arena: Tensor, table: OffsetTable) -> None:
        self._arena = arena
        self._table = table
        self._loop = _compile(STORED[arena.dtype])
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
            torch.get_num_threads(), *x_TK.shape, width, self._arena.numel(), len(v),
            len(segments.spans), *table.rank.shape, site.first, num_slices, v.shape[1],
        )  # fmt: skip


@cache
def _compile(stored: type[np.generic]) -> Any:
    """Compile the loop for elements that are kept as `stored`: a second, once in a process."""

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
        i_thread = thread_num()
        _shrink(
            i_thread, f.num_threads, x_TK, arena, order, slot, indptr, a_at, rank, f.first,
            f.num_slices, v,
        )  # fmt: skip
        barrier()
        _expand(
            i_thread, f.num_threads, y_TN, arena, order, slot, indptr, b_at, rank, f.first,
            widths, v,
        )  # fmt: skip

    return compile_loop(loop)


@njit(nogil=True)
def _shrink(
    i_thread, num_threads, x_TK, arena, order, slot, indptr, a_at, rank, first, num_slices, v
):
    """v = x Aᵀ, for this thread's share of all tiles; the slices' ranks stand side by side."""
    K = x_TK.shape[1]
    x = x_TK.reshape(-1)
    num_tiles = 0
    for s in range(len(slot)):
        for j in range(first, first + num_slices):
            num_tiles += _fours(indptr[s + 1] - indptr[s]) * _fours(rank[slot[s], j])
    begin, end = _share(i_thread, num_threads, num_tiles)
    tile = 0
    for s in range(len(slot)):
        last_row = indptr[s + 1] - 1
        for i in range(indptr[s], indptr[s + 1], 4):
            x_at = _starts(order, _four(i, last_row), K, 0)
            column = 0
            for j in range(first, first + num_slices):
                last_rank = rank[slot[s], j] - 1
                for r in range(0, last_rank + 1, 4):
                    if begin <= tile < end:
                        a_from = _times(_four(r, last_rank), K, a_at[slot[s], j])
                        dots = _project(x, x_at, arena, a_from, K)
                        for q in range(min(4, last_rank + 1 - r)):
                            for t in range(min(4, last_row + 1 - i)):
                                v[i + t, column + r + q] = dots[q][t]
                    tile += 1
                column += last_rank + 1


@njit(nogil=True)
def _expand(i_thread, num_threads, y_TN, arena, order, slot, indptr, b_at, rank, first, widths, v):
    """y += v B, for this thread's share; a unit is a segment's rows at COLUMNS columns."""
    N = y_TN.shape[1]
    y = y_TN.reshape(-1)
    cost = 0
    for s in range(len(slot)):
        for j in range(len(widths)):
            cost += _fours(indptr[s + 1] - indptr[s]) * rank[slot[s], first + j] * widths[j]
    begin, end = _share(i_thread, num_threads, cost)
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
                        rows = _four(i, last_row)
                        _add_tile(
                            y, _starts(order, rows, N, y_column + n), min(4, last_row + 1 - i),
                            width, arena, b_from + n, widths[j], num_ranks, v, rows, column,
                        )  # fmt: skip
                at += _fours(indptr[s + 1] - indptr[s]) * num_ranks * width
            column += num_ranks
            y_column += widths[j]


@njit(nogil=True, inline="never")
def _project(x, x_at, a, a_from, K):
    """Sixteen dot products: of four rows of x, which start at `x_at`, with four ranks of A."""
    d0, d1, d2, d3 = _zeros(), _zeros(), _zeros(), _zeros()
    whole = K // LANES * LANES
    for k in range(0, whole, LANES):
        b_x = _load(x, x_at, k)
        d0 = _fma(load(a, a_from[0] + k), b_x, d0)
        d1 = _fma(load(a, a_from[1] + k), b_x, d1)
        d2 = _fma(load(a, a_from[2] + k), b_x, d2)
        d3 = _fma(load(a, a_from[3] + k), b_x, d3)
    if whole < K:
        rest = K - whole
        b_x = _load_part(x, x_at, whole, rest)
        d0 = _fma(load_part(a, a_from[0] + whole, rest), b_x, d0)
        d1 = _fma(load_part(a, a_from[1] + whole, rest), b_x, d1)
        d2 = _fma(load_part(a, a_from[2] + whole, rest), b_x, d2)
        d3 = _fma(load_part(a, a_from[3] + whole, rest), b_x, d3)
    return _totals(d0), _totals(d1), _totals(d2), _totals(d3)


@njit(nogil=True, inline="never")
def _add_tile(y, y_at, num_rows, width, b, b_from, stride, num_ranks, v, rows, column):
    """Add v B to `width` columns of up to four rows of y, which start at `y_at`."""
    whole = width // (4 * LANES) * 4 * LANES
    for n in range(0, whole, 4 * LANES):
        y0, y1, y2, y3 = _zeros(), _zeros(), _zeros(), _zeros()
        for r in range(num_ranks):
            at = b_from + r * stride + n
            b_b = (
                load(b, at),
                load(b, at + LANES),
                load(b, at + 2 * LANES),
                load(b, at + 3 * LANES),
            )
            y0 = _fma(splat(v[rows[0], column + r]), b_b, y0)
            y1 = _fma(splat(v[rows[1], column + r]), b_b, y1)
            y2 = _fma(splat(v[rows[2], column + r]), b_b, y2)
            y3 = _fma(splat(v[rows[3], column + r]), b_b, y3)
        _add_to(y, y_at[0] + n, y0)
        if num_rows > 1:
            _add_to(y, y_at[1] + n, y1)
        if num_rows > 2:
            _add_to(y, y_at[2] + n, y2)
        if num_rows > 3:
            _add_to(y, y_at[3] + n, y3)
    for n in range(whole, width, LANES):
        rest = min(LANES, width - n)
        for t in range(num_rows):
            b_y = load_part(y, y_at[t] + n, rest)
            b_sum = zeros()
            for r in range(num_ranks):
                b_b = load_part(b, b_from + r * stride + n, rest)
                b_sum = fma(splat(v[rows[t], column + r]), b_b, b_sum)
            store_part(y, y_at[t] + n, add(b_y, b_sum), rest)


@njit(nogil=True)
def _zeros():
    return zeros(), zeros(), zeros(), zeros()


@njit(nogil=True)
def _load(x, at, k):
    return load(x, at[0] + k), load(x, at[1] + k), load(x, at[2] + k), load(x, at[3] + k)


@njit(nogil=True)
def _load_part(x, at, k, count):
    return (
        load_part(x, at[0] + k, count),
        load_part(x, at[1] + k, count),
        load_part(x, at[2] + k, count),
        load_part(x, at[3] + k, count),
    )


@njit(nogil=True)
def _fma(a, b, c):
    return fma(a, b[0], c[0]), fma(a, b[1], c[1]), fma(a, b[2], c[2]), fma(a, b[3], c[3])


@njit(nogil=True)
def _totals(d):
    return total(d[0]), total(d[1]), total(d[2]), total(d[3])


@njit(nogil=True)
def _add_to(y, at, d):
    store(y, at, add(load(y, at), d[0]))
    store(y, at + LANES, add(load(y, at + LANES), d[1]))
    store(y, at + 2 * LANES, add(load(y, at + 2 * LANES), d[2]))
    store(y, at + 3 * LANES, add(load(y, at + 3 * LANES), d[3]))


@njit(nogil=True)
def _four(first, last):
    """`first` and the three after it, none beyond `last`."""
    return first, min(first + 1, last), min(first + 2, last), min(first + 3, last)


@njit(nogil=True)
def _starts(order, rows, stride, begin):
    """Where the rows start that stand at these places of the order."""
    return _times((order[rows[0]], order[rows[1]], order[rows[2]], order[rows[3]]), stride, begin)


@njit(nogil=True)
def _times(indices, stride, begin):
    """Where four rows of `stride` elements start, in int64."""
    return (
        begin + np.int64(indices[0]) * stride,
        begin + np.int64(indices[1]) * stride,
        begin + np.int64(indices[2]) * stride,
        begin + np.int64(indices[3]) * stride,
    )


@njit(nogil=True)
def _fours(count):
    return (count + 3) // 4


@njit(nogil=True)
def _share(i_thread, num_threads, cost):
    return cost * i_thread // num_threads, cost * (i_thread + 1) // num_threads
