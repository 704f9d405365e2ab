"""What a step drew, on its way to the fronts; log-probabilities of prompts are in test_engine."""

import math
from dataclasses import dataclass, field

import pytest

from weft.server.channel import (
    Beams,
    EngineMessage,
    Failed,
    Finished,
    Hypotheses,
    TokenLogprobs,
    Tokens,
)
from weft.server.engine.beams import Candidate
from weft.server.engine.delivery import Delivery
from weft.server.engine.lookup import Speculation
from weft.server.engine.plan import Chunk, Plan
from weft.server.engine.sampler import Drawn
from weft.server.engine.streams import Streams

from .plans import BLOCK_TOKENS, Bench


@dataclass(slots=True)
class Told:
    """A bench of three sequences whose prompts are computed, and what is told of them."""

    told: list[EngineMessage] = field(default_factory=list)
    bench: Bench = field(default_factory=Bench)
    streams: Streams = field(init=False)
    speculation: Speculation = field(init=False)
    delivery: Delivery = field(init=False)

    def __post_init__(self) -> None:
        self.streams = Streams(self.bench.scheduler, send=self.hear)
        self.speculation = Speculation(2, self.bench.step_time, block_tokens=BLOCK_TOKENS)
        self.delivery = Delivery(self.bench.scheduler, self.streams, self.speculation)
        for start in (0, 10, 20):
            self.bench.submit([start, start + 1], stop_tokens=frozenset([7]), max_tokens=8)
            self.streams.add(self.bench.scheduler.waiting[-1])
        self.bench.step()

    def hear(self, _: bytes, message: EngineMessage) -> bool:
        self.told.append(message)
        return True

    def tokens(self, stream: int) -> list[int]:
        sequence = self.streams.get(b"front", stream)
        return [] if sequence is None else sequence.tokens[3:]


@pytest.fixture
def told() -> Told:
    return Told()


def test_beams_go_on_untold_and_their_end_tells_what_they_found() -> None:
    told = Told()
    told.bench.submit([1, 2], max_tokens=2, beams=Beams(2, 2))
    told.streams.add(told.bench.scheduler.waiting[-1])
    for scores in ((-1.0, -2.0, -3.0, -4.0), (-1.5, -2.5, -3.0, -4.0)):
        plan = told.bench.plan()
        found = [Candidate(0, token, score) for token, score in enumerate(scores, 50)]
        told.delivery.deliver(plan, drawn(5, 6, 8), [found])
    [hypotheses] = [m for m in told.told if isinstance(m, Hypotheses)]
    first, second = hypotheses.hypotheses
    assert (first.tokens, first.score, first.reason) == ([50, 50], -0.75, "length")
    assert (second.tokens, second.score) == ([50, 51], -1.25)
    end = told.told[told.told.index(hypotheses) + 1]
    assert isinstance(end, Finished)
    assert (end.stream, end.reason, end.generated_tokens) == (4, "length", 4)
    assert told.streams.get(b"front", 4) is None


def test_beams_whose_logits_are_not_finite_fail_alone(told: Told) -> None:
    told.bench.submit([1, 2], beams=Beams(2))
    told.streams.add(told.bench.scheduler.waiting[-1])
    found = [Candidate(0, token, math.nan) for token in range(4)]
    told.delivery.deliver(told.bench.plan(), drawn(5, 6, 8), [found])
    [failed] = [m for m in told.told if isinstance(m, Failed)]
    assert (failed.stream, failed.reason) == (4, "STEP_FAILED")
    assert len(told.bench.scheduler.running) == 3
    told.bench.scheduler.check_integrity()


def drawn(*tokens: int, broken: int | None = None) -> Drawn:
    finite = [row != broken for row in range(len(tokens))]
    return Drawn(list(tokens), finite, [None] * len(tokens))


def test_tokens_of_a_step_are_one_message_and_ends_come_after(told: Told) -> None:
    told.delivery.deliver(told.bench.plan(), drawn(5, 7, 6))
    tokens, end = told.told
    assert tokens == Tokens([1, 2, 3], [5, 7, 6])
    assert isinstance(end, Finished)
    assert (end.stream, end.reason, end.generated_tokens) == (2, "stop", 2)
    assert (told.tokens(1), told.tokens(3)) == ([5], [6])


def test_logprobs_of_one_make_a_column_for_all(told: Told) -> None:
    entry = TokenLogprobs(-0.5, [], [])
    told.delivery.deliver(told.bench.plan(), drawn(5, 6, 8)._replace(logprobs=[None, entry, None]))
    assert told.told == [Tokens([1, 2, 3], [5, 6, 8], [None, entry, None])]


def test_row_that_is_not_finite_fails_its_own_sequence(told: Told) -> None:
    told.delivery.deliver(told.bench.plan(), drawn(5, 6, 8, broken=1))
    failed, tokens = told.told
    assert failed == Failed(2, "STEP_FAILED", "the logits are not finite")
    assert tokens == Tokens([1, 3], [5, 8])


def test_row_of_a_sequence_that_has_ended_since_is_passed_over(told: Told) -> None:
    plan = told.bench.plan()
    told.streams.drop(b"front", 2)
    told.delivery.deliver(plan, drawn(5, 6, 8, broken=1))
    assert told.told == [Tokens([1, 3], [5, 8])]


def test_drafts_count_up_to_the_first_miss_and_not_beyond_an_end(told: Told) -> None:
    plan = told.bench.plan()
    drafts = [(5, 6), (4, 4), (7, 9)]
    chunks = [c._replace(drafts=d) for c, d in zip(plan.chunks, drafts, strict=True)]
    told.speculation.extend(plan)  # gets to know the sequences
    told.delivery.deliver(Plan(tuple(chunks)), drawn(5, 6, 3, 4, 8, 0, 7, 9, 1))
    tokens, end = told.told
    assert tokens == Tokens([1, 1, 1, 2, 2, 3], [5, 6, 3, 4, 8, 7])
    assert isinstance(end, Finished)
    assert (end.stream, end.reason) == (3, "stop")


def test_chunk_of_a_prompt_takes_no_row(told: Told) -> None:
    first, second, third = told.bench.scheduler.running
    chunks = (
        Chunk(first, 2, 3),
        Chunk(second, 1, 2),
        Chunk(third, 2, 3),
    )
    told.delivery.deliver(Plan(chunks), drawn(5, 6))
    assert told.told == [Tokens([1, 3], [5, 6])]
