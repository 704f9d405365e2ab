"""Blobs by digest: put, fetched and verified, discarded when nothing needs them."""

import asyncio
import random
from pathlib import Path

import pytest
import redis.asyncio

from weft.adapters import keys
from weft.adapters.blobs import Blobs
from weft.adapters.digest import digest_bytes
from weft.adapters.errors import BlobNotFound, ContentCorrupt, StoreFull, StoreUnavailable
from weft.adapters.leases import Leases
from weft.adapters.store import CHUNK_BYTES, FileStore, RedisStore, Store

from .conftest import FullRedis

DATA = random.Random(2).randbytes(2 * CHUNK_BYTES + 100)
DIGEST = digest_bytes(DATA)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "given"
    path.write_bytes(DATA)
    return path


def stored_files(folder: Path) -> list[Path]:
    return [path for path in (folder / "store").rglob("*") if path.is_file()]


async def test_a_file_is_put_and_fetched(blobs: Blobs, path: Path, tmp_path: Path) -> None:
    assert await blobs.put_file("acme", path) == DIGEST
    assert await blobs.size(DIGEST) == len(DATA)
    await blobs.fetch(DIGEST, tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == DATA
    assert await blobs.find_missing("acme", [DIGEST]) == []


async def test_bytes_are_put_once(blobs: Blobs, redis_client: redis.asyncio.Redis) -> None:
    for tenant in (None, None, "acme", "acme", "other"):
        assert await blobs.put_bytes(tenant, DATA) == DIGEST
    assert await blobs.read_bytes(DIGEST) == DATA
    assert await redis_client.zcard(keys.UPLOADS) == 0
    assert await redis_client.smembers(keys.owners(DIGEST)) == {b"acme", b"other"}
    assert await redis_client.hget(keys.used("acme"), "bytes") == str(len(DATA)).encode()


async def test_an_unknown_blob_is_not_found(blobs: Blobs, tmp_path: Path) -> None:
    with pytest.raises(BlobNotFound):
        await blobs.read_bytes(DIGEST)
    with pytest.raises(BlobNotFound):
        await blobs.fetch(DIGEST, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


async def test_no_changed_byte_is_ever_fetched(
    redis_client: redis.asyncio.Redis, path: Path, tmp_path: Path
) -> None:
    blobs = Blobs(redis_client, RedisStore(redis_client))
    await blobs.put_file(None, path)
    sid = await redis_client.hget(keys.blob(DIGEST), "sid")
    assert isinstance(sid, bytes)
    await redis_client.setrange(keys.sealed_chunk(sid.decode(), 1), 5, b"\0\0\0\0")
    with pytest.raises(ContentCorrupt):
        await blobs.fetch(DIGEST, tmp_path / "fetched")
    with pytest.raises(ContentCorrupt):
        await blobs.read_bytes(DIGEST)
    assert not (tmp_path / "fetched").exists()


async def test_no_changed_file_is_ever_fetched(
    redis_client: redis.asyncio.Redis, path: Path, tmp_path: Path
) -> None:
    blobs = Blobs(redis_client, FileStore(tmp_path / "store"))
    await blobs.put_file(None, path)
    (stored,) = stored_files(tmp_path)
    stored.write_bytes(b"?" + DATA[1:])
    with pytest.raises(ContentCorrupt):
        await blobs.fetch(DIGEST, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


async def test_a_blob_of_another_store_is_unavailable(
    redis_client: redis.asyncio.Redis, tmp_path: Path
) -> None:
    await Blobs(redis_client, RedisStore(redis_client)).put_bytes(None, DATA)
    with pytest.raises(StoreUnavailable, match="in the redis store; this server has file"):
        await Blobs(redis_client, FileStore(tmp_path)).read_bytes(DIGEST)


async def test_a_blob_that_nothing_needs_is_discarded(
    blobs: Blobs, redis_client: redis.asyncio.Redis, tmp_path: Path
) -> None:
    await blobs.put_bytes("acme", DATA)
    assert await blobs.discard(DIGEST, unless_asked_since_ms=await blobs.now_ms())
    assert await redis_client.hgetall(keys.used("acme")) == {b"bytes": b"0"}
    await redis_client.delete(keys.used("acme"))
    assert await redis_client.dbsize() == 0
    assert stored_files(tmp_path) == []


async def test_a_blob_that_is_referred_to_stays(
    blobs: Blobs, redis_client: redis.asyncio.Redis
) -> None:
    await blobs.put_bytes("acme", DATA)
    await redis_client.sadd(keys.refs(DIGEST), "job:1")
    assert not await blobs.discard(DIGEST, unless_asked_since_ms=await blobs.now_ms())
    assert await blobs.read_bytes(DIGEST) == DATA


async def test_a_leased_blob_stays_until_its_lease_ends(
    blobs: Blobs, mapped_redis: redis.asyncio.Redis
) -> None:
    await blobs.put_bytes("acme", DATA)
    async with Leases(mapped_redis).hold([DIGEST], reason="test"):
        assert not await blobs.discard(DIGEST, unless_asked_since_ms=await blobs.now_ms())
    assert await blobs.discard(DIGEST, unless_asked_since_ms=await blobs.now_ms())
    assert await mapped_redis.exists(keys.HOLDERS) == 0


async def test_a_blob_that_somebody_asked_for_stays(blobs: Blobs) -> None:
    await blobs.put_bytes("acme", DATA)
    before_ms = await blobs.now_ms() - 1
    assert await blobs.find_missing("acme", [DIGEST]) == []
    assert not await blobs.discard(DIGEST, unless_asked_since_ms=before_ms)


async def test_the_sweep_removes_unused_blobs_after_a_day(
    blobs: Blobs, redis_client: redis.asyncio.Redis
) -> None:
    for data in (b"old", b"old and used", b"new"):
        await blobs.put_bytes("acme", data)
    for data in (b"old", b"old and used"):
        day_before_ms = await blobs.now_ms() - 24 * 3_600_000 - 1
        await redis_client.zadd(keys.BLOBS, {digest_bytes(data): day_before_ms})
    await redis_client.sadd(keys.refs(digest_bytes(b"old and used")), "job:1")
    swept = await blobs.sweep()
    assert (swept.uploads, swept.blobs) == (0, 1)
    with pytest.raises(BlobNotFound):
        await blobs.read_bytes(digest_bytes(b"old"))
    assert await blobs.read_bytes(digest_bytes(b"old and used")) == b"old and used"


async def test_a_put_that_fails_leaves_nothing(
    blobs: Blobs,
    redis_client: redis.asyncio.Redis,
    full_redis: FullRedis,
    path: Path,
    tmp_path: Path,
) -> None:
    async with full_redis:
        with pytest.raises(StoreFull):
            await blobs.put_file("acme", path)
    assert await redis_client.dbsize() == 0
    assert stored_files(tmp_path) == []


async def test_a_put_that_is_cancelled_leaves_nothing(
    blobs: Blobs, store: Store, redis_client: redis.asyncio.Redis, path: Path, tmp_path: Path
) -> None:
    putting = asyncio.create_task(blobs.put_file("acme", path))
    while not await redis_client.zcard(keys.UPLOADS):
        await asyncio.sleep(0)
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert await redis_client.dbsize() == 0
    assert stored_files(tmp_path) == []
