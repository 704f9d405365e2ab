"""The front's side of the engine, against a real socket whose other end the test holds."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from weft.adapters.admission import Candidate
from weft.adapters.errors import ContentCorrupt, QuotaExceeded, Refused
from weft.server.channel import (
    BUILD,
    Abort,
    EngineMessage,
    EngineSocket,
    Failed,
    Finished,
    FoundViolation,
    FrontMessage,
    Held,
    Hello,
    Hypotheses,
    Hypothesis,
    Locate,
    Located,
    Need,
    Placed,
    Probe,
    Probed,
    Ready,
    Sampling,
    Submit,
    Tokens,
    Unpin,
    Unplaced,
    Unready,
    Warm,
    Welcome,
)
from weft.server.errors import (
    AdapterLoadFailed,
    Cancelled,
    EngineUnavailable,
    PromptTooLong,
    QueueFull,
    RequestInvalid,
    StartFailed,
    StepFailed,
)
from weft.server.rpc.engine_link import BUFFERED_EVENTS, EngineLink, Said, Token

BASE = "sha256:base"
FAULTS: dict[str, Exception] = {
    "sha256:bad": ContentCorrupt("another sha256"),
    "sha256:lost": EngineUnavailable("it stopped meanwhile"),
    "sha256:full": OSError(28, "No space left on device", "/secret/path"),
}
WELCOME = Welcome(build=BUILD, base_digest=BASE, max_context=8, num_blocks=4, block_tokens=2)


class Engine:
    """The engine's end, spoken by hand."""

    def __init__(self, path: Path) -> None:
        self.socket = EngineSocket(path)
        self.peer = b""
        self._heard: Iterator[tuple[bytes, FrontMessage]] = iter(())

    async def hear(self) -> FrontMessage:
        async with asyncio.timeout(10):
            while (found := next(self._heard, None)) is None:
                self._heard = self.socket.receive(timeout_s=0)
                await asyncio.sleep(0.001)
        self.peer, message = found
        return message

    def say(self, message: EngineMessage) -> None:
        assert self.socket.send(self.peer, message)

    async def meet(self) -> None:
        assert await self.hear() == Hello(build=BUILD)
        self.say(WELCOME)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path / "engine.sock")
    yield engine
    engine.socket.close()


async def images(digest: str) -> Path:
    if digest in FAULTS:
        raise FAULTS[digest]
    return Path("/images") / digest


@pytest.fixture
async def link(tmp_path: Path, engine: Engine) -> AsyncIterator[EngineLink]:
    changes: asyncio.Queue[bool] = asyncio.Queue()
    link = EngineLink(
        tmp_path / "engine.sock", base_digest=BASE, images=images, on_change=changes.put_nowait
    )
    running = asyncio.create_task(link.run())
    await engine.meet()
    assert await changes.get()
    yield link
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def submit(number: int) -> Submit:
    return Submit(
        stream=number,
        digest=None,
        tokens=[1],
        sampling=Sampling(),
        max_tokens=4,
        stop_tokens=frozenset(),
        salt="",
    )


def finished(number: int) -> Finished:
    return Finished(
        stream=number,
        reason="stop",
        prompt_tokens=1,
        cached_tokens=0,
        generated_tokens=1,
        queue_s=0,
        load_s=0,
        prefill_s=0,
        decode_s=0,
        tier="arena",
    )


async def read(link: EngineLink) -> list[Said]:
    return [event async for batch in link.stream(submit) for event in batch]


async def test_each_stream_gets_its_own_tokens(engine: Engine, link: EngineLink) -> None:
    reads = [asyncio.create_task(read(link)) for _ in range(2)]
    first, second = await engine.hear(), await engine.hear()
    assert isinstance(first, Submit)
    assert isinstance(second, Submit)
    engine.say(Tokens(streams=[second.stream, first.stream], tokens=[20, 10]))
    engine.say(finished(first.stream))
    engine.say(finished(second.stream))
    assert await reads[0] == [Token(first.stream, 10, None), finished(first.stream)]
    assert await reads[1] == [Token(second.stream, 20, None), finished(second.stream)]


async def test_what_a_beam_search_finds_comes_before_its_end(
    engine: Engine, link: EngineLink
) -> None:
    reading = asyncio.create_task(read(link))
    started = await engine.hear()
    assert isinstance(started, Submit)
    found = Hypotheses(started.stream, [Hypothesis([1, 2], -0.5, "stop")])
    engine.say(found)
    engine.say(finished(started.stream))
    assert await reading == [found, finished(started.stream)]


