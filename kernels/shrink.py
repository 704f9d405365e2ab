"""shrink: project every adapted row through one half, most often A, of its own adapter."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .segments import Segments
from .slices import find_rows, find_scaling, find_slice, sum_ranks
from .table import Half, OffsetTable, Site
from .tiles import SHRINK, SPLIT_STEP, ShrinkTile, num_programs, split_k


def shrink(
    x_TK: Tensor,
    segments: Segments,
    *,
    arena: Tensor,
    table: OffsetTable,
    site: Site,
    half: Half = Half.A,
    scaling: Tensor | None = None,
    tile: ShrinkTile | None = None,
    overlap: bool = False,
) -> Tensor:
    """Project every adapted row through the A's of its own adapter.

    Semantics, for segment s with slot c, and slice j of the site with rank r > 0:
        rows = order[indptr[s]:indptr[s + 1]]
        v[indptr[s]:indptr[s + 1], slice j] = x_TK[rows] @ A(c, j).T
    accumulated in fp32. Slice j starts at the sum of the ranks before it.

    Args:
        x_TK: Contiguous; fp32, fp16 or bf16.
        arena: Flat; dtype and device of x_TK.
        half: B reads x_TN, the columns j of it, through B(c, j): the gradient of v in training.
        scaling: `[slots, table columns]`, fp32; multiplies each slice's part of v. None = 1.
        tile: None = the entry of SHRINK.
        overlap: The next launch may begin before this one ends (CUDA, sm_90 and later): it has to
            be `expand` with `overlap`, which waits for v.

    Returns:
        v, fp32, `[split planes, capacity of order, slices * max_rank]`, in order coordinates. The
        planes add up to the result. Only a row's own ranks are written.

    Raises:
        ValueError: Dtypes disagree, x_TK is not contiguous or has another width.

    Source: SGMV, Chen et al. 2023, arXiv:2310.18547, section 4.
    """
    width = site.width(half)
    if x_TK.dtype != arena.dtype:
        raise ValueError(f"x is {x_TK.dtype}, the arena {arena.dtype}")
    if not x_TK.is_contiguous() or x_TK.shape[1] != width:
        raise ValueError(f"x {tuple(x_TK.shape)} is not contiguous [T, {width}]")
    tile = tile or SHRINK[segments.m_tile]
    num_slices = len(site.out_features)
    own_columns = site.out_features if half is Half.B else ()
    splits = split_k(max(own_columns, default=width), segments.m_tile)
    shape = (splits, segments.order.numel(), num_slices * table.max_rank)
    v = torch.empty(shape, dtype=torch.float32, device=x_TK.device)
    num_units = segments.items.shape[0] * splits * max(1, len(own_columns))
    grid = min(num_units, num_programs(x_TK.device, tile.programs_per_sm))
    if grid == 0:
        return v
    shrink_kernel[(grid,)](
        x_TK,
        arena,
        v,
        segments.order,
        segments.items,
        segments.counts,
        table.at(half),
        table.rank,
        scaling,
        width,
        table.num_slices,
        site.first,
        v.stride(0),
        v.stride(1),
        NUM_SLICES=num_slices,
        OWN_COLUMNS=own_columns,
        SPLIT_K=splits,
        SPLIT_STEP=SPLIT_STEP,
        BLOCK_T=segments.m_tile,
        BLOCK_K=tile.block_k,
        BLOCK_R=tile.block_r,
        OVERLAP=overlap,
        num_warps=tile.num_warps,
        num_stages=tile.num_stages,
        maxnreg=tile.max_registers,
    )
    return v


@triton.jit(do_not_specialize=["first_slice", "stride_plane"])
def shrink_kernel(
    x_ptr,
    a_ptr,
    v_ptr,
    order_ptr,
    items_ptr,
    counts_ptr,
    at_ptr,
    rank_ptr,
    scaling_ptr,
    K,
    num_slices,
    first_slice,
    stride_plane,
    stride_v,
    NUM_SLICES: tl.constexpr,
    OWN_COLUMNS: tl.constexpr,
    SPLIT_K: tl.constexpr,
    SPLIT_STEP: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    if OVERLAP:
        tl.extra.cuda.gdc_launch_dependents()
    FAN: tl.constexpr = SPLIT_K if len(OWN_COLUMNS) == 0 else SPLIT_K * NUM_SLICES
    TILE_SLICES: tl.constexpr = NUM_SLICES if len(OWN_COLUMNS) == 0 else 1
    num_units = tl.load(counts_ptr + 1) * FAN
    for i_unit in range(tl.program_id(0), num_units, tl.num_programs(0)):
        p_item = items_ptr + i_unit // FAN * 3
        i_split = tl.cast(i_unit % SPLIT_K, tl.int64)
        slot = tl.load(p_item).to(tl.int64)
        start = tl.load(p_item + 1)
        num_rows = tl.load(p_item + 2)
        o_table = slot * num_slices + first_slice
        column, width, r_begin = 0, K, 0
        if len(OWN_COLUMNS) == 0:
            ranks = sum_ranks(rank_ptr + o_table, NUM_SLICES)
        else:
            i_slice = i_unit // SPLIT_K % NUM_SLICES
            column, width, r_begin, ranks = find_slice(i_slice, rank_ptr + o_table, OWN_COLUMNS)
            o_table += i_slice
        p_at = at_ptr + o_table
        p_rank = rank_ptr + o_table
        p_scaling = None if scaling_ptr is None else scaling_ptr + o_table
        # [BLOCK_T]
        o_t = start + tl.arange(0, BLOCK_T)
        m_t = o_t < start + num_rows
        o_x = tl.load(order_ptr + o_t, mask=m_t, other=0).to(tl.int64) * K + column
        o_v = i_split * stride_plane + o_t.to(tl.int64) * stride_v + r_begin
        split = tl.cdiv(tl.cdiv(width, SPLIT_STEP), SPLIT_K) * SPLIT_STEP
        k_begin = (i_split * split).to(tl.int32)
        k_end = tl.minimum(k_begin + split, width)
        if ranks > 32:
            for r in range(0, ranks, BLOCK_R):
                _shrink_tile(
                    x_ptr, a_ptr, v_ptr, p_at, p_rank, p_scaling, o_x, o_v, m_t, r, ranks,
                    k_begin, k_end, width, TILE_SLICES, BLOCK_T, BLOCK_K, BLOCK_R,
                )  # fmt: skip
        elif ranks > 16:
            _shrink_tile(
                x_ptr, a_ptr, v_ptr, p_at, p_rank, p_scaling, o_x, o_v, m_t, 0, ranks,
                k_begin, k_end, width, TILE_SLICES, BLOCK_T, BLOCK_K, 32,
            )  # fmt: skip
        elif ranks > 0:
            _shrink_tile(
                x_ptr, a_ptr, v_ptr, p_at, p_rank, p_scaling, o_x, o_v, m_t, 0, ranks,
                k_begin, k_end, width, TILE_SLICES, BLOCK_T, BLOCK_K, 16,
            )  # fmt: skip


@triton.jit
def _shrink_tile(
    x_ptr,
    a_ptr,
    v_ptr,
    p_at,
    p_rank,
    p_scaling,
    o_x,
    o_v,
    m_t,
    r_begin,
    ranks,
    k_begin,
    k_end,
    width,
    NUM_SLICES: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """Ranks r_begin to r_begin + BLOCK_R of NUM_SLICES slices: each rank is one row of a matrix."""
    # [BLOCK_R]
    o_r = r_begin + tl.arange(0, BLOCK_R)
    m_r = o_r < ranks
    o_a = find_rows(p_at, p_rank, o_r, width, NUM_SLICES)
    # [BLOCK_T, BLOCK_R]
    b_v = tl.zeros([BLOCK_T, BLOCK_R], dtype=tl.float32)
    for k in range(k_begin, k_end, BLOCK_K):
        o_k = k + tl.arange(0, BLOCK_K)
        m_k = o_k < width
        # [BLOCK_T, BLOCK_K]
        m_x = m_t[:, None] & m_k[None, :]
        b_x = tl.load(x_ptr + o_x[:, None] + o_k[None, :], mask=m_x, other=0.0)
        # [BLOCK_R, BLOCK_K]
        m_a = m_r[:, None] & m_k[None, :]
        b_a = tl.load(a_ptr + o_a[:, None] + o_k[None, :], mask=m_a, other=0.0)
        b_v = tl.dot(b_x, tl.trans(b_a), b_v, input_precision="ieee")
    if p_scaling is not None:
        b_v *= find_scaling(p_scaling, p_rank, o_r, NUM_SLICES)[None, :]
    m_v = m_t[:, None] & m_r[None, :]
    tl.store(v_ptr + o_v[:, None] + o_r[None, :], b_v, mask=m_v)
