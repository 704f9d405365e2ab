"""Sampling against transformers' own warpers, in both forms, and its independence of the batch."""

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

from weft.server.channel import Sampling
from weft.server.engine.parameters import Parameters, send_parameters
from weft.server.engine.row import Row
from weft.server.engine.sampler import Drawn, draw, draw_in_form, keep

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


@pytest.fixture(params=[False, True], ids=["few", "all"])
def dense(request: pytest.FixtureRequest) -> bool:
    """Which form: the one of a CPU, or that of a GPU."""
    return bool(request.param)


def parameters(samplings: Sequence[Sampling], vocab_size: int) -> Parameters:
    rows = [Row(sampling, 0, None) for sampling in samplings]
    sent = send_parameters(rows, vocab_size=vocab_size, device=CPU)
    assert sent is not None
    return sent


def kept(logits_BV: torch.Tensor, samplings: Sequence[Sampling], *, dense: bool) -> torch.Tensor:
    return keep(logits_BV, parameters(samplings, logits_BV.shape[-1]), dense=dense)


def drawn(logits_BV: torch.Tensor, rows: Sequence[Row], *, dense: bool) -> Drawn:
    return draw_in_form(logits_BV.clone(), rows, dense=dense).read()


@pytest.mark.parametrize("name", SAMPLINGS)
def test_kept_scores_equal_those_of_transformers(name: str, dense: bool) -> None:
    logits_BV = logits(20)
    expected = torch.cat([warped(row[None], SAMPLINGS[name]) for row in logits_BV])
    found = kept(logits_BV, [SAMPLINGS[name]] * 20, dense=dense)
    torch.testing.assert_close(found, expected)


def test_nucleus_of_many_tokens_equals_that_of_transformers(dense: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    spread = torch.tensor([[0.01], [1.0], [8.0]])
    logits_BV = torch.randn(3, 5000, generator=generator) * spread
    for top_p in (0.05, 0.5, 0.9, 0.999):
        sampling = Sampling(temperature=1.0, top_p=top_p)
        num_kept = kept(logits_BV, [sampling] * 3, dense=dense).isfinite().sum(dim=-1)
        wanted = torch.stack([warped(row[None], sampling).isfinite().sum() for row in logits_BV])
        assert (num_kept - wanted).abs().max() <= 1, f"at the edge of top_p {top_p}"


def test_every_row_has_parameters_of_its_own(dense: bool) -> None:
    samplings = list(SAMPLINGS.values())
    logits_BV = logits(len(samplings))
    together = kept(logits_BV, samplings, dense=dense)
    for i, sampling in enumerate(samplings):
        assert torch.equal(kept(logits_BV[i : i + 1], [sampling], dense=dense)[0], together[i])


def test_draws_do_not_depend_on_the_batch(dense: bool) -> None:
    rows = [Row(s, position, None) for s in SAMPLINGS.values() for position in (0, 1, 7)]
    rows.insert(4, Row(Sampling(), 0, None))
    logits_BV = logits(len(rows))
    together = drawn(logits_BV, rows, dense=dense).tokens
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1)).tolist()
    shuffled = drawn(logits_BV[order], [rows[i] for i in order], dense=dense).tokens
    assert shuffled == [together[i] for i in order]
    for i, row in enumerate(rows):
        assert drawn(logits_BV[i : i + 1], [row], dense=dense).tokens == [together[i]]


@pytest.mark.parametrize("vocab_size", [1, 3, VOCABULARY, 5000])
def test_both_forms_draw_the_same_tokens(vocab_size: int) -> None:
    generator = torch.Generator().manual_seed(vocab_size)
    rows = [
        Row(
            sampling, position, min(2, vocab_size) if position else None, {3 % vocab_size: position}
        )
        for sampling in (*SAMPLINGS.values(), Sampling(), Sampling(temperature=1.0, top_p=0.9999))
        for position in range(5)
    ]
    for scale in (0.01, 1.0, 9.0):
        logits_BV = torch.randn(len(rows), vocab_size, generator=generator) * scale
        few, every = (drawn(logits_BV, rows, dense=form) for form in (False, True))
        assert few == every
    assert len(set(few.tokens)) > min(vocab_size, 8) - 1


@pytest.mark.parametrize(
    "scores", [[0.0, 1.0, 2.0, -1.0, 0.5], [0.0, 8.0, 0.0, 0.0, 0.0]], ids=["flat", "peaked"]
)
def test_draws_follow_the_distribution(scores: list[float], dense: bool) -> None:
    row = torch.tensor(scores)
    num = 20_000
    rows = [Row(Sampling(temperature=2.0, seed=9), position, None) for position in range(num)]
    tokens = torch.tensor(drawn(row.expand(num, -1), rows, dense=dense).tokens)
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
def test_row_that_is_not_finite_is_said_and_spares_the_others(value: float, dense: bool) -> None:
    logits_BV = logits(3)
    logits_BV[1, 4] = value
    sampling = Sampling(temperature=1.0, top_k=3, top_p=0.9, min_p=0.1)
    found = drawn(logits_BV, [Row(sampling, 0, 2)] * 3, dense=dense)
    assert found.finite == [True, False, True]
    assert 0 <= found.tokens[1] < VOCABULARY
    alone = drawn(logits_BV[2:], [Row(sampling, 0, 2)], dense=dense)
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


def test_form_that_looks_at_all_reads_nothing_until_it_is_asked_to() -> None:
    with NobodyReads():  # type: ignore[no-untyped-call]
        draws = draw_in_form(logits(5), EVERYTHING, dense=True)
    assert draws.read() == drawn(logits(5), EVERYTHING, dense=False)
    asked = [EVERYTHING[0]._replace(sampling=Sampling(temperature=9.0, top_p=0.99))] * 2
    wide = torch.zeros(2, 5000)
    wide[:, 7] = 1.0
    with pytest.raises(AssertionError, match="nonzero"), NobodyReads():  # type: ignore[no-untyped-call]
        draw_in_form(wide, asked, dense=False)


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
