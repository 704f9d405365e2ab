import pytest
import torch

from weft.kernels.tiles import (
    EXPAND,
    SHRINK,
    SPLIT_STEP,
    SPLITS,
    max_registers,
    num_programs,
    split_k,
)


@pytest.mark.parametrize("m_tile", SPLITS)
def test_every_split_holds_some_of_the_steps_and_none_too_few(m_tile: int) -> None:
    limit = SPLITS[m_tile]
    for in_features in (1, 63, 64, 100, 768, 1290, 4096, 11008, 14336, 128_256):
        splits, steps = split_k(in_features, m_tile), -(-in_features // SPLIT_STEP)
        each = -(-steps // splits)
        assert 1 <= splits <= limit.most
        assert (splits - 1) * each < steps <= splits * each
        assert splits == 1 or steps > (splits - 1) * limit.steps


def test_one_item_of_an_8b_model_gives_a_dozen_programs_and_more() -> None:
    assert [split_k(k, 16) for k in (4096, 14336)] == [16, 28]


def test_blocks_of_in_features_divide_the_step_of_a_split() -> None:
    assert all(SPLIT_STEP % tile.block_k == 0 for tile in SHRINK.values())
    assert all(tile.strip % tile.block_n == 0 for tile in EXPAND.values())


@pytest.mark.parametrize(
    ("num_warps", "programs", "registers"), [(4, 4, 128), (4, 3, 168), (8, 1, 255)]
)
def test_registers_of_an_sm_are_shared_by_its_programs(
    num_warps: int, programs: int, registers: int
) -> None:
    assert max_registers(num_warps, programs) == registers


def test_shrink_and_expand_know_the_same_tile_regimes() -> None:
    assert set(SHRINK) == set(EXPAND) == set(SPLITS) == {16, 64, 128}


def test_interpreter_runs_few_programs() -> None:
    assert num_programs(torch.device("cpu"), 4) == 3
