"""Log-probabilities of given tokens; those of draws are in test_sampler."""

import pytest
import torch

from weft.server.engine.logprobs import describe


@pytest.mark.parametrize("num", [0, 3])
def test_given_tokens_are_described_with_their_alternatives(num: int) -> None:
    logits_RV = torch.randn(4, 50, generator=torch.Generator().manual_seed(0))
    expected = logits_RV.log_softmax(dim=-1)
    tokens = [7, 0, 49, 7]
    found = describe(logits_RV, tokens, num=num)
    assert [entry.logprob for entry in found] == expected[range(4), tokens].tolist()
    best = expected.topk(num)
    assert [entry.tokens for entry in found] == best.indices.tolist()
    assert [entry.logprobs for entry in found] == best.values.tolist()
