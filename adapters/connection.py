"""Clients of Redis whose failures are this package's errors: the one place that maps them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import redis.asyncio
from redis import exceptions
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from .errors import AdapterError, RegistryUnavailable, StoreFull, StoreUnavailable

METADATA_TIMEOUT_S = 2.0
CHUNK_TIMEOUT_S = 10.0
BLOCK_MS = 5_000
TRIES = 3


@contextmanager
def not_swallowing_cancellation() -> Iterator[None]:
    """Raise CancelledError after a command during which the task was cancelled.

    The client sends under `asyncio.wait_for`, which before Python 3.12 loses a cancellation that
    arrives when the sending has just ended: https://github.com/python/cpython/issues/86296
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    yield
    if task and task.cancelling() > before:
        raise asyncio.CancelledError


@asynccontextmanager
async def answering(unavailable: type[AdapterError], limit_s: float) -> AsyncIterator[None]:
    """Run one command; what goes wrong is an error of this package.

    The client retries the command, its connecting and its handshake each within the other: only
    `limit_s` keeps a server that hangs from being waited for many times as long.
    """
    try:
        async with asyncio.timeout(limit_s):
            with not_swallowing_cancellation():
                yield
    except TimeoutError as error:
        raise unavailable(f"Redis has not answered within {limit_s:g} s; try again") from error
    except exceptions.RedisError as error:
        raise translate(error, unavailable) from error


class RegistryRedis(redis.asyncio.Redis):
    """Metadata: every failure to answer is RegistryUnavailable, a full server is StoreFull.

    Attributes:
        limit_s: Of a command with all its tries.
    """

    unavailable: type[AdapterError] = RegistryUnavailable
    limit_s: float

    async def execute_command(self, *args: object, **options: object) -> object:
        async with answering(self.unavailable, self.limit_s):
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        pipeline = MappedPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )
        pipeline.unavailable, pipeline.limit_s = self.unavailable, self.limit_s
        return pipeline


class StoreRedis(RegistryRedis):
    """Bytes: the same, but a failure to answer is StoreUnavailable."""

    unavailable = StoreUnavailable


class MappedPipeline(Pipeline):
    unavailable: type[AdapterError] = RegistryUnavailable
    limit_s: float

    async def execute(self, raise_on_error: bool = True) -> list[object]:
        async with answering(self.unavailable, self.limit_s):
            return await super().execute(raise_on_error)


R = TypeVar("R", bound=RegistryRedis)


def connect(url: str) -> RegistryRedis:
    """Open a client for metadata: 2 s per command, three tries."""
    return _open(RegistryRedis, url, METADATA_TIMEOUT_S, max_connections=64)


def connect_follower(url: str) -> RegistryRedis:
    """Open a client for reads that block up to BLOCK_MS, apart from everybody else's."""
    return _open(RegistryRedis, url, BLOCK_MS / 1000 + METADATA_TIMEOUT_S, max_connections=8)


def connect_store(url: str) -> StoreRedis:
    """Open a client for the chunks of blobs: 10 s per chunk, a pool of its own."""
    return _open(StoreRedis, url, CHUNK_TIMEOUT_S, max_connections=16)


def _open(kind: type[R], url: str, timeout_s: float, *, max_connections: int) -> R:
    client = kind(connection_pool=_pool(url, timeout_s, max_connections=max_connections))
    client.auto_close_connection_pool = True
    client.limit_s = TRIES * timeout_s
    return client


def _pool(
    url: str, timeout_s: float, *, max_connections: int
) -> redis.asyncio.BlockingConnectionPool:
    return redis.asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=METADATA_TIMEOUT_S,
        retry=Retry(ExponentialWithJitterBackoff(cap=1.0, base=0.05), TRIES - 1),
    )


def translate(error: exceptions.RedisError, unavailable: type[AdapterError]) -> Exception:
    """Say what a failure means; one that means a mistake of ours is answered as it is.

    Redis 6.2 reports a full server inside a script as a plain ResponseError.
    """
    text = str(error)
    if isinstance(error, exceptions.OutOfMemoryError) or "-OOM " in text or text.startswith("OOM "):
        return StoreFull("Redis is full; nothing was changed")
    if isinstance(
        error,
        exceptions.ConnectionError
        | exceptions.TimeoutError
        | exceptions.ReadOnlyError
        | exceptions.ClusterDownError,
    ) or text.startswith(("MISCONF ", "TRYAGAIN ", "MASTERDOWN ")):
        return unavailable("Redis does not answer; try again")
    return error
