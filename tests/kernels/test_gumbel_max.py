import pytest
import torch
from torch import Tensor

from weft.kernels import noise
from weft.kernels.gumbel_max import BLOCK_G, gumbel_max

from .cases import COMPILED_RUNS, INTERPRETED_RUNS, Run
from .rows import banded_memory

TILE = 4 * BLOCK_G
RUNS = [INTERPRETED_RUNS[0], COMPILED_RUNS[0]]  # scores are float32


def columns(run: Run, num_rows: int) -> tuple[Tensor, Tensor]:
    seeds = [0, 7, 2**63 - 1, -1, -(2**63)] * num_rows
    seed_B = torch.tensor(seeds[:num_rows], dtype=torch.int64, device=run.device)
    return seed_B, 3 * torch.arange(num_rows, device=run.device)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("scale", [0.01, 1.0, 20.0])
@pytest.mark.parametrize("vocab_size", [1, 5, TILE, 2 * TILE + 3])
def test_draws_are_those_of_the_definition(run: Run, scale: float, vocab_size: int) -> None:
    scores_BV = run.random(7, vocab_size) * scale
    scores_BV[:, ::3] = -torch.inf
    scores_BV[0, vocab_size // 2] = 0.0
    seed_B, position_B = columns(run, 7)
    with banded_memory():
        found = gumbel_max(scores_BV, seed_B, position_B)
    assert torch.equal(found, noise.gumbel_max(scores_BV, seed_B, position_B))


@pytest.mark.parametrize("run", RUNS)
def test_draw_does_not_depend_on_the_other_rows(run: Run) -> None:
    scores_BV = run.random(5, TILE + 9)
    seed_B, position_B = columns(run, 5)
    together = gumbel_max(scores_BV, seed_B, position_B)
    assert len(set(together.tolist())) == 5
    for i in range(5):
        alone = gumbel_max(scores_BV[i : i + 1], seed_B[i : i + 1], position_B[i : i + 1])
        assert alone.item() == together[i].item()


@pytest.mark.parametrize("run", RUNS)
def test_rows_of_nothing_or_of_nan_get_a_token_all_the_same(run: Run) -> None:
    scores_BV = run.random(4, TILE + 9)
    scores_BV[0] = -torch.inf
    scores_BV[1] = torch.nan
    scores_BV[2, 5] = torch.nan
    seed_B, position_B = columns(run, 4)
    found = gumbel_max(scores_BV, seed_B, position_B)
    assert found[0].item() == 0
    assert all(0 <= token < TILE + 9 for token in found.tolist())
    assert found[3].item() == noise.gumbel_max(scores_BV, seed_B, position_B)[3].item()


@pytest.mark.parametrize("run", RUNS)
def test_equals_go_to_the_lowest(run: Run) -> None:
    scores_BV = torch.full((1, 3 * TILE), -torch.inf, device=run.device)
    scores_BV[0, [TILE + 1, 2 * TILE]] = torch.inf
    assert gumbel_max(scores_BV, *columns(run, 1)).item() == TILE + 1


@pytest.mark.parametrize("run", RUNS)
def test_no_rows(run: Run) -> None:
    assert gumbel_max(run.random(0, 9), *columns(run, 0)).shape == (0,)


def test_what_does_not_fit_is_refused() -> None:
    scores_BV, column = torch.zeros(2, 8), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"scores of torch\.float64"):
        gumbel_max(scores_BV.double(), column, column)
    with pytest.raises(ValueError, match="strides"):
        gumbel_max(scores_BV.T, torch.zeros(8, dtype=torch.int64), torch.zeros(8).long())
    with pytest.raises(ValueError, match=r"position is torch\.int64 \(1,\)"):
        gumbel_max(scores_BV, column, column[:1])
