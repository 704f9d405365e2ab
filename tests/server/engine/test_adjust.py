"""Biases, penalties and barred tokens against transformers' own processors."""

from collections import Counter

import pytest
import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
)

from weft.server.channel import Sampling
from weft.server.engine.adjust import adjust
from weft.server.engine.row import Row

VOCABULARY = 40
PROMPT, SAID = [3, 3, 17, 5], [5, 9, 9, 9]
COUNTS = {3: 0, 17: 0, 5: 1, 9: 3}


def logits(num_rows: int) -> torch.Tensor:
    return torch.randn(num_rows, VOCABULARY, generator=torch.Generator().manual_seed(0)) * 3


def adjusted(row: Row) -> torch.Tensor:
    """The first row of the logits, adjusted as the middle one of three."""
    logits_BV = logits(1).repeat(3, 1)
    neutral = Row(Sampling(), 0, None)
    adjust(logits_BV, [neutral, row, neutral])
    assert torch.equal(logits_BV[[0, 2]], logits(1).repeat(2, 1))
    return logits_BV[1]


def test_rows_that_ask_nothing_keep_their_bits() -> None:
    logits_BV = logits(4)
    adjust(logits_BV, [Row(Sampling(temperature=1.0, top_p=0.5), 3, 2)] * 4)
    assert torch.equal(logits_BV, logits(4))


@pytest.mark.parametrize("penalty", [0.7, 1.3, 2.0])
@pytest.mark.parametrize("bias", [{}, {5: 2.5, 30: -100.0}])
def test_bias_then_repetition_equal_those_of_transformers(
    penalty: float, bias: dict[int, float]
) -> None:
    processors: list[LogitsProcessor] = []
    if bias:
        processors.append(SequenceBiasLogitsProcessor([[[t], value] for t, value in bias.items()]))
    processors.append(RepetitionPenaltyLogitsProcessor(penalty))
    tokens = torch.LongTensor([PROMPT + SAID])
    expected = LogitsProcessorList(processors)(tokens, torch.FloatTensor(logits(1)))
    sampling = Sampling(repetition_penalty=penalty, logit_bias=bias)
    torch.testing.assert_close(adjusted(Row(sampling, 4, None, COUNTS)), expected[0])


def test_presence_and_frequency_count_what_was_generated() -> None:
    sampling = Sampling(presence_penalty=0.5, frequency_penalty=0.25)
    expected = logits(1)[0]
    for token, count in Counter(SAID).items():
        expected[token] -= 0.5 + 0.25 * count
    torch.testing.assert_close(adjusted(Row(sampling, 4, None, COUNTS)), expected)


def test_barred_tokens_cannot_be_drawn_whatever_their_bias() -> None:
    sampling = Sampling(logit_bias={7: 100.0})
    found = adjusted(Row(sampling, 0, None, barred=frozenset([7, 8])))
    assert found[[7, 8]].tolist() == [-torch.inf] * 2
    assert found.isfinite().sum() == VOCABULARY - 2
