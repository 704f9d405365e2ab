"""Edges of top-k and top-p against their definition by a sort."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from weft.kernels.edges import MASS, edge_of, kth_largest, nucleus_edge

FLOATS = st.floats(width=32, allow_nan=False)
NUM_BEST = 1024
ROWS = st.lists(st.tuples(FLOATS, st.integers(0, MASS)), min_size=1, max_size=40)


def sorted_edge(scores: Tensor, weights: Tensor, bound: int) -> float:
    """The definition, for one row."""
    order = scores.argsort(descending=True, stable=True)
    before = weights[order].cumsum(0) - weights[order]
    kept = scores[order][before < bound]
    return kept.min().item() if weights.sum() >= bound else -torch.inf


def spread(*scales: float, num: int = 3 * NUM_BEST) -> Tensor:
    """A row of scores for every scale, some of them equal, some left out by another filter."""
    generator = torch.Generator().manual_seed(len(scales))
    scores = torch.randn(len(scales), num, generator=generator) * torch.tensor(scales)[:, None]
    scores[:, 7:900] = scores[:, 5:6]
    scores[:, 2000:2100] = -torch.inf
    return scores


@settings(max_examples=200, deadline=None)
@given(ROWS, st.integers(1, 40 * MASS))
def test_edge_equals_that_of_a_sort(row: list[tuple[float, int]], bound: int) -> None:
    scores = torch.tensor([score for score, _ in row])
    weights = torch.tensor([weight for _, weight in row])
    found = edge_of(scores[None], weights[None], torch.tensor([[bound]])).item()
    assert found == sorted_edge(scores, weights, bound)


def test_rows_do_not_depend_on_one_another() -> None:
    scores = spread(0.01, 1.0, 30.0)
    weights = (scores.softmax(dim=-1) * MASS).long()
    bounds = torch.tensor([[MASS // 2], [3], [MASS // 10 * 9]])
    together = edge_of(scores, weights, bounds)
    for i in range(3):
        alone = edge_of(scores[i : i + 1], weights[i : i + 1], bounds[i : i + 1])
        assert alone.item() == together[i].item()
        assert alone.item() == sorted_edge(scores[i], weights[i], int(bounds[i]))


@pytest.mark.parametrize("top_p", [1e-30, 0.05, 0.5, 0.9, 0.999])
def test_nucleus_is_that_of_a_sort_however_large(top_p: float) -> None:
    scores = spread(0.001, 1.0, 8.0)
    found = nucleus_edge(scores, torch.full((3, 1), top_p))
    mass = (scores.softmax(dim=-1).double() * MASS).long()
    bound = max(1, int(torch.tensor(top_p).double() * MASS))
    expected = [sorted_edge(scores[i], mass[i], bound) for i in range(3)]
    assert found[:, 0].tolist() == expected


def test_kth_largest_is_that_of_a_sort() -> None:
    scores = spread(0.5, 1.0, 8.0, 1.0)
    counts = [1, 5, NUM_BEST + 1, scores.shape[-1]]
    found = kth_largest(scores, torch.tensor(counts)[:, None], largest_k=NUM_BEST + 1)
    ranked = scores.sort(dim=-1, descending=True).values
    assert found[:3, 0].tolist() == [ranked[i, counts[i] - 1].item() for i in range(3)]
    assert found[3].item() == -torch.inf
