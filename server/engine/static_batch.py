"""The rows of a decode step at fixed addresses, for graphs that are captured once and replayed.

The host fills a pinned buffer and sends it in one copy. Whatever else the step needs is made of
it on the device, inside the graph. Rows up to the graph's size are padded: they decode position 0
of a sequence of their own, in a block that is nobody's.
"""

from collections.abc import Sequence as Rows

import numpy as np
import torch
from torch import Tensor

from weft.kernels.segments import buffer_elements, group_rows
from weft.server.model.batch import ModelBatch

from .batch import DECODE_TILE, NO_SLOT
from .lanes import Lanes, Write
from .plan import Chunk, Plan
from .transfer import to_device

# the columns of the buffer, one value a row; two entries of the block table may change with a row
TOKEN, POSITION, CACHE_INDEX, KV_LEN, LANE, SOURCE = range(6)
AT, BLOCK = slice(6, 8), slice(8, 10)
NUM_COLUMNS = 10
ALIGNMENT = 4  # elements: Triton compiles anew for a pointer that is not at 16 bytes


class StaticBatch:
    """One decode step of up to `max_rows` sequences, and the block tables, on the device.

    The host has two buffers, in turn: while it fills one, the other may still be on its way, for
    its step may not have begun. The step before that has ended, for its draws have been read.
    """

    def __init__(
        self,
        max_rows: int,
        *,
        max_blocks: int,
        block_tokens: int,
        spare_block: int,
        device: torch.device,
    ) -> None:
        """Lay the buffers out.

        Args:
            max_blocks: Longest block table.
            spare_block: A block of the cache that no sequence has, for the padding.
        """
        size = _columns_elements(max_rows) + buffer_elements(max_rows)
        pin = device.type == "cuda"
        self._host = torch.zeros(size, dtype=torch.int32, pin_memory=pin)
        self._other_host = torch.zeros(size, dtype=torch.int32, pin_memory=pin)
        self._device = torch.zeros(size, dtype=torch.int32, device=device)
        shape = (max_rows + 1, max_blocks)
        self._table = torch.full(shape, spare_block, dtype=torch.int32, device=device)
        self._lanes = Lanes(max_rows)
        self._max_blocks = max_blocks
        self._block_tokens = block_tokens
        self._spare_block = spare_block
        self._spare_lane = max_rows
        self._segments = group_rows(np.empty(0, np.int32), m_tile=DECODE_TILE, capacity=0)
        self._kv_len: list[int] = []

    def send(self, plan: Plan, rows: int, drawn_B: Tensor | None = None) -> None:
        """Send a step of single tokens, padded to `rows`.

        Args:
            drawn_B: On the device, the draws of the step that the plan follows, if it follows one.
        """
        chunks = plan.chunks
        self._host, self._other_host = self._other_host, self._host
        lanes, writes = self._lanes.place(chunk.sequence for chunk in chunks)
        at, blocks = self._flat(writes)
        if len(at) > 2 * rows:
            self._write_now(at, blocks)
            at = blocks = []
        columns = self._pad(rows)
        size = self._block_tokens
        starts = [chunk.start for chunk in chunks]
        held = [chunk.sequence.blocks[chunk.start // size] for chunk in chunks]
        self._kv_len = [start + 1 for start in starts] + [1] * (rows - len(chunks))
        columns[TOKEN, : len(chunks)] = [chunk.tokens[0] for chunk in chunks]
        columns[POSITION, : len(chunks)] = starts
        columns[CACHE_INDEX, : len(chunks)] = np.array(held) * size + np.array(starts) % size
        columns[KV_LEN] = self._kv_len
        columns[LANE, : len(chunks)] = lanes
        columns[AT].flat[: len(at)] = at
        columns[BLOCK].flat[: len(blocks)] = blocks
        if drawn_B is not None:
            columns[SOURCE] = _sources(plan, rows, num_drawn=len(drawn_B))
        self._group(chunks, rows)
        end = _columns_elements(rows) + buffer_elements(rows)
        self._device[:end].copy_(self._host[:end], non_blocking=True)
        if drawn_B is not None:
            on_device = _cut(self._device, rows)[0]
            pool = torch.cat((drawn_B, on_device[TOKEN]))
            on_device[TOKEN].copy_(pool.index_select(0, on_device[SOURCE]))

    def views(self, rows: int, *, adapted: bool) -> ModelBatch:
        """The step that was sent, as tensors of the device; a graph captures how they are made.

        Lists on the host are those of the step that was sent last.
        """
        columns, buffer = _cut(self._device, rows)
        self._table.view(-1).index_copy_(0, columns[AT].flatten().long(), columns[BLOCK].flatten())
        return ModelBatch(
            tokens_T=columns[TOKEN].long(),
            positions_T=columns[POSITION].long(),
            cache_index_T=columns[CACHE_INDEX].long(),
            indptr_B1=range(rows + 1),
            kv_len_B=self._kv_len,
            kv_len=columns[KV_LEN],
            block_table_BM=self._table.index_select(0, columns[LANE].long()),
            logit_rows=torch.arange(rows, device=self._device.device),
            segments=self._segments.lay_over(buffer) if adapted else None,
        )

    def _pad(self, rows: int) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
        """Fill the columns with padding, `[columns, rows]`, and answer them."""
        columns: np.ndarray[tuple[int, int], np.dtype[np.int32]] = _cut(self._host, rows)[0].numpy()
        columns[TOKEN] = columns[POSITION] = 0
        columns[CACHE_INDEX] = self._spare_block * self._block_tokens
        columns[LANE] = self._spare_lane
        columns[AT] = self._spare_lane * self._max_blocks
        columns[BLOCK] = self._spare_block
        return columns

    def _group(self, chunks: Rows[Chunk], rows: int) -> None:
        slots = [chunk.sequence.slot for chunk in chunks]
        slot_T = np.full(rows, NO_SLOT, np.int32)
        slot_T[: len(slots)] = [NO_SLOT if slot is None else slot for slot in slots]
        self._segments = group_rows(slot_T, m_tile=DECODE_TILE, capacity=rows)
        _cut(self._host, rows)[1].copy_(self._segments.buffer)

    def _flat(self, writes: list[Write]) -> tuple[list[int], list[int]]:
        """Places in the table as one vector, and what is to stand there."""
        at: list[int] = []
        blocks: list[int] = []
        for write in writes:
            start = write.lane * self._max_blocks + write.first
            at += range(start, start + len(write.blocks))
            blocks += write.blocks
        return at, blocks

    def _write_now(self, at: list[int], blocks: list[int]) -> None:
        """Write more than fits into the buffer, as for sequences that have just been prefilled."""
        device = self._table.device
        where, held = to_device(np.array(at), device), to_device(np.array(blocks, np.int32), device)
        self._table.view(-1).index_copy_(0, where, held)


def _sources(plan: Plan, rows: int, *, num_drawn: int) -> list[int]:
    """Where each row's token lies among those drawn before and, behind them, those sent."""
    sources = list(range(num_drawn, num_drawn + rows))
    for at, row in enumerate(plan.follows):
        sources[at] = sources[at] if row is None else row
    return sources


def _columns_elements(rows: int) -> int:
    return NUM_COLUMNS * -(-rows // ALIGNMENT) * ALIGNMENT


def _cut(buffer: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """The columns, `[NUM_COLUMNS, rows]`, and the buffer of the segments."""
    end = _columns_elements(rows)
    columns = buffer[:end].view(NUM_COLUMNS, -1)[:, :rows]
    return columns, buffer[end : end + buffer_elements(rows)]
