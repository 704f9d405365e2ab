"""The front's side of the engine: streams of tokens, probes, and images that the engine needs."""

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from weft.adapters.admission import Candidate
from weft.adapters.errors import AdapterError, Refused, Violation
from weft.server import metrics
from weft.server.channel import (
    BUILD,
    Abort,
    EngineMessage,
    Failed,
    Finished,
    FrontMessage,
    FrontSocket,
    Held,
    Hello,
    Hypotheses,
    Locate,
    Located,
    Need,
    Placed,
    Probe,
    Probed,
    PromptLogprobs,
    Ready,
    Stats,
    Submit,
    TokenLogprobs,
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
    ServerError,
    StartFailed,
)

from .status import engine_error, row_of

logger = logging.getLogger(__name__)

BUFFERED_EVENTS = 256  # per stream of a request, before a reader counts as gone
Images = Callable[[str], Awaitable[Path]]


class Token(NamedTuple):
    """One token of a stream, with its log-probabilities where the request asked for them."""

    stream: int
    token: int
    logprobs: TokenLogprobs | None


Said = Token | PromptLogprobs | Hypotheses | Finished
Event = Said | Exception


class Reader(NamedTuple):
    """Where the events of a request's streams wait, and how many may."""

    events: asyncio.Queue[Event]
    limit: int


async def _next(answers: asyncio.Queue[Placed | Located | Exception]) -> Placed | Located:
    answer = await answers.get()
    if isinstance(answer, Exception):
        raise answer
    return answer


