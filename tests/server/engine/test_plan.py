"""What a plan says of itself."""

import pytest

from weft.server.engine.plan import Chunk, Draft, Plan
from weft.server.engine.sequence import alone


def decode() -> Chunk:
    sequence = alone([1, 2, 3], num_blocks=1)
    sequence.append(9, now=0.0)
    return Chunk(sequence, 3, 4)


def prefill(stop: int) -> Chunk:
    return Chunk(alone([1, 2, 3], num_blocks=1), 0, stop)


@pytest.mark.parametrize(
    ("chunks", "kind", "num_tokens", "kv_tokens"),
    [
        ((decode(), decode()), "decode", 2, 8),
        ((prefill(3), prefill(2)), "prefill", 5, 5),
        ((decode(), prefill(3)), "mixed", 4, 7),
    ],
    ids=["decode", "prefill", "mixed"],
)
def test_kind_and_size(
    chunks: tuple[Chunk, ...], kind: str, num_tokens: int, kv_tokens: int
) -> None:
    plan = Plan(chunks)
    assert (plan.kind, plan.num_tokens, plan.kv_tokens) == (kind, num_tokens, kv_tokens)


def test_only_the_last_token_is_followed_by_a_draw() -> None:
    assert decode().draws
    assert prefill(3).draws
    assert not prefill(2).draws


def test_who_is_dropped_from_a_draft_is_neither_followed_nor_ending() -> None:
    chunk = decode()
    draft = Draft(8)
    draft.follow(chunk, row=3)
    assert draft.plan().follows == (3,)
    draft.ending.add(chunk.sequence)
    draft.drop(chunk.sequence)
    assert (draft.budget, draft.ending) == (8, set())
    draft.add(chunk.sequence, 4)
    assert draft.plan().follows == ()
