"""The definitions of the ops in plain torch: loops, fp32 inside. They are the contract."""

from collections.abc import Iterator

import torch
from torch import Tensor

from .segments import Segments, Span
from .table import OffsetTable, Site


def shrink(
    x_TK: Tensor, segments: Segments, *, arena: Tensor, table: OffsetTable, site: Site
) -> Tensor:
    """What `kernels.shrink.shrink` computes, in one plane; entries of no rank are zero."""
    width = len(site.out_features) * table.max_rank
    v = torch.zeros((1, segments.order.numel(), width), dtype=torch.float32, device=x_TK.device)
    for span, rows in _rows(segments):
        begin = 0
        for a_RK, _b_RN in _pairs(arena, table, span.slot, site):
            v[0, span.start : span.stop, begin : begin + len(a_RK)] = x_TK[rows].float() @ a_RK.T
            begin += len(a_RK)
    return v


def expand(
    y_TN: Tensor, v: Tensor, segments: Segments, *, arena: Tensor, table: OffsetTable, site: Site
) -> None:
    """What `kernels.expand.expand` computes: fp32 sums, one rounding to y's dtype."""
    for span, rows in _rows(segments):
        begin = 0
        pairs = _pairs(arena, table, span.slot, site)
        for (_a_RK, b_RN), columns in zip(pairs, site.outputs, strict=True):
            if len(b_RN) > 0:
                own = v[:, span.start : span.stop, begin : begin + len(b_RN)].sum(0)
                y_TN[rows, columns] = (y_TN[rows, columns].float() + own @ b_RN).to(y_TN.dtype)
                begin += len(b_RN)


def _rows(segments: Segments) -> Iterator[tuple[Span, Tensor]]:
    return ((span, segments.order[span.start : span.stop].long()) for span in segments.spans)


def _pairs(
    arena: Tensor, table: OffsetTable, slot: int, site: Site
) -> Iterator[tuple[Tensor, Tensor]]:
    """A `[r, K]` and B `[r, n]` of every slice, in fp32; without rows where the slice is absent."""
    a_at_J, b_at_J, rank_J = (column.tolist() for column in table.row(slot, site))
    for a_at, b_at, rank, n in zip(a_at_J, b_at_J, rank_J, site.out_features, strict=True):
        a_RK = arena[a_at : a_at + rank * site.in_features].view(rank, site.in_features)
        b_RN = arena[b_at : b_at + rank * n].view(rank, n)
        yield a_RK.float(), b_RN.float()
