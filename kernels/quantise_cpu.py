"""Rows to 8 bits before a product on a CPU, and their scales after it; numba compiles both."""

from functools import cache
from typing import Any

import numpy as np
import torch
from numba import carray, njit
from torch import Tensor

from .reference_quantise import LARGEST, SMALLEST
from .simd import (
    LANES,
    STORED,
    fma,
    highest,
    load,
    maximum,
    multiply,
    splat,
    store,
    total,
    zeros,
)
from .threads import compile_loop, num_threads, pointer, run_loop, share, thread_num

GRAIN = 32768  # elements, as in torch: fewer are not worth a second thread

QUANTISE = np.dtype([(name, np.int64) for name in ("x", "q", "scale", "T", "K")])
RESCALE = np.dtype([(name, np.int64) for name in ("y", "scale", "bias", "T", "N")])

PEAK = np.float32(LARGEST[torch.int8])
FLOOR = np.float32(SMALLEST)


def quantise_rows_cpu(x_TK: Tensor) -> tuple[Tensor, Tensor]:
    """Express every row in whole numbers, with a scale of its own.

    Semantics: those of `reference_quantise.quantise_rows` for int8, in every bit of finite rows.
    128 is added, for a uint8: with int8 inputs oneDNN 3 runs a reference loop for many small
    products, a single row times [2048, 768] among them, which took four times as long.

    Args:
        x_TK: Contiguous; fp32, fp16 or bf16.

    Returns:
        q_TK, uint8, its zero point `simd.ZERO_POINT`; scale_T1, fp32.

    Raises:
        ValueError: x_TK is not contiguous, or K is no multiple of 16.
    """
    T, K = x_TK.shape
    if not x_TK.is_contiguous() or K % LANES != 0:
        raise ValueError(f"x {(T, K)} is not contiguous [T, a multiple of {LANES}]")
    q_TK, scale_T1 = torch.empty(T, K, dtype=torch.uint8), torch.empty(T, 1)
    run_loop(
        compile_quantise(x_TK.dtype),
        x_TK.data_ptr(), q_TK.data_ptr(), scale_T1.data_ptr(), T, K,
        alone=T * K < GRAIN,
    )  # fmt: skip
    return q_TK, scale_T1


def rescale_rows_cpu(y_TN: Tensor, scale_T1: Tensor, bias_N: Tensor | None) -> None:
    """Multiply every row of y_TN by its scale, and add the bias, in place.

    Semantics, in fp32, rounded once:
        y_TN = y_TN * scale_T1 + bias_N

    Args:
        y_TN: Contiguous; fp32, fp16 or bf16.
        bias_N: Contiguous; dtype of y_TN. None = zeros.

    Raises:
        ValueError: y_TN is not contiguous, N is no multiple of 16, or the bias is another's.
    """
    T, N = y_TN.shape
    if not y_TN.is_contiguous() or N % LANES != 0:
        raise ValueError(f"y {(T, N)} is not contiguous [T, a multiple of {LANES}]")
    if bias_N is not None and (bias_N.dtype != y_TN.dtype or bias_N.shape != (N,)):
        raise ValueError(f"bias is {bias_N.dtype} {tuple(bias_N.shape)}, y {y_TN.dtype} {(T, N)}")
    run_loop(
        compile_rescale(y_TN.dtype, biased=bias_N is not None),
        y_TN.data_ptr(), scale_T1.data_ptr(), 0 if bias_N is None else bias_N.data_ptr(), T, N,
        alone=T * N < GRAIN,
    )  # fmt: skip


@cache
def compile_quantise(dtype: torch.dtype) -> Any:
    """Compile the loop for rows of `dtype`: seconds, once in a process."""
    stored = STORED[dtype]

    def loop(arguments):
        f = carray(arguments, 1, QUANTISE)[0]
        x = carray(pointer(f.x), f.T * f.K, stored)
        q = carray(pointer(f.q), f.T * f.K, np.uint8)
        scale = carray(pointer(f.scale), f.T, np.float32)
        begin, end = share(thread_num(), num_threads(), f.T)
        for row in range(begin, end):
            largest = _largest(x, row * f.K, f.K)
            scale[row] = largest / PEAK
            factor = splat(PEAK / largest)
            for k in range(row * f.K, (row + 1) * f.K, LANES):
                store(q, k, multiply(load(x, k), factor))

    return compile_loop(loop)


@njit
def _largest(x, x_at, K):
    """The largest magnitude; NaN where anything is not finite."""
    peak, spoilt, minus = zeros(), zeros(), splat(np.float32(-1))
    for k in range(x_at, x_at + K, LANES):
        values = load(x, k)
        peak = maximum(peak, maximum(values, multiply(values, minus)))
        spoilt = fma(values, zeros(), spoilt)
    return max(highest(peak), FLOOR) + total(spoilt)


@cache
def compile_rescale(dtype: torch.dtype, *, biased: bool) -> Any:
    """Compile the loop for results of `dtype`: seconds, once in a process."""
    stored = STORED[dtype]

    def loop(arguments):
        f = carray(arguments, 1, RESCALE)[0]
        y = carray(pointer(f.y), f.T * f.N, stored)
        scale = carray(pointer(f.scale), f.T, np.float32)
        bias = carray(pointer(f.bias), f.N, stored)
        begin, end = share(thread_num(), num_threads(), f.T)
        for row in range(begin, end):
            factor = splat(scale[row])
            for n in range(0, f.N, LANES):
                y_at = row * f.N + n
                added = load(bias, n) if biased else zeros()
                store(y, y_at, fma(load(y, y_at), factor, added))

    return compile_loop(loop)
