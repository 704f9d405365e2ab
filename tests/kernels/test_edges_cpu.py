"""The edges of the compiled loop are those of the definition, bit for bit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.kernels.edges import MASS, edge_of, mass_of
from weft.kernels.edges_cpu import GRAIN, edge_of_cpu

FLOATS = st.floats(width=32, allow_nan=False)
SHARES = st.floats(0.0, 1.0, width=32)
ROWS = st.lists(st.tuples(FLOATS, SHARES), min_size=1, max_size=40)


@settings(max_examples=200, deadline=None)
@given(ROWS, st.integers(1, 20 * MASS))
def test_edge_equals_that_of_the_definition(row: list[tuple[float, float]], bound: int) -> None:
    scores_1V = torch.tensor([[score for score, _ in row]])
    probability_1V = torch.tensor([[share for _, share in row]])
    bound_11 = torch.tensor([[bound]])
    expected = edge_of(scores_1V, mass_of(probability_1V), bound_11)
    assert torch.equal(edge_of_cpu(scores_1V, probability_1V, bound_11), expected)


@pytest.mark.parametrize("num_threads", [1, 3])
def test_any_number_of_threads_finds_the_same(num_threads: int) -> None:
    generator = torch.Generator().manual_seed(0)
    scores_BV = torch.randn(7, GRAIN // 5, generator=generator) * torch.logspace(-2, 1, 7)[:, None]
    scores_BV[:, 3:90] = scores_BV[:, 2:3]
    scores_BV[:, 200:300] = -torch.inf
    probability_BV = scores_BV.softmax(dim=-1)
    bound_B1 = (torch.linspace(1e-9, 1.0, 7).double() * MASS).long().clamp(min=1)[:, None]
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    found = edge_of_cpu(scores_BV, probability_BV, bound_B1)
    torch.set_num_threads(before)
    assert torch.equal(found, edge_of(scores_BV, mass_of(probability_BV), bound_B1))


def test_a_row_of_nan_harms_no_other() -> None:
    scores_BV = torch.randn(3, 500, generator=torch.Generator().manual_seed(1))
    scores_BV[1, 7] = torch.nan
    probability_BV = scores_BV.softmax(dim=-1)
    bound_B1 = torch.full((3, 1), MASS // 2)
    found = edge_of_cpu(scores_BV, probability_BV, bound_B1)
    expected = edge_of(scores_BV[::2], mass_of(probability_BV[::2]), bound_B1[::2])
    assert torch.equal(found[::2], expected)
