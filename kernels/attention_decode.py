"""attention_decode: one new row per sequence over its paged keys, split along their length."""

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from .attention_tiles import decode_tile, padded
from .paged import check_paged
from .softmax import attend_keys, merge_keys, no_keys, normalise


@dataclass(frozen=True, slots=True, eq=False)
class DecodeWorkspace:
    """Where the splits of a step leave their partial results; the layers of a model take turns.

    Attributes:
        sums: fp32, unnormalised outputs.
        scales: fp32, maximum and denominator of every row.
        tickets: int32, how many splits of a sequence and KV head have arrived; zero between calls.
    """

    sums: Tensor
    scales: Tensor
    tickets: Tensor

    @classmethod
    def allocate(
        cls, num_rows: int, *, v_head_dim: int, num_units: int, device: torch.device
    ) -> "DecodeWorkspace":
        """Make room for sequences · query heads · splits, and sequences · KV heads as units."""
        return cls(
            sums=torch.empty(num_rows * v_head_dim, dtype=torch.float32, device=device),
            scales=torch.empty(num_rows * 2, dtype=torch.float32, device=device),
            tickets=torch.zeros(num_units, dtype=torch.int32, device=device),
        )

    def check(self, num_rows: int, *, v_head_dim: int, num_units: int) -> None:
        """Refuse a step that has no room.

        Raises:
            ValueError: It is larger than what was allocated.
        """
        found = self.sums.numel(), self.scales.numel(), self.tickets.numel()
        needed = num_rows * v_head_dim, num_rows * 2, num_units
        if any(have < need for have, need in zip(found, needed, strict=True)):
            raise ValueError(f"a workspace of {found} elements, the step needs {needed}")


def attention_decode(
    q_BHD: Tensor,
    k_cache_PZGD: Tensor,
    v_cache_PZGD: Tensor,
    block_table_BM: Tensor,
    kv_len_B: Tensor,
    *,
    scaling: float,
    num_splits: int,
    workspace: DecodeWorkspace,
    window: int | None = None,
    softcap: float | None = None,
    sinks_H: Tensor | None = None,
) -> Tensor:
    """Attend with the one new row of every sequence; its key and value lie in the cache already.

    Semantics, for sequence b and head h of the KV head g = h // (H / G):
        k, v = the last min(window, kv_len[b]) keys and values of head g in the sequence's blocks
        s = scaling * q[b, h] @ k.T, then softcap * tanh(s / softcap)
        out[b, h] = softmax([s, sinks[h]])[without the sink] @ v
    in fp32; the weights are rounded to v's dtype for their product, the result to q's.

    A split takes ⌈⌈tiles of keys / num_splits⌉⌉ tiles, at least two: it depends on that sequence
    alone, and so do the bits of a row. The last split to arrive merges all, in their order.

    Args:
        q_BHD: The heads of a row adjacent, as in a merged output; fp32, fp16 or bf16.
        k_cache_PZGD: Contiguous; dtype of q_BHD. So v_cache_PZGD, whose heads may be narrower.
        block_table_BM: int32; rows may lie apart. Entries behind the last block are not read.
        kv_len_B: int32, on the device, the new key included; 0 = a padding row, whose output is 0.
        scaling: Positive.
        num_splits: A constant of the captured graph.
        workspace: Of at least B · H · num_splits rows and B · G units.
        sinks_H: One logit per head.

    Returns:
        out, `[B, H, Dv]`, dtype of q_BHD.

    Raises:
        ValueError: Layouts or dtypes disagree, or the workspace is too small.

    Source: flash-decoding, Dao et al. 2023, https://pytorch.org/blog/flash-decoding.
    """
    shape = check_paged(q_BHD, k_cache_PZGD, v_cache_PZGD, block_table_BM, scaling=scaling)
    if kv_len_B.dtype != torch.int32 or kv_len_B.shape != q_BHD.shape[:1]:
        raise ValueError(f"kv_len is {kv_len_B.dtype} {tuple(kv_len_B.shape)}, not int32 [B]")
    num_sequences = len(q_BHD)
    num_units = num_sequences * shape.num_kv_heads
    workspace.check(
        num_units * shape.group * num_splits, v_head_dim=shape.v_head_dim, num_units=num_units
    )
    tile = decode_tile(max(shape.head_dim, shape.v_head_dim), q_BHD.dtype)
    out_BHD = q_BHD.new_empty(*q_BHD.shape[:2], shape.v_head_dim)
    if num_sequences == 0:
        return out_BHD
    attention_decode_kernel[(num_splits, shape.num_kv_heads, num_sequences)](
        out_BHD,
        q_BHD,
        k_cache_PZGD,
        v_cache_PZGD,
        block_table_BM,
        kv_len_B,
        sinks_H,
        workspace.sums,
        workspace.scales,
        workspace.tickets,
        q_BHD.stride(0),
        block_table_BM.stride(0),
        scaling,
        NUM_KV_HEADS=shape.num_kv_heads,
        GROUP=shape.group,
        HEAD_DIM=shape.head_dim,
        V_HEAD_DIM=shape.v_head_dim,
        BLOCK_TOKENS=shape.block_tokens,
        NUM_SPLITS=num_splits,
        MIN_STEPS=tile.min_steps,
        WINDOW=window,
        SOFTCAP=softcap,
        BLOCK_H=padded(shape.group),
        BLOCK_N=tile.block_n,
        BLOCK_D=padded(shape.head_dim),
        BLOCK_DV=padded(shape.v_head_dim),
        num_warps=tile.num_warps,
        num_stages=tile.num_stages,
    )
    return out_BHD


