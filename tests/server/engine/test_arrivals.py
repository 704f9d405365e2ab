"""Requests that wait before they are queued: their order, and the places that they hold."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from llguidance import LLMatcher

from weft.server.channel import EngineMessage, Failed, Sampling, Submit
from weft.server.engine.arrivals import Arrivals
from weft.server.engine.constraint import Grammars
from weft.server.engine.figures import Figures
from weft.server.engine.streams import Streams

from .plans import FRONT, LIMITS, VOCABULARY, Bench
from .worlds import World

LETTER, BROKEN = LLMatcher.grammar_from_regex("[ab]"), LLMatcher.grammar_from_regex("(")


@dataclass(slots=True)
class Gate:
    """Arrivals before a bench, which counts at most `max_waiting` of a tenant, and what is told."""

    folder: Path | None
    max_waiting: int
    told: list[EngineMessage] = field(default_factory=list)
    bench: Bench = field(init=False)
    streams: Streams = field(init=False)
    arrivals: Arrivals = field(init=False)

    def __post_init__(self) -> None:
        self.bench = Bench(replace(LIMITS, max_tenant_waiting=self.max_waiting))
        self.streams = Streams(self.bench.scheduler, send=self.hear)
        grammars = Grammars(self.folder, vocab_size=VOCABULARY)
        figures = Figures(element_bytes=4)
        self.arrivals = Arrivals(
            self.bench.scheduler, self.streams, grammars=grammars, figures=figures
        )

    def close(self) -> None:
        self.arrivals.close()

    def hear(self, _: bytes, message: EngineMessage) -> bool:
        self.told.append(message)
        return True

    def submit(
        self,
        stream: int,
        *,
        peer: bytes = FRONT,
        after: int | None = None,
        grammar: str | None = None,
        salt: str = "x",
    ) -> None:
        request = Submit(
            stream,
            digest=None,
            tokens=[1, 2, 3],
            sampling=Sampling(),
            max_tokens=2,
            stop_tokens=frozenset(),
            salt=salt,
            after=after,
            grammar=grammar,
        )
        self.arrivals.submit(peer, request, now=0.0)
        self.arrivals.check_integrity()

    def compile(self) -> None:
        """Step once every grammar is compiled."""
        for arrived in self.arrivals._waiting:
            if arrived.constraint is not None:
                arrived.constraint.exception(timeout=60)
        self.step()

    def step(self) -> None:
        self.arrivals.step()
        self.arrivals.check_integrity()
        self.bench.scheduler.check_integrity()

    @property
    def queued(self) -> list[int]:
        return [sequence.request.stream for sequence in self.bench.scheduler.waiting]

    @property
    def refused(self) -> list[tuple[int, str]]:
        return [(m.stream, m.reason) for m in self.told if isinstance(m, Failed)]


@pytest.fixture
def gate(world: World) -> Iterator[Gate]:
    with closing(Gate(world.folder, max_waiting=3)) as gate:
        yield gate


def test_who_follows_is_queued_when_the_first_token_has_come_though_the_queue_is_full(
    gate: Gate,
) -> None:
    gate.submit(1)
    gate.submit(2, after=1)
    gate.step()
    assert gate.queued == [1]
    gate.bench.step()
    gate.submit(3)
    gate.submit(4)
    gate.submit(5)
    assert gate.refused == [(5, "QUEUE_FULL")]
    gate.step()
    assert gate.queued == [2, 3, 4], "by arrival"
    gate.submit(6, after=1)
    assert gate.refused[1:] == [(6, "QUEUE_FULL")]


def test_who_follows_one_that_has_gone_is_queued(gate: Gate) -> None:
    gate.submit(1)
    gate.submit(2, after=1)
    gate.streams.drop(FRONT, 1)
    gate.step()
    assert gate.queued == [2]


def test_stream_of_another_front_is_not_followed(gate: Gate) -> None:
    gate.submit(1, peer=b"other")
    gate.submit(2, after=1)
    assert gate.queued == [1, 2]


def test_requests_whose_grammar_is_compiled_count_in_the_limits(gate: Gate) -> None:
    for stream in (1, 2, 3, 4):
        gate.submit(stream, grammar=LETTER)
    gate.submit(5, grammar=LETTER, salt="y")
    assert gate.refused == [(4, "QUEUE_FULL")]
    assert not gate.queued
    gate.compile()
    assert gate.queued == [1, 2, 3, 5]
    assert all(s.constraint is not None for s in gate.bench.scheduler.waiting)
    assert not gate.arrivals.is_compiling
    gate.submit(6)
    assert gate.refused[1:] == [(6, "QUEUE_FULL")]


def test_who_follows_keeps_its_place_while_its_grammar_and_its_leader_s_are_compiled(
    gate: Gate,
) -> None:
    gate.submit(1, grammar=LETTER)
    gate.submit(2, grammar=LETTER, after=1)
    gate.compile()
    assert gate.queued == [1]
    assert gate.arrivals.is_compiling
    gate.submit(3)
    gate.submit(4)
    assert gate.refused == [(4, "QUEUE_FULL")]


def test_places_are_given_back_by_whoever_is_refused_dropped_or_lost(gate: Gate) -> None:
    gate.submit(1, grammar=BROKEN)
    gate.submit(2, grammar=LETTER)
    gate.submit(3, peer=b"other", grammar=LETTER)
    gate.arrivals.drop(FRONT, 2)
    gate.arrivals.drop_fronts({b"other"})
    gate.compile()
    assert gate.refused == [(1, "REQUEST_INVALID")]
    assert len(gate.arrivals) == 0
    for stream in (4, 5, 6):
        gate.submit(stream)
    assert gate.queued == [4, 5, 6]


def test_grammar_that_fails_for_another_reason_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Gate(tmp_path / "nowhere", max_waiting=3)) as gate:
        gate.submit(1, grammar=LETTER)
        gate.compile()
        assert gate.refused == [(1, "INTERNAL")]
    assert "a grammar could not be compiled" in caplog.text
