"""Live sequences, how they end, and fronts that are gone."""

import pytest

from weft.server.channel import Beams, EngineMessage, Failed, Finished
from weft.server.engine.plan import Ended
from weft.server.engine.sequence import State
from weft.server.engine.streams import REFUSALS, Streams
from weft.server.errors import FieldViolation, PromptTooLong, QueueFull

from .plans import FRONT, Bench

Heard = list[tuple[bytes, EngineMessage]]


@pytest.fixture
def heard() -> Heard:
    return []


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def streams(bench: Bench, heard: Heard) -> Streams:
    def send(peer: bytes, message: EngineMessage) -> bool:
        heard.append((peer, message))
        return peer == FRONT

    streams = Streams(bench.scheduler, send=send)
    for start in (0, 10):
        bench.submit([start, start + 1, start + 2])
        streams.add(bench.scheduler.waiting[-1])
    return streams


def test_sequence_that_fails_is_taken_out_and_told(
    bench: Bench, streams: Streams, heard: Heard
) -> None:
    first, second = bench.scheduler.waiting
    bench.step()
    streams.fail(first, "STEP_FAILED", "why", during="decode")
    assert heard == [(FRONT, Failed(1, "STEP_FAILED", "why", {"during": "decode"}))]
    assert first.state is State.FINISHED
    assert (streams.get(FRONT, 1), streams.get(FRONT, 2), len(streams)) == (None, second, 1)
    streams.check_integrity(bench.scheduler.running)
    assert streams.drop(FRONT, 1) is None


def test_sequence_fails_once_whatever_its_beams_meet(
    bench: Bench, streams: Streams, heard: Heard
) -> None:
    bench.submit([5, 6], beams=Beams(3))
    streams.add(bench.scheduler.waiting[-1])
    for _ in range(2):
        bench.step()
    beams = [chunk.sequence for chunk in bench.plan().chunks if chunk.sequence.leader]
    assert len(beams) == 3
    for beam in beams:
        streams.fail(beam, "STEP_FAILED", "why")
    assert heard == [(FRONT, Failed(3, "STEP_FAILED", "why"))]
    assert len(bench.scheduler.running) == len(streams) == 2
    bench.scheduler.check_integrity()


def test_sequence_that_ends_says_what_it_took(bench: Bench, streams: Streams, heard: Heard) -> None:
    [first, _] = bench.scheduler.waiting
    bench.step()
    bench.scheduler.finish(first)
    streams.end(Ended(first, "stop"), now=bench.now)
    [(peer, message)] = heard
    assert isinstance(message, Finished)
    assert (peer, message.stream, message.reason, message.generated_tokens) == (FRONT, 1, "stop", 1)
    assert len(streams) == 1


def test_what_was_for_a_lost_front_is_dropped_once(bench: Bench, streams: Streams) -> None:
    [first, _] = bench.scheduler.waiting
    assert streams.drop_lost() == set()
    first.peer = b"gone"
    streams.drop(FRONT, 1)
    bench.submit([1, 2])
    sequence = bench.scheduler.waiting[-1]
    sequence.peer = b"gone"
    streams.add(sequence)
    streams.tell(b"gone", Failed(3, "INTERNAL", ""))
    assert streams.drop_lost() == {b"gone"}
    assert sequence.state is State.FINISHED
    assert streams.drop_lost() == set()
    streams.check_integrity(bench.scheduler.waiting)


@pytest.mark.parametrize(
    "error",
    [
        QueueFull("full", retry_s=3),
        PromptTooLong((FieldViolation("prompt", "long"),), max_context=9),
    ],
)
def test_refusal_names_its_reason_and_its_figures(
    bench: Bench, streams: Streams, heard: Heard, error: QueueFull | PromptTooLong
) -> None:
    streams.refuse(FRONT, bench.scheduler.waiting[0].request, error)
    assert heard == [(FRONT, Failed(1, REFUSALS[type(error)], str(error), error.metadata))]
