"""rope: rotate queries and keys by their positions, and write keys and values to the cache."""

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 1024  # elements of the heads in one program: 16 bytes per thread and half
NUM_WARPS = 2


def rope(
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

    Semantics, for every row t with cache_index_T[t] >= 0, every head and e < E, where a and b are
    the features 2e and 2e + 1 if `interleaved`, else e and e + E, and c and s the cosine and sine
    of angle e at position positions_T[t]:
        a, b = a * c - b * s, b * c + a * s
        k_cache_PZGD[block, offset], v_cache_PZGD[block, offset] = rotated k_TGD[t], v_TGD[t]
    where block * Z + offset = cache_index_T[t]. Features from 2E on pass unrotated. Products and
    sums are rounded one by one to the dtype of q_THD, or, with `in_fp32`, once at the end. Rows of
    a negative cache index write nothing, and their positions may be any.

    q_THD changes where it lies, in a merged output too: nobody reads the unrotated queries again,
    and it takes no memory and moves none of the features that pass. k_TGD and v_TGD are only read:
    attention finds them in the cache.

    Args:
        q_THD: Any strides over tokens and heads, as of k_TGD and v_TGD; features adjacent.
        v_TGD: Its head size may differ from D.
        positions_T: int64, below the length of cos_XE.
        cache_index_T: int64; no place twice.
        cos_XE: The cosines of each position's E angles, one per pair; contiguous, as sin_XE; dtype
            of q_THD, or fp32 if `in_fp32`.
        k_cache_PZGD: A place's heads contiguous, places evenly spaced, as in v_cache_PZGD.

    Raises:
        ValueError: Dtypes, shapes or strides disagree with this.

    Source: RoPE, Su et al. 2021, arXiv:2104.09864; roundings as in transformers' functions.
    """
    check_rope(
        q_THD, k_TGD, v_TGD, positions_T, cache_index_T, cos_XE, sin_XE, k_cache_PZGD,
        v_cache_PZGD, in_fp32=in_fp32,
    )  # fmt: skip
    num_rows, num_heads, head_size = q_THD.shape
    num_kv_heads = k_TGD.shape[1]
    block_h = block_heads(head_size)
    num_tiles = triton.cdiv(num_heads, block_h) + 2 * triton.cdiv(num_kv_heads, block_h)
    rope_kernel[(num_rows, num_tiles)](
        q_THD,
        k_TGD,
        v_TGD,
        positions_T,
        cache_index_T,
        cos_XE,
        sin_XE,
        k_cache_PZGD,
        v_cache_PZGD,
        *q_THD.stride()[:2],
        *k_TGD.stride()[:2],
        *v_TGD.stride()[:2],
        k_cache_PZGD.stride(1),
        v_cache_PZGD.stride(1),
        H=num_heads,
        G=num_kv_heads,
        D=head_size,
        DV=v_TGD.shape[2],
        E=cos_XE.shape[1],
        INTERLEAVED=interleaved,
        IN_FP32=in_fp32,
        BLOCK_H=block_h,
        num_warps=NUM_WARPS,
    )


def block_heads(head_size: int) -> int:
    """How many heads one program turns."""
    width: int = triton.next_power_of_2(head_size)
    return max(1, TILE // width)


def check_rope(
    q_THD: Tensor,
    k_TGD: Tensor,
    v_TGD: Tensor,
    positions_T: Tensor,
    cache_index_T: Tensor,
    cos_XE: Tensor,
    sin_XE: Tensor,
    k_cache_PZGD: Tensor,
    v_cache_PZGD: Tensor,
    *,
    in_fp32: bool,
) -> None:
    """Raise ValueError unless everything is as `rope` wants it."""
    _check_rows(q_THD, k_TGD, v_TGD)
    _check_indices(positions_T, cache_index_T, num_rows=q_THD.shape[0])
    _check_angles(q_THD, cos_XE, sin_XE, in_fp32=in_fp32)
    _check_cache(k_TGD, k_cache_PZGD)
    _check_cache(v_TGD, v_cache_PZGD)


def _check_rows(q_THD: Tensor, k_TGD: Tensor, v_TGD: Tensor) -> None:
    shapes = f"q {tuple(q_THD.shape)}, k {tuple(k_TGD.shape)}, v {tuple(v_TGD.shape)}"
    if not q_THD.dtype == k_TGD.dtype == v_TGD.dtype:
        raise ValueError(f"q is {q_THD.dtype}, k {k_TGD.dtype}, v {v_TGD.dtype}")
    if k_TGD.shape[::2] != q_THD.shape[::2] or v_TGD.shape[:2] != k_TGD.shape[:2]:
        raise ValueError(f"{shapes} are not [T, H, D], [T, G, D], [T, G, Dv]")
    if not q_THD.stride(2) == k_TGD.stride(2) == v_TGD.stride(2) == 1:
        raise ValueError(f"the features of {shapes} are not adjacent")


def _check_indices(positions_T: Tensor, cache_index_T: Tensor, *, num_rows: int) -> None:
    for name, index_T in (("positions", positions_T), ("cache_index", cache_index_T)):
        if index_T.dtype != torch.int64 or index_T.shape != (num_rows,):
            raise ValueError(
                f"{name} is {index_T.dtype} {tuple(index_T.shape)}, not int64 [{num_rows}]"
            )


def _check_angles(q_THD: Tensor, cos_XE: Tensor, sin_XE: Tensor, *, in_fp32: bool) -> None:
    if cos_XE.dtype != q_THD.dtype and not (in_fp32 and cos_XE.dtype == torch.float32):
        raise ValueError(f"the angles are {cos_XE.dtype}, q {q_THD.dtype}, in_fp32 {in_fp32}")
    if sin_XE.dtype != cos_XE.dtype or sin_XE.shape != cos_XE.shape:
        raise ValueError(
            f"sin is {sin_XE.dtype} {tuple(sin_XE.shape)}, cos {cos_XE.dtype} {tuple(cos_XE.shape)}"
        )
    if 2 * cos_XE.shape[1] > q_THD.shape[2]:
        raise ValueError(f"{cos_XE.shape[1]} pairs exceed a head of {q_THD.shape[2]} features")
    if not cos_XE.is_contiguous() or not sin_XE.is_contiguous():
        raise ValueError("cos and sin are not contiguous")


def _check_cache(k_TGD: Tensor, cache_PZGD: Tensor) -> None:
    shape, stride = cache_PZGD.shape, cache_PZGD.stride()
    if cache_PZGD.dtype != k_TGD.dtype or shape[2:] != k_TGD.shape[1:]:
        raise ValueError(
            f"the cache is {cache_PZGD.dtype} {tuple(shape)}, "
            f"its rows {k_TGD.dtype} {tuple(k_TGD.shape)}"
        )
    if stride[2:] != (shape[3], 1) or stride[0] != shape[1] * stride[1]:
        raise ValueError(f"the places of a cache with strides {stride} are not evenly spaced")


@triton.jit
def rope_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    positions_ptr,
    cache_index_ptr,
    cos_ptr,
    sin_ptr,
    k_cache_ptr,
    v_cache_ptr,
    stride_qt,
    stride_qh,
    stride_kt,
    stride_kg,
    stride_vt,
    stride_vg,
    stride_k_cache,
    stride_v_cache,
    H: tl.constexpr,
    G: tl.constexpr,
    D: tl.constexpr,
    DV: tl.constexpr,
    E: tl.constexpr,
    INTERLEAVED: tl.constexpr,
    IN_FP32: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    Q_TILES: tl.constexpr = (H + BLOCK_H - 1) // BLOCK_H
    KV_TILES: tl.constexpr = (G + BLOCK_H - 1) // BLOCK_H
    i_t = tl.program_id(0).to(tl.int64)
    i_tile = tl.program_id(1)
    cache_index = tl.load(cache_index_ptr + i_t)
    o_angle = tl.load(positions_ptr + i_t) * E
    if cache_index >= 0:
        # [BLOCK_H]
        o_h = tl.arange(0, BLOCK_H)
        if i_tile < Q_TILES:
            o_h += i_tile * BLOCK_H
            p_q = q_ptr + i_t * stride_qt + o_h.to(tl.int64) * stride_qh
            _rotate(
                p_q, p_q, o_h < H, cos_ptr + o_angle, sin_ptr + o_angle, E, INTERLEAVED, IN_FP32
            )
        elif i_tile < Q_TILES + KV_TILES:
            o_h += (i_tile - Q_TILES) * BLOCK_H
            p_k = k_ptr + i_t * stride_kt + o_h.to(tl.int64) * stride_kg
            p_to = k_cache_ptr + cache_index * stride_k_cache + o_h * D
            _rotate(
                p_k, p_to, o_h < G, cos_ptr + o_angle, sin_ptr + o_angle, E, INTERLEAVED, IN_FP32
            )
            if 2 * E < D:
                _copy(p_k + 2 * E, p_to + 2 * E, o_h < G, D - 2 * E)
        else:
            o_h += (i_tile - Q_TILES - KV_TILES) * BLOCK_H
            p_v = v_ptr + i_t * stride_vt + o_h.to(tl.int64) * stride_vg
            _copy(p_v, v_cache_ptr + cache_index * stride_v_cache + o_h * DV, o_h < G, DV)


@triton.jit
def _rotate(
    p_from,
    p_to,
    m_h,
    p_cos,
    p_sin,
    E: tl.constexpr,
    INTERLEAVED: tl.constexpr,
    IN_FP32: tl.constexpr,
):
    """Turn the pairs of BLOCK_H heads, p_from and p_to their first features."""
    BLOCK_H: tl.constexpr = p_from.shape[0]
    BLOCK_E: tl.constexpr = triton.next_power_of_2(E)
    # [BLOCK_H, BLOCK_E]
    o_e = tl.arange(0, BLOCK_E)[None, :]
    m_e = m_h[:, None] & (o_e < E)
    o_angle = tl.zeros([BLOCK_H, 1], tl.int32) + o_e
    b_cos = tl.load(p_cos + o_angle, mask=m_e, other=0.0).to(tl.float32)
    b_sin = tl.load(p_sin + o_angle, mask=m_e, other=0.0).to(tl.float32)
    if INTERLEAVED:
        # [BLOCK_H, 2 * BLOCK_E]
        o_d = tl.arange(0, 2 * BLOCK_E)[None, :]
        m_d = m_h[:, None] & (o_d < 2 * E)
        b_x = tl.load(p_from[:, None] + o_d, mask=m_d, other=0.0)
        b_a, b_b = tl.split(tl.reshape(b_x, [BLOCK_H, BLOCK_E, 2]))
        b_a, b_b = _turn(b_a, b_b, b_cos, b_sin, IN_FP32)
        tl.store(p_to[:, None] + o_d, tl.interleave(b_a, b_b), mask=m_d)
    else:
        b_a = tl.load(p_from[:, None] + o_e, mask=m_e, other=0.0)
        b_b = tl.load(p_from[:, None] + E + o_e, mask=m_e, other=0.0)
        b_a, b_b = _turn(b_a, b_b, b_cos, b_sin, IN_FP32)
        tl.store(p_to[:, None] + o_e, b_a, mask=m_e)
        tl.store(p_to[:, None] + E + o_e, b_b, mask=m_e)


@triton.jit
def _turn(b_a, b_b, b_cos, b_sin, IN_FP32: tl.constexpr):
    """The pairs (a, b), turned and in their dtype."""
    dtype: tl.constexpr = b_a.dtype
    b_a, b_b = b_a.to(tl.float32), b_b.to(tl.float32)
    b_ac, b_bs, b_bc, b_as = b_a * b_cos, b_b * b_sin, b_b * b_cos, b_a * b_sin
    if not IN_FP32:
        b_ac, b_bs = b_ac.to(dtype).to(tl.float32), b_bs.to(dtype).to(tl.float32)
        b_bc, b_as = b_bc.to(dtype).to(tl.float32), b_as.to(dtype).to(tl.float32)
    return (b_ac - b_bs).to(dtype), (b_bc + b_as).to(dtype)


@triton.jit
def _copy(p_from, p_to, m_h, WIDTH: tl.constexpr):
    # [BLOCK_H, next power of two]
    o_d = tl.arange(0, triton.next_power_of_2(WIDTH))
    m_d = m_h[:, None] & (o_d < WIDTH)[None, :]
    b_x = tl.load(p_from[:, None] + o_d[None, :], mask=m_d)
    tl.store(p_to[:, None] + o_d[None, :], b_x, mask=m_d)
