"""Bytes by storage id, in files and in Redis."""

import random
from pathlib import Path

import pytest
import redis.asyncio

from weft.adapters import keys
from weft.adapters.digest import digest_bytes
from weft.adapters.errors import ContentCorrupt, UploadDigest, UploadNotFound
from weft.adapters.store import CHUNK_BYTES, FileStore, RedisStore, StorageId, Store

SIZES = [1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES + 17]


def some_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def write(store: Store, data: bytes) -> StorageId:
    sid = StorageId.new(digest_bytes(data), len(data))
    for offset in range(0, len(data), CHUNK_BYTES):
        await store.write(sid, offset, data[offset : offset + CHUNK_BYTES])
    return sid


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def read(store: Store, sid: StorageId, *, offset: int = 0) -> bytes:
    return b"".join([data async for data in store.read(sid, offset=offset)])


@pytest.mark.parametrize("size", SIZES)
async def test_sealed_bytes_are_read_back(store: Store, size: int) -> None:
    data = some_bytes(size)
    sid = await write(store, data)
    await store.seal(sid)
    assert await read(store, sid) == data


@pytest.mark.parametrize("offset", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 5 * CHUNK_BYTES])
async def test_reading_begins_anywhere(store: Store, offset: int) -> None:
    data = some_bytes(5 * CHUNK_BYTES + 17)
    sid = await write(store, data)
    await store.seal(sid)
    assert await read(store, sid, offset=offset) == data[offset:]


async def test_unsealed_bytes_are_not_read(store: Store) -> None:
    sid = await write(store, b"bytes")
    with pytest.raises(ContentCorrupt):
        await read(store, sid)


async def test_other_bytes_are_not_sealed(store: Store) -> None:
    sid = StorageId.new(digest_bytes(b"these"), 5)
    await store.write(sid, 0, b"those")
    with pytest.raises(UploadDigest, match=digest_bytes(b"those")):
        await store.seal(sid)


async def test_too_few_bytes_are_not_sealed(store: Store) -> None:
    data = some_bytes(2 * CHUNK_BYTES)
    sid = StorageId.new(digest_bytes(data), len(data))
    await store.write(sid, 0, data[:CHUNK_BYTES])
    with pytest.raises(UploadDigest):
        await store.seal(sid)


async def test_sealing_twice_is_harmless(store: Store) -> None:
    sid = await write(store, b"bytes")
    await store.seal(sid)
    await store.seal(sid)
    assert await read(store, sid) == b"bytes"


async def test_a_late_write_does_not_reach_sealed_bytes(store: Store) -> None:
    sid = await write(store, b"bytes")
    await store.seal(sid)
    await store.write(sid, 0, b"BYTES")
    assert await read(store, sid) == b"bytes"
    await store.abandon(sid)
    assert await read(store, sid) == b"bytes"


async def test_deleted_bytes_are_gone(
    store: Store, redis_client: redis.asyncio.Redis, tmp_path: Path
) -> None:
    sealed = await write(store, some_bytes(20 * CHUNK_BYTES))
    await store.seal(sealed)
    for sid in (sealed, await write(store, b"bytes")):
        await store.delete(sid)
        await store.delete(sid)
    assert await redis_client.dbsize() == 0
    assert files(tmp_path) == []


async def test_a_missing_chunk_is_corrupt_content(
    redis_client: redis.asyncio.Redis,
) -> None:
    store = RedisStore(redis_client)
    sid = await write(store, some_bytes(3 * CHUNK_BYTES))
    await store.seal(sid)
    await redis_client.delete(keys.sealed_chunk(str(sid), 1))
    with pytest.raises(ContentCorrupt):
        await read(store, sid)


async def test_a_short_file_is_corrupt_content(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    sid = await write(store, some_bytes(CHUNK_BYTES + 5))
    await store.seal(sid)
    (path,) = (tmp_path / "sha256").glob("*/*")
    with path.open("r+b") as file:
        file.truncate(CHUNK_BYTES + 1)
    with pytest.raises(ContentCorrupt):
        await read(store, sid)


async def test_a_file_is_linked_and_not_copied(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    sid = await write(store, b"bytes")
    await store.seal(sid)
    assert await store.link(sid, tmp_path / "link")
    assert (tmp_path / "link").stat().st_nlink == 2


async def test_writing_on_without_a_file_is_no_upload(tmp_path: Path) -> None:
    sid = StorageId.new(digest_bytes(b"bytes"), 5)
    with pytest.raises(UploadNotFound):
        await FileStore(tmp_path).write(sid, CHUNK_BYTES, b"more")


async def test_sealing_moves_chunks_and_copies_none(redis_client: redis.asyncio.Redis) -> None:
    store = RedisStore(redis_client)
    sid = await write(store, some_bytes(CHUNK_BYTES + 5))
    await store.seal(sid)
    found = {key.decode() async for key in redis_client.scan_iter("*")}
    assert found == {keys.sealed_chunk(str(sid), index) for index in range(2)}


async def test_chunks_fit_a_mebibyte_with_the_allocators_overhead(
    redis_client: redis.asyncio.Redis,
) -> None:
    await write(RedisStore(redis_client), some_bytes(CHUNK_BYTES + 5))
    lengths = {await redis_client.strlen(key) async for key in redis_client.scan_iter("*")}
    assert lengths == {CHUNK_BYTES, 5}
    assert CHUNK_BYTES == (1 << 20) - 64


@pytest.mark.parametrize("digest", ["sha256:../../etc/passwd", "", "sha256:" + "0" * 63])
def test_only_a_digest_makes_a_storage_id(digest: str) -> None:
    with pytest.raises(ValueError, match="no storage id"):
        StorageId.new(digest, 5)


def test_a_storage_id_is_read_back() -> None:
    sid = StorageId.new(digest_bytes(b"bytes"), 5)
    assert StorageId.parse(str(sid)) == sid
