"""Tiles of four rows: what the loops of the CPU path are made of.

A tile with fewer rows repeats its last one, and its caller drops the result: the machine's vectors
are as busy, and memory as idle, as with one row.
"""

import numpy as np
from numba import njit

from .simd import LANES, add, fma, load, load_part, splat, store, store_part, total, zeros


@njit
def project(x, x_at, a, a_from, K):
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


@njit
def add_tile(y, y_at, num_rows, width, b, b_from, stride, num_ranks, v, rows, column):
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


@njit
def _zeros():
    return zeros(), zeros(), zeros(), zeros()


@njit
def _load(x, at, k):
    return load(x, at[0] + k), load(x, at[1] + k), load(x, at[2] + k), load(x, at[3] + k)


@njit
def _load_part(x, at, k, count):
    return (
        load_part(x, at[0] + k, count),
        load_part(x, at[1] + k, count),
        load_part(x, at[2] + k, count),
        load_part(x, at[3] + k, count),
    )


@njit
def _fma(a, b, c):
    return fma(a, b[0], c[0]), fma(a, b[1], c[1]), fma(a, b[2], c[2]), fma(a, b[3], c[3])


@njit
def _totals(d):
    return total(d[0]), total(d[1]), total(d[2]), total(d[3])


@njit
def _add_to(y, at, d):
    store(y, at, add(load(y, at), d[0]))
    store(y, at + LANES, add(load(y, at + LANES), d[1]))
    store(y, at + 2 * LANES, add(load(y, at + 2 * LANES), d[2]))
    store(y, at + 3 * LANES, add(load(y, at + 3 * LANES), d[3]))


@njit
def four(first, last):
    """`first` and the three after it, none beyond `last`."""
    return first, min(first + 1, last), min(first + 2, last), min(first + 3, last)


@njit
def times(indices, stride, begin):
    """Where four rows of `stride` elements start, in int64."""
    return (
        begin + np.int64(indices[0]) * stride,
        begin + np.int64(indices[1]) * stride,
        begin + np.int64(indices[2]) * stride,
        begin + np.int64(indices[3]) * stride,
    )


@njit
def fours(count):
    return (count + 3) // 4
