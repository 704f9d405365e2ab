"""attention_prefill: the new rows of every sequence over their paged prefix and themselves."""

import triton
import triton.language as tl
from torch import Tensor

from .attention_tiles import padded, prefill_tile
from .paged import check_paged
from .query_tiles import QueryTiles
from .softmax import attend_keys, no_keys, normalise


def attention_prefill(
    q_THD: Tensor,
    k_cache_PZGD: Tensor,
    v_cache_PZGD: Tensor,
    block_table_BM: Tensor,
    queries: QueryTiles,
    *,
    scaling: float,
    window: int | None = None,
    softcap: float | None = None,
    sinks_H: Tensor | None = None,
) -> Tensor:
    """Attend with all new rows; their keys and values lie in the cache already.

    Semantics, for a row at position p of its sequence, and head h of the KV head g = h // (H / G):
        k, v = keys and values of head g at positions p - window < key <= p
        s = scaling * q[row, h] @ k.T, then softcap * tanh(s / softcap)
        out[row, h] = softmax([s, sinks[h]])[without the sink] @ v
    in fp32; the weights are rounded to v's dtype for their product, the result to q's.

    A row meets its keys in the same tiles however its sequence is cut into steps, and whatever
    else is in the step: so its bits depend on neither. Decodes are chunks of one row.

    Args:
        q_THD: The heads of a row adjacent, as in a merged output; fp32, fp16 or bf16.
        k_cache_PZGD: Contiguous; dtype of q_THD. So v_cache_PZGD, whose heads may be narrower.
        block_table_BM: int32; rows may lie apart. Entries behind the last block are not read.
        queries: Cut by `tile_tokens`, on the device. Rows in no item are not written.
        scaling: Positive.
        sinks_H: One logit per head.

    Returns:
        out, `[T, H, Dv]`, dtype of q_THD.

    Raises:
        ValueError: Layouts or dtypes disagree, or the queries are cut too large.

    Source: FlashAttention-2, Dao 2023, arXiv:2307.08691.
    """
    shape = check_paged(q_THD, k_cache_PZGD, v_cache_PZGD, block_table_BM, scaling=scaling)
    tile = prefill_tile(max(shape.head_dim, shape.v_head_dim), q_THD.dtype, q_THD.device)
    if queries.max_rows * shape.group > tile.rows:
        raise ValueError(
            f"{queries.max_rows} tokens of {shape.group} heads exceed a tile of {tile.rows} rows"
        )
    out_THD = q_THD.new_empty(*q_THD.shape[:2], shape.v_head_dim)
    if len(queries.items) == 0:
        return out_THD
    attention_prefill_kernel[(len(queries.items) * shape.num_kv_heads,)](
        out_THD,
        q_THD,
        k_cache_PZGD,
        v_cache_PZGD,
        block_table_BM,
        queries.items,
        queries.counts,
        sinks_H,
        q_THD.stride(0),
        block_table_BM.stride(0),
        scaling,
        NUM_KV_HEADS=shape.num_kv_heads,
        GROUP=shape.group,
        HEAD_DIM=shape.head_dim,
        V_HEAD_DIM=shape.v_head_dim,
        BLOCK_TOKENS=shape.block_tokens,
        WINDOW=window,
        SOFTCAP=softcap,
        BLOCK_ROWS=tile.rows,
        BLOCK_N=tile.block_n,
        BLOCK_D=padded(shape.head_dim),
        BLOCK_DV=padded(shape.v_head_dim),
        num_warps=tile.num_warps,
        num_stages=tile.num_stages,
    )
    return out_THD


