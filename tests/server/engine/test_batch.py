"""The laid-out rows of a plan against loops over its chunks."""

import torch

from weft.server.engine.batch import DECODE_TILE, PREFILL_TILE, build_batch
from weft.server.engine.plan import Plan
from weft.server.model.batch import ModelBatch

from .plans import BLOCK_TOKENS, Bench

CPU = torch.device("cpu")


def mixed_plan() -> Plan:
    """A decode of the base, a decode of an adapter, a chunk that ends a prompt and one that does
    not."""
    bench = Bench()
    bench.submit([3, 1, 4, 1, 5], max_tokens=9)
    bench.submit([2, 7], digest="sha256:a", max_tokens=9)
    bench.step()
    bench.submit([8] * 6, digest="sha256:b")
    bench.submit([9] * 20)
    bench.load()
    return bench.plan()


def build(plan: Plan) -> ModelBatch:
    return build_batch(plan, block_tokens=BLOCK_TOKENS, device=CPU)


def test_rows_are_the_chunks_one_after_another() -> None:
    plan = mixed_plan()
    batch = build(plan)
    tokens, positions, places = [], [], []
    for chunk in plan.chunks:
        for position in range(chunk.start, chunk.stop):
            tokens.append(chunk.sequence.tokens[position])
            positions.append(position)
            block = chunk.sequence.blocks[position // BLOCK_TOKENS]
            places.append(block * BLOCK_TOKENS + position % BLOCK_TOKENS)
    assert batch.tokens_T.tolist() == tokens
    assert batch.positions_T.tolist() == positions
    assert batch.cache_index_T.tolist() == places
    assert len(set(places)) == len(places)
    assert all(t.dtype == torch.int64 for t in (batch.tokens_T, batch.positions_T))


def test_lengths_and_tables_are_those_of_the_sequences() -> None:
    plan = mixed_plan()
    batch = build(plan)
    assert list(batch.kv_len_B) == [6, 3, 6, 8]
    assert list(batch.indptr_B1) == [0, 1, 2, 8, 16]
    assert batch.block_table_BM.dtype == torch.int32
    for row, chunk in zip(batch.block_table_BM.tolist(), plan.chunks, strict=True):
        assert row[: len(chunk.sequence.blocks)] == chunk.sequence.blocks


def test_logits_are_wanted_where_a_chunk_draws() -> None:
    assert build(mixed_plan()).logit_rows.tolist() == [0, 1, 7]


def test_adapted_rows_are_grouped_by_slot() -> None:
    plan = mixed_plan()
    segments = build(plan).segments
    assert segments is not None
    slots = [chunk.sequence.slot for chunk in plan.chunks]
    found = {span.slot: segments.order[span.start : span.stop].tolist() for span in segments.spans}
    assert found == {slots[1]: [1], slots[2]: [2, 3, 4, 5, 6, 7]}
    assert segments.num_rows == 16
    assert segments.m_tile == PREFILL_TILE


def test_step_of_decodes_takes_the_small_tile() -> None:
    bench = Bench()
    bench.submit([2, 7], digest="sha256:a", max_tokens=9)
    bench.step()
    segments = build(bench.plan()).segments
    assert segments is not None
    assert segments.m_tile == DECODE_TILE


def test_step_of_base_rows_has_no_segments() -> None:
    bench = Bench()
    bench.submit([2, 7])
    assert build(bench.plan()).segments is None
