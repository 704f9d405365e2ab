"""Clients of Redis whose failures are this package's errors: the one place that maps them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

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


class RegistryRedis(redis.asyncio.Redis):
    """Metadata: every failure to answer is RegistryUnavailable, a full server is StoreFull."""

    unavailable: type[AdapterError] = RegistryUnavailable

    async def execute_command(self, *args: object, **options: object) -> object:
        with not_swallowing_cancellation():
            try:
                return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
            except exceptions.RedisError as error:
                raise translate(error, self.unavailable) from error

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        pipeline = MappedPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )
        pipeline.unavailable = self.unavailable
        return pipeline


class StoreRedis(RegistryRedis):
    """Bytes: the same, but a failure to answer is StoreUnavailable."""

    unavailable = StoreUnavailable


class MappedPipeline(Pipeline):
    unavailable: type[AdapterError] = RegistryUnavailable

    async def execute(self, raise_on_error: bool = True) -> list[object]:
        with not_swallowing_cancellation():
            try:
                return await super().execute(raise_on_error)
            except exceptions.RedisError as error:
                raise translate(error, self.unavailable) from error


def connect(url: str) -> redis.asyncio.Redis:
    """Open a client for metadata: 2 s per command, three tries."""
    return RegistryRedis.from_pool(_pool(url, METADATA_TIMEOUT_S, max_connections=64))


def connect_follower(url: str) -> redis.asyncio.Redis:
    """Open a client for reads that block up to BLOCK_MS, apart from everybody else's."""
    timeout_s = BLOCK_MS / 1000 + METADATA_TIMEOUT_S
    return RegistryRedis.from_pool(_pool(url, timeout_s, max_connections=8))


def connect_store(url: str) -> redis.asyncio.Redis:
    """Open a client for the chunks of blobs: 10 s per chunk, a pool of its own."""
    return StoreRedis.from_pool(_pool(url, CHUNK_TIMEOUT_S, max_connections=16))


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