@triton.jit(do_not_specialize=["stride_table"])
def attention_prefill_kernel(
    out_ptr,
    q_ptr,
    k_ptr,
    v_ptr,
    table_ptr,
    items_ptr,
    counts_ptr,
    sinks_ptr,
    stride_q,
    stride_table,
    scaling,
    NUM_KV_HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    V_HEAD_DIM: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    WINDOW: tl.constexpr,
    SOFTCAP: tl.constexpr,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_DV: tl.constexpr,
):
    i_item = tl.program_id(0) // NUM_KV_HEADS
    i_g = tl.program_id(0) % NUM_KV_HEADS
    if i_item < tl.load(counts_ptr):
        p_item = items_ptr + i_item * 4
        p_table = table_ptr + tl.load(p_item).to(tl.int64) * stride_table
        row = tl.load(p_item + 1).to(tl.int64)
        num_rows = tl.load(p_item + 2)
        position = tl.load(p_item + 3)
        # [BLOCK_ROWS]
        o_t = tl.arange(0, BLOCK_ROWS) // GROUP
        m_t = o_t < num_rows
        o_head = i_g * GROUP + tl.arange(0, BLOCK_ROWS) % GROUP
        o_position = position + tl.minimum(o_t, num_rows - 1)  # so that every row sees a key
        # [BLOCK_ROWS, BLOCK_D]
        o_d = tl.arange(0, BLOCK_D)
        m_q = m_t[:, None] & (o_d < HEAD_DIM)[None, :]
        o_q = (row + o_t) * stride_q + o_head * HEAD_DIM
        b_q = tl.load(q_ptr + o_q[:, None] + o_d[None, :], mask=m_q, other=0.0)
        b_o, b_m, b_l = no_keys(BLOCK_ROWS, BLOCK_DV)

        # Whole tiles that every row sees lie between those that the window's end and that the
        # causal end run through.
        end = position + num_rows
        all_end = (position + 1) // BLOCK_N * BLOCK_N
        if WINDOW is None:
            first, all_begin = 0, 0
        else:
            first = tl.maximum(position + 1 - WINDOW, 0)
            all_begin = tl.cdiv(tl.maximum(end - WINDOW, 0), BLOCK_N) * BLOCK_N
            all_begin = tl.minimum(all_begin, all_end)
            b_o, b_m, b_l = _attend_range(
                b_q, b_o, b_m, b_l, k_ptr, v_ptr, p_table, first, end,
                first // BLOCK_N * BLOCK_N, all_begin, o_position, i_g, scaling,
                NUM_KV_HEADS, HEAD_DIM, V_HEAD_DIM, BLOCK_TOKENS, WINDOW, SOFTCAP,
                BLOCK_N, BLOCK_D, BLOCK_DV, True,
            )  # fmt: skip
        b_o, b_m, b_l = _attend_range(
            b_q, b_o, b_m, b_l, k_ptr, v_ptr, p_table, first, end,
            all_begin, all_end, o_position, i_g, scaling,
            NUM_KV_HEADS, HEAD_DIM, V_HEAD_DIM, BLOCK_TOKENS, WINDOW, SOFTCAP,
            BLOCK_N, BLOCK_D, BLOCK_DV, False,
        )  # fmt: skip
        b_o, b_m, b_l = _attend_range(
            b_q, b_o, b_m, b_l, k_ptr, v_ptr, p_table, first, end,
            all_end, end, o_position, i_g, scaling,
            NUM_KV_HEADS, HEAD_DIM, V_HEAD_DIM, BLOCK_TOKENS, WINDOW, SOFTCAP,
            BLOCK_N, BLOCK_D, BLOCK_DV, True,
        )  # fmt: skip

        b_out = normalise(b_o, b_m, b_l, sinks_ptr, o_head, m_t)
        # [BLOCK_ROWS, BLOCK_DV]
        o_dv = tl.arange(0, BLOCK_DV)
        m_o = m_t[:, None] & (o_dv < V_HEAD_DIM)[None, :]
        o_out = ((row + o_t) * (NUM_KV_HEADS * GROUP) + o_head) * V_HEAD_DIM
        p_out = out_ptr + o_out[:, None] + o_dv[None, :]
        tl.store(p_out, b_out.to(q_ptr.dtype.element_ty), mask=m_o)


@triton.jit
def _attend_range(
    b_q,
    b_o,
    b_m,
    b_l,
    k_ptr,
    v_ptr,
    p_table,
    first,
    end,
    tile_begin,
    tile_end,
    o_position,
    i_g,
    scaling,
    NUM_KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    V_HEAD_DIM: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    WINDOW: tl.constexpr,
    SOFTCAP: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_DV: tl.constexpr,
    MASKED: tl.constexpr,
):
    """The tiles from tile_begin to tile_end; no key before first or from end on is read."""
    for n in range(tile_begin, tile_end, BLOCK_N):
        # [BLOCK_N]
        o_n = n + tl.arange(0, BLOCK_N)
        m_n = (o_n >= first) & (o_n < end)
        m_seen = None
        if MASKED:
            # [BLOCK_ROWS, BLOCK_N]
            m_seen = o_n[None, :] <= o_position[:, None]
            if WINDOW is not None:
                m_seen = m_seen & (o_n[None, :] > o_position[:, None] - WINDOW)
        b_o, b_m, b_l = attend_keys(
            b_q, b_o, b_m, b_l, k_ptr, v_ptr, p_table, o_n, m_n, m_seen, i_g, scaling,
            NUM_KV_HEADS, HEAD_DIM, V_HEAD_DIM, BLOCK_TOKENS, BLOCK_D, BLOCK_DV, SOFTCAP,
        )  # fmt: skip
    return b_o, b_m, b_l
