"""The rows of a step at fixed addresses, for graphs that are captured once and replayed.

The host fills a pinned buffer and sends it in one copy. Whatever else the step needs is made of
it on the device, inside the graph. Rows up to the graph's size are padded, in a block that is
nobody's: beside decodes each decodes position 0 of a sequence of its own, beside chunks of prompts
they are the prompt of one more sequence.
"""

from collections.abc import Sequence as Many
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from weft.kernels.query_tiles import QueryTiles, cut_queries
from weft.kernels.segments import buffer_elements, group_rows
from weft.server.model.batch import ModelBatch

from .batch import DECODE_TILE, NO_SLOT, PREFILL_TILE, Rows, lay_rows
from .lanes import Lanes, Write
from .plan import Plan
from .transfer import to_device

# the columns of the buffer, one value a row; two entries of the block table may change with a row
TOKEN, POSITION, CACHE_INDEX, SOURCE = range(4)
KV_LEN, LANE, LOGIT = range(4, 7)  # these have one value a sequence
AT, BLOCK = slice(7, 9), slice(9, 11)
NUM_COLUMNS = 11
ALIGNMENT = 4  # elements: Triton compiles anew for a pointer that is not at 16 bytes

Columns = np.ndarray[tuple[int, int], np.dtype[np.int32]]


class Shape(NamedTuple):
    """What a step has room for.

    Attributes:
        rows: Tokens, those of the padding with them.
        sequences: As many as rows where each has one; else fewer, that of the padding with them.
    """

    rows: int
    sequences: int

    @property
    def is_decode(self) -> bool:
        return self.rows == self.sequences

    def holds(self, *, num_tokens: int, num_chunks: int) -> bool:
        """Whether a plan of so many tokens in so many chunks can be sent in this shape."""
        if self.is_decode:
            return num_tokens == num_chunks <= self.rows
        return num_tokens <= self.rows and num_chunks < self.sequences

    def num_tiles(self, tile_tokens: int) -> int:
        """Tiles of so many tokens that its rows may be cut into."""
        return self.sequences + self.rows // tile_tokens


