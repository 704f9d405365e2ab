"""Fixtures for blobs: every test of them runs on both stores."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio

from weft.adapters.blobs import Blobs
from weft.adapters.connection import connect, connect_store
from weft.adapters.store import FileStore, RedisStore, Store
from weft.adapters.uploads import Uploads


@pytest.fixture
async def mapped_redis(
    redis_client: redis.asyncio.Redis, redis_url: str
) -> AsyncIterator[redis.asyncio.Redis]:
    """A client whose failures are the package's own errors, of an empty database."""
    client = connect(redis_url)
    yield client
    await client.aclose()


@pytest.fixture(params=["file", "redis"])
async def store(
    request: pytest.FixtureRequest,
    redis_client: redis.asyncio.Redis,
    redis_url: str,
    tmp_path: Path,
) -> AsyncIterator[Store]:
    if request.param == "file":
        yield FileStore(tmp_path / "store")
        return
    client = connect_store(redis_url)
    yield RedisStore(client)
    await client.aclose()


@pytest.fixture
def blobs(mapped_redis: redis.asyncio.Redis, store: Store) -> Blobs:
    return Blobs(mapped_redis, store)


@pytest.fixture
def uploads(mapped_redis: redis.asyncio.Redis, store: Store, blobs: Blobs) -> Uploads:
    return Uploads(mapped_redis, store, blobs)


class FullRedis:
    """While it is entered, the server has reached its memory limit."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client

    async def __aenter__(self) -> None:
        await self._client.config_set("maxmemory", "1")

    async def __aexit__(self, *_: object) -> None:
        await self._client.config_set("maxmemory", "0")


@pytest.fixture
def full_redis(redis_client: redis.asyncio.Redis) -> FullRedis:
    """The server without memory, for as long as it is entered."""
    return FullRedis(redis_client)
