"""attention_decode on a CPU: every sequence's keys and values, read where they lie.

Nothing is gathered or padded, so a row's bits do not depend on its company. numba compiles it.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from numba import carray, njit
from torch import Tensor

from .cpu_tiles import add_tile, four, project, times
from .paged import check_paged
from .simd import (
    LANES,
    STORED,
    add,
    exp,
    fma,
    highest,
    load,
    load_part,
    maximum,
    multiply,
    splat,
    store,
    store_part,
    total,
    zeros,
)
from .threads import compile_loop, num_threads, pointer, run_loop, share, thread_num

TENSORS = ("out", "q", "k", "v", "table", "kv_len", "sinks", "scores", "sums")
SIZES = (
    "most_threads", "most_keys", "B", "H", "G", "D", "Dv", "num_blocks", "Z", "M", "num_sinks",
    "window",
)  # fmt: skip
OPTIONS = ("scaling", "softcap")  # float64; a window, a softcap of 0 = none
FRAME = np.dtype(
    [(name, np.int64) for name in TENSORS + SIZES] + [(name, np.float64) for name in OPTIONS]
)


def attention_decode_cpu(
    q_BHD: Tensor,
    k_cache_PZGD: Tensor,
    v_cache_PZGD: Tensor,
    block_table_BM: Tensor,
    kv_len_B: Tensor,
    *,
    scaling: float,
    window: int | None = None,
    softcap: float | None = None,
    sinks_H: Tensor | None = None,
) -> Tensor:
    """Attend with the one new row of every sequence; its key and value lie in the cache already.

    Semantics: those of `attention_decode`; the weights stay fp32.

    Args:
        q_BHD: fp32, fp16 or bf16.
        k_cache_PZGD: Contiguous; dtype of q_BHD. So v_cache_PZGD, whose heads may be narrower.
        block_table_BM: int32. Entries behind the last block are not read.
        kv_len_B: int32, above 0: the new key included.

    Returns:
        out, `[B, H, Dv]`, dtype of q_BHD.

    Raises:
        ValueError: Layouts or dtypes disagree.
    """
    q_BHD = q_BHD.contiguous()
    check_paged(q_BHD, k_cache_PZGD, v_cache_PZGD, block_table_BM, scaling=scaling)
    if kv_len_B.dtype != torch.int32 or kv_len_B.shape != q_BHD.shape[:1]:
        raise ValueError(f"kv_len is {kv_len_B.dtype} {tuple(kv_len_B.shape)}, not int32 [B]")
    B, H, D = q_BHD.shape
    num_blocks, Z, G, Dv = v_cache_PZGD.shape
    out_BHD = q_BHD.new_empty(B, H, Dv)
    if B == 0:
        return out_BHD
    kv_len_B, table_BM = kv_len_B.contiguous(), block_table_BM.contiguous()
    most_threads = torch.get_num_threads()
    most_keys = -(-int(kv_len_B.max()) // LANES) * LANES
    sinks = torch.empty(0) if sinks_H is None else sinks_H.float().contiguous()
    q32_BHD = q_BHD.float()
    scores, sums = torch.empty(most_threads, 4, most_keys), torch.empty(most_threads, 4, Dv)
    tensors = (
        out_BHD, q32_BHD, k_cache_PZGD, v_cache_PZGD, table_BM, kv_len_B, sinks, scores, sums,
    )  # fmt: skip
    run_loop(
        compile_decode(q_BHD.dtype),
        *(tensor.data_ptr() for tensor in tensors),
        most_threads, most_keys, B, H, G, D, Dv, num_blocks, Z, table_BM.shape[1], len(sinks),
        window or 0, *np.array([scaling, softcap or 0.0]).view(np.int64).tolist(),
    )  # fmt: skip
    return out_BHD


@cache
def compile_decode(dtype: torch.dtype) -> Any:
    """Compile the loop for caches of `dtype`: seconds, once in a process."""
    stored = STORED[dtype]

    def loop(arguments):
        f = carray(arguments, 1, FRAME)[0]
        out = carray(pointer(f.out), f.B * f.H * f.Dv, stored)
        q = carray(pointer(f.q), f.B * f.H * f.D, np.float32)
        k = carray(pointer(f.k), f.num_blocks * f.Z * f.G * f.D, stored)
        v = carray(pointer(f.v), f.num_blocks * f.Z * f.G * f.Dv, stored)
        table = carray(pointer(f.table), (f.B, f.M), np.int32)
        kv_len = carray(pointer(f.kv_len), f.B, np.int32)
        sinks = carray(pointer(f.sinks), f.num_sinks, np.float32)
        i_thread = thread_num()
        scores = carray(pointer(f.scores), (f.most_threads, 4, f.most_keys), np.float32)[i_thread]
        sums = carray(pointer(f.sums), (f.most_threads, 4 * f.Dv), np.float32)[i_thread]
        group = f.H // f.G
        begin, end = share(i_thread, num_threads(), kv_len.sum() * f.G)
        at = 0
        for b in range(f.B):
            first = max(0, kv_len[b] - f.window) if f.window > 0 else 0
            for g in range(f.G):
                for h in range(g * group, (g + 1) * group, 4):
                    if begin <= at < end:
                        num_heads = min(4, (g + 1) * group - h)
                        q_at = times(four(0, num_heads - 1), f.D, (b * f.H + h) * f.D)
                        _score(
                            scores, num_heads, q, q_at, k, table[b], first, kv_len[b], f.Z,
                            f.G * f.D, g * f.D, f.D,
                        )  # fmt: skip
                        for t in range(num_heads):
                            sink = sinks[h + t] if f.num_sinks > 0 else np.float32(-np.inf)
                            _softmax(
                                scores[t], kv_len[b] - first, np.float32(f.scaling),
                                np.float32(f.softcap), sink,
                            )  # fmt: skip
                        _weigh(
                            sums, num_heads, scores, v, table[b], first, kv_len[b], f.Z,
                            f.G * f.Dv, g * f.Dv, f.Dv,
                        )  # fmt: skip
                        _copy(out, (b * f.H + h) * f.Dv, sums, num_heads * f.Dv)
                at += kv_len[b]

    return compile_loop(loop)


@njit
def _score(scores, num_heads, q, q_at, k, blocks, first, stop, Z, stride, column, D):
    """Products of up to four heads with every key from `first` to `stop`."""
    for key in range(first, stop, 4):
        keys = four(key, stop - 1)
        k_from = (
            _place(blocks, keys[0], Z) * stride + column,
            _place(blocks, keys[1], Z) * stride + column,
            _place(blocks, keys[2], Z) * stride + column,
            _place(blocks, keys[3], Z) * stride + column,
        )
        dots = project(q, q_at, k, k_from, D)
        for j in range(min(4, stop - key)):
            for t in range(num_heads):
                scores[t, key - first + j] = dots[j][t]


@njit
def _place(blocks, key, Z):
    """Where a key stands among all of the cache."""
    return np.int64(blocks[key // Z]) * Z + key % Z


@njit
def _softmax(scores, count, scaling, softcap, sink):
    """Turn one head's products into weights; there is room for a multiple of LANES."""
    if softcap > 0:
        for i in range(count):
            scores[i] = softcap / scaling * np.tanh(scores[i] * scaling / softcap)
    filled = (count + LANES - 1) // LANES * LANES
    scores[count:filled] = -np.inf
    most = splat(sink / scaling)
    for i in range(0, filled, LANES):
        most = maximum(most, load(scores, i))
    top = highest(most) * scaling
    weights = zeros()
    for i in range(0, filled, LANES):
        weight = exp(fma(load(scores, i), splat(scaling), splat(-top)))
        weights = add(weights, weight)
        store(scores, i, weight)
    share_of_one = np.float32(1) / (total(weights) + np.exp(sink - top))
    for i in range(0, filled, LANES):
        store(scores, i, multiply(load(scores, i), splat(share_of_one)))


@njit
def _weigh(sums, num_heads, weights, v, blocks, first, stop, Z, stride, column, Dv):
    """Sums of the values from `first` to `stop`, block by block, under every head's weights."""
    sums[:] = 0
    heads = four(0, num_heads - 1)
    key = first
    while key < stop:
        num_keys = min(Z - key % Z, stop - key)
        v_from = _place(blocks, key, Z) * stride + column
        add_tile(
            sums, times(heads, Dv, 0), num_heads, Dv, v, v_from, stride, num_keys, weights, heads,
            key - first,
        )  # fmt: skip
        key += num_keys


@njit
def _copy(out, at, values, count):
    """Round to the elements of `out`."""
    whole = count // LANES * LANES
    for i in range(0, whole, LANES):
        store(out, at + i, load(values, i))
    if whole < count:
        rest = count - whole
        store_part(out, at + whole, load_part(values, whole, rest), rest)
