"""A step at fixed addresses holds what a step that is laid out anew holds, and padding."""

import random

import pytest
import torch

from weft.kernels.query_tiles import cut_queries
from weft.server.engine.batch import build_batch
from weft.server.engine.plan import Chunk, Plan
from weft.server.engine.sequence import alone
from weft.server.engine.static_batch import Shape, StaticBatch

BLOCK_TOKENS, SPARE, MAX_BLOCKS = 4, 50, 6


def static_batch(*shapes: Shape, tile_tokens: frozenset[int] = frozenset()) -> StaticBatch:
    return StaticBatch(
        shapes,
        max_rows=9,
        max_blocks=MAX_BLOCKS,
        block_tokens=BLOCK_TOKENS,
        spare_block=SPARE,
        tile_tokens=tile_tokens,
        device=torch.device("cpu"),
    )


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
    shape = Shape(rows, rows)
    batch = static_batch(shape)
    for _ in range(5):  # later steps find lanes, and what the buffer held, taken by others
        chunks = [decode(draw) for _ in range(num)]
        expected = build_batch(Plan(tuple(chunks)), block_tokens=BLOCK_TOKENS, device=device)
        batch.send(Plan(tuple(chunks)), shape)
        found = batch.views(shape, adapted=True)
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


def part(draw: random.Random) -> Chunk:
    """Some tokens of a sequence of random length, seldom its last ones."""
    length = draw.randint(5, BLOCK_TOKENS * MAX_BLOCKS)
    sequence = alone(draw.choices(range(300), k=length), num_blocks=0)
    sequence.blocks = draw.sample(range(SPARE), -(-length // BLOCK_TOKENS))
    sequence.slot = draw.choice([None, 0, 3, 7])
    start = draw.randint(0, length - 3)
    return Chunk(sequence, start, draw.randint(start + 2, length))


@pytest.mark.parametrize("num_padding", [0, 7])
def test_mixed_rows_equal_those_of_a_step_laid_out_anew(num_padding: int) -> None:
    draw = random.Random(num_padding)
    device = torch.device("cpu")
    most = 4 * (2 + BLOCK_TOKENS * MAX_BLOCKS)
    batch = static_batch(Shape(most, 9), tile_tokens=frozenset((4, 16)))
    for _ in range(20):
        chunks = [make(draw) for make in (decode, part, decode, part)]
        plan = Plan(tuple(chunks))
        shape = Shape(plan.num_tokens + num_padding, 5)
        expected = build_batch(plan, block_tokens=BLOCK_TOKENS, device=device)
        batch.send(plan, shape)
        found = batch.views(shape, adapted=True)
        num = plan.num_tokens
        for name in ("tokens_T", "positions_T", "cache_index_T"):
            assert torch.equal(getattr(found, name)[:num], getattr(expected, name)), name
        assert torch.equal(found.logit_rows[: len(expected.logit_rows)], expected.logit_rows)
        padding = [num_padding] if num_padding else []
        assert list(found.indptr_B1) == [*expected.indptr_B1, *(num + n for n in padding)]
        assert list(found.kv_len_B) == [*expected.kv_len_B, *padding]
        assert found.positions_T[num:].tolist() == list(range(num_padding))
        assert len(found.block_table_BM) == shape.sequences
        for row, chunk in enumerate(chunks):
            table = found.block_table_BM[row, : len(chunk.sequence.blocks)]
            assert table.tolist() == chunk.sequence.blocks
        assert torch.all(found.block_table_BM[4:] == SPARE)
        spare = [SPARE * BLOCK_TOKENS + n % BLOCK_TOKENS for n in range(num_padding)]
        assert found.cache_index_T[num:].tolist() == spare
        assert found.segments is not None
        if expected.segments is not None:
            assert found.segments.spans == expected.segments.spans
            assert found.segments.m_tile == expected.segments.m_tile
        assert found.queries is not None
        for tokens, tiles in found.queries.items():
            cut = cut_queries(found.indptr_B1, found.kv_len_B, max_rows=tokens)
            assert tiles.counts.tolist() == [len(cut.items)]
            assert torch.equal(tiles.items[: len(cut.items)], cut.items)


def test_tokens_that_nobody_has_read_are_gathered_beside_chunks_of_prompts() -> None:
    draw = random.Random(0)
    chunks = (part(draw), decode(draw), part(draw), decode(draw))
    plan = Plan(chunks, (None, 2, None, 0))
    shape = Shape(plan.num_tokens + 5, 9)
    batch = static_batch(shape)
    drawn = torch.tensor([71, 72, 73])
    batch.send(plan, shape, drawn)
    expected = build_batch(plan, drawn, block_tokens=BLOCK_TOKENS, device=torch.device("cpu"))
    found = batch.views(shape, adapted=False).tokens_T[: plan.num_tokens]
    assert torch.equal(found, expected.tokens_T)
    assert {71, 73} <= set(found.tolist())


def test_shape_holds_what_leaves_room_for_its_padding() -> None:
    assert Shape(2, 2).holds(num_tokens=2, num_chunks=2)
    assert not Shape(1, 1).holds(num_tokens=2, num_chunks=2)
    assert not Shape(9, 9).holds(num_tokens=5, num_chunks=3)
    assert Shape(5, 4).holds(num_tokens=5, num_chunks=3)
    assert not Shape(5, 3).holds(num_tokens=5, num_chunks=3)
    assert not Shape(4, 4).holds(num_tokens=5, num_chunks=3)
