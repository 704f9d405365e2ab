"""Sequences share a call of attention when they are alike, and see their own keys only."""

import torch

from weft.server.model.attention_plan import MAX_GROUP_KEYS, Group, plan_groups
from weft.server.model.batch import ModelBatch

BLOCK_TOKENS = 4


def plan(new: list[int], keys: list[int], *, window: int | None = None) -> list[Group]:
    width = -(-max(keys) // BLOCK_TOKENS)
    empty = torch.empty(0, dtype=torch.int64)
    indptr = [0]
    for count in new:
        indptr.append(indptr[-1] + count)
    table_BM = torch.arange(len(new) * width, dtype=torch.int32).view(-1, width)
    batch = ModelBatch(empty, empty, empty, indptr, keys, table_BM, empty)
    return plan_groups(
        batch,
        block_tokens=BLOCK_TOKENS,
        window=window,
        heads_per_group=2,
        dtype=torch.float32,
    )


def test_decodes_of_one_length_need_no_mask() -> None:
    (group,) = plan([1, 1, 1], [8, 8, 8])
    assert group.num_sequences == 3
    assert group.rows == slice(0, 3)
    assert group.mask is None
    assert group.stale is None


def test_decodes_of_unlike_lengths_run_apart() -> None:
    groups = plan([1, 1, 1, 1], [100, 20, 90, 21])
    assert [group.num_sequences for group in groups] == [2, 2]
    assert [group.num_keys for group in groups] == [21, 100]


def test_group_stays_below_its_share_of_memory() -> None:
    groups = plan([1] * 5, [MAX_GROUP_KEYS // 2] * 5)
    assert [group.num_sequences for group in groups] == [2, 2, 1]


def test_chunk_runs_alone_with_a_mask_from_the_lower_right() -> None:
    (group,) = plan([2], [4])
    assert group.mask is not None
    visible = group.mask[0, 0] == 0
    own = [[True, True, True, False], [True, True, True, True]]
    assert visible.tolist() == own * 2  # once per query head of a group


def test_keys_that_no_row_wrote_are_named_stale() -> None:
    (group,) = plan([1, 1], [9, 10])
    assert group.stale is not None
    assert group.stale.tolist() == [9]
    assert group.blocks.tolist() == [0, 1, 2, 3, 4, 5]


def test_shorter_sequence_pads_with_a_block_of_its_own() -> None:
    (group,) = plan([1, 1], [8, 9])
    assert group.blocks.tolist() == [0, 1, 1, 3, 4, 5]
    assert group.stale is not None
    assert group.stale.tolist() == [8]


def test_blocks_behind_the_window_are_not_gathered() -> None:
    (group,) = plan([1], [30], window=3)
    assert group.blocks.tolist() == [6, 7]
    assert group.mask is not None
    assert (group.mask[0, 0, 0] == 0).tolist() == [False] * 3 + [True] * 3
