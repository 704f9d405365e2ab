"""Sampling against transformers' own warpers, and its independence of the batch."""

import pytest
import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from weft.server.channel import Sampling
from weft.server.engine.row import Row
from weft.server.engine.sampler import draw, keep

VOCABULARY = 101
SAMPLINGS = {
    "temperature": Sampling(temperature=0.7, seed=1),
    "top_k": Sampling(temperature=1.0, top_k=5, seed=2),
    "top_k above the vocabulary": Sampling(temperature=1.0, top_k=1000, seed=2),
    "top_p": Sampling(temperature=1.0, top_p=0.6, seed=3),
    "top_p tiny": Sampling(temperature=1.0, top_p=1e-6, seed=3),
    "min_p": Sampling(temperature=1.3, min_p=0.1, seed=4),
    "min_p one": Sampling(temperature=1.3, min_p=1.0, seed=4),
    "all": Sampling(temperature=0.9, top_k=40, top_p=0.9, min_p=0.05, seed=5),
}


def logits(num_rows: int, *, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_rows, VOCABULARY, generator=generator) * 3


def warped(logits_1V: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """What transformers leaves of a row."""
    warpers: list[LogitsProcessor] = [TemperatureLogitsWarper(sampling.temperature)]
    if sampling.top_k is not None:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(sampling.top_p))
    if sampling.min_p > 0:
        warpers.append(MinPLogitsWarper(sampling.min_p))
    unused = torch.LongTensor(1, 0)
    scores: torch.Tensor = LogitsProcessorList(warpers)(unused, torch.FloatTensor(logits_1V))
    return scores


@pytest.mark.parametrize("name", SAMPLINGS)
def test_kept_scores_equal_those_of_transformers(name: str) -> None:
    logits_BV = logits(20)
    expected = torch.cat([warped(row[None], SAMPLINGS[name]) for row in logits_BV])
    torch.testing.assert_close(keep(logits_BV, [SAMPLINGS[name]] * 20), expected)


def test_nucleus_of_many_tokens_equals_that_of_transformers() -> None:
    generator = torch.Generator().manual_seed(3)
    spread = torch.tensor([[0.01], [1.0], [8.0]])
    logits_BV = torch.randn(3, 5000, generator=generator) * spread
    for top_p in (0.05, 0.5, 0.9, 0.999):
        sampling = Sampling(temperature=1.0, top_p=top_p)
        kept = keep(logits_BV, [sampling] * 3).isfinite().sum(dim=-1)
        wanted = torch.stack([warped(row[None], sampling).isfinite().sum() for row in logits_BV])
        assert (kept - wanted).abs().max() <= 1, f"at the edge of top_p {top_p}"


def test_every_row_has_parameters_of_its_own() -> None:
    samplings = list(SAMPLINGS.values())
    logits_BV = logits(len(samplings))
    together = keep(logits_BV, samplings)
    for i, sampling in enumerate(samplings):
        assert torch.equal(keep(logits_BV[i : i + 1], [sampling])[0], together[i])


def test_draws_do_not_depend_on_the_batch() -> None:
    rows = [Row(s, position, None) for s in SAMPLINGS.values() for position in (0, 1, 7)]
    rows.insert(4, Row(Sampling(), 0, None))
    logits_BV = logits(len(rows))
    together = draw(logits_BV, rows).tokens
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1)).tolist()
    shuffled = draw(logits_BV[order], [rows[i] for i in order]).tokens
    assert shuffled == [together[i] for i in order]
    for i, row in enumerate(rows):
        assert draw(logits_BV[i : i + 1], [row]).tokens == [together[i]]


@pytest.mark.parametrize(
    "scores", [[0.0, 1.0, 2.0, -1.0, 0.5], [0.0, 8.0, 0.0, 0.0, 0.0]], ids=["flat", "peaked"]
)
def test_draws_follow_the_distribution(scores: list[float]) -> None:
    row = torch.tensor(scores)
    num = 20_000
    rows = [Row(Sampling(temperature=2.0, seed=9), position, None) for position in range(num)]
    tokens = torch.tensor(draw(row.expand(num, -1), rows).tokens)
    shares = tokens.bincount(minlength=5) / num
    expected = (row / 2).softmax(0)
    assert ((shares - expected).abs() < 4 * (expected / num).sqrt()).all(), shares


def test_seed_and_position_change_the_draw() -> None:
    flat = torch.zeros(64, VOCABULARY)
    by_seed = [Row(Sampling(temperature=1.0, seed=seed), 0, None) for seed in range(64)]
    by_position = [Row(Sampling(temperature=1.0, seed=0), position, None) for position in range(64)]
    assert len(set(draw(flat, by_seed).tokens)) > 30
    assert len(set(draw(flat, by_position).tokens)) > 30


def test_unsigned_seeds_are_legal() -> None:
    rows = [Row(Sampling(temperature=1.0, seed=2**64 - 1), 0, None)]
    assert 0 <= draw(torch.zeros(1, VOCABULARY), rows).tokens[0] < VOCABULARY


def test_greedy_takes_the_lowest_of_equals() -> None:
    logits_BV = torch.zeros(1, VOCABULARY)
    logits_BV[0, [30, 20, 90]] = 5
    assert draw(logits_BV, [Row(Sampling(), 0, None)]).tokens == [20]


def test_logprobs_are_those_of_the_raw_distribution() -> None:
    logits_BV = logits(3)
    sampling = Sampling(temperature=0.5, top_k=1)
    rows = [Row(Sampling(), 0, 3), Row(sampling, 0, None), Row(sampling, 0, 0)]
    drawn = draw(logits_BV, rows)
    expected = logits_BV.log_softmax(-1)
    first, second, third = drawn.logprobs
    assert first is not None
    assert second is None
    assert third is not None
    assert first.logprob == pytest.approx(expected[0].max().item())
    assert first.tokens == expected[0].topk(3).indices.tolist()
    assert first.logprobs == pytest.approx(expected[0].topk(3).values.tolist())
    assert third.logprob == pytest.approx(expected[2, drawn.tokens[2]].item())
    assert third.tokens == []


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_row_that_is_not_finite_is_said_and_spares_the_others(value: float) -> None:
    logits_BV = logits(3)
    logits_BV[1, 4] = value
    sampling = Sampling(temperature=1.0, top_k=3, top_p=0.9, min_p=0.1)
    drawn = draw(logits_BV, [Row(sampling, 0, 2)] * 3)
    assert drawn.finite == [True, False, True]
    alone = draw(logits_BV[2:], [Row(sampling, 0, 2)])
    assert drawn.tokens[2] == alone.tokens[0]
