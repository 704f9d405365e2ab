"""A step at fixed addresses holds what a step that is laid out anew holds, and padding."""

import random

import pytest
import torch

from weft.server.engine.batch import build_batch
from weft.server.engine.plan import Chunk, Plan
from weft.server.engine.sequence import alone
from weft.server.engine.static_batch import StaticBatch

BLOCK_TOKENS, SPARE, MAX_BLOCKS = 4, 50, 6


def decode(draw: random.Random) -> Chunk:
    """The last token of a sequence of random length, in blocks of its own."""
    length = draw.randint(1, BLOCK_TOKENS * MAX_BLOCKS)
    sequence = alone(draw.choices(range(300), k=length), num_blocks=0)
    sequence.blocks = draw.sample(range(SPARE), -(-length // BLOCK_TOKENS))
    sequence.slot = draw.choice([None, 0, 3, 7])
    return Chunk(sequence, length - 1, length)


@pytest.mark.parametrize(("num", "rows"), [(1, 1), (1, 2), (5, 8), (8, 8), (7, 9)])
def test_rows_equal_those_of_a_step_laid_out_anew(num: int, rows: int) -> None:
    draw = random.Random(num)
    device = torch.device("cpu")
    batch = StaticBatch(
        9, max_blocks=MAX_BLOCKS, block_tokens=BLOCK_TOKENS, spare_block=SPARE, device=device
    )
    for _ in range(5):  # later steps find lanes, and what the buffer held, taken by others
        chunks = [decode(draw) for _ in range(num)]
        expected = build_batch(Plan(tuple(chunks)), block_tokens=BLOCK_TOKENS, device=device)
        batch.send(Plan(tuple(chunks)), rows)
        found = batch.views(rows, adapted=True)
        for name in ("tokens_T", "positions_T", "cache_index_T"):
            assert torch.equal(getattr(found, name)[:num], getattr(expected, name)), name
        assert found.kv_len is not None
        assert found.kv_len.tolist() == [*expected.kv_len_B, *[1] * (rows - num)]
        for row, chunk in enumerate(chunks):
            table = found.block_table_BM[row, : len(chunk.sequence.blocks)]
            assert table.tolist() == chunk.sequence.blocks
        assert found.block_table_BM[num:, 0].tolist() == [SPARE] * (rows - num)
        assert found.cache_index_T[num:].tolist() == [SPARE * BLOCK_TOKENS] * (rows - num)
        assert found.segments is not None
        slots = [c.sequence.slot for c in chunks]
        spans = () if expected.segments is None else expected.segments.spans
        assert found.segments.spans == spans
        num_adapted = sum(slot is not None for slot in slots)
        assert found.segments.counts[0] == num_adapted
        order = found.segments.order[:num_adapted].tolist()
        assert [slots[row] for row in order] == sorted(s for s in slots if s is not None)
