"""Requests as these tests make them: greedy, of a known length, with their log-probabilities."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from weft.client import Answer, AsyncClient, Sampling, Stopping

from .reference import close_to

GREEDY = Sampling(temperature=0)
PROMPT = [5, 6, 7]
NUM_TOKENS = 8
LONG = 1500  # tokens: seconds on any machine, while other things happen


def exactly(num_tokens: int) -> Stopping:
    """End after so many tokens, whatever they are."""
    return Stopping(max_tokens=num_tokens, ignore_end_token=True)


async def greedy(
    weft: AsyncClient, model: str, tokens: list[int], num_tokens: int = NUM_TOKENS
) -> Answer:
    """Answer the likeliest tokens, with their log-probabilities."""
    return await weft.complete(
        model, tokens=tokens, sampling=GREEDY, stopping=exactly(num_tokens), logprobs=0
    )


class Stream:
    """A long greedy answer that is being read while something else happens."""

    def __init__(self, weft: AsyncClient, model: str, num_tokens: int) -> None:
        self.answer = Answer()
        self._chunks = weft.generate(
            model,
            answer=self.answer,
            tokens=PROMPT,
            sampling=GREEDY,
            stopping=exactly(num_tokens),
            logprobs=0,
            flush_ms=0,
        )
        self._begun = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> Answer:
        async with aclosing(self._chunks):
            async for _ in self._chunks:
                self._begun.set()
        return self.answer

    async def begun(self) -> None:
        """Return at the first token; raise what ended the stream before."""
        waiting = asyncio.create_task(self._begun.wait())
        await asyncio.wait([waiting, self._reading], return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            waiting.cancel()
            await self._reading

    @property
    def is_running(self) -> bool:
        return not self._reading.done()

    async def finish(self) -> Answer:
        """The whole answer; raise what ended it before its time."""
        return await self._reading

    async def cancel(self) -> None:
        """Leave the stream, as a client that has gone away."""
        self._reading.cancel()
        await asyncio.wait([self._reading])


@asynccontextmanager
async def streaming(weft: AsyncClient, model: str, num_tokens: int) -> AsyncIterator[Stream]:
    """Begin a stream, and leave it at the end if it still runs."""
    stream = Stream(weft, model, num_tokens)
    try:
        await stream.begun()
        yield stream
    finally:
        await stream.cancel()


def token_ids(answer: Answer) -> list[int]:
    return answer.completions[0].token_ids


def digest(answer: Answer) -> str:
    """Which content has answered."""
    assert answer.resolved is not None
    return answer.resolved.digest


def assert_same(answer: Answer, other: Answer, what: str) -> None:
    """Same version, same tokens, and the same log-probabilities within the tolerance."""
    assert digest(answer) == digest(other), what
    assert token_ids(answer) == token_ids(other), what
    ours, theirs = (
        [entry.chosen.logprob for entry in a.completions[0].logprobs] for a in (answer, other)
    )
    assert ours == close_to(theirs), what
