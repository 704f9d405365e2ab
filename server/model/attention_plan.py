"""How the sequences of a step are grouped for attention, and which keys each row may see."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .batch import ModelBatch

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

MAX_PADDING = 1.25  # longest over shortest; 16 similar sequences: half the time of one by one
MAX_GROUP_KEYS = 16_384


class Span(NamedTuple):
    """One sequence: its first row, its new rows, and the keys that its rows can see."""

    sequence: int
    row: int
    num_new: int
    num_keys: int


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Sequences that attend in one call: the same number of new rows, similar lengths.

    Attributes:
        rows: The rows of the step, sequence by sequence.
        blocks: int64, `[num_sequences * blocks]`, the blocks of the cache that hold the keys.
        num_keys: Keys of each sequence that take part, counted from its first block here.
        stale: Among the gathered keys, those that the sequence did not write: they are zeroed, so
            that no masked product can carry a NaN from one sequence to another. None = none.
        mask: Added to the scores, `[num_sequences, 1, 1 or all query rows, num_keys]`.
    """

    rows: slice | Tensor
    num_sequences: int
    num_new: int
    blocks: Tensor
    num_keys: int
    stale: Tensor | None
    mask: Tensor | None

    def take(self, q_THD: Tensor) -> Tensor:
        """The rows of the group."""
        return q_THD[self.rows]

    def gather(self, cache_PZGD: Tensor) -> Tensor:
        """The keys, or the values, of the group: `[num_sequences, G, num_keys, D]`."""
        num_kv_heads, head_dim = cache_PZGD.shape[2:]
        taken = cache_PZGD.index_select(0, self.blocks)
        if self.stale is not None:
            taken.view(-1, num_kv_heads, head_dim).index_fill_(0, self.stale, 0)
        per_sequence = taken.view(self.num_sequences, -1, num_kv_heads, head_dim)
        return per_sequence[:, : self.num_keys].transpose(1, 2)

    def put(self, out_THD: Tensor, values: Tensor) -> None:
        """Write `values` to the rows of the group."""
        out_THD[self.rows] = values


def plan_groups(
    batch: ModelBatch,
    *,
    block_tokens: int,
    window: int | None,
    heads_per_group: int,
    dtype: torch.dtype,
) -> list[Group]:
    """Group the step's sequences: prefill chunks alone, single rows by length."""
    spans = [_span(batch, sequence, window) for sequence in range(len(batch.kv_len_B))]
    return [
        _group(members, batch, block_tokens, window, heads_per_group, dtype)
        for members in _members(spans)
    ]


def _span(batch: ModelBatch, sequence: int, window: int | None) -> Span:
    row, stop = batch.indptr_B1[sequence], batch.indptr_B1[sequence + 1]
    num_new, num_keys = stop - row, batch.kv_len_B[sequence]
    if window is not None:
        num_keys = min(num_keys, window + num_new - 1)
    return Span(sequence, row, num_new, num_keys)


def _members(spans: list[Span]) -> Iterator[list[Span]]:
    """Prefill chunks alone; single rows by length, while the padding is worth a call saved."""
    yield from ([span] for span in spans if span.num_new > 1)
    group: list[Span] = []
    for span in sorted((s for s in spans if s.num_new == 1), key=lambda s: s.num_keys):
        if group and not _fits(span, group):
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def _fits(span: Span, group: list[Span]) -> bool:
    """Whether `span`, no shorter than any of the group, may join it."""
    similar = span.num_keys <= MAX_PADDING * group[0].num_keys
    return similar and (len(group) + 1) * span.num_keys <= MAX_GROUP_KEYS


def _group(
    members: list[Span],
    batch: ModelBatch,
    block_tokens: int,
    window: int | None,
    heads_per_group: int,
    dtype: torch.dtype,
) -> Group:
    device = batch.block_table_BM.device
    num_new = members[0].num_new
    kv_len = np.array([batch.kv_len_B[span.sequence] for span in members])
    first = (kv_len - np.array([span.num_keys for span in members])) // block_tokens
    last = (kv_len - 1) // block_tokens
    used = kv_len - first * block_tokens
    num_blocks, num_keys = int((last - first).max()) + 1, int(used.max())
    columns = np.minimum(first[:, None] + np.arange(num_blocks), last[:, None])
    table = batch.block_table_BM[[span.sequence for span in members]].long()
    blocks = table.gather(1, torch.from_numpy(columns).to(device))
    stale = np.flatnonzero(_stale(used, num_blocks * block_tokens, num_keys))
    hidden = _hidden(used, num_new, num_keys, window)
    mask = None
    if num_new > 1 or hidden.any():
        mask = torch.zeros(hidden.shape, dtype=dtype)
        mask.masked_fill_(torch.from_numpy(hidden), float("-inf"))
        mask = mask[:, None].repeat(1, 1, 1 if num_new == 1 else heads_per_group, 1).to(device)
    return Group(
        rows=_rows(members, device),
        num_sequences=len(members),
        num_new=num_new,
        blocks=blocks.flatten(),
        num_keys=num_keys,
        stale=torch.from_numpy(stale).to(device) if stale.size else None,
        mask=mask,
    )


def _stale(used: Ints, gathered: int, num_keys: int) -> Bools:
    """`[B, gathered]`: the keys below `num_keys` that their sequence did not write."""
    column = np.arange(gathered)
    return (column >= used[:, None]) & (column < num_keys)


def _hidden(used: Ints, num_new: int, num_keys: int, window: int | None) -> Bools:
    """`[B, num_new, num_keys]`: the keys that a row may not see."""
    key = np.arange(num_keys)
    query = (used - num_new)[:, None, None] + np.arange(num_new)[:, None]
    behind: Bools = key > query
    return behind if window is None else behind | (query - key >= window)


def _rows(members: list[Span], device: torch.device) -> slice | Tensor:
    first, num_rows = members[0].row, len(members) * members[0].num_new
    if all(span.row == first + i for i, span in enumerate(members)):
        return slice(first, first + num_rows)
    return torch.tensor([span.row for span in members], device=device)
