"""Online softmax, the body of both attention kernels: keys are taken a tile at a time."""

import triton
import triton.language as tl

LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def no_keys(BLOCK_ROWS: tl.constexpr, BLOCK_DV: tl.constexpr):
    """Sums, maxima and denominators of a softmax over nothing."""
    b_o = tl.zeros([BLOCK_ROWS, BLOCK_DV], dtype=tl.float32)
    b_m = tl.full([BLOCK_ROWS], float("-inf"), dtype=tl.float32)
    b_l = tl.zeros([BLOCK_ROWS], dtype=tl.float32)
    return b_o, b_m, b_l


@triton.jit
def attend_keys(
    b_q,
    b_o,
    b_m,
    b_l,
    k_ptr,
    v_ptr,
    p_table,
    o_n,
    m_n,
    m_seen,
    i_g,
    scaling,
    NUM_KV_HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    V_HEAD_DIM: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_DV: tl.constexpr,
    SOFTCAP: tl.constexpr,
):
    """Take the keys at positions o_n of one sequence into the sums, maxima and denominators.

    Scores are logits times log2(e), so that every exponential is an exp2. Keys outside m_n are not
    read, whatever their places hold; m_seen hides keys from rows, None = every row sees all.

    Source: Milakov and Gimelshein 2018, arXiv:1805.02867; Dao 2023, arXiv:2307.08691.
    """
    # [BLOCK_N]
    o_block = tl.load(p_table + o_n // BLOCK_TOKENS, mask=m_n, other=0).to(tl.int64)
    o_key = (o_block * BLOCK_TOKENS + o_n % BLOCK_TOKENS) * NUM_KV_HEADS + i_g
    # [BLOCK_N, BLOCK_D]
    o_d = tl.arange(0, BLOCK_D)
    m_k = m_n[:, None] & (o_d < HEAD_DIM)[None, :]
    b_k = tl.load(k_ptr + o_key[:, None] * HEAD_DIM + o_d[None, :], mask=m_k, other=0.0)
    # [rows, BLOCK_N]
    b_s = tl.dot(b_q, tl.trans(b_k), input_precision="ieee")
    factor = scaling * LOG2E
    if SOFTCAP is not None:
        # tanh(x) = 1 - 2 / (1 + exp(2x)), which is 1 long before the exponential overflows
        b_e = tl.exp2(tl.minimum(b_s * (factor * 2 / SOFTCAP), 100.0))
        b_s = SOFTCAP - 2 * SOFTCAP / (1 + b_e)
        factor = LOG2E
    if m_seen is not None:
        b_s = tl.where(m_seen, b_s, float("-inf"))
    b_top = tl.maximum(b_m, tl.max(b_s, 1) * factor)
    b_shift = b_top
    if m_seen is not None:
        b_shift = tl.where(b_top == float("-inf"), 0.0, b_top)  # a row that has seen no key yet
    b_p = tl.exp2(b_s * factor - b_shift[:, None])
    b_keep = tl.exp2(b_m - b_shift)
    # [BLOCK_N, BLOCK_DV]
    o_dv = tl.arange(0, BLOCK_DV)
    m_v = m_n[:, None] & (o_dv < V_HEAD_DIM)[None, :]
    b_v = tl.load(v_ptr + o_key[:, None] * V_HEAD_DIM + o_dv[None, :], mask=m_v, other=0.0)
    b_o = tl.dot(b_p.to(b_v.dtype), b_v, b_o * b_keep[:, None], input_precision="ieee")
    return b_o, b_top, b_l * b_keep + tl.sum(b_p, 1)


@triton.jit
def merge_keys(b_o, b_m, b_l, b_o_next, b_m_next, b_l_next):
    """Join the softmax over some keys with that over further ones, which must not be empty."""
    b_top = tl.maximum(b_m, b_m_next)
    b_keep = tl.exp2(b_m - b_top)
    b_take = tl.exp2(b_m_next - b_top)
    b_o = b_o * b_keep[:, None] + b_o_next * b_take[:, None]
    return b_o, b_top, b_l * b_keep + b_l_next * b_take


@triton.jit
def normalise(b_o, b_m, b_l, sinks_ptr, o_head, m_head):
    """Divide by the denominators, in which the sink of a row's head has its share, if there are."""
    if sinks_ptr is not None:
        b_sink = tl.load(sinks_ptr + o_head, mask=m_head, other=0.0).to(tl.float32) * LOG2E
        b_top = tl.maximum(b_m, b_sink)
        b_keep = tl.exp2(b_m - b_top)
        b_o = b_o * b_keep[:, None]
        b_l = b_l * b_keep + tl.exp2(b_sink - b_top)
    return b_o / b_l[:, None]