class StaticBatch:
    """One step of any of its shapes, and the block tables, on the device.

    The host has two buffers, in turn: while it fills one, the other may still be on its way, for
    its step may not have begun. The step before that has ended, for its draws have been read.
    """

    def __init__(
        self,
        shapes: Many[Shape],
        *,
        max_rows: int,
        max_blocks: int,
        block_tokens: int,
        spare_block: int,
        tile_tokens: frozenset[int],
        device: torch.device,
    ) -> None:
        """Lay the buffers out.

        Args:
            max_rows: Sequences of the largest step.
            max_blocks: Longest block table.
            spare_block: A block of the cache that no sequence has, for the padding.
            tile_tokens: Of the tiles of queries that attention reads.
        """
        self._tile_tokens = sorted(tile_tokens)
        size = max(sum(self._sizes(shape)) for shape in shapes)
        pin = device.type == "cuda"
        self._host = torch.zeros(size, dtype=torch.int32, pin_memory=pin)
        self._other_host = torch.zeros(size, dtype=torch.int32, pin_memory=pin)
        self._device = torch.zeros(size, dtype=torch.int32, device=device)
        table = (max_rows + 1, max_blocks)
        self._table = torch.full(table, spare_block, dtype=torch.int32, device=device)
        self._lanes = Lanes(max_rows, block_tokens=block_tokens)
        self._max_blocks = max_blocks
        self._block_tokens = block_tokens
        self._spare_block = spare_block
        self._spare_lane = max_rows
        self._segments = group_rows(np.empty(0, np.int32), m_tile=DECODE_TILE, capacity=0)
        self._queries: dict[int, QueryTiles] = {}
        self._indptr: list[int] = []
        self._kv_len: list[int] = []

    def send(self, plan: Plan, shape: Shape, drawn_B: Tensor | None = None) -> None:
        """Send a step that the shape holds.

        Args:
            drawn_B: On the device, the draws of the step that the plan follows, if it follows one.
        """
        self._host, self._other_host = self._other_host, self._host
        rows = lay_rows(plan, block_tokens=self._block_tokens)
        columns, segments, *queries = self._cut(self._host, shape)
        self._fill(columns.numpy(), plan, shape, rows)
        if drawn_B is not None:
            columns[SOURCE] = torch.from_numpy(_sources(plan, rows, shape, num_drawn=len(drawn_B)))
        self._group(plan, shape, rows)
        segments.copy_(self._segments.buffer)
        self._tile(shape)
        for part, tiles in zip(queries, self._queries.values(), strict=True):
            part.copy_(tiles.buffer.flatten())
        end = sum(self._sizes(shape))
        self._device[:end].copy_(self._host[:end], non_blocking=True)
        if drawn_B is not None:
            on_device = self._cut(self._device, shape)[0]
            pool = torch.cat((drawn_B, on_device[TOKEN]))
            on_device[TOKEN].copy_(pool.index_select(0, on_device[SOURCE]))

    def views(self, shape: Shape, *, adapted: bool) -> ModelBatch:
        """The step that was sent, as tensors of the device; a graph captures how they are made.

        Lists on the host are those of the step that was sent last.
        """
        columns, segments, *queries = self._cut(self._device, shape)
        self._table.view(-1).index_copy_(0, columns[AT].flatten().long(), columns[BLOCK].flatten())
        each = columns[:, : shape.sequences]
        tiles = zip(self._queries.values(), queries, strict=True)
        return ModelBatch(
            tokens_T=columns[TOKEN].long(),
            positions_T=columns[POSITION].long(),
            cache_index_T=columns[CACHE_INDEX].long(),
            indptr_B1=self._indptr,
            kv_len_B=self._kv_len,
            kv_len=each[KV_LEN],
            block_table_BM=self._table.index_select(0, each[LANE].long()),
            logit_rows=each[LOGIT].long(),
            segments=self._segments.lay_over(segments) if adapted else None,
            queries={t.max_rows: t.lay_over(part) for t, part in tiles} or None,
        )

    def _fill(self, columns: Columns, plan: Plan, shape: Shape, rows: Rows) -> None:
        """Fill the columns with the rows of a plan and padding."""
        chunks, num = plan.chunks, len(rows.tokens_T)
        lanes, writes = self._lanes.place(chunk.sequence for chunk in chunks)
        at, blocks = self._flat(writes)
        if len(at) > 2 * shape.rows:
            self._write_now(at, blocks)
            at = blocks = []
        self._pad(columns, shape, num=num)
        self._indptr = rows.indptr_B1.tolist()
        self._kv_len = [chunk.end for chunk in chunks]
        if shape.is_decode:
            self._indptr += range(num + 1, shape.rows + 1)
            self._kv_len += [1] * (shape.rows - num)
        elif num < shape.rows:
            self._indptr.append(shape.rows)
            self._kv_len.append(shape.rows - num)
        wanted = [chunk.wants_logits for chunk in chunks]
        columns[TOKEN, :num] = rows.tokens_T
        columns[POSITION, :num] = rows.positions_T
        columns[CACHE_INDEX, :num] = rows.cache_index_T
        columns[KV_LEN, : len(self._kv_len)] = self._kv_len
        columns[LANE, : len(chunks)] = lanes
        columns[LOGIT, : sum(wanted)] = rows.indptr_B1[1:][wanted] - 1
        columns[AT].flat[: len(at)] = at
        columns[BLOCK].flat[: len(blocks)] = blocks

    def _pad(self, columns: Columns, shape: Shape, *, num: int) -> None:
        """Fill the columns as if there were nothing behind the first rows but padding."""
        columns[:] = 0
        if not shape.is_decode:
            columns[POSITION, num:] = np.arange(shape.rows - num)
        columns[CACHE_INDEX] = columns[POSITION] % self._block_tokens
        columns[CACHE_INDEX] += self._spare_block * self._block_tokens
        columns[LANE] = self._spare_lane
        columns[AT] = self._spare_lane * self._max_blocks
        columns[BLOCK] = self._spare_block

    def _group(self, plan: Plan, shape: Shape, rows: Rows) -> None:
        slots = [chunk.sequence.slot for chunk in plan.chunks]
        slot_B = np.array([NO_SLOT if slot is None else slot for slot in slots], np.int32)
        slot_T = np.full(shape.rows, NO_SLOT, np.int32)
        slot_T[: len(rows.sequence_T)] = slot_B[rows.sequence_T]
        m_tile = DECODE_TILE if shape.is_decode else PREFILL_TILE
        self._segments = group_rows(slot_T, m_tile=m_tile, capacity=shape.rows)

    def _tile(self, shape: Shape) -> None:
        self._queries = {
            tokens: cut_queries(
                self._indptr, self._kv_len, max_rows=tokens, capacity=shape.num_tiles(tokens)
            )
            for tokens in self._tiles_of(shape)
        }

    def _tiles_of(self, shape: Shape) -> list[int]:
        return [] if shape.is_decode else self._tile_tokens

    def _sizes(self, shape: Shape) -> list[int]:
        """Elements of the columns, of the segments, and of each kind of tiles."""
        columns = NUM_COLUMNS * -(-shape.rows // ALIGNMENT) * ALIGNMENT
        tiles = [4 * (shape.num_tiles(tokens) + 1) for tokens in self._tiles_of(shape)]
        return [columns, buffer_elements(shape.rows), *tiles]

    def _cut(self, buffer: Tensor, shape: Shape) -> list[Tensor]:
        """The columns, `[NUM_COLUMNS, rows]`, and the buffers of segments and of tiles."""
        sizes = self._sizes(shape)
        columns, *others = torch.split(buffer[: sum(sizes)], sizes)
        return [columns.view(NUM_COLUMNS, -1)[:, : shape.rows], *others]

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


def _sources(plan: Plan, rows: Rows, shape: Shape, *, num_drawn: int) -> npt.NDArray[np.int32]:
    """Where each row's token lies among those drawn before and, behind them, those sent."""
    sources = np.arange(num_drawn, num_drawn + shape.rows, dtype=np.int32)
    for first, row in zip(rows.indptr_B1, plan.follows, strict=False):
        if row is not None:
            sources[first] = row
    return sources
