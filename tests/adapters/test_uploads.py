"""Uploads: resumed, taken over, refused, and never half there."""

import random
from pathlib import Path

import pytest
import redis.asyncio

from weft.adapters import keys
from weft.adapters.blobs import Blobs
from weft.adapters.connection import connect_store
from weft.adapters.digest import digest_bytes
from weft.adapters.errors import (
    BlobNotFound,
    QuotaExceeded,
    StoreFull,
    UploadDigest,
    UploadNotFound,
    UploadOffset,
    UploadTaken,
)
from weft.adapters.store import CHUNK_BYTES, FileStore, RedisStore, Store
from weft.adapters.uploads import Upload, Uploads

from .conftest import FullRedis

DATA = random.Random(1).randbytes(3 * CHUNK_BYTES + 100)
DIGEST = digest_bytes(DATA)


async def upload(uploads: Uploads, data: bytes, *, tenant: str = "acme") -> str:
    opened = await uploads.create(tenant, digest_bytes(data), len(data))
    await send(uploads, opened, data, tenant=tenant)
    return await uploads.commit(tenant, opened.upload_id)


async def send(
    uploads: Uploads, opened: Upload, data: bytes, *, tenant: str = "acme", piece: int = CHUNK_BYTES
) -> None:
    writer = await uploads.open_writer(tenant, opened.upload_id)
    for offset in range(opened.committed_bytes, len(data), piece):
        await writer.write(offset, data[offset : offset + piece])


async def stored_keys(client: redis.asyncio.Redis) -> set[str]:
    kept = {keys.SCHEMA, keys.EPOCH}
    return {key.decode() async for key in client.scan_iter("*")} - kept


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("piece", [CHUNK_BYTES, 100_000, len(DATA)])
async def test_an_uploaded_file_is_read_back(uploads: Uploads, blobs: Blobs, piece: int) -> None:
    opened = await uploads.create("acme", DIGEST, len(DATA))
    await send(uploads, opened, DATA, piece=piece)
    assert await uploads.commit("acme", opened.upload_id) == DIGEST
    assert await blobs.read_bytes(DIGEST) == DATA
    assert await blobs.find_missing("acme", [DIGEST]) == []
    with pytest.raises(UploadNotFound):
        await uploads.commit("acme", opened.upload_id)


async def test_a_broken_upload_goes_on_at_whole_chunks(uploads: Uploads, blobs: Blobs) -> None:
    first = await uploads.create("acme", DIGEST, len(DATA))
    writer = await uploads.open_writer("acme", first.upload_id)
    await writer.write(0, DATA[: CHUNK_BYTES + 500])
    resumed = await uploads.create("acme", DIGEST, len(DATA))
    assert (resumed.upload_id, resumed.committed_bytes) == (first.upload_id, CHUNK_BYTES)
    assert await uploads.get("acme", first.upload_id) == resumed
    await send(uploads, resumed, DATA)
    await uploads.commit("acme", resumed.upload_id)
    assert await blobs.read_bytes(DIGEST) == DATA


@pytest.mark.parametrize("offset", [1, CHUNK_BYTES, 600])
async def test_another_offset_than_the_bytes_received_is_refused(
    uploads: Uploads, offset: int
) -> None:
    opened = await uploads.create("acme", DIGEST, len(DATA))
    writer = await uploads.open_writer("acme", opened.upload_id)
    await writer.write(0, DATA[:500])
    with pytest.raises(UploadOffset) as caught:
        await writer.write(offset, b"more")
    assert caught.value.metadata == {"committed_bytes": "500"}
    await writer.write(500, DATA[500:])
    assert await uploads.commit("acme", opened.upload_id) == DIGEST


async def test_more_bytes_than_promised_are_refused(uploads: Uploads) -> None:
    opened = await uploads.create("acme", DIGEST, len(DATA))
    writer = await uploads.open_writer("acme", opened.upload_id)
    with pytest.raises(UploadOffset, match="exceed"):
        await writer.write(0, DATA + b"!")