async def test_streams_of_one_request_come_together_and_end_one_by_one(
    engine: Engine, link: EngineLink
) -> None:
    batches = link.stream(submit, n=2)
    reading = asyncio.create_task(anext(batches))
    one, two = await engine.hear(), await engine.hear()
    assert isinstance(one, Submit)
    assert isinstance(two, Submit)
    engine.say(Tokens(streams=[one.stream, two.stream], tokens=[1, 2]))
    assert await reading == [Token(one.stream, 1, None), Token(two.stream, 2, None)]
    engine.say(finished(two.stream))
    assert await anext(batches) == [finished(two.stream)]
    engine.say(finished(one.stream))
    assert await anext(batches) == [finished(one.stream)]
    with pytest.raises(StopAsyncIteration):
        await anext(batches)


async def test_one_failure_ends_the_streams_of_its_request(
    engine: Engine, link: EngineLink
) -> None:
    batches = link.stream(submit, n=2)
    reading = asyncio.create_task(anext(batches))
    one, two = await engine.hear(), await engine.hear()
    assert isinstance(one, Submit)
    assert isinstance(two, Submit)
    engine.say(Failed(one.stream, "STEP_FAILED", "broken", {}))
    with pytest.raises(StepFailed):
        await reading
    assert await engine.hear() == Abort(stream=two.stream)


async def test_tokens_after_the_first_are_gathered(engine: Engine, link: EngineLink) -> None:
    batches = link.stream(submit, flush_s=0.2)
    first = asyncio.create_task(anext(batches))
    started = await engine.hear()
    assert isinstance(started, Submit)
    engine.say(Tokens(streams=[started.stream], tokens=[1]))
    assert await first == [Token(started.stream, 1, None)]
    for token in (2, 3):
        engine.say(Tokens(streams=[started.stream], tokens=[token]))
    assert await anext(batches) == [Token(started.stream, number, None) for number in (2, 3)]
    await batches.aclose()


async def test_a_reader_that_leaves_aborts_its_sequence(engine: Engine, link: EngineLink) -> None:
    stream = link.stream(submit)
    async with aclosing(stream):
        waiting = asyncio.create_task(anext(stream))
        started = await engine.hear()
        assert isinstance(started, Submit)
        engine.say(Tokens(streams=[started.stream], tokens=[1]))
        await waiting
    assert await engine.hear() == Abort(stream=started.stream)


async def test_a_fault_of_the_engine_ends_the_stream_with_its_error(
    engine: Engine, link: EngineLink
) -> None:
    reading = asyncio.create_task(read(link))
    started = await engine.hear()
    assert isinstance(started, Submit)
    engine.say(Failed(stream=started.stream, reason="QUEUE_FULL", message="64 wait"))
    with pytest.raises(QueueFull, match="64 wait"):
        await reading


async def test_a_lost_engine_fails_its_streams_and_probes(engine: Engine, link: EngineLink) -> None:
    reading = asyncio.create_task(read(link))
    probing = asyncio.create_task(probe(link))
    await engine.hear()
    await engine.hear()
    engine.socket.close()
    for task in (reading, probing):
        with pytest.raises(EngineUnavailable):
            await task
    with pytest.raises(EngineUnavailable):
        await read(link)


async def test_a_reader_that_stops_reading_is_given_up(engine: Engine, link: EngineLink) -> None:
    stream = link.stream(submit)
    first = asyncio.create_task(anext(stream))
    started = await engine.hear()
    assert isinstance(started, Submit)
    engine.say(Tokens(streams=[started.stream], tokens=[1]))
    await first
    for _ in range(BUFFERED_EVENTS + 1):
        engine.say(Tokens(streams=[started.stream], tokens=[1]))
    assert await engine.hear() == Abort(stream=started.stream)
    with pytest.raises(Cancelled, match=str(BUFFERED_EVENTS)):
        async for _ in stream:
            pass


async def test_images_are_brought_or_the_reason_is_said(engine: Engine, link: EngineLink) -> None:
    engine.say(Need(digest="sha256:a"))
    assert await engine.hear() == Ready(digest="sha256:a", path="/images/sha256:a")
    engine.say(Need(digest="sha256:bad"))
    assert await engine.hear() == Unready(
        digest="sha256:bad", reason="CONTENT_CORRUPT", message="another sha256"
    )


