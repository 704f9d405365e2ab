"""Failures of Redis as the package's own errors."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio
from redis import exceptions

from weft.adapters.connection import (
    METADATA_TIMEOUT_S,
    TRIES,
    connect,
    connect_follower,
    connect_store,
    not_swallowing_cancellation,
    translate,
)
from weft.adapters.errors import RegistryUnavailable, StoreFull, StoreUnavailable

from .conftest import FullRedis


async def test_a_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/none.sock"
    for make, error in (
        (connect, RegistryUnavailable),
        (connect_follower, RegistryUnavailable),
        (connect_store, StoreUnavailable),
    ):
        async with make(url) as client:
            with pytest.raises(error):
                await client.ping()
            pipeline = client.pipeline()
            pipeline.get("a")
            with pytest.raises(error):
                await pipeline.execute()


@pytest.fixture
async def hanging_url(tmp_path: Path) -> AsyncIterator[str]:
    """A server that takes every connection and says nothing."""
    connections: list[asyncio.StreamWriter] = []
    path = tmp_path / "hanging.sock"
    server = await asyncio.start_unix_server(lambda _, writer: connections.append(writer), path)
    async with server:
        yield f"unix://{path}"
        for writer in connections:
            writer.close()


async def test_a_server_that_hangs_is_waited_for_no_longer_than_the_limit(hanging_url: str) -> None:
    async with connect(hanging_url) as client:
        assert client.limit_s == TRIES * METADATA_TIMEOUT_S
        client.limit_s = 0.1
        pipeline = client.pipeline()
        pipeline.get("a")
        async with asyncio.timeout(METADATA_TIMEOUT_S / 2):
            with pytest.raises(RegistryUnavailable, match=r"within 0\.1 s"):
                await client.ping()
            with pytest.raises(RegistryUnavailable, match=r"within 0\.1 s"):
                await pipeline.execute()


async def test_a_server_that_comes_back_is_used_again(
    mapped_redis: redis.asyncio.Redis, redis_client: redis.asyncio.Redis
) -> None:
    await mapped_redis.set("a", "1")
    await redis_client.client_kill_filter(_type="normal", skipme=True)
    assert await mapped_redis.get("a") == b"1"


async def test_a_full_server_is_told_apart_in_commands_and_scripts(
    mapped_redis: redis.asyncio.Redis, full_redis: FullRedis
) -> None:
    script = mapped_redis.register_script("return redis.call('SET', 'a', '1')")
    async with full_redis:
        with pytest.raises(StoreFull):
            await mapped_redis.set("a", "1")
        with pytest.raises(StoreFull):
            await script()
        assert await mapped_redis.get("a") is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.BusyLoadingError("loading"), RegistryUnavailable),
        (exceptions.TimeoutError("read"), RegistryUnavailable),
        (exceptions.ReadOnlyError("replica"), RegistryUnavailable),
        (exceptions.ResponseError("MISCONF disk"), RegistryUnavailable),
        (exceptions.OutOfMemoryError("used"), StoreFull),
        (exceptions.ResponseError("ERR script: -OOM command not allowed"), StoreFull),
        (exceptions.ResponseError("WRONGTYPE a hash"), exceptions.ResponseError),
    ],
)
def test_each_failure_has_one_meaning(
    error: exceptions.RedisError, expected: type[Exception]
) -> None:
    assert type(translate(error, RegistryUnavailable)) is expected


async def test_a_swallowed_cancellation_is_raised_after_the_command() -> None:
    reached = asyncio.Event()

    async def swallowing() -> None:
        with not_swallowing_cancellation():
            reached.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                reached.clear()

    task = asyncio.create_task(swallowing())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not reached.is_set()


async def test_commands_after_a_cancellation_still_run() -> None:
    cleaned = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with not_swallowing_cancellation():
                cleaned.set()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned.is_set()
