"""Sampling against transformers' own warpers, and its independence of the batch."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from weft.kernels import noise
from weft.kernels.edges import edge_of, mass_of, nucleus_edge
from weft.server.channel import Sampling
from weft.server.engine.parameters import Parameters, send_parameters
from weft.server.engine.row import Row
from weft.server.engine.sampler import Drawn, draw, keep

CPU = torch.device("cpu")

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


def parameters(samplings: Sequence[Sampling], vocab_size: int) -> Parameters:
    rows = [Row(sampling, 0, None) for sampling in samplings]
    sent = send_parameters(rows, vocab_size=vocab_size, device=CPU)
    assert sent is not None
    return sent


def kept(logits_BV: torch.Tensor, samplings: Sequence[Sampling]) -> torch.Tensor:
    return keep(logits_BV, parameters(samplings, logits_BV.shape[-1]))


def drawn(logits_BV: torch.Tensor, rows: Sequence[Row]) -> Drawn:
    return draw(logits_BV.clone(), rows).read()


@pytest.mark.parametrize("name", SAMPLINGS)
def test_kept_scores_equal_those_of_transformers(name: str) -> None:
    logits_BV = logits(20)
    expected = torch.cat([warped(row[None], SAMPLINGS[name]) for row in logits_BV])
    found = kept(logits_BV, [SAMPLINGS[name]] * 20)
    torch.testing.assert_close(found, expected)


def test_nucleus_of_many_tokens_equals_that_of_transformers() -> None:
    generator = torch.Generator().manual_seed(3)
    spread = torch.tensor([[0.01], [1.0], [8.0]])
    logits_BV = torch.randn(3, 5000, generator=generator) * spread
    for top_p in (0.05, 0.5, 0.9, 0.999):
        sampling = Sampling(temperature=1.0, top_p=top_p)
        num_kept = kept(logits_BV, [sampling] * 3).isfinite().sum(dim=-1)
        wanted = torch.stack([warped(row[None], sampling).isfinite().sum() for row in logits_BV])
        assert (num_kept - wanted).abs().max() <= 1, f"at the edge of top_p {top_p}"


def test_every_row_has_parameters_of_its_own() -> None:
    samplings = list(SAMPLINGS.values())
    logits_BV = logits(len(samplings))
    together = kept(logits_BV, samplings)
    for i, sampling in enumerate(samplings):
        assert torch.equal(kept(logits_BV[i : i + 1], [sampling])[0], together[i])


def test_draws_do_not_depend_on_the_batch() -> None:
    rows = [Row(s, position, None) for s in SAMPLINGS.values() for position in (0, 1, 7)]
    rows.insert(4, Row(Sampling(), 0, None))
    logits_BV = logits(len(rows))
    together = drawn(logits_BV, rows).tokens
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1)).tolist()
    shuffled = drawn(logits_BV[order], [rows[i] for i in order]).tokens
    assert shuffled == [together[i] for i in order]
    for i, row in enumerate(rows):
        assert drawn(logits_BV[i : i + 1], [row]).tokens == [together[i]]


@pytest.mark.parametrize(
    "scores", [[0.0, 1.0, 2.0, -1.0, 0.5], [0.0, 8.0, 0.0, 0.0, 0.0]], ids=["flat", "peaked"]
)
def test_draws_follow_the_distribution(scores: list[float]) -> None:
    row = torch.tensor(scores)
    num = 20_000
    rows = [Row(Sampling(temperature=2.0, seed=9), position, None) for position in range(num)]
    tokens = torch.tensor(drawn(row.expand(num, -1), rows).tokens)
    shares = tokens.bincount(minlength=5) / num
    expected = (row / 2).softmax(0)
    assert ((shares - expected).abs() < 4 * (expected / num).sqrt()).all(), shares


def test_seed_and_position_change_the_draw() -> None:
    flat = torch.zeros(64, VOCABULARY)
    by_seed = [Row(Sampling(temperature=1.0, seed=seed), 0, None) for seed in range(64)]
    by_position = [Row(Sampling(temperature=1.0, seed=0), position, None) for position in range(64)]
    assert len(set(draw(flat, by_seed).read().tokens)) > 30
    assert len(set(draw(flat, by_position).read().tokens)) > 30


def test_unsigned_seeds_are_legal() -> None:
    rows = [Row(Sampling(temperature=1.0, seed=2**64 - 1), 0, None)]
    assert 0 <= draw(torch.zeros(1, VOCABULARY), rows).read().tokens[0] < VOCABULARY


def test_greedy_takes_the_lowest_of_equals() -> None:
    logits_BV = torch.zeros(1, VOCABULARY)
    logits_BV[0, [30, 20, 90]] = 5
    assert draw(logits_BV, [Row(Sampling(), 0, None)]).read().tokens == [20]


def test_logprobs_are_those_of_the_raw_distribution() -> None:
    logits_BV = logits(3)
    sampling = Sampling(temperature=0.5, top_k=1)
    rows = [Row(Sampling(), 0, 3), Row(sampling, 0, None), Row(sampling, 0, 0)]
    found = draw(logits_BV, rows).read()
    expected = logits_BV.log_softmax(-1)
    first, second, third = found.logprobs
    assert first is not None
    assert second is None
    assert third is not None
    assert first.logprob == pytest.approx(expected[0].max().item())
    assert first.tokens == expected[0].topk(3).indices.tolist()
    assert first.logprobs == pytest.approx(expected[0].topk(3).values.tolist())
    assert third.logprob == pytest.approx(expected[2, found.tokens[2]].item())
    assert third.tokens == []


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_row_that_is_not_finite_is_said_and_spares_the_others(value: float) -> None:
    logits_BV = logits(3)
    logits_BV[1, 4] = value
    sampling = Sampling(temperature=1.0, top_k=3, top_p=0.9, min_p=0.1)
    found = drawn(logits_BV, [Row(sampling, 0, 2)] * 3)
    assert found.finite == [True, False, True]
    assert 0 <= found.tokens[1] < VOCABULARY
    alone = drawn(logits_BV[2:], [Row(sampling, 0, 2)])
    assert found.tokens[2] == alone.tokens[0]


EVERYTHING = [
    Row(
        Sampling(
            temperature=0.9,
            top_k=40,
            top_p=0.9,
            min_p=0.01,
            seed=i,
            presence_penalty=0.1,
            frequency_penalty=0.2,
            repetition_penalty=1.3,
            logit_bias={3: 1.0},
        ),
        position=i,
        logprobs=3,
        counts={5: 1, 7: 0},
        barred=frozenset([1]),
        allowed=np.full(4, 2**32 - 1, np.uint32) if i % 2 else None,
    )
    for i in range(4)
] + [Row(Sampling(), 0, None)]
READS = {"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero", "masked_select"}
READS |= {"bincount", "_unique", "_unique2"}


class NobodyReads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Fail at an op for whose sizes or values the host would have to wait."""

    def __torch_dispatch__(  # type: ignore[no-untyped-def]
        self,
        func,
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        name = func._opname
        assert name not in READS, name
        if name in ("index", "index_put_", "index_put"):
            assert isinstance(args[1], list | tuple)
            indices = [index for index in args[1] if isinstance(index, torch.Tensor)]
            assert not any(index.dtype == torch.bool for index in indices), name
        if name == "repeat_interleave":
            assert (kwargs or {}).get("output_size") is not None, name
        return func(*args, **(kwargs or {}))


def test_nothing_is_read_until_the_draws_are() -> None:
    with NobodyReads():  # type: ignore[no-untyped-call]
        draws = draw(logits(5), EVERYTHING)
    assert draws.read().finite == [True] * 5
    with pytest.raises(AssertionError, match="nonzero"), NobodyReads():  # type: ignore[no-untyped-call]
        torch.ones(3).nonzero()


def test_a_gpu_s_way_to_a_nucleus_and_its_noise_read_nothing() -> None:
    scores_BV = logits(4)
    mass_BV, bound_B1 = mass_of(scores_BV.softmax(dim=-1)), mass_of(torch.full((4, 1), 0.9))
    column_B = torch.arange(4)
    with NobodyReads():  # type: ignore[no-untyped-call]
        edge_B1 = edge_of(scores_BV, mass_BV, bound_B1)
        noise.gumbel_max(scores_BV, column_B, column_B)
    assert torch.equal(edge_B1, nucleus_edge(scores_BV, torch.full((4, 1), 0.9)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_nothing_waits_for_the_device_until_the_draws_are_read() -> None:
    logits_BV = logits(5).cuda()
    expected = draw(logits_BV.clone(), EVERYTHING).read()  # compiles, and pins its buffers
    given = logits_BV.clone()
    torch.cuda.set_sync_debug_mode("error")
    try:
        draws = draw(given, EVERYTHING)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert draws.read() == expected
