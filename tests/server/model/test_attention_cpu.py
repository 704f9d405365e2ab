"""What the path of a CPU plans once per step; test_attention.py has what it computes."""

import torch

from weft.server.model.attention_cpu import Chunk, CpuAttention, find_singles, plan_chunks
from weft.server.model.batch import ModelBatch

from .test_attention import FULL, make_step, variant

BLOCK_TOKENS = 4


def lay_out(new: list[int], keys: list[int]) -> ModelBatch:
    width = -(-max(keys) // BLOCK_TOKENS)
    empty = torch.empty(0, dtype=torch.int64)
    indptr = [0]
    for count in new:
        indptr.append(indptr[-1] + count)
    table_BM = torch.arange(len(new) * width, dtype=torch.int32).view(-1, width)
    return ModelBatch(empty, empty, empty, indptr, keys, table_BM, empty)


def plan(new: list[int], keys: list[int], *, window: int | None = None) -> list[Chunk]:
    batch = lay_out(new, keys)
    chunks = plan_chunks(
        batch, block_tokens=BLOCK_TOKENS, window=window, heads_per_group=2, dtype=torch.float32
    )
    return list(chunks)


def test_layers_that_ask_the_same_share_a_plan() -> None:
    batch, cache, written = make_step(FULL, [(2, 9), (1, 10)], torch.float32)
    attention = CpuAttention(torch.float32)
    attention.begin(batch)
    q_THD = torch.cat([rows[0] for rows in written])
    for layer in (FULL, variant(index=1), variant(window=3)):
        attention.attend(q_THD, cache.k[0].nan_to_num(), cache.v[0].nan_to_num(), layer, None)
    assert set(attention._chunks) == {(None, 2), (3, 2)}
    attention.end()
    assert not attention._chunks


def test_step_of_single_rows_is_taken_as_it_is() -> None:
    batch = lay_out([1, 1, 1], [8, 3, 9])
    singles = find_singles(batch)
    assert singles is not None
    assert singles.rows is None
    assert singles.block_table_BM is batch.block_table_BM
    assert singles.kv_len_B.tolist() == [8, 3, 9]
    assert plan([1, 1, 1], [8, 3, 9]) == []


def test_single_rows_among_chunks_are_picked_out() -> None:
    batch = lay_out([2, 1, 3, 1], [5, 7, 3, 12])
    singles = find_singles(batch)
    assert singles is not None
    assert singles.rows is not None
    assert singles.rows.tolist() == [2, 6]
    assert singles.block_table_BM.tolist() == batch.block_table_BM[[1, 3]].tolist()
    assert singles.kv_len_B.tolist() == [7, 12]
    assert [chunk.rows for chunk in plan([2, 1, 3, 1], [5, 7, 3, 12])] == [slice(0, 2), slice(3, 6)]


def test_chunks_alone_have_no_single_rows() -> None:
    assert find_singles(lay_out([2, 3], [4, 3])) is None


def test_chunk_is_masked_from_the_lower_right() -> None:
    (chunk,) = plan([2], [4])
    own = [[True, True, True, False], [True, True, True, True]]
    assert (chunk.mask == 0).tolist() == own * 2  # once per query head of a group


def test_keys_behind_the_window_take_no_part() -> None:
    (chunk,) = plan([2], [30], window=3)
    assert chunk.blocks.tolist() == [6, 7]
    assert chunk.keys == slice(2, 6)
    assert (chunk.mask == 0).tolist() == [[True, True, True, False], [False, True, True, True]] * 2
