"""One blocked reader per process tells every watcher of a job that something happened to it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import redis.asyncio

from . import codec, keys

BLOCK_MS = 5_000


class Heard:
    """Set when the watched job has news."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        """Return at the next news, or after 5 s in case the reader has lost Redis."""
        try:
            async with asyncio.timeout(BLOCK_MS / 1000):
                await self._event.wait()
        except TimeoutError:
            return
        self._event.clear()


class JobNews:
    """Follows the stream of all jobs' news on a connection of its own, which it blocks."""

    def __init__(self, redis: redis.asyncio.Redis) -> None:
        self._redis = redis
        self._listeners: dict[str, set[Heard]] = {}

    async def follow(self) -> None:
        """Read for ever; to be run as one task.

        Raises:
            RegistryUnavailable: Redis went away; the caller may call again.
        """
        cursor = "$"
        while True:
            reply = await self._redis.xread({keys.JOB_NEWS: cursor}, block=BLOCK_MS)
            for entry_id, fields in read_stream(reply):
                cursor = entry_id.decode()
                for heard in self._listeners.get(fields[b"job"].decode(), ()):
                    heard.set()

    @contextmanager
    def listen(self, job_id: str) -> Iterator[Heard]:
        """Listen for one job until the block is left."""
        heard = Heard()
        self._listeners.setdefault(job_id, set()).add(heard)
        try:
            yield heard
        finally:
            self._listeners[job_id].discard(heard)
            if not self._listeners[job_id]:
                del self._listeners[job_id]


def read_stream(reply: object) -> list[tuple[bytes, codec.Fields]]:
    """The entries in the answer to an XREAD or XREADGROUP of one stream.

    redis-py answers a list of pairs under RESP2 and a mapping to lists of lists under RESP3.
    """
    if isinstance(reply, dict):
        return [entry for pages in reply.values() for page in pages for entry in page]
    assert isinstance(reply, list)
    return [entry for _, page in reply for entry in page]