class EngineLink:
    """Talks to the engine while `run` runs; without an engine every call is EngineUnavailable."""

    def __init__(
        self,
        socket: Path,
        *,
        base_digest: str,
        images: Images,
        on_change: Callable[[bool], None],
    ) -> None:
        """Prepare to connect.

        Args:
            images: Brings the image of a digest to the local disk and answers its path.
            on_change: Told True when the engine takes sequences and False when it is lost.
        """
        self._socket = FrontSocket(socket)
        self._base_digest = base_digest
        self._images = images
        self._on_change = on_change
        self._outbox: asyncio.Queue[FrontMessage] = asyncio.Queue()
        self._streams: dict[int, Reader] = {}
        self._probes: dict[int, asyncio.Future[Probed]] = {}
        self._calls: dict[int, asyncio.Queue[Placed | Located | Exception]] = {}
        self._numbers = itertools.count(1)
        self.welcome: Welcome | None = None

    async def run(self) -> None:
        """Serve the link until cancelled; raise StartFailed when the engine is of another build."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow_connection())
                group.create_task(self._send())
                while True:
                    message = await self._socket.receive()
                    metrics.CHANNEL_MESSAGES.labels("in").inc()
                    if isinstance(message, Need):
                        group.create_task(self._bring(message.digest))
                    else:
                        self._take(message)
        finally:
            self._lose()
            self._socket.close()

    async def stream(
        self, submit: Callable[[int], Submit], *, n: int = 1, flush_s: float = 0.0
    ) -> AsyncGenerator[list[Said], None]:
        """Run `n` sequences; yield their tokens, Finished last of each, or raise what ended one.

        Args:
            submit: Makes the message, given the number of the stream.
            flush_s: Gather tokens so that two batches are at least so many seconds apart.
        """
        numbers = list(itertools.islice(self._numbers, n))
        events: asyncio.Queue[Event] = asyncio.Queue()
        self.require_engine()
        for number in numbers:
            self._streams[number] = Reader(events, BUFFERED_EVENTS * n)
            self._outbox.put_nowait(submit(number))
        flushed, num_running = 0.0, n
        try:
            while num_running:
                arrived = [await events.get()]
                if (pause_s := flushed + flush_s - time.monotonic()) > 0:
                    await asyncio.sleep(pause_s)
                while not events.empty():
                    arrived.append(events.get_nowait())
                batch = [event for event in arrived if not isinstance(event, Exception)]
                if batch:
                    flushed = time.monotonic()
                    yield batch
                for event in arrived:
                    if isinstance(event, Exception):
                        raise event
                    num_running -= isinstance(event, Finished)
        finally:
            for number in numbers:
                if self._streams.pop(number, None) is not None:
                    self.abort(number)

    def abort(self, number: int) -> None:
        """Ask the engine to end a sequence; it answers with Finished if that one was running."""
        if self.welcome is not None:
            self._outbox.put_nowait(Abort(stream=number))

    async def probe(self, candidate: Candidate) -> Probed:
        """Let the engine try an adapter; raise Refused with what it finds wrong."""
        self.require_engine()
        number = next(self._numbers)
        answer: asyncio.Future[Probed] = asyncio.get_running_loop().create_future()
        self._probes[number] = answer
        self._outbox.put_nowait(
            Probe(
                probe=number,
                digest=candidate.digest,
                image=str(candidate.image_path),
                config=str(candidate.config_path),
                weights=str(candidate.weights_path),
                allow_no_effect=candidate.allow_no_effect,
            )
        )
        try:
            probed = await answer
        finally:
            self._probes.pop(number, None)
        if probed.violations:
            raise Refused(
                tuple(Violation(v.code, v.path, v.found, v.expected) for v in probed.violations)
            )
        return probed

    async def warm(self, digest: str, tier: str, *, pin: bool = False) -> AsyncGenerator[str, None]:
        """Bring an adapter to a tier; yield the nearest tier that holds it, before and after.

        Args:
            tier: `arena` or `host`.
            pin: Keep it there.

        Raises:
            QuotaExceeded: Pins would take too much of the tier.
            AdapterError, ServerError: It could not be loaded.
        """
        async with self._asking(lambda call: Warm(call, digest, tier, pin)) as answers:
            reached = False
            while not reached:
                answer = await _next(answers)
                assert isinstance(answer, Placed)
                reached = answer.reached
                yield answer.tier

    def unpin(self, digest: str) -> None:
        """Let a pinned adapter go."""
        self.require_engine()
        self._outbox.put_nowait(Unpin(digest))

    async def locate(self) -> list[Held]:
        """Ask which adapters lie in the engine's memory."""
        async with self._asking(Locate) as answers:
            answer = await _next(answers)
        assert isinstance(answer, Located)
        return answer.held

    @contextlib.asynccontextmanager
    async def _asking(
        self, make: Callable[[int], FrontMessage]
    ) -> AsyncIterator[asyncio.Queue[Placed | Located | Exception]]:
        """Send a message with a number of its own, to which the answers come."""
        self.require_engine()
        number = next(self._numbers)
        answers = self._calls[number] = asyncio.Queue()
        self._outbox.put_nowait(make(number))
        try:
            yield answers
        finally:
            del self._calls[number]

    def require_engine(self) -> Welcome:
        """Answer what the engine said of itself; raise EngineUnavailable while there is none."""
        if self.welcome is None:
            raise EngineUnavailable("the engine is starting or restarting")
        return self.welcome

    async def _follow_connection(self) -> None:
        async for connected in self._socket.connections():
            if connected:
                self._outbox.put_nowait(Hello(build=BUILD))
            else:
                logger.warning("the engine is gone")
                self._lose()

    async def _send(self) -> None:
        while True:
            message = await self._outbox.get()
            await self._socket.send(message)
            metrics.CHANNEL_MESSAGES.labels("out").inc()

    async def _bring(self, digest: str) -> None:
        try:
            path = await self._images(digest)
        except (AdapterError, ServerError, OSError) as error:
            logger.warning("image of %s: %s", digest, error)
            if isinstance(error, OSError):  # its text has paths
                error = AdapterLoadFailed(f"the image of {digest} could not be written")
            reason = row_of(error).reason
            self._outbox.put_nowait(Unready(digest=digest, reason=reason, message=str(error)))
        else:
            self._outbox.put_nowait(Ready(digest=digest, path=str(path)))

    def _take(self, message: EngineMessage) -> None:
        match message:
            case Tokens():
                logprobs = message.logprobs or itertools.repeat(None)
                for number, token, found in zip(
                    message.streams, message.tokens, logprobs, strict=False
                ):
                    self._give(number, Token(number, token, found))
            case PromptLogprobs() | Hypotheses():
                self._give(message.stream, message)
            case Finished():
                self._give(message.stream, message, last=True)
            case Failed():
                error = engine_error(message.reason, message.message, message.metadata)
                self._give(message.stream, error, last=True)
            case Stats():
                metrics.record(message)
            case Welcome():
                self._meet(message)
            case _:
                self._take_answer(message)

    def _take_answer(self, message: EngineMessage) -> None:
        match message:
            case Probed():
                if (answer := self._probes.get(message.probe)) is not None and not answer.done():
                    answer.set_result(message)
            case Placed() | Located():
                self._answer(message.call, message)
            case Unplaced():
                error = engine_error(message.reason, message.message, message.metadata)
                self._answer(message.call, error)

    def _meet(self, welcome: Welcome) -> None:
        for name, ours, theirs in (
            ("build", BUILD, welcome.build),
            ("base", self._base_digest, welcome.base_digest),
        ):
            if ours != theirs:
                raise StartFailed(f"the engine's {name} is {theirs}, this front's is {ours}")
        self.welcome = welcome
        self._on_change(True)

    def _give(self, number: int, event: Event, *, last: bool = False) -> None:
        reader = self._streams.get(number)
        if reader is None:
            return
        if last:
            del self._streams[number]
        elif reader.events.qsize() >= reader.limit:
            del self._streams[number]
            self.abort(number)
            event = Cancelled(f"{reader.limit} tokens were not read", limit=reader.limit)
        reader.events.put_nowait(event)

    def _answer(self, call: int, answer: Placed | Located | Exception) -> None:
        if call in self._calls:
            self._calls[call].put_nowait(answer)

    def _lose(self) -> None:
        """Fail whatever waits for the engine, and forget what was still to be said to it."""
        if self.welcome is not None:
            self.welcome = None
            self._on_change(False)
        error = EngineUnavailable("the engine stopped; it is being restarted")
        for number in list(self._streams):
            self._give(number, error, last=True)
        for call in self._calls:
            self._answer(call, error)
        for answer in self._probes.values():
            if not answer.done():
                answer.set_exception(error)
        with contextlib.suppress(asyncio.QueueEmpty):
            while True:
                self._outbox.get_nowait()
