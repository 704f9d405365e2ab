"""The socket between front and engine."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from weft.server import channel
from weft.server.channel import (
    Abort,
    EngineMessage,
    EngineSocket,
    Failed,
    Finished,
    FoundViolation,
    FrontMessage,
    FrontSocket,
    Held,
    Hello,
    Hypotheses,
    Hypothesis,
    LoadSample,
    Locate,
    Located,
    Need,
    Placed,
    Probe,
    Probed,
    PromptLogprobs,
    Ready,
    Sampling,
    Stats,
    StepSample,
    Submit,
    TokenLogprobs,
    Tokens,
    Unpin,
    Unplaced,
    Unready,
    Warm,
    Welcome,
)

FROM_FRONT: list[FrontMessage] = [
    Hello(build="1"),
    Submit(
        stream=1,
        digest="sha256:a",
        tokens=[1, 2],
        sampling=Sampling(temperature=0.5, top_k=3, top_p=0.9, min_p=0.1, seed=2**64 - 1),
        max_tokens=3,
        stop_tokens=frozenset({0}),
        salt="acme",
        logprobs=2,
        deadline=1.5,
    ),
    Abort(stream=1),
    Ready(digest="sha256:a", path="/a"),
    Unready(digest="sha256:a", reason="CONTENT_CORRUPT", message="no"),
    Warm(call=1, digest="sha256:a", tier="host", pin=True),
    Unpin(digest="sha256:a"),
    Locate(call=2),
    Probe(probe=1, digest="sha256:a", image="/i", config="/c", weights="/w", allow_no_effect=False),
]
FROM_ENGINE: list[EngineMessage] = [
    Welcome(build="1", base_digest="sha256:b", max_context=8, num_blocks=4, block_tokens=2),
    Tokens(streams=[1], tokens=[5], logprobs=[TokenLogprobs(-0.5, [5, 6], [-0.5, -1.0])]),
    PromptLogprobs(stream=1, logprobs=[TokenLogprobs(-0.5, [5], [-0.5])]),
    Hypotheses(stream=1, hypotheses=[Hypothesis([5, 6], -0.5, "stop")]),
    Finished(
        stream=1,
        reason="stop",
        prompt_tokens=2,
        cached_tokens=0,
        generated_tokens=1,
        queue_s=0.1,
        load_s=0.0,
        prefill_s=0.2,
        decode_s=0.3,
        tier="arena",
    ),
    Failed(stream=1, reason="STEP_FAILED", message="no", metadata={"step": "1"}),
    Placed(call=1, tier="host", reached=True),
    Unplaced(call=1, reason="QUOTA_EXCEEDED", message="full", metadata={"limit": "1"}),
    Located(call=2, held=[Held("sha256:a", "arena", 9, None, 0.5)]),
    Need(digest="sha256:a"),
    Probed(probe=1, violations=[FoundViolation("NO_EFFECT", "", "0", "a change")]),
    Stats(
        running=1,
        waiting_budget=0,
        waiting_blocks=0,
        waiting_adapter=0,
        free_blocks=1,
        cached_blocks=1,
        used_blocks=2,
        arena_used_bytes=3,
        arena_total_bytes=4,
        host_used_bytes=5,
        host_total_bytes=6,
        host_adapters=1,
        resident=["sha256:a"],
        steps=[StepSample("mixed", 0.1, 3, 1)],
        loads=[LoadSample("disk", 0.2)],
    ),
]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineSocket]:
    socket = EngineSocket(tmp_path / "engine.sock")
    yield socket
    socket.close()


@pytest.fixture
def front(tmp_path: Path, engine: EngineSocket) -> Iterator[FrontSocket]:
    socket = FrontSocket(tmp_path / "engine.sock")
    yield socket
    socket.close()


async def introduce(engine: EngineSocket, front: FrontSocket) -> bytes:
    await front.send(Hello(build="1"))
    [(peer, _)] = engine.receive(timeout_s=10)
    return peer


async def test_every_message_arrives_as_it_was_sent(
    engine: EngineSocket, front: FrontSocket
) -> None:
    peer = await introduce(engine, front)
    for sent in FROM_FRONT:
        await front.send(sent)
        assert list(engine.receive(timeout_s=10)) == [(peer, sent)]
    for answer in FROM_ENGINE:
        assert engine.send(peer, answer)
        assert await front.receive() == answer


def test_every_kind_of_message_is_tested() -> None:
    kinds = set(channel.FrontMessage.__args__) | set(channel.EngineMessage.__args__)
    assert {type(message) for message in [*FROM_FRONT, *FROM_ENGINE]} == kinds


async def test_a_front_that_does_not_read_never_blocks_the_engine(
    engine: EngineSocket, front: FrontSocket
) -> None:
    peer = await introduce(engine, front)
    message = Failed(stream=1, reason="INTERNAL", message="x" * 4096)
    assert any(not engine.send(peer, message) for _ in range(10 * channel.HIGH_WATER_MARK))


async def test_a_front_that_left_is_noticed(engine: EngineSocket, front: FrontSocket) -> None:
    peer = await introduce(engine, front)
    front.close()
    assert any(not engine.send(peer, Need(digest="sha256:a")) for _ in range(100_000))


async def test_front_sees_the_engine_come_go_and_return(
    tmp_path: Path, engine: EngineSocket, front: FrontSocket
) -> None:
    connections = front.connections()
    async with asyncio.timeout(20):
        assert await anext(connections)
        engine.close()
        assert not await anext(connections)
        again = EngineSocket(tmp_path / "engine.sock")
        assert await anext(connections)
        await introduce(again, front)
        again.close()


def test_socket_is_for_its_owner_only(tmp_path: Path, engine: EngineSocket) -> None:
    assert (tmp_path / "engine.sock").stat().st_mode & 0o777 == 0o600
