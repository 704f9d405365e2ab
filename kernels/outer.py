"""outer: add the gradient of one half of every adapter to an arena of gradients."""

import triton
import triton.language as tl
from torch import Tensor

from .segments import Segments
from .slices import find_rows, find_slice, find_tile, sum_ranks
from .table import Half, OffsetTable, Site
from .tiles import OUTER, num_programs


def outer(
    x_TK: Tensor,
    v: Tensor,
    segments: Segments,
    *,
    gradients: Tensor,
    table: OffsetTable,
    site: Site,
    half: Half,
) -> None:
    """Add what each adapter's rows contribute to the gradient of one half, in place.

    Semantics, for segment s with slot c, and slice j of the site with rank r > 0:
        rows = order[indptr[s]:indptr[s + 1]]
        G(c, j) += v.sum(0)[indptr[s]:indptr[s + 1], slice j].T @ x_TK[rows]
    where G is that half's place in `gradients`. Half B takes the columns j of x_TN. The planes of v
    are added in index order, then runs of tokens in index order, in fp32: one adapter's gradient
    does not depend on the others. Slots without rows, and absent slices, keep their bits.

    Args:
        x_TK: Contiguous; fp32, fp16 or bf16. The site's input for A, its output's gradient for B.
        v: What `shrink` returned for these segments: through B for A, through A for B.
        gradients: Flat, fp32; the layout of the arena that `table` describes.

    Raises:
        ValueError: The gradients are not fp32, x_TK is not contiguous or has another width.

    Source: the weight gradient of SGMV's two products, Chen et al. 2023, arXiv:2310.18547.
    """
    width = site.width(half)
    if gradients.dtype != v.dtype:
        raise ValueError(f"gradients are {gradients.dtype}, v is {v.dtype}")
    if not x_TK.is_contiguous() or x_TK.shape[1] != width:
        raise ValueError(f"x {tuple(x_TK.shape)} is not contiguous [T, {width}]")
    own_columns = site.out_features if half is Half.B else ()
    num_tiles = sum(triton.cdiv(n, OUTER.block_k) for n in own_columns or (width,))
    grid = min(segments.slot.numel() * num_tiles, num_programs(x_TK.device, OUTER.programs_per_sm))
    if grid == 0:
        return
    outer_kernel[(grid,)](
        x_TK,
        v,
        gradients,
        segments.order,
        segments.slot,
        segments.indptr,
        segments.counts,
        table.at(half),
        table.rank,
        width,
        table.num_slices,
        site.first,
        v.stride(0),
        v.stride(1),
        NUM_SLICES=len(site.out_features),
        OWN_COLUMNS=own_columns,
        NUM_TILES=num_tiles,
        SPLIT_K=v.shape[0],
        BLOCK_T=OUTER.block_t,
        BLOCK_K=OUTER.block_k,
        BLOCK_R=OUTER.block_r,
        num_warps=OUTER.num_warps,
        num_stages=OUTER.num_stages,
    )


