"""expand: add each adapted row's rank-sized vector times its own B's to the output."""

import triton
import triton.language as tl
from torch import Tensor

from .segments import Segments
from .table import OffsetTable, Site
from .tiles import EXPAND, num_programs


def expand(
    y_TN: Tensor, v: Tensor, segments: Segments, *, arena: Tensor, table: OffsetTable, site: Site
) -> None:
    """Add `v` times the B's of each row's own adapter to y_TN, in place.

    Semantics, for segment s with slot c, and slice j of the site with rank r > 0:
        rows = order[indptr[s]:indptr[s + 1]]
        y_TN[rows, columns j] += v.sum(0)[indptr[s]:indptr[s + 1], slice j] @ B(c, j)
    The planes of v are added in index order; sums are fp32, rounded once to y's dtype. Base rows
    and the columns of absent slices keep their bits.

    Args:
        y_TN: Contiguous, the merged output of the site; dtype of arena.
        v: What `shrink` returned for these segments.

    Raises:
        ValueError: Dtypes disagree, y_TN is not contiguous or has another width.

    Source: SGMV, Chen et al. 2023, arXiv:2310.18547, section 4.
    """
    width = sum(site.out_features)
    if y_TN.dtype != arena.dtype:
        raise ValueError(f"y is {y_TN.dtype}, the arena {arena.dtype}")
    if not y_TN.is_contiguous() or y_TN.shape[1] != width:
        raise ValueError(f"y {tuple(y_TN.shape)} is not contiguous [T, {width}]")
    tile = EXPAND[segments.m_tile]
    num_tiles = sum(triton.cdiv(n, tile.block_n) for n in site.out_features)
    grid = min(segments.items.shape[0] * num_tiles, num_programs(y_TN.device))
    if grid == 0:
        return
    expand_kernel[(grid,)](
        y_TN,
        arena,
        v,
        segments.order,
        segments.items,
        segments.counts,
        table.b_at,
        table.rank,
        width,
        table.num_slices,
        site.first,
        v.stride(0),
        v.stride(1),
        OUT_FEATURES=site.out_features,
        NUM_TILES=num_tiles,
        SPLIT_K=v.shape[0],
        BLOCK_T=segments.m_tile,
        BLOCK_N=tile.block_n,
        BLOCK_R=tile.block_r,
        num_warps=tile.num_warps,
        num_stages=tile.num_stages,
    )


@triton.jit(do_not_specialize=["first_slice", "stride_plane"])
def expand_kernel(
    y_ptr,
    b_ptr,
    v_ptr,
    order_ptr,
    items_ptr,
    counts_ptr,
    b_at_ptr,
    rank_ptr,
    N,
    num_slices,
    first_slice,
    stride_plane,
    stride_v,
    OUT_FEATURES: tl.constexpr,
    NUM_TILES: tl.constexpr,
    SPLIT_K: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    num_units = tl.load(counts_ptr + 1) * NUM_TILES
    for i_unit in range(tl.program_id(0), num_units, tl.num_programs(0)):
        p_item = items_ptr + i_unit // NUM_TILES * 3
        i_tile = i_unit % NUM_TILES
        slot = tl.load(p_item).to(tl.int64)
        start = tl.load(p_item + 1)
        num_rows = tl.load(p_item + 2)
        p_table = slot * num_slices + first_slice

        # The slice that holds this tile: the last one that starts at or before it.
        rank, b_at, r_begin, ranks = 0, tl.cast(0, tl.int64), 0, 0
        n_begin, width, column, columns, tiles = 0, 0, 0, 0, 0
        for j in tl.static_range(len(OUT_FEATURES)):
            here = i_tile >= tiles
            rank_j = tl.load(rank_ptr + p_table + j)
            b_at = tl.where(here, tl.load(b_at_ptr + p_table + j), b_at)
            rank = tl.where(here, rank_j, rank)
            r_begin = tl.where(here, ranks, r_begin)
            n_begin = tl.where(here, (i_tile - tiles) * BLOCK_N, n_begin)
            width = tl.where(here, OUT_FEATURES[j], width)
            column = tl.where(here, columns, column)
            ranks += rank_j
            columns += OUT_FEATURES[j]
            tiles += (OUT_FEATURES[j] + BLOCK_N - 1) // BLOCK_N

        # [BLOCK_T]
        o_t = start + tl.arange(0, BLOCK_T)
        m_t = o_t < start + num_rows
        o_y = tl.load(order_ptr + o_t, mask=m_t, other=0).to(tl.int64) * N + column
        p_v = v_ptr + o_t.to(tl.int64) * stride_v + r_begin
        p_b = b_ptr + tl.multiple_of(b_at, 16)
        if rank > 32:
            _expand_tile(
                y_ptr, p_b, p_v, o_y, m_t, n_begin, width, rank, stride_plane,
                SPLIT_K, BLOCK_T, BLOCK_N, BLOCK_R,
            )  # fmt: skip
        elif rank > 16:
            _expand_tile(
                y_ptr, p_b, p_v, o_y, m_t, n_begin, width, rank, stride_plane,
                SPLIT_K, BLOCK_T, BLOCK_N, 32,
            )  # fmt: skip
        elif rank > 0:
            _expand_tile(
                y_ptr, p_b, p_v, o_y, m_t, n_begin, width, rank, stride_plane,
                SPLIT_K, BLOCK_T, BLOCK_N, 16,
            )  # fmt: skip


@triton.jit
def _expand_tile(
    y_ptr,
    p_b,
    p_v,
    o_y,
    m_t,
    n_begin,
    width,
    rank,
    stride_plane,
    SPLIT_K: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """Columns n_begin to n_begin + BLOCK_N of one slice."""
    # [BLOCK_N]
    o_n = n_begin + tl.arange(0, BLOCK_N)
    m_n = o_n < width
    # [BLOCK_T, BLOCK_N]
    p_y = y_ptr + o_y[:, None] + o_n[None, :]
    m_y = m_t[:, None] & m_n[None, :]
    b_base = tl.load(p_y, mask=m_y, other=0.0)
    b_y = tl.zeros([BLOCK_T, BLOCK_N], dtype=tl.float32)
    for r in range(0, rank, BLOCK_R):
        o_r = r + tl.arange(0, BLOCK_R)
        m_r = o_r < rank
        # [BLOCK_T, BLOCK_R]
        m_v = m_t[:, None] & m_r[None, :]
        b_v = tl.zeros([BLOCK_T, BLOCK_R], dtype=tl.float32)
        for i_plane in tl.static_range(SPLIT_K):
            p_plane = p_v + tl.cast(stride_plane, tl.int64) * i_plane
            b_v += tl.load(p_plane[:, None] + o_r[None, :], mask=m_v, other=0.0)
        # [BLOCK_R, BLOCK_N]
        o_b = o_r.to(tl.int64)[:, None] * width + o_n[None, :]
        b_b = tl.load(p_b + o_b, mask=m_r[:, None] & m_n[None, :], other=0.0)
        b_y = tl.dot(b_v.to(b_b.dtype), b_b, b_y, input_precision="ieee")
    tl.store(p_y, (b_base.to(tl.float32) + b_y).to(b_base.dtype), mask=m_y)
