"""Requests as these tests make them: greedy, of a known length, with their log-probabilities."""

from weft.client import Answer, AsyncClient, Sampling, Stopping

from .reference import close_to

GREEDY = Sampling(temperature=0)


def exactly(num_tokens: int) -> Stopping:
    """End after so many tokens, whatever they are."""
    return Stopping(max_tokens=num_tokens, ignore_end_token=True)


async def greedy(weft: AsyncClient, model: str, tokens: list[int], num_tokens: int = 8) -> Answer:
    """Answer the likeliest tokens, with their log-probabilities."""
    return await weft.complete(
        model, tokens=tokens, sampling=GREEDY, stopping=exactly(num_tokens), logprobs=0
    )


def token_ids(answer: Answer) -> list[int]:
    return answer.completions[0].token_ids


def assert_same(answer: Answer, other: Answer, what: str) -> None:
    """Same version, same tokens, and the same log-probabilities within the tolerance."""
    assert answer.resolved is not None
    assert other.resolved is not None
    assert answer.resolved.digest == other.resolved.digest, what
    assert token_ids(answer) == token_ids(other), what
    ours, theirs = (
        [entry.chosen.logprob for entry in a.completions[0].logprobs] for a in (answer, other)
    )
    assert ours == close_to(theirs), what