async def test_no_fault_of_an_image_ends_the_link(engine: Engine, link: EngineLink) -> None:
    engine.say(Need(digest="sha256:lost"))
    heard = await engine.hear()
    assert isinstance(heard, Unready)
    assert heard.reason == "ENGINE_UNAVAILABLE"
    engine.say(Need(digest="sha256:full"))
    heard = await engine.hear()
    assert isinstance(heard, Unready)
    assert heard.reason == "ADAPTER_LOAD_FAILED"
    assert "secret" not in heard.message
    engine.say(Need(digest="sha256:a"))
    assert isinstance(await engine.hear(), Ready)


async def test_a_prompt_that_the_engine_refuses_ends_its_stream_only(
    engine: Engine, link: EngineLink
) -> None:
    for reason, expected in (
        ("REQUEST_INVALID", RequestInvalid),
        ("PROMPT_TOO_LONG", PromptTooLong),
        ("ADAPTER_REFUSED", AdapterLoadFailed),
    ):
        reading = asyncio.create_task(read(link))
        started = await engine.hear()
        assert isinstance(started, Submit)
        engine.say(Failed(stream=started.stream, reason=reason, message="no"))
        with pytest.raises(expected):
            await reading


async def probe(link: EngineLink) -> Probed:
    path = Path("/p")
    return await link.probe(Candidate("sha256:a", path, path, path, allow_no_effect=False))


async def test_what_a_probe_finds_refuses_the_adapter(engine: Engine, link: EngineLink) -> None:
    probing = asyncio.create_task(probe(link))
    asked = await engine.hear()
    assert isinstance(asked, Probe)
    found = [FoundViolation("NO_EFFECT", "", "equal logits", "a change")]
    engine.say(Probed(probe=asked.probe, violations=found))
    with pytest.raises(Refused, match="NO_EFFECT"):
        await probing


async def test_an_errand_is_told_step_by_step_until_its_end(
    engine: Engine, link: EngineLink
) -> None:
    places = link.warm("sha256:a", "host", pin=True)
    first = asyncio.create_task(anext(places))
    asked = await engine.hear()
    assert isinstance(asked, Warm)
    assert (asked.digest, asked.tier, asked.pin) == ("sha256:a", "host", True)
    engine.say(Placed(asked.call, "disk", reached=False))
    engine.say(Placed(asked.call, "host", reached=True))
    assert await first == "disk"
    assert [place async for place in places] == ["host"]
    link.unpin("sha256:a")
    assert await engine.hear() == Unpin("sha256:a")


async def test_what_the_engine_holds_is_answered(engine: Engine, link: EngineLink) -> None:
    asking = asyncio.create_task(link.locate())
    asked = await engine.hear()
    assert isinstance(asked, Locate)
    held = [Held("sha256:a", "arena", 9, None, 0.5)]
    engine.say(Located(asked.call, held))
    assert await asking == held


async def test_an_errand_ends_with_its_error_or_with_the_engine(
    engine: Engine, link: EngineLink
) -> None:
    refused = asyncio.create_task(anext(link.warm("sha256:a", "arena", pin=True)))
    asked = await engine.hear()
    assert isinstance(asked, Warm)
    engine.say(Unplaced(asked.call, "QUOTA_EXCEEDED", "full", {"figure": "1", "limit": "2"}))
    with pytest.raises(QuotaExceeded, match="full") as caught:
        await refused
    assert caught.value.metadata == {"figure": "1", "limit": "2"}
    lost = asyncio.create_task(link.locate())
    await engine.hear()
    engine.socket.close()
    with pytest.raises(EngineUnavailable):
        await lost


@pytest.mark.parametrize(
    "welcome",
    [
        Welcome(build="0", base_digest=BASE, max_context=8, num_blocks=4, block_tokens=2),
        Welcome(build=BUILD, base_digest="sha256:x", max_context=8, num_blocks=4, block_tokens=2),
    ],
    ids=["build", "base"],
)
async def test_an_engine_of_another_build_or_base_ends_the_front(
    tmp_path: Path, engine: Engine, welcome: Welcome
) -> None:
    link = EngineLink(
        tmp_path / "engine.sock", base_digest=BASE, images=images, on_change=lambda _: None
    )
    running = asyncio.create_task(link.run())
    await engine.hear()
    engine.say(welcome)
    with pytest.raises(ExceptionGroup) as caught:
        await running
    assert caught.group_contains(StartFailed)
