import pytest
import torch

from weft.kernels.tiles import EXPAND, SHRINK, num_programs, split_k


@pytest.mark.parametrize("m_tile", SHRINK)
def test_splits_have_at_least_two_steps_where_there_are_that_many(m_tile: int) -> None:
    tile = SHRINK[m_tile]
    for in_features in (1, 63, 64, 100, 768, 1290, 4096, 14336):
        splits = split_k(in_features, m_tile)
        assert 1 <= splits <= tile.splits
        assert splits == 1 or in_features >= 2 * splits * tile.block_k


def test_shrink_and_expand_know_the_same_tile_regimes() -> None:
    assert set(SHRINK) == set(EXPAND) == {16, 64, 128}


def test_interpreter_runs_few_programs() -> None:
    assert num_programs(torch.device("cpu")) == 3
