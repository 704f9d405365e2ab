"""The peer: a mixed batch through PEFT gives each row what it gets alone."""

import pytest
import torch

from weft.bench.bed import Bed, digests_of
from weft.bench.checks import compare_answers
from weft.bench.peers.hf_peft import HfPeft
from weft.bench.random_model import build_model
from weft.bench.shapes import SHAPES


@pytest.fixture(scope="module")
def peer(bed: Bed) -> HfPeft:
    model = build_model(
        SHAPES["tiny"],
        seed=0,
        device=torch.device("cpu"),
        dtype=torch.float32,
        attention="sdpa",
    )
    return HfPeft(model, bed.loras)


def test_mixed_rows_answer_as_alone(bed: Bed, peer: HfPeft) -> None:
    digests = [*digests_of(bed.rows([0, 1, 2, 0])), None]
    prompts = bed.prompts(len(digests), 9)
    mixed = peer.answer(prompts, digests, new_tokens=8)
    assert [len(answer.tokens) for answer in mixed] == [8] * len(digests)
    alone = [
        answer
        for prompt, digest in zip(prompts, digests, strict=True)
        for answer in peer.answer([prompt], [digest], new_tokens=8)
    ]
    agreement = compare_answers(mixed, alone, limit=1e-4)
    assert agreement.holds
    assert agreement.num_equal == len(digests)


def test_every_adapter_changes_the_probabilities(bed: Bed, peer: HfPeft) -> None:
    (prompt,) = bed.prompts(1, 9)
    digests = [None, *(lora.digest for lora in bed.loras)]
    answers = peer.answer([prompt] * len(digests), digests, new_tokens=2)
    assert len({answer.logprobs[0].logprob for answer in answers}) == len(digests)


def test_token_drawn_is_the_likeliest(bed: Bed, peer: HfPeft) -> None:
    (answer,) = peer.answer(bed.prompts(1, 9), [bed.loras[0].digest], new_tokens=4)
    for token, entry in zip(answer.tokens, answer.logprobs, strict=True):
        assert entry.tokens[0] == token
        assert entry.logprobs[0] == entry.logprob
        assert entry.logprobs == sorted(entry.logprobs, reverse=True)


def test_timing_knows_the_rate_only(bed: Bed, peer: HfPeft) -> None:
    timing = peer.time(bed.prompts(2, 5), [None, None], new_tokens=3)
    assert timing.rate > 0
    assert timing.step_ms is None
