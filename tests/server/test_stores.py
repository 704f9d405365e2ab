"""What a front and a worker open."""

from pathlib import Path

import pytest
import redis.asyncio

from weft.adapters import keys
from weft.adapters.errors import RegistryUnavailable
from weft.server.config import RegistryConfig
from weft.server.stores import open_stores


def has_files(folder: Path) -> bool:
    return any(path.is_file() for path in folder.rglob("*"))


@pytest.mark.parametrize("backend", ["redis", "file"])
async def test_bytes_go_where_the_configuration_says(
    redis_client: redis.asyncio.Redis, redis_url: str, tmp_path: Path, backend: str
) -> None:
    store = "redis" if backend == "redis" else f"file:{tmp_path}"
    async with open_stores(RegistryConfig(redis_url, store)) as stores:
        digest = await stores.blobs.put_bytes("acme", b"weft")
        assert await stores.blobs.read_bytes(digest) == b"weft"
        assert not stores.view.stale
    recorded = await redis_client.hget(keys.blob(digest), "backend")
    assert recorded == backend.encode()
    assert has_files(tmp_path) == (backend == "file")


async def test_nothing_opens_without_redis(tmp_path: Path) -> None:
    config = RegistryConfig(f"unix://{tmp_path}/nowhere.sock", f"file:{tmp_path}")
    with pytest.raises(RegistryUnavailable):
        async with open_stores(config):
            pass


async def test_a_server_of_another_schema_is_not_used(
    redis_client: redis.asyncio.Redis, redis_url: str
) -> None:
    await redis_client.set(keys.SCHEMA, "999")
    with pytest.raises(RegistryUnavailable, match="999"):
        async with open_stores(RegistryConfig(redis_url, "redis")):
            pass


async def test_a_server_that_evicts_is_not_used(
    redis_client: redis.asyncio.Redis, redis_url: str
) -> None:
    await redis_client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(RegistryUnavailable, match="noeviction"):
            async with open_stores(RegistryConfig(redis_url, "redis")):
                pass
    finally:
        await redis_client.config_set("maxmemory-policy", "noeviction")
