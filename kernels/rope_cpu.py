"""rope on a CPU, with the very bits of transformers' own functions; numba compiles it."""

from functools import cache
from typing import Any

import numpy as np
import torch
from numba import carray, njit
from torch import Tensor

from .norm_cpu import GRAIN
from .rope import check_rope
from .simd import LANES, STORED, add, load_part, multiply, round_to, splat, store_part
from .threads import compile_loop, num_threads, pointer, run_loop, share, thread_num

NAMES = (
    "q", "k", "v", "positions", "cache_index", "cos", "sin", "k_cache", "v_cache",
    "q_t", "q_h", "k_t", "k_g", "v_t", "v_g", "k_place", "v_place",
    "T", "H", "G", "D", "Dv", "E", "X", "P", "in_fp32", "beyond",
)  # fmt: skip
FRAME = np.dtype([(name, np.int64) for name in NAMES])


def rope_cpu(
    q_THD: Tensor,
    k_TGD: Tensor,
    v_TGD: Tensor,
    *,
    positions_T: Tensor,
    cache_index_T: Tensor,
    cos_XE: Tensor,
    sin_XE: Tensor,
    k_cache_PZGD: Tensor,
    v_cache_PZGD: Tensor,
    interleaved: bool,
    in_fp32: bool,
) -> None:
    """Rotate q_THD in place; write the rotated k_TGD, and v_TGD, to their places in the cache.

    Semantics: those of `kernels.rope.rope`, in every bit those of its definition.

    Raises:
        ValueError: As `kernels.rope.rope`, or pairs are interleaved.
        IndexError: A position or a place in the cache lies behind the last; its row is left out.
    """
    check_rope(
        q_THD, k_TGD, v_TGD, positions_T, cache_index_T, cos_XE, sin_XE, k_cache_PZGD,
        v_cache_PZGD, in_fp32=in_fp32,
    )  # fmt: skip
    if interleaved:
        raise ValueError("interleaved pairs are not taken on a CPU")
    T, H, D = q_THD.shape
    (G, Dv), (X, E) = v_TGD.shape[1:], cos_XE.shape
    tensors = (
        q_THD, k_TGD, v_TGD, positions_T, cache_index_T, cos_XE, sin_XE, k_cache_PZGD,
        v_cache_PZGD,
    )  # fmt: skip
    frame = run_loop(
        compile_rope(q_THD.dtype, cos_XE.dtype),
        *(tensor.data_ptr() for tensor in tensors),
        *q_THD.stride()[:2], *k_TGD.stride()[:2], *v_TGD.stride()[:2],
        k_cache_PZGD.stride(1), v_cache_PZGD.stride(1),
        T, H, G, D, Dv, E, X, k_cache_PZGD.shape[0] * k_cache_PZGD.shape[1], in_fp32, False,
        alone=T * H * D < GRAIN,
    )  # fmt: skip
    if frame[-1]:
        raise IndexError(f"a position lies behind {X - 1}, or a place of the cache behind its last")


@cache
def compile_rope(dtype: torch.dtype, angle_dtype: torch.dtype) -> Any:
    """Compile the loop for heads and angles of these dtypes: seconds, once in a process."""
    stored, angles = STORED[dtype], STORED[angle_dtype]

    def loop(arguments):
        f = carray(arguments, 1, FRAME)[0]
        q = carray(pointer(f.q), f.T * f.q_t + f.H * f.q_h, stored)
        k = carray(pointer(f.k), f.T * f.k_t + f.G * f.k_g, stored)
        v = carray(pointer(f.v), f.T * f.v_t + f.G * f.v_g, stored)
        positions = carray(pointer(f.positions), f.T, np.int64)
        cache_index = carray(pointer(f.cache_index), f.T, np.int64)
        cos = carray(pointer(f.cos), f.X * f.E, angles)
        sin = carray(pointer(f.sin), f.X * f.E, angles)
        k_cache = carray(pointer(f.k_cache), f.P * f.k_place, stored)
        v_cache = carray(pointer(f.v_cache), f.P * f.v_place, stored)
        begin, end = share(thread_num(), num_threads(), f.T)
        for t in range(begin, end):
            place, angle = cache_index[t], positions[t] * f.E
            if place >= f.P or positions[t] >= f.X:
                f.beyond = 1
            if place < 0 or place >= f.P or positions[t] >= f.X:
                continue
            for h in range(f.H):
                at = t * f.q_t + h * f.q_h
                _rotate(q, at, q, at, f.D, cos, sin, angle, f.E, f.in_fp32)
            for g in range(f.G):
                at, to = t * f.k_t + g * f.k_g, place * f.k_place + g * f.D
                _rotate(k, at, k_cache, to, f.D, cos, sin, angle, f.E, f.in_fp32)
                at, to = t * f.v_t + g * f.v_g, place * f.v_place + g * f.Dv
                for d in range(f.Dv):
                    v_cache[to + d] = v[at + d]

    return compile_loop(loop)


@njit
def _rotate(x, at, y, to, D, cos, sin, angle, E, in_fp32):
    """Turn the first 2E features of a head, and pass the others."""
    for e in range(0, E, LANES):
        n = min(LANES, E - e)
        a, b = load_part(x, at + e, n), load_part(x, at + E + e, n)
        c, s = load_part(cos, angle + e, n), load_part(sin, angle + e, n)
        minus_b = multiply(splat(np.float32(-1)), b)
        ac, bs, bc, sa = multiply(a, c), multiply(minus_b, s), multiply(b, c), multiply(a, s)
        if not in_fp32:
            ac, bs, bc, sa = round_to(y, ac), round_to(y, bs), round_to(y, bc), round_to(y, sa)
        store_part(y, to + e, add(ac, bs), n)
        store_part(y, to + E + e, add(bc, sa), n)
    for d in range(2 * E, D):
        y[to + d] = x[at + d]
