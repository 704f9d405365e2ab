"""shrink, expand and outer on the CPU, segment by segment: the rows of a training batch.

Such segments are long, so each runs alone, with its matrices read in place. Signatures and results
are those of `reference`; v has one plane.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .segments import Segments, Span
from .table import Half, OffsetTable, Site


class Block(NamedTuple):
    """Matrices of one half that lie end to end and meet the same columns."""

    matrix: Tensor
    ranks: slice
    columns: slice


def shrink(
    x_TK: Tensor,
    segments: Segments,
    *,
    arena: Tensor,
    table: OffsetTable,
    site: Site,
    half: Half = Half.A,
    scaling: Tensor | None = None,
) -> Tensor:
    """What `reference.shrink` defines; entries of no rank are left as they are."""
    dtype = torch.promote_types(x_TK.dtype, torch.float32)
    width = len(site.out_features) * table.max_rank
    v = torch.empty((1, segments.num_adapted, width), dtype=dtype)
    for span in segments.spans:
        own_x, own_v = x_TK[rows_of(segments, span)], v[0, span.start : span.stop]
        for block in blocks_of(arena, table, span.slot, site, half):
            own_v[:, block.ranks] = own_x[:, block.columns] @ block.matrix.T
        if scaling is not None:
            rank_J = torch.from_numpy(table.row(span.slot, site).rank)
            factor_R = scaling[span.slot, site.columns].repeat_interleave(rank_J)
            own_v[:, : len(factor_R)] *= factor_R
    return v


def expand(
    y_TN: Tensor,
    v: Tensor,
    segments: Segments,
    *,
    arena: Tensor,
    table: OffsetTable,
    site: Site,
    half: Half = Half.B,
) -> None:
    """What `reference.expand` defines."""
    for span in segments.spans:
        rows, own_v = rows_of(segments, span), v[0, span.start : span.stop]
        for block in blocks_of(arena, table, span.slot, site, half):
            own_y = y_TN[rows, block.columns]
            own_y.addmm_(own_v[:, block.ranks].to(y_TN.dtype), block.matrix)
            if isinstance(rows, Tensor):
                y_TN[rows, block.columns] = own_y


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
    """What `reference.outer` defines."""
    for span in segments.spans:
        own_x = x_TK[rows_of(segments, span)].to(v.dtype)
        own_v = v[0, span.start : span.stop]
        for block in blocks_of(gradients, table, span.slot, site, half):
            block.matrix.addmm_(own_v[:, block.ranks].T, own_x[:, block.columns])


def rows_of(segments: Segments, span: Span) -> slice | Tensor:
    """The rows of a segment; a slice, which copies nothing, where they are neighbours."""
    rows = segments.order[span.start : span.stop]
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == len(rows) else rows.long()


def blocks_of(arena: Tensor, table: OffsetTable, slot: int, site: Site, half: Half) -> list[Block]:
    """One half of the slices that are present, in their order, neighbours as one block."""
    row = table.row(slot, site)
    at_J = (row.a_at if half is Half.A else row.b_at).tolist()
    blocks: list[Block] = []
    end, ranks = -1, 0
    for at, rank, columns in zip(at_J, row.rank.tolist(), site.met_by(half), strict=True):
        if rank == 0:
            continue
        begin, width = ranks, columns.stop - columns.start
        if at == end and columns == blocks[-1].columns:
            begin = blocks.pop().ranks.start
            at -= (ranks - begin) * width
        ranks += rank
        end = at + (ranks - begin) * width
        blocks.append(Block(arena[at:end].view(-1, width), slice(begin, ranks), columns))
    return blocks
