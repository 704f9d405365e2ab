"""What is refused before it is queued, with the figure and the limit."""

import pytest
from msgspec import structs

from weft.server.channel import Beams, Sampling, Submit
from weft.server.engine.limits import Limits, Queued
from weft.server.errors import PromptTooLong, QueueFull, RequestInvalid

LIMITS = Limits(
    max_sequences=8,
    max_batch_tokens=16,
    max_context=64,
    vocab_size=100,
    max_waiting=4,
    max_waiting_tokens=40,
    max_tenant_waiting=2,
    max_tenant_waiting_tokens=20,
)
NOTHING = Queued(0, 0)


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
    LIMITS.check(request([0, 99] * 30), NOTHING, NOTHING)


def test_what_can_never_fit_is_refused() -> None:
    with pytest.raises(PromptTooLong, match="60 prompt tokens and max_tokens 5 exceed"):
        LIMITS.check(request([1] * 60, max_tokens=5), NOTHING, NOTHING)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [([], "has 0 tokens"), ([1, 100], "token 100 "), ([-1, 100], "token -1 ")],
    ids=["empty", "above", "below"],
)
def test_prompt_outside_the_vocabulary_is_refused(tokens: list[int], message: str) -> None:
    with pytest.raises(RequestInvalid, match=message):
        LIMITS.check(request(tokens), NOTHING, NOTHING)


@pytest.mark.parametrize(
    ("waiting", "tenant_waiting", "message"),
    [
        (Queued(1, 15), Queued(1, 15), "15 tokens of this tenant wait, 6 more exceed 20"),
        (Queued(2, 2), Queued(2, 2), "2 sequences of this tenant wait"),
        (Queued(3, 35), Queued(1, 10), "35 tokens in all wait, 6 more exceed 40"),
        (Queued(4, 4), Queued(0, 0), "4 sequences in all wait"),
    ],
)
def test_full_queue_fails_fast(waiting: Queued, tenant_waiting: Queued, message: str) -> None:
    with pytest.raises(QueueFull, match=message):
        LIMITS.check(request([1] * 6), waiting, tenant_waiting)


def test_what_just_fits_the_queue_passes() -> None:
    LIMITS.check(request([1] * 5), Queued(3, 35), Queued(1, 15))


def test_beams_count_as_sequences_that_wait() -> None:
    wide = structs.replace(request([1]), beams=Beams(3))
    LIMITS.check(wide, Queued(1, 1), NOTHING)
    with pytest.raises(QueueFull, match="2 sequences in all wait, 3 more exceed 4"):
        LIMITS.check(wide, Queued(2, 2), NOTHING)
    LIMITS.check(structs.replace(wide, beams=Beams(5)), NOTHING, NOTHING)


def test_long_prompt_may_wait_alone() -> None:
    LIMITS.check(request([1] * 50), NOTHING, NOTHING)