async def test_a_second_writer_takes_over(uploads: Uploads, blobs: Blobs) -> None:
    opened = await uploads.create("acme", DIGEST, len(DATA))
    first = await uploads.open_writer("acme", opened.upload_id)
    await first.write(0, DATA[:CHUNK_BYTES])
    second = await uploads.open_writer("acme", opened.upload_id)
    assert second.committed_bytes == CHUNK_BYTES
    with pytest.raises(UploadTaken) as caught:
        await first.write(CHUNK_BYTES, DATA[CHUNK_BYTES : 2 * CHUNK_BYTES])
    assert caught.value.metadata == {"committed_bytes": str(CHUNK_BYTES)}
    await second.write(CHUNK_BYTES, DATA[CHUNK_BYTES:])
    await uploads.commit("acme", opened.upload_id)
    assert await blobs.read_bytes(DIGEST) == DATA


async def test_a_truncated_upload_is_not_committed(uploads: Uploads, blobs: Blobs) -> None:
    opened = await uploads.create("acme", DIGEST, len(DATA))
    writer = await uploads.open_writer("acme", opened.upload_id)
    await writer.write(0, DATA[:-1])
    with pytest.raises(UploadOffset, match=f"{3 * CHUNK_BYTES} of {len(DATA)}"):
        await uploads.commit("acme", opened.upload_id)
    with pytest.raises(BlobNotFound):
        await blobs.size(DIGEST)


async def test_other_bytes_than_promised_are_discarded(
    uploads: Uploads, redis_client: redis.asyncio.Redis, tmp_path: Path
) -> None:
    opened = await uploads.create("acme", DIGEST, len(DATA))
    writer = await uploads.open_writer("acme", opened.upload_id)
    await writer.write(0, b"?" + DATA[1:])
    with pytest.raises(UploadDigest):
        await uploads.commit("acme", opened.upload_id)
    assert await stored_keys(redis_client) == set()
    assert files(tmp_path) == []
    with pytest.raises(UploadNotFound):
        await uploads.get("acme", opened.upload_id)


async def test_a_writer_of_a_closed_upload_leaves_nothing(
    uploads: Uploads, redis_client: redis.asyncio.Redis, tmp_path: Path
) -> None:
    opened = await uploads.create("acme", DIGEST, len(DATA))
    late = await uploads.open_writer("acme", opened.upload_id)
    await send(uploads, opened, b"?" + DATA[1:])
    with pytest.raises(UploadDigest):
        await uploads.commit("acme", opened.upload_id)
    with pytest.raises(UploadNotFound):
        await late.write(0, DATA[:CHUNK_BYTES])
    assert await stored_keys(redis_client) == set()
    assert files(tmp_path) == []


async def test_an_expired_upload_is_swept(
    mapped_redis: redis.asyncio.Redis,
    store: Store,
    redis_client: redis.asyncio.Redis,
    tmp_path: Path,
) -> None:
    blobs = Blobs(mapped_redis, store)
    brief = Uploads(mapped_redis, store, blobs, life_ms=0)
    opened = await brief.create("acme", DIGEST, len(DATA))
    await send(brief, opened, DATA[:CHUNK_BYTES])
    swept = await blobs.sweep()
    assert (swept.uploads, swept.blobs) == (1, 0)
    assert await stored_keys(redis_client) == set()
    assert files(tmp_path) == []


async def test_an_upload_in_time_is_not_swept(uploads: Uploads, blobs: Blobs) -> None:
    opened = await uploads.create("acme", DIGEST, len(DATA))
    assert (await blobs.sweep()).uploads == 0
    await send(uploads, opened, DATA)
    assert await uploads.commit("acme", opened.upload_id) == DIGEST


async def test_another_tenants_upload_and_blob_are_not_found(
    uploads: Uploads, blobs: Blobs
) -> None:
    opened = await uploads.create("acme", DIGEST, len(DATA))
    for call in (uploads.get, uploads.open_writer, uploads.commit):
        with pytest.raises(UploadNotFound):
            await call("other", opened.upload_id)
    await send(uploads, opened, DATA)
    await uploads.commit("acme", opened.upload_id)
    assert await blobs.find_missing("other", [DIGEST]) == [DIGEST]
    with pytest.raises(BlobNotFound):
        await blobs.check_owned("other", [DIGEST])