@triton.jit(do_not_specialize=["stride_table"])
def attention_decode_kernel(
    out_ptr,
    q_ptr,
    k_ptr,
    v_ptr,
    table_ptr,
    kv_len_ptr,
    sinks_ptr,
    sums_ptr,
    scales_ptr,
    tickets_ptr,
    stride_q,
    stride_table,
    scaling,
    NUM_KV_HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    V_HEAD_DIM: tl.constexpr,
    BLOCK_TOKENS: tl.constexpr,
    NUM_SPLITS: tl.constexpr,
    MIN_STEPS: tl.constexpr,
    WINDOW: tl.constexpr,
    SOFTCAP: tl.constexpr,
    BLOCK_H: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_DV: tl.constexpr,
):
    i_split = tl.program_id(0)
    i_g = tl.program_id(1)
    i_b = tl.program_id(2).to(tl.int64)
    i_unit = i_b * NUM_KV_HEADS + i_g
    kv_len = tl.load(kv_len_ptr + i_b)
    first = 0 if WINDOW is None else tl.maximum(kv_len - WINDOW, 0)
    steps = tl.cdiv(kv_len - first, BLOCK_N)
    share = tl.maximum(tl.cdiv(steps, NUM_SPLITS), MIN_STEPS)
    splits = tl.cdiv(steps, share)
    # [BLOCK_H]
    o_h = tl.arange(0, BLOCK_H)
    m_h = o_h < GROUP
    o_row = i_unit * GROUP + o_h
    # [BLOCK_H, BLOCK_DV]
    o_dv = tl.arange(0, BLOCK_DV)
    m_o = m_h[:, None] & (o_dv < V_HEAD_DIM)[None, :]
    p_out = out_ptr + o_row[:, None] * V_HEAD_DIM + o_dv[None, :]
    if i_split < splits:
        # [BLOCK_H, BLOCK_D]
        o_d = tl.arange(0, BLOCK_D)
        m_q = m_h[:, None] & (o_d < HEAD_DIM)[None, :]
        o_q = i_b * stride_q + (i_g * GROUP + o_h) * HEAD_DIM
        b_q = tl.load(q_ptr + o_q[:, None] + o_d[None, :], mask=m_q, other=0.0)
        b_o, b_m, b_l = no_keys(BLOCK_H, BLOCK_DV)
        begin = first + i_split * share * BLOCK_N
        end = tl.minimum(begin + share * BLOCK_N, kv_len)
        p_table = table_ptr + i_b * stride_table
        for n in range(begin, end, BLOCK_N):
            # [BLOCK_N]
            o_n = n + tl.arange(0, BLOCK_N)
            m_n = o_n < end
            b_o, b_m, b_l = attend_keys(
                b_q, b_o, b_m, b_l, k_ptr, v_ptr, p_table, o_n, m_n, m_n[None, :], i_g, scaling,
                NUM_KV_HEADS, HEAD_DIM, V_HEAD_DIM, BLOCK_TOKENS, BLOCK_D, BLOCK_DV, SOFTCAP,
            )  # fmt: skip

        is_last = splits == 1
        if splits > 1:
            # [BLOCK_H], in split 0
            o_part = i_unit * (NUM_SPLITS * GROUP) + o_h
            p_scale = scales_ptr + o_part * 2
            p_sum = sums_ptr + o_part[:, None] * V_HEAD_DIM + o_dv[None, :]
            tl.store(p_scale + i_split * GROUP * 2, b_m, mask=m_h)
            tl.store(p_scale + i_split * GROUP * 2 + 1, b_l, mask=m_h)
            tl.store(p_sum + i_split * GROUP * V_HEAD_DIM, b_o, mask=m_o)
            tl.debug_barrier()  # a ticket vouches for the stores of all threads
            is_last = tl.atomic_add(tickets_ptr + i_unit, 1, sem="acq_rel") == splits - 1
            if is_last:
                tl.store(tickets_ptr + i_unit, 0)
                b_o, b_m, b_l = no_keys(BLOCK_H, BLOCK_DV)
                for i in tl.range(splits, num_stages=4):
                    p_i = p_scale + i * GROUP * 2
                    b_m_i = tl.load(p_i, mask=m_h, other=0.0)
                    b_l_i = tl.load(p_i + 1, mask=m_h, other=1.0)
                    b_o_i = tl.load(p_sum + i * GROUP * V_HEAD_DIM, mask=m_o, other=0.0)
                    b_o, b_m, b_l = merge_keys(b_o, b_m, b_l, b_o_i, b_m_i, b_l_i)
        if is_last:
            b_out = normalise(b_o, b_m, b_l, sinks_ptr, i_g * GROUP + o_h, m_h)
            tl.store(p_out, b_out.to(q_ptr.dtype.element_ty), mask=m_o)
    elif i_split == 0:
        tl.store(p_out, tl.zeros([BLOCK_H, BLOCK_DV], dtype=q_ptr.dtype.element_ty), mask=m_o)
