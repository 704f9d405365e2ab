"""The CPU path of shrink and expand: few large products in place of many small ones.

Short segments run together: the A's of their slots are stacked, one product projects every row
through all of them, and each row keeps the columns of its own adapter. Keeping is selection, never
multiplication by a mask: 0 · inf is NaN, and one adapter's overflow would reach another's rows.
A long segment runs alone, with its adapter's matrices read in place.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .segments import Segments, Span
from .table import OffsetTable, Row, Site

# oneDNN builds a primitive for every new shape, which takes longer than the product itself
# (0.3-0.7 ms against 0.03-0.19; 2 cores with AVX512-bf16, torch 2.13, bf16). So stacked ranks and
# gathered rows come in few sizes.
RANK_STEP = 32
# What another group costs at one site, in FLOPs that its saving must exceed: 30-80 µs at the
# rate of small products. Measured on an 82M Llama, 16 and 32 rows of 8 adapters.
GROUP_FLOPS = {torch.bfloat16: 15e6, torch.float16: 1e6, torch.float32: 1e6}


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Segments of one step that run as one product.

    Attributes:
        slots: Their slots, ascending.
        rows: int64, the rows of the step that belong to them.
        gather: `rows` and filling, to a length that comes often; None = the whole step, in place.
        place_T: int32 `[T, 1]`, the place in `slots` of each row that the product takes.
    """

    slots: tuple[int, ...]
    rows: Tensor
    gather: Tensor | None
    place_T: Tensor


class Part(NamedTuple):
    """One slice of a stack: its B's, its ranks within the stack, its columns of the output.

    `present` says which slots target the slice; None = all of them.
    """

    b_RN: Tensor
    ranks: slice
    columns: slice
    present: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """The matrices of some slots at one site: slice after slice, in each of them slot after slot.

    Attributes:
        a_RK: The A's; filling is zero.
        place_R: int32, the place of each rank's slot in the group's `slots`; -1 for filling.
        parts: The slices that some slot targets.
        num_bytes: What the stack holds beside the arena.
    """

    a_RK: Tensor
    place_R: Tensor
    parts: tuple[Part, ...]
    num_bytes: int


class CpuLora:
    """Adds adapters on the CPU, and keeps the stacks that it made.

    Owned by an arena and used by one thread. Whoever changes a slot's matrices calls `forget`.
    Beyond `max_bytes` of copies the set of slots that ran longest ago is dropped, at every site;
    the one in use stays.

    Attributes:
        num_bytes: What the stacks hold beside the arena.
    """

    def __init__(self, arena: Tensor, table: OffsetTable, *, max_bytes: int) -> None:
        self._arena = arena
        self._table = table
        self._max_bytes = max_bytes
        self._sets: OrderedDict[tuple[int, ...], dict[int, Stack]] = OrderedDict()
        self.num_bytes = 0
        self._planned: tuple[Segments, tuple[Group, ...]] | None = None

    def forget(self, slot: int) -> None:
        """Drop exactly the stacks that hold this slot."""
        for slots in [slots for slots in self._sets if slot in slots]:
            self._drop(slots)

    def add_lora(self, y_TN: Tensor, x_TK: Tensor, segments: Segments, site: Site) -> None:
        """Add every row's own adapter at `site` to y_TN, in place; what `reference` defines."""
        for group in self._plan(segments, site):
            stack = self._stack(group.slots, site)
            if stack.parts:
                _run(y_TN, x_TK, group, stack)

    def _plan(self, segments: Segments, site: Site) -> tuple[Group, ...]:
        """The groups of a step, chosen at its first site and kept for the others."""
        if self._planned is None or self._planned[0] is not segments:
            width = site.in_features + sum(site.out_features) / len(site.out_features)
            ranks = self._table.rank_C[[span.slot for span in segments.spans]]
            parts = divide(
                segments.spans,
                ranks / self._table.num_slices,
                limit=GROUP_FLOPS[self._arena.dtype] / (2 * width),
            )
            self._planned = segments, tuple(_make_group(part, segments) for part in parts)
        return self._planned[1]

    def _stack(self, slots: tuple[int, ...], site: Site) -> Stack:
        """The stack of these slots, kept or made."""
        stacks = self._sets.setdefault(slots, {})
        self._sets.move_to_end(slots)
        if site.first not in stacks:
            rows = [self._table.row(slot, site) for slot in slots]
            stacks[site.first] = _make_stack(self._arena, rows, site)
            self.num_bytes += stacks[site.first].num_bytes
            while self.num_bytes > self._max_bytes and len(self._sets) > 1:
                self._drop(next(iter(self._sets)))
        return stacks[site.first]

    def _drop(self, slots: tuple[int, ...]) -> None:
        self.num_bytes -= sum(stack.num_bytes for stack in self._sets.pop(slots).values())


def divide(
    spans: Sequence[Span], rank_S: npt.NDArray[np.floating], *, limit: float
) -> list[tuple[Span, ...]]:
    """Choose which segments run alone, longest first; the last entry holds those left together.

    Together, every row meets the ranks of every slot; alone, only its own.

    Args:
        rank_S: Ranks per slice of each span's slot.
        limit: Pairs of a row and a rank that running alone must save.
    """
    order = sorted(range(len(spans)), key=lambda i: spans[i].start - spans[i].stop)
    rows, ranks = sum(span.stop - span.start for span in spans), float(rank_S.sum())
    alone: list[tuple[Span, ...]] = []
    for i in order:
        own_rows, own_ranks = spans[i].stop - spans[i].start, float(rank_S[i])
        others = (rows - own_rows) * (ranks - own_ranks)
        if rows * ranks - others - own_rows * own_ranks <= limit:
            break
        alone.append((spans[i],))
        rows, ranks = rows - own_rows, ranks - own_ranks
    together = tuple(spans[i] for i in sorted(order[len(alone) :]))
    return [*alone, together] if together else alone