async def test_the_same_content_of_two_tenants_is_stored_once(
    uploads: Uploads, blobs: Blobs, redis_client: redis.asyncio.Redis
) -> None:
    await upload(uploads, DATA)
    sid = await redis_client.hget(keys.blob(DIGEST), "sid")
    await upload(uploads, DATA, tenant="other")
    assert await redis_client.hget(keys.blob(DIGEST), "sid") == sid
    assert await redis_client.zcard(keys.UPLOADS) == 0
    await blobs.check_owned("other", [DIGEST])
    assert await redis_client.hget(keys.used("other"), "bytes") == str(len(DATA)).encode()
    assert await blobs.read_bytes(DIGEST) == DATA


async def test_size_and_quota_are_checked_before_the_first_byte(
    uploads: Uploads, redis_client: redis.asyncio.Redis
) -> None:
    await redis_client.hset(keys.TENANTS, "acme", '{"bytes": 1000}')
    for size in (0, 1001, 1 << 40):
        with pytest.raises(QuotaExceeded):
            await uploads.create("acme", DIGEST, size)
    await upload(uploads, DATA[:600])
    with pytest.raises(QuotaExceeded, match="bytes: 600 and 500 more exceed the limit of 1000"):
        await uploads.create("acme", digest_bytes(DATA[:500]), 500)


async def test_the_quota_holds_for_uploads_side_by_side(
    uploads: Uploads, redis_client: redis.asyncio.Redis, tmp_path: Path
) -> None:
    await redis_client.hset(keys.TENANTS, "acme", '{"bytes": 1000}')
    parts = (DATA[:600], DATA[600:1200])
    opened = [await uploads.create("acme", digest_bytes(part), 600) for part in parts]
    for one, part in zip(opened, parts, strict=True):
        await send(uploads, one, part)
    await uploads.commit("acme", opened[0].upload_id)
    with pytest.raises(QuotaExceeded):
        await uploads.commit("acme", opened[1].upload_id)


async def test_a_full_redis_stores_nothing_by_halves(
    redis_client: redis.asyncio.Redis,
    mapped_redis: redis.asyncio.Redis,
    redis_url: str,
    full_redis: FullRedis,
) -> None:
    chunks = connect_store(redis_url)
    store = RedisStore(chunks)
    uploads = Uploads(mapped_redis, store, Blobs(mapped_redis, store))
    opened = await uploads.create("acme", DIGEST, len(DATA))
    writer = await uploads.open_writer("acme", opened.upload_id)
    await writer.write(0, DATA[:CHUNK_BYTES])
    before = await stored_keys(redis_client)
    async with full_redis:
        with pytest.raises(StoreFull):
            await writer.write(CHUNK_BYTES, DATA[CHUNK_BYTES:])
        with pytest.raises(StoreFull):
            await uploads.create("acme", digest_bytes(b"more"), 4)
        assert await stored_keys(redis_client) == before
        assert (await uploads.get("acme", opened.upload_id)).committed_bytes == CHUNK_BYTES
    resumed = await uploads.create("acme", DIGEST, len(DATA))
    await send(uploads, resumed, DATA)
    assert await uploads.commit("acme", opened.upload_id) == DIGEST
    await chunks.aclose()


async def test_a_full_redis_refuses_the_record_and_keeps_the_upload(
    mapped_redis: redis.asyncio.Redis, tmp_path: Path, full_redis: FullRedis
) -> None:
    store = FileStore(tmp_path)
    blobs = Blobs(mapped_redis, store)
    uploads = Uploads(mapped_redis, store, blobs)
    opened = await uploads.create("acme", DIGEST, len(DATA))
    await send(uploads, opened, DATA)
    async with full_redis:
        with pytest.raises(StoreFull):
            await uploads.commit("acme", opened.upload_id)
        with pytest.raises(BlobNotFound):
            await blobs.size(DIGEST)
    assert await uploads.commit("acme", opened.upload_id) == DIGEST
