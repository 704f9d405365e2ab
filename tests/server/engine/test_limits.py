"""What is refused before it is queued, with the figure and the limit."""

import pytest

from weft.server.channel import Sampling, Submit
from weft.server.engine.limits import Limits
from weft.server.errors import PromptTooLong, QueueFull, RequestInvalid

LIMITS = Limits(
    max_sequences=8,
    max_batch_tokens=16,
    max_context=64,
    vocab_size=100,
    max_waiting=2,
    max_waiting_tokens=20,
)


def request(tokens: list[int], *, max_tokens: int = 4) -> Submit:
    return Submit(
        stream=1,
        digest=None,
        tokens=tokens,
        sampling=Sampling(),
        max_tokens=max_tokens,
        stop_tokens=frozenset(),
        salt="",
    )


def test_sequence_that_fills_the_context_passes() -> None:
    LIMITS.check(request([0, 99] * 30), [])


def test_what_can_never_fit_is_refused() -> None:
    with pytest.raises(PromptTooLong, match="60 prompt tokens and max_tokens 5 exceed"):
        LIMITS.check(request([1] * 60, max_tokens=5), [])


@pytest.mark.parametrize(
    ("tokens", "message"),
    [([], "has 0 tokens"), ([1, 100], "token 100 "), ([-1, 100], "token -1 ")],
    ids=["empty", "above", "below"],
)
def test_prompt_outside_the_vocabulary_is_refused(tokens: list[int], message: str) -> None:
    with pytest.raises(RequestInvalid, match=message):
        LIMITS.check(request(tokens), [])


def test_full_queue_fails_fast() -> None:
    LIMITS.check(request([1] * 5), [15])
    with pytest.raises(QueueFull, match="15 tokens wait, 6 more exceed 20"):
        LIMITS.check(request([1] * 6), [15])
    with pytest.raises(QueueFull, match="2 sequences wait"):
        LIMITS.check(request([1]), [1, 1])


def test_long_prompt_may_wait_alone() -> None:
    LIMITS.check(request([1] * 30), [])
