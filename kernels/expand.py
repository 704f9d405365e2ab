"""expand: add each adapted row's rank-sized vector times one half, most often B, to the output."""

import triton
import triton.language as tl
from torch import Tensor

from .segments import Segments
from .slices import find_rows, find_slice, find_tile, sum_ranks
from .table import Half, OffsetTable, Site
from .tiles import EXPAND, ExpandTile, num_programs


def expand(
    y_TN: Tensor,
    v: Tensor,
    segments: Segments,
    *,
    arena: Tensor,
    table: OffsetTable,
    site: Site,
    half: Half = Half.B,
    tile: ExpandTile | None = None,
    overlap: bool = False,
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
        half: A writes y_TK through A(c, j), the slices summed in their order: the gradient of x.
        tile: None = the entry of EXPAND.
        overlap: Begin before the launch that precedes this one ends (CUDA, sm_90 and later): it has
            to be the `shrink` of v, with `overlap`.

    Raises:
        ValueError: Dtypes disagree, y_TN is not contiguous or has another width.

    Source: SGMV, Chen et al. 2023, arXiv:2310.18547, section 4.
    """
    width = site.width(half)
    if y_TN.dtype != arena.dtype:
        raise ValueError(f"y is {y_TN.dtype}, the arena {arena.dtype}")
    if not y_TN.is_contiguous() or y_TN.shape[1] != width:
        raise ValueError(f"y {tuple(y_TN.shape)} is not contiguous [T, {width}]")
    tile = tile or EXPAND[segments.m_tile]
    own_columns = site.out_features if half is Half.B else ()
    num_strips = sum(triton.cdiv(n, tile.strip) for n in own_columns or (width,))
    grid = min(
        segments.items.shape[0] * num_strips, num_programs(y_TN.device, tile.programs_per_sm)
    )
    if grid == 0:
        return
    expand_kernel[(grid,)](
        y_TN,
        arena,
        v,
        segments.order,
        segments.items,
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
        NUM_STRIPS=num_strips,
        SPLIT_K=v.shape[0],
        BLOCK_T=segments.m_tile,
        BLOCK_N=tile.block_n,
        STRIP=tile.strip,
        NUM_STAGES=tile.num_stages,
        OVERLAP=overlap,
        num_warps=tile.num_warps,
        num_stages=1,
        maxnreg=tile.max_registers,
        launch_pdl=overlap,
    )


@triton.jit(do_not_specialize=["first_slice", "stride_plane"])
def expand_kernel(
    y_ptr,
    b_ptr,
    v_ptr,
    order_ptr,
    items_ptr,
    counts_ptr,
    at_ptr,
    rank_ptr,
    N,
    num_slices,
    first_slice,
    stride_plane,
    stride_v,
    NUM_SLICES: tl.constexpr,
    OWN_COLUMNS: tl.constexpr,
    NUM_STRIPS: tl.constexpr,
    SPLIT_K: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_N: tl.constexpr,
    STRIP: tl.constexpr,
    NUM_STAGES: tl.constexpr,
    OVERLAP: tl.constexpr,
):
    TILE_SLICES: tl.constexpr = NUM_SLICES if len(OWN_COLUMNS) == 0 else 1
    num_units = tl.load(counts_ptr + 1) * NUM_STRIPS
    # What the compiler would hoist out of the loops costs registers that it does not have.
    for i_unit in tl.range(tl.program_id(0), num_units, tl.num_programs(0), disable_licm=True):
        p_item = items_ptr + i_unit // NUM_STRIPS * 3
        i_strip = i_unit % NUM_STRIPS
        slot = tl.load(p_item).to(tl.int64)
        start = tl.load(p_item + 1)
        num_rows = tl.load(p_item + 2)
        o_table = slot * num_slices + first_slice
        column, width, r_begin, n_begin = 0, N, 0, i_strip * STRIP
        if len(OWN_COLUMNS) == 0:
            ranks = sum_ranks(rank_ptr + o_table, NUM_SLICES)
        else:
            i_slice, n_begin = find_tile(i_strip, OWN_COLUMNS, STRIP)
            column, width, r_begin, ranks = find_slice(i_slice, rank_ptr + o_table, OWN_COLUMNS)
            o_table += i_slice
        p_at = at_ptr + o_table
        p_rank = rank_ptr + o_table
        # [BLOCK_T]
        o_t = start + tl.arange(0, BLOCK_T)
        m_t = o_t < start + num_rows
        o_y = tl.load(order_ptr + o_t, mask=m_t, other=0).to(tl.int64) * N + column
        p_v = v_ptr + o_t.to(tl.int64) * stride_v + r_begin
        n_end = tl.minimum(n_begin + STRIP, width)
        if OVERLAP:
            tl.extra.cuda.gdc_wait()
        if ranks > 32:
            for n in tl.range(n_begin, n_end, BLOCK_N, disable_licm=True):
                _expand_tile(
                    y_ptr, b_ptr, p_at, p_rank, p_v, o_y, m_t, n, width, ranks, stride_plane,
                    TILE_SLICES, SPLIT_K, BLOCK_T, BLOCK_N, 32,
                )  # fmt: skip
        elif ranks > 16:
            _expand_strip(
                y_ptr, b_ptr, p_at, p_rank, p_v, o_y, m_t, n_begin, n_end, width, ranks,
                stride_plane, TILE_SLICES, SPLIT_K, BLOCK_N, 32, NUM_STAGES,
            )  # fmt: skip
        elif ranks > 0:
            _expand_strip(
                y_ptr, b_ptr, p_at, p_rank, p_v, o_y, m_t, n_begin, n_end, width, ranks,
                stride_plane, TILE_SLICES, SPLIT_K, BLOCK_N, 16, NUM_STAGES,
            )  # fmt: skip


@triton.jit
def _expand_strip(
    y_ptr,
    b_ptr,
    p_at,
    p_rank,
    p_v,
    o_y,
    m_t,
    n_begin,
    n_end,
    width,
    ranks,
    stride_plane,
    NUM_SLICES: tl.constexpr,
    SPLIT_K: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_R: tl.constexpr,
    NUM_STAGES: tl.constexpr,
):
    """Columns n_begin to n_end through at most BLOCK_R ranks: the planes are read once."""
    # [BLOCK_R]
    o_r = tl.arange(0, BLOCK_R)
    m_r = o_r < ranks
    o_b = find_rows(p_at, p_rank, o_r, width, NUM_SLICES)
    # [BLOCK_T, BLOCK_R]
    b_v = _sum_planes(p_v, o_r, m_t, m_r, stride_plane, SPLIT_K).to(b_ptr.dtype.element_ty)
    for n in tl.range(n_begin, n_end, BLOCK_N, num_stages=NUM_STAGES):
        o_n = n + tl.arange(0, BLOCK_N)
        m_n = o_n < width
        # [BLOCK_T, BLOCK_N]
        p_y = y_ptr + o_y[:, None] + o_n[None, :]
        m_y = m_t[:, None] & m_n[None, :]
        b_base = tl.load(p_y, mask=m_y, other=0.0)
        # [BLOCK_R, BLOCK_N]
        m_b = m_r[:, None] & m_n[None, :]
        b_b = tl.load(b_ptr + o_b[:, None] + o_n[None, :], mask=m_b, other=0.0)
        b_y = tl.dot(b_v, b_b, input_precision="ieee")
        tl.store(p_y, (b_base.to(tl.float32) + b_y).to(b_base.dtype), mask=m_y)


@triton.jit
def _expand_tile(
    y_ptr,
    b_ptr,
    p_at,
    p_rank,
    p_v,
    o_y,
    m_t,
    n_begin,
    width,
    ranks,
    stride_plane,
    NUM_SLICES: tl.constexpr,
    SPLIT_K: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    """Columns n_begin to n_begin + BLOCK_N through any number of ranks."""
    # [BLOCK_N]
    o_n = n_begin + tl.arange(0, BLOCK_N)
    m_n = o_n < width
    # [BLOCK_T, BLOCK_N]
    p_y = y_ptr + o_y[:, None] + o_n[None, :]
    m_y = m_t[:, None] & m_n[None, :]
    b_base = tl.load(p_y, mask=m_y, other=0.0)
    b_y = tl.zeros([BLOCK_T, BLOCK_N], dtype=tl.float32)
    for r in range(0, ranks, BLOCK_R):
        o_r = r + tl.arange(0, BLOCK_R)
        m_r = o_r < ranks
        # [BLOCK_R, BLOCK_N]
        o_b = find_rows(p_at, p_rank, o_r, width, NUM_SLICES)
        m_b = m_r[:, None] & m_n[None, :]
        b_b = tl.load(b_ptr + o_b[:, None] + o_n[None, :], mask=m_b, other=0.0)
        # [BLOCK_T, BLOCK_R]
        b_v = _sum_planes(p_v, o_r, m_t, m_r, stride_plane, SPLIT_K)
        b_y = tl.dot(b_v.to(b_b.dtype), b_b, b_y, input_precision="ieee")
    tl.store(p_y, (b_base.to(tl.float32) + b_y).to(b_base.dtype), mask=m_y)


@triton.jit
def _sum_planes(p_v, o_r, m_t, m_r, stride_plane, SPLIT_K: tl.constexpr):
    """Several planes at a time, in index order.

    Loads plane by plane would go through shared memory one by one: the compiler moves the
    conversion to the product's operand from the sum to each of them, but not across a reduction.
    """
    AT_ONCE: tl.constexpr = triton.next_power_of_2(min(SPLIT_K, max(1, 128 // p_v.shape[0])))
    # [BLOCK_T, BLOCK_R]
    b_v = tl.zeros([p_v.shape[0], o_r.shape[0]], dtype=tl.float32)
    for i in range(0, SPLIT_K, AT_ONCE):
        i_plane = i + tl.arange(0, AT_ONCE)
        o_plane = i_plane.to(tl.int64) * stride_plane
        # [AT_ONCE, BLOCK_T, BLOCK_R]
        o_v = o_plane[:, None, None] + o_r[None, None, :]
        m_v = (i_plane < SPLIT_K)[:, None, None] & m_t[None, :, None] & m_r[None, None, :]
        b_v += tl.sum(tl.load(p_v[None, :, None] + o_v, mask=m_v, other=0.0), axis=0)
    return b_v
