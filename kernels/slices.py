"""What every kernel asks about a site's slices: where their columns, ranks and rows are."""

import triton
import triton.language as tl


@triton.jit
def find_tile(i_tile, COLUMNS: tl.constexpr, BLOCK: tl.constexpr):
    """The slice that holds a tile, where each slice has tiles of its own; its first column."""
    i_slice, begin, tiles = 0, 0, 0
    for j in tl.static_range(len(COLUMNS)):
        here = i_tile >= tiles
        i_slice = tl.where(here, j, i_slice)
        begin = tl.where(here, (i_tile - tiles) * BLOCK, begin)
        tiles += (COLUMNS[j] + BLOCK - 1) // BLOCK
    return i_slice, begin


@triton.jit
def find_slice(i_slice, p_rank, COLUMNS: tl.constexpr):
    """A slice's first column and their number, its first rank and their number."""
    column, width, r_begin, rank = 0, 0, 0, 0
    for j in tl.static_range(len(COLUMNS)):
        rank_j = tl.load(p_rank + j)
        column += tl.where(j < i_slice, COLUMNS[j], 0)
        width = tl.where(j == i_slice, COLUMNS[j], width)
        r_begin += tl.where(j < i_slice, rank_j, 0)
        rank = tl.where(j == i_slice, rank_j, rank)
    return column, width, r_begin, rank


@triton.jit
def sum_ranks(p_rank, NUM_SLICES: tl.constexpr):
    ranks = 0
    for j in tl.static_range(NUM_SLICES):
        ranks += tl.load(p_rank + j)
    return ranks


@triton.jit
def find_rows(p_at, p_rank, o_r, width, NUM_SLICES: tl.constexpr):
    """Where in the arena each rank's row starts; ranks count on from slice to slice."""
    # [BLOCK_R]
    o_row = tl.zeros(o_r.shape, dtype=tl.int64)
    begin = 0
    for j in tl.static_range(NUM_SLICES):
        at = tl.multiple_of(tl.load(p_at + j), 16)
        o_row = tl.where(o_r >= begin, at + (o_r - begin).to(tl.int64) * width, o_row)
        begin += tl.load(p_rank + j)
    return o_row


@triton.jit
def find_scaling(p_scaling, p_rank, o_r, NUM_SLICES: tl.constexpr):
    """Each rank's scaling, that of its slice."""
    # [BLOCK_R]
    b_s = tl.zeros(o_r.shape, dtype=tl.float32)
    begin = 0
    for j in tl.static_range(NUM_SLICES):
        b_s = tl.where(o_r >= begin, tl.load(p_scaling + j), b_s)
        begin += tl.load(p_rank + j)
    return b_s
