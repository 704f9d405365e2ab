"""The rows of one step, laid out flat from its plan: numpy on the host, one copy to the device."""

from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from weft.kernels.segments import Segments, group_rows
from weft.server.model.batch import ModelBatch

from .plan import Plan
from .transfer import to_device

DECODE_TILE = 16
PREFILL_TILE = 64
NO_SLOT = -1  # a base row, in the kernels' terms

Longs = npt.NDArray[np.int64]


class Rows(NamedTuple):
    """The rows of a plan, one chunk after another.

    Attributes:
        sequence_T: Which chunk each row is of.
        indptr_B1: Chunk b has rows `indptr_B1[b]:indptr_B1[b + 1]`.
    """

    tokens_T: Longs
    positions_T: Longs
    cache_index_T: Longs
    sequence_T: Longs
    indptr_B1: Longs


def lay_rows(plan: Plan, *, block_tokens: int) -> Rows:
    """Lay the plan's chunks one after another, in its order."""
    chunks = plan.chunks
    start_B = np.array([chunk.start for chunk in chunks])
    num_B = np.array([chunk.num_rows for chunk in chunks])
    indptr_B1 = np.concatenate(([0], np.cumsum(num_B)))
    sequence_T = np.repeat(np.arange(len(chunks)), num_B)
    tokens_T = np.fromiter(
        chain.from_iterable(chunk.tokens for chunk in chunks), np.int64, count=indptr_B1[-1]
    )
    positions_T = np.arange(indptr_B1[-1]) + (start_B - indptr_B1[:-1])[sequence_T]
    first_B = start_B // block_tokens
    last_B = [-(-chunk.end // block_tokens) for chunk in chunks]
    written = [
        chunk.sequence.blocks[first:last]
        for chunk, first, last in zip(chunks, first_B, last_B, strict=True)
    ]
    at_B = np.cumsum([0, *map(len, written[:-1])]) - first_B
    block_N = np.fromiter(chain.from_iterable(written), np.int64)
    cache_index_T = block_N[at_B[sequence_T] + positions_T // block_tokens] * block_tokens
    cache_index_T += positions_T % block_tokens
    return Rows(tokens_T, positions_T, cache_index_T, sequence_T, indptr_B1)


def build_batch(
    plan: Plan, drawn_B: Tensor | None = None, *, block_tokens: int, device: torch.device
) -> ModelBatch:
    """Lay a plan out anew.

    The logits of the result are, chunk by chunk, those of the positions that are told, that of the
    next token, and those after each draft.

    Args:
        drawn_B: On the device, the draws of the step that the plan follows, if it follows one.
    """
    tokens_T, positions_T, cache_index_T, sequence_T, indptr_B1 = lay_rows(
        plan, block_tokens=block_tokens
    )
    logit_rows = _logit_rows(plan, indptr_B1)
    unread = [(n, row) for n, row in zip(indptr_B1, plan.follows, strict=False) if row is not None]
    at, drawn = np.array(unread, np.int64).reshape(-1, 2).T
    tokens, positions, cache_index, rows, at_D, drawn_D = _send(
        (tokens_T, positions_T, cache_index_T, logit_rows, at, drawn), device
    )
    if drawn_B is not None:
        tokens.index_copy_(0, at_D, drawn_B.index_select(0, drawn_D))
    return ModelBatch(
        tokens_T=tokens,
        positions_T=positions,
        cache_index_T=cache_index,
        indptr_B1=indptr_B1.tolist(),
        kv_len_B=[chunk.end for chunk in plan.chunks],
        block_table_BM=to_device(_block_table(plan), device),
        logit_rows=rows,
        segments=_segments(plan, sequence_T, device),
    )


def _block_table(plan: Plan) -> npt.NDArray[np.int32]:
    """`[B, M]`; zero, an entry that is not read, behind the end of the shorter ones."""
    tables = [chunk.sequence.blocks for chunk in plan.chunks]
    table_BM = np.zeros((len(tables), max(map(len, tables))), np.int32)
    for row, table in zip(table_BM, tables, strict=True):
        row[: len(table)] = table
    return table_BM


def _logit_rows(plan: Plan, indptr_B1: Longs) -> Longs:
    chunks = plan.chunks
    if not any(chunk.told or chunk.drafts for chunk in chunks):
        rows: Longs = indptr_B1[1:][[chunk.wants_logits for chunk in chunks]] - 1
        return rows
    wanted: list[int] = []
    for chunk, first in zip(chunks, indptr_B1.tolist(), strict=False):
        wanted += [first + position - chunk.start for position in chunk.told]
        if chunk.wants_logits:
            wanted += range(first + chunk.stop - 1 - chunk.start, first + chunk.num_rows)
    return np.array(wanted, np.int64)


def _segments(plan: Plan, sequence_T: Longs, device: torch.device) -> Segments | None:
    slots = [chunk.sequence.slot for chunk in plan.chunks]
    if all(slot is None for slot in slots):
        return None
    slot_B = np.array([NO_SLOT if slot is None else slot for slot in slots])
    m_tile = DECODE_TILE if len(sequence_T) == len(slots) else PREFILL_TILE
    segments = group_rows(slot_B[sequence_T], m_tile=m_tile)
    return segments if device.type == "cpu" else segments.to(device)


def _send(arrays: tuple[Longs, ...], device: torch.device) -> tuple[Tensor, ...]:
    """Send int64 vectors in one copy."""
    joined = to_device(np.concatenate(arrays), device)
    return torch.split(joined, [len(array) for array in arrays])
