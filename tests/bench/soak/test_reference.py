"""How clearly an answer's tokens were chosen."""

import pytest

from weft.bench.soak.reference import least_lead
from weft.client import Answer
from weft.client.generation import Completion
from weft.protos.v1.inference_pb2 import TokenLogprob, TokenLogprobs


def entry(chosen: float, *others: float) -> TokenLogprobs:
    """A token with its alternatives, of which it is the first itself."""
    tokens = [TokenLogprob(token_id=i, logprob=x) for i, x in enumerate((chosen, *others))]
    return TokenLogprobs(chosen=tokens[0], alternatives=tokens)


def test_lead_is_the_closest_one_to_another_token() -> None:
    completion = Completion(logprobs=[entry(-1.0, -1.5), entry(-0.5, -0.75)])
    assert least_lead(Answer(completions={0: completion})) == pytest.approx(0.25)


def test_without_alternatives_nothing_leads() -> None:
    assert least_lead(Answer(completions={0: Completion(logprobs=[entry(-1.0)])})) == 0
