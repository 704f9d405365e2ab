"""The definitions of the ops in plain torch: loops, fp32 inside. They are the contract.

float64 stays float64, for tests that differentiate numerically.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from .segments import Segments, Span
from .table import Half, OffsetTable, Site


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
    """What `kernels.shrink.shrink` computes, in one plane; entries of no rank are zero."""
    width = len(site.out_features) * table.max_rank
    shape = (1, segments.order.numel(), width)
    v = torch.zeros(shape, dtype=_wide(x_TK).dtype, device=x_TK.device)
    for span, rows in _rows(segments):
        begin = 0
        matrices = _matrices(arena, table, span.slot, site, half)
        for j, (matrix, columns) in enumerate(zip(matrices, site.met_by(half), strict=True)):
            own = v[0, span.start : span.stop, begin : begin + len(matrix)]
            own += _wide(x_TK[rows, columns]) @ _wide(matrix).T
            if scaling is not None:
                own *= scaling[span.slot, site.first + j]
            begin += len(matrix)
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
    """What `kernels.expand.expand` computes: fp32 sums, one rounding to y's dtype."""
    for span, rows in _rows(segments):
        begin = 0
        sums = _wide(y_TN[rows])
        matrices = _matrices(arena, table, span.slot, site, half)
        for matrix, columns in zip(matrices, site.met_by(half), strict=True):
            if len(matrix) > 0:
                own = v[:, span.start : span.stop, begin : begin + len(matrix)].sum(0)
                sums[:, columns] += own @ _wide(matrix)
                begin += len(matrix)
        y_TN[rows] = sums.to(y_TN.dtype)


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
    """What `kernels.outer.outer` computes."""
    for span, rows in _rows(segments):
        begin = 0
        matrices = _matrices(gradients, table, span.slot, site, half)
        for matrix, columns in zip(matrices, site.met_by(half), strict=True):
            own = v[:, span.start : span.stop, begin : begin + len(matrix)].sum(0)
            matrix += own.T @ _wide(x_TK[rows, columns])
            begin += len(matrix)


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _rows(segments: Segments) -> Iterator[tuple[Span, Tensor]]:
    return ((span, segments.order[span.start : span.stop].long()) for span in segments.spans)


def _matrices(
    arena: Tensor, table: OffsetTable, slot: int, site: Site, half: Half
) -> Iterator[Tensor]:
    """One half of every slice, a view of the arena; without rows where the slice is absent."""
    row = table.row(slot, site)
    at_J = (row.a_at if half is Half.A else row.b_at).tolist()
    for at, rank, columns in zip(at_J, row.rank.tolist(), site.met_by(half), strict=True):
        width = columns.stop - columns.start
        yield arena[at : at + rank * width].view(rank, width)