@triton.jit(do_not_specialize=["first_slice", "stride_plane"])
def outer_kernel(
    x_ptr,
    v_ptr,
    g_ptr,
    order_ptr,
    slot_ptr,
    indptr_ptr,
    counts_ptr,
    at_ptr,
    rank_ptr,
    K,
    num_slices,
    first_slice,
    stride_plane,
    stride_v,
    NUM_SLICES: tl.constexpr,
    OWN_COLUMNS: tl.constexpr,
    NUM_TILES: tl.constexpr,
    SPLIT_K: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    TILE_SLICES: tl.constexpr = NUM_SLICES if len(OWN_COLUMNS) == 0 else 1
    num_units = tl.load(counts_ptr + 2) * NUM_TILES
    for i_unit in range(tl.program_id(0), num_units, tl.num_programs(0)):
        i_segment = i_unit // NUM_TILES
        i_tile = i_unit % NUM_TILES
        slot = tl.load(slot_ptr + i_segment).to(tl.int64)
        start = tl.load(indptr_ptr + i_segment)
        stop = tl.load(indptr_ptr + i_segment + 1)
        o_table = slot * num_slices + first_slice
        column, width, r_begin, k_begin = 0, K, 0, i_tile * BLOCK_K
        if len(OWN_COLUMNS) == 0:
            ranks = sum_ranks(rank_ptr + o_table, NUM_SLICES)
        else:
            i_slice, k_begin = find_tile(i_tile, OWN_COLUMNS, BLOCK_K)
            column, width, r_begin, ranks = find_slice(i_slice, rank_ptr + o_table, OWN_COLUMNS)
            o_table += i_slice
        p_x = x_ptr + column
        p_v = v_ptr + r_begin
        p_at = at_ptr + o_table
        p_rank = rank_ptr + o_table
        if ranks > 16:
            for r in range(0, ranks, BLOCK_R):
                _outer_tile(
                    p_x, p_v, g_ptr, order_ptr, p_at, p_rank, start, stop, r, ranks, k_begin, width,
                    K, stride_plane, stride_v, TILE_SLICES, SPLIT_K, BLOCK_T, BLOCK_K, BLOCK_R,
                )  # fmt: skip
        elif ranks > 0:
            _outer_tile(
                p_x, p_v, g_ptr, order_ptr, p_at, p_rank, start, stop, 0, ranks, k_begin, width,
                K, stride_plane, stride_v, TILE_SLICES, SPLIT_K, BLOCK_T, BLOCK_K, 16,
            )  # fmt: skip


@triton.jit
def _outer_tile(
    p_x,
    p_v,
    g_ptr,
    order_ptr,
    p_at,
    p_rank,
    start,
    stop,
    r_begin,
    ranks,
    k_begin,
    width,
    K,
    stride_plane,
    stride_v,
    NUM_SLICES: tl.constexpr,
    SPLIT_K: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """Rows r_begin to r_begin + BLOCK_R and columns k_begin to k_begin + BLOCK_K of a gradient."""
    # [BLOCK_R]
    o_r = r_begin + tl.arange(0, BLOCK_R)
    m_r = o_r < ranks
    # [BLOCK_K]
    o_k = k_begin + tl.arange(0, BLOCK_K)
    m_k = o_k < width
    # [BLOCK_R, BLOCK_K]
    b_g = tl.zeros([BLOCK_R, BLOCK_K], dtype=tl.float32)
    for t in range(start, stop, BLOCK_T):
        # [BLOCK_T]
        o_t = t + tl.arange(0, BLOCK_T)
        m_t = o_t < stop
        o_x = tl.load(order_ptr + o_t, mask=m_t, other=0).to(tl.int64) * K
        # [BLOCK_T, BLOCK_K]
        m_x = m_t[:, None] & m_k[None, :]
        b_x = tl.load(p_x + o_x[:, None] + o_k[None, :], mask=m_x, other=0.0)
        # [BLOCK_T, BLOCK_R]
        o_v = o_t.to(tl.int64)[:, None] * stride_v + o_r[None, :]
        m_v = m_t[:, None] & m_r[None, :]
        b_v = tl.zeros([BLOCK_T, BLOCK_R], dtype=tl.float32)
        for i_plane in tl.static_range(SPLIT_K):
            p_plane = p_v + tl.cast(stride_plane, tl.int64) * i_plane
            b_v += tl.load(p_plane + o_v, mask=m_v, other=0.0)
        b_g = tl.dot(tl.trans(b_v.to(b_x.dtype)), b_x, b_g, input_precision="ieee")
    o_g = find_rows(p_at, p_rank, o_r, width, NUM_SLICES)
    p_g = g_ptr + o_g[:, None] + o_k[None, :]
    m_g = m_r[:, None] & m_k[None, :]
    tl.store(p_g, tl.load(p_g, mask=m_g, other=0.0) + b_g, mask=m_g)
