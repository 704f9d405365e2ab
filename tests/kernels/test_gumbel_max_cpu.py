"""The draw on a CPU is that of the definition, whatever the scores."""

import pytest
import torch

from weft.kernels import noise
from weft.kernels.gumbel_max_cpu import BLOCK, GRAIN, TILE, gumbel_max_cpu


def draw_both(scores_BV: torch.Tensor) -> tuple[list[int], list[int]]:
    """What the loop draws, and what the definition does."""
    generator = torch.Generator().manual_seed(scores_BV.shape[-1])
    num_rows = len(scores_BV)
    seed_B = torch.randint(-(2**62), 2**62, (num_rows,), generator=generator) * 2 + 1
    position_B = torch.randint(0, 5000, (num_rows,), generator=generator)
    found = gumbel_max_cpu(scores_BV, seed_B, position_B)
    return found.tolist(), noise.gumbel_max(scores_BV, seed_B, position_B).tolist()


@pytest.mark.parametrize("scale", [0.0, 0.01, 1.0, 5.0, 100.0])
@pytest.mark.parametrize("offset", [0.0, -3000.0, 1e5], ids=["near 0", "below", "far above"])
@pytest.mark.parametrize("vocab_size", [1, 3, BLOCK + 1, TILE, 2 * TILE + 5])
def test_draws_are_those_of_the_definition(scale: float, offset: float, vocab_size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    scores_BV = torch.randn(24, vocab_size, generator=generator) * scale + offset
    scores_BV[::2, 1::3] = -torch.inf
    found, expected = draw_both(scores_BV)
    assert found == expected


@pytest.mark.parametrize("num_threads", [1, 3])
def test_any_number_of_threads_draws_the_same(num_threads: int) -> None:
    scores_BV = torch.randn(3, GRAIN, generator=torch.Generator().manual_seed(1)) * 2
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    found, expected = draw_both(scores_BV)
    torch.set_num_threads(before)
    assert found == expected


def test_rows_of_nothing_or_of_nan_get_a_token_all_the_same() -> None:
    scores_BV = torch.randn(4, TILE + 9, generator=torch.Generator().manual_seed(2))
    scores_BV[0], scores_BV[1], scores_BV[2, 5] = -torch.inf, torch.nan, torch.inf
    found, expected = draw_both(scores_BV)
    assert found[0] == 0
    assert all(0 <= token < TILE + 9 for token in found)
    assert found[3] == expected[3]


def test_equals_go_to_the_lowest() -> None:
    """Noise is lost beside scores of this size."""
    scores_BV = torch.zeros(1, 2 * TILE)
    scores_BV[0, [30, TILE - 1, TILE + 1]] = 1e12
    assert draw_both(scores_BV) == ([30], [30])


def test_what_does_not_fit_is_refused() -> None:
    column = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"scores of torch\.float64"):
        gumbel_max_cpu(torch.zeros(2, 8).double(), column, column)
    assert gumbel_max_cpu(torch.zeros(0, 8), column[:0], column[:0]).shape == (0,)