def _make_group(spans: tuple[Span, ...], segments: Segments) -> Group:
    rows = torch.cat([segments.order[span.start : span.stop] for span in spans]).long()
    lengths = torch.tensor([span.stop - span.start for span in spans])
    place = torch.repeat_interleave(torch.arange(len(spans), dtype=torch.int32), lengths)
    slots = tuple(span.slot for span in spans)
    if len(rows) == segments.num_rows:
        in_place = torch.empty_like(place).index_copy_(0, rows, place)
        return Group(slots, rows, None, in_place[:, None])
    filling = _often(len(rows)) - len(rows)
    gather = torch.cat([rows, rows[:1].expand(filling)])
    place = torch.cat([place, place.new_zeros(filling)])
    return Group(slots, rows, gather, place[:, None])


def _often(length: int) -> int:
    """Round up to four sizes per power of two, from 4."""
    step = max(4, 1 << max(0, (length - 1).bit_length() - 3))
    return -(-length // step) * step


def _make_stack(arena: Tensor, rows: Sequence[Row], site: Site) -> Stack:
    step = RANK_STEP if len(rows) > 1 else 1
    a_pieces: list[Tensor] = []
    places: list[int] = []
    parts: list[Part] = []
    for j, (n, columns) in enumerate(zip(site.out_features, site.outputs, strict=True)):
        ranks = [int(row.rank[j]) for row in rows]
        if not any(ranks):
            continue
        begin, filling = len(places), -sum(ranks) % step
        a_pieces += [
            _matrix(arena, int(row.a_at[j]), rank, site.in_features)
            for row, rank in zip(rows, ranks, strict=True)
        ]
        b_pieces = [
            _matrix(arena, int(row.b_at[j]), rank, n) for row, rank in zip(rows, ranks, strict=True)
        ]
        if filling:
            a_pieces.append(arena.new_zeros(filling, site.in_features))
            b_pieces.append(arena.new_zeros(filling, n))
        places += [place for place, rank in enumerate(ranks) for _ in range(rank)] + [-1] * filling
        present = None if all(ranks) else torch.tensor([rank > 0 for rank in ranks])
        b_RN = _join(b_pieces)
        if not _shares_memory(b_RN, arena):
            b_RN = _by_column(b_RN)
        parts.append(Part(b_RN, slice(begin, len(places)), columns, present))
    a_RK = _join(a_pieces) if a_pieces else arena.new_empty(0, site.in_features)
    matrices = [a_RK, *(part.b_RN for part in parts)]
    num_bytes = sum(m.nbytes for m in matrices if not _shares_memory(m, arena))
    return Stack(a_RK, torch.tensor(places, dtype=torch.int32), tuple(parts), num_bytes)


def _shares_memory(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _matrix(arena: Tensor, at: int, rank: int, width: int) -> Tensor:
    return arena[at : at + rank * width].view(rank, width)


def _join(pieces: Sequence[Tensor]) -> Tensor:
    """Stack matrices of one width: a view where each starts at the end of the one before."""
    pieces = [piece for piece in pieces if len(piece) > 0]
    if all(
        _shares_memory(a, b) and a.data_ptr() + a.nbytes == b.data_ptr()
        for a, b in pairwise(pieces)
    ):
        return pieces[0].as_strided((sum(map(len, pieces)), pieces[0].shape[1]), pieces[0].stride())
    return torch.cat(pieces)


def _by_column(b_RN: Tensor) -> Tensor:
    """Store a bf16 copy column after column: oneDNN streams it from memory a quarter faster.

    Measured cold at R 256, N 2048, 16 rows: 117 against 157 µs; fp32 prefers rows, 263 to 304.
    """
    return b_RN.T.contiguous().T if b_RN.dtype == torch.bfloat16 else b_RN


def _run(y_TN: Tensor, x_TK: Tensor, group: Group, stack: Stack) -> None:
    """Add one group at one site."""
    own_x = x_TK if group.gather is None else x_TK.index_select(0, group.gather)
    v_TR = own_x @ stack.a_RK.T
    if len(group.slots) > 1:
        v_TR.masked_fill_(group.place_T != stack.place_R, 0)
    for part in stack.parts:
        own_v, columns = v_TR[:, part.ranks], y_TN[:, part.columns]
        rows, reads = group.rows, group.gather
        if part.present is not None:
            keep = part.present[group.place_T[: len(rows), 0]].nonzero()[:, 0]
            own_v = own_v[keep]
            rows = reads = keep if group.gather is None else rows[keep]
        if reads is None:
            columns.addmm_(own_v, part.b_RN)
        else:  # not index_add_: in bf16 it rounds and rewrites every row (torch 2.13)
            own_y = columns.index_select(0, reads).addmm_(own_v, part.b_RN)
            columns.index_copy_(0, rows, own_y[: len(rows)])
