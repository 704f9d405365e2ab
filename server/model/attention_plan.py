"""How the sequences of a step are grouped for attention, and which keys each row may see."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .batch import ModelBatch

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
        keys: int64, `[num_sequences * num_keys]`, positions in the flat cache. Padding names a key
            of the same sequence: no masked product can carry a NaN from one to another.
        mask: Added to the scores, `[num_sequences, 1, 1 or all query rows, num_keys]`.
    """

    rows: slice | Tensor
    num_sequences: int
    num_new: int
    keys: Tensor
    mask: Tensor | None

    def take(self, q_THD: Tensor) -> Tensor:
        """The rows of the group."""
        return q_THD[self.rows]

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
    num_new, num_keys = members[0].num_new, max(span.num_keys for span in members)
    kv_len = torch.tensor([batch.kv_len_B[s.sequence] for s in members], device=device)[:, None]
    seen = torch.tensor([s.num_keys for s in members], device=device)[:, None]
    columns = torch.arange(num_keys, device=device)
    position = (kv_len - seen + columns).minimum(kv_len - 1)
    table = batch.block_table_BM[[s.sequence for s in members]].long()
    keys = table.gather(1, position // block_tokens) * block_tokens + position % block_tokens
    mask = None
    if num_new > 1 or any(span.num_keys != num_keys for span in members):
        query = kv_len - num_new + torch.arange(num_new, device=device)
        hidden = (columns + kv_len - seen)[:, None, :] > query[:, :, None]
        if window is not None:
            hidden |= query[:, :, None] - position[:, None, :] >= window
        mask = torch.zeros(hidden.shape, dtype=dtype, device=device)
        mask = mask.masked_fill_(hidden, float("-inf"))[:, None]
        mask = mask if num_new == 1 else mask.repeat(1, 1, heads_per_group, 1)
    return Group(_rows(members, device), len(members), num_new, keys.flatten(), mask)


def _rows(members: list[Span], device: torch.device) -> slice | Tensor:
    first, num_rows = members[0].row, len(members) * members[0].num_new
    if all(span.row == first + i for i, span in enumerate(members)):
        return slice(first, first + num_rows)
    return torch.tensor([span.row for span in members], device=device)
