"""rmsnorm on a CPU, with the very bits of torch's own: its sums run in the order of `torch.sum`.

numba compiles it. A row takes one pass for its sum and one for its values; torch takes nine.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from numba import carray, njit
from torch import Tensor

from .norm import check_norm
from .simd import LANES, STORED, add, load, multiply, round_to, splat, store, zeros
from .threads import compile_loop, num_threads, pointer, run_loop, share, thread_num

LINE = 2 * LANES  # torch's four sums of eight lanes, as two vectors of 16
LINES = 16  # lines after which torch's cascade moves a level up
LEVELS = 4

GRAIN = 32768  # elements, as in torch: fewer are not worth a second thread

NAMES = ("x", "weight", "y", "T", "H", "K", "stride_t", "stride_h", "add_one", "round_first")
FRAME = np.dtype([(name, np.int64) for name in NAMES] + [("eps", np.float64)])


def rmsnorm_cpu(
    x_TK: Tensor, weight_K: Tensor, *, eps: float, add_one: bool, round_first: bool
) -> Tensor:
    """Normalise every row of x_TK, and scale its columns by weight_K.

    Semantics: those of `kernels.norm.rmsnorm`, in every bit those of its definition.

    Raises:
        ValueError: As `kernels.norm.rmsnorm`, or K is no multiple of 32.
    """
    x_THK = x_TK if x_TK.dim() == 3 else x_TK.unsqueeze(1)
    check_norm(x_THK, weight_K)
    T, H, K = x_THK.shape
    if K % LINE != 0:
        raise ValueError(f"rows of {K} are no multiple of {LINE}")
    y_TK = torch.empty_like(x_TK, memory_format=torch.contiguous_format)
    run_loop(
        compile_norm(x_TK.dtype),
        x_TK.data_ptr(), weight_K.data_ptr(), y_TK.data_ptr(),
        T, H, K, *x_THK.stride()[:2], add_one, round_first, _bits(eps),
        alone=T * H * K < GRAIN,
    )  # fmt: skip
    return y_TK


@cache
def compile_norm(dtype: torch.dtype) -> Any:
    """Compile the loop for rows of `dtype`: seconds, once in a process."""
    stored = STORED[dtype]

    def loop(arguments):
        f = carray(arguments, 1, FRAME)[0]
        x = carray(pointer(f.x), f.T * f.stride_t + f.H * f.stride_h, stored)
        weight = carray(pointer(f.weight), f.K, stored)
        y = carray(pointer(f.y), f.T * f.H * f.K, stored)
        sums = np.empty(LEVELS * LINE, np.float32)
        begin, end = share(thread_num(), num_threads(), f.T * f.H)
        for row in range(begin, end):
            x_at = row // f.H * f.stride_t + row % f.H * f.stride_h
            mean = _sum_of_squares(x, x_at, f.K, sums) / np.float32(f.K)
            factor = np.float32(1) / np.sqrt(mean + np.float32(f.eps))
            _scale(x, x_at, weight, y, row * f.K, f.K, factor, f.add_one, f.round_first)

    return compile_loop(loop)


@cache
def _bits(value: float) -> int:
    return int(np.float64(value).view(np.int64))


@njit
def _sum_of_squares(x, x_at, K, sums):
    """The sum in torch's order: lines of 4 x 8 lanes side by side, then levels, then lanes."""
    for i in range(0, LEVELS * LINE, LANES):
        store(sums, i, zeros())
    low, high = zeros(), zeros()
    for line in range(1, K // LINE + 1):
        at = x_at + (line - 1) * LINE
        a, b = load(x, at), load(x, at + LANES)
        low, high = add(low, multiply(a, a)), add(high, multiply(b, b))
        if line % LINES == 0:
            store(sums, 0, low)
            store(sums, LANES, high)
            _cascade(sums, line)
            low, high = zeros(), zeros()
    for level in range(1, LEVELS):
        low = add(low, load(sums, level * LINE))
        high = add(high, load(sums, level * LINE + LANES))
    store(sums, 0, low)
    store(sums, LANES, high)
    result = np.float32(0)
    for lane in range(8):
        result += sums[lane] + sums[lane + 8] + sums[lane + 16] + sums[lane + 24]
    return result


@njit
def _cascade(sums, line):
    """Move every level that is full up by one."""
    full = LINES
    for level in range(1, LEVELS):
        for i in range(level * LINE, (level + 1) * LINE, LANES):
            store(sums, i, add(load(sums, i), load(sums, i - LINE)))
            store(sums, i - LINE, zeros())
        if line % (full * LINES) != 0:
            return
        full *= LINES


@njit
def _scale(x, x_at, weight, y, y_at, K, factor, add_one, round_first):
    one = splat(np.float32(1))
    for k in range(0, K, LANES):
        h = multiply(load(x, x_at + k), splat(factor))
        w = load(weight, k)
        if add_one:
            w = add(one, w)
        if round_first:
            w, h = round_to(weight, w), round_to(y, h)
        store(y, y_at + k, multiply(w, h))
