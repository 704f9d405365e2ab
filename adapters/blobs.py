"""Blobs by digest: records that point only at verified bytes.

Whatever bytes are stored are listed with a time in `keys.UPLOADS` until a blob's record holds them,
so a crash at any line leaves nothing that the sweep does not find.
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import redis.asyncio

from . import codec, keys
from .digest import digest_bytes, digest_file
from .errors import (
    BlobNotFound,
    ContentCorrupt,
    StoreUnavailable,
    UploadDigest,
)
from .lua import Script
from .store import CHUNK_BYTES, StorageId, Store

UPLOAD_LIFE_MS = 24 * 3_600_000
UNUSED_LIFE_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed."""

    uploads: int
    blobs: int


class Blobs:
    """Blobs of all tenants. Whether one is here is told only to who uploaded it."""

    def __init__(
        self,
        redis: redis.asyncio.Redis,
        store: Store,
        *,
        life_ms: int = UPLOAD_LIFE_MS,
    ) -> None:
        self._redis = redis
        self._store = store
        self._life_ms = life_ms
        self._record = Script(redis, "record_blob")
        self._drop = Script(redis, "drop_upload")
        self._touch = Script(redis, "touch_blobs")
        self._reap = Script(redis, "leases", "reap_blob")

    async def find_missing(self, tenant: str, digests: Sequence[str]) -> list[str]:
        """Find the digests that this tenant has yet to upload, whatever others have uploaded."""
        if not digests:
            return []
        await self._touch({"blobs": keys.BLOBS}, digests=list(digests))
        pipeline = self._redis.pipeline(transaction=False)
        for digest in digests:
            pipeline.sismember(keys.own(tenant), digest)
        owned = await pipeline.execute()
        return [digest for digest, known in zip(digests, owned, strict=True) if not known]

    async def check_owned(self, tenant: str, digests: Sequence[str]) -> None:
        """
        Raises:
            BlobNotFound: This tenant has not uploaded one of them.
        """
        missing = await self.find_missing(tenant, digests)
        if missing:
            raise BlobNotFound(f"blob {missing[0]} is not uploaded", digest=missing[0])

    async def seal(self, tenant: str | None, sid: StorageId, *, writer: str | None = None) -> None:
        """Record stored bytes under their digest, or discard them.

        Raises:
            UploadDigest: They have another digest.
            UploadTaken: `writer` is given and no more the upload's writer.
            QuotaExceeded: The tenant has as many bytes as it may.
        """
        try:
            await self._store.seal(sid)
        except UploadDigest:
            await self.discard_upload(sid)
            raise
        named = {
            "upload": keys.upload(str(sid)),
            "uploads": keys.UPLOADS,
            "blobs": keys.BLOBS,
            "blob": keys.blob(sid.digest),
            "owners": keys.owners(sid.digest),
            "tenants": keys.TENANTS,
        }
        if tenant is not None:
            named["own"] = keys.own(tenant)
            named["used"] = keys.used(tenant)
            named["open_uploads"] = keys.open_uploads(tenant)
        reply = await self._record(
            named,
            tenant=tenant,
            digest=sid.digest,
            sid=str(sid),
            size=sid.size_bytes,
            backend=self._store.backend,
            chunk_bytes=CHUNK_BYTES,
            writer=writer,
        )
        if msgspec.json.decode(reply, type=_Recorded).duplicate:
            await self._discard_bytes(sid)

    async def put_bytes(self, tenant: str | None, data: bytes) -> str:
        """Store bytes that this process made; answer their digest."""
        sid = StorageId.new(digest_bytes(data), len(data))
        if not await self._known(tenant, sid.digest):
            await self._put(tenant, sid, _slices(data))
        return sid.digest

    async def put_file(self, tenant: str | None, path: Path) -> str:
        """Store a file that this process made; answer its digest."""
        digest = await asyncio.to_thread(digest_file, path)
        sid = StorageId.new(digest, await asyncio.to_thread(os.path.getsize, path))
        if not await self._known(tenant, digest):
            await self._put(tenant, sid, _pieces(path))
        return digest

    async def _known(self, tenant: str | None, digest: str) -> bool:
        if tenant is not None:
            return not await self.find_missing(tenant, [digest])
        await self._touch({"blobs": keys.BLOBS}, digests=[digest])
        return bool(await self._redis.exists(keys.blob(digest)))

    async def _put(self, tenant: str | None, sid: StorageId, chunks: AsyncIterator[bytes]) -> None:
        expires_ms = await self.now_ms() + self._life_ms
        offset = 0
        try:
            await self._redis.zadd(keys.UPLOADS, {str(sid): expires_ms})
            async for data in chunks:
                await self._store.write(sid, offset, data)
                offset += len(data)
            await self.seal(tenant, sid)
        except BaseException:
            await self.discard_upload(sid)
            raise

    async def size(self, digest: str) -> int:
        """
        Raises:
            BlobNotFound: There is no such blob.
        """
        return (await self._locate(digest)).size_bytes

    async def read(self, digest: str, *, offset: int = 0) -> AsyncIterator[bytes]:
        """Read a blob from `offset`, in pieces of at most CHUNK_BYTES, unverified.

        Raises:
            BlobNotFound: There is no such blob.
            ContentCorrupt: Bytes are missing.
        """
        async for data in self._store.read(await self._locate(digest), offset=offset):
            yield data

    async def read_bytes(self, digest: str) -> bytes:
        """Read a small blob whole and check it.

        Raises:
            BlobNotFound: There is no such blob.
            ContentCorrupt: The stored bytes have another digest.
        """
        data = b"".join([piece async for piece in self.read(digest)])
        _check(digest, digest_bytes(data))
        return data

    async def fetch(self, digest: str, path: Path) -> None:
        """Make `path` a file of the blob's bytes, checked; on failure there is no file.

        Raises:
            BlobNotFound: There is no such blob.
            ContentCorrupt: The stored bytes have another digest, or some are missing.
        """
        sid = await self._locate(digest)
        try:
            if await self._store.link(sid, path):
                found = await asyncio.to_thread(digest_file, path)
            else:
                found = await _write_file(self._store.read(sid), path)
            _check(digest, found)
        except BaseException:
            await asyncio.to_thread(path.unlink, missing_ok=True)
            raise

    async def _locate(self, digest: str) -> StorageId:
        backend, sid = await self._redis.hmget(keys.blob(digest), ["backend", "sid"])
        if not isinstance(sid, bytes) or not isinstance(backend, bytes):
            raise BlobNotFound(f"no blob {digest}", digest=digest)
        if backend.decode() != self._store.backend:
            raise StoreUnavailable(
                f"blob {digest} is in the {backend.decode()} store; this server has "
                f"{self._store.backend}"
            )
        return StorageId.parse(sid.decode())

    async def now_ms(self) -> int:
        """Tell Redis's time, which blobs are dated by."""
        seconds, microseconds = await self._redis.time()
        return seconds * 1000 + microseconds // 1000

    async def discard(self, digest: str, *, unless_asked_since_ms: int) -> bool:
        """Remove a blob that nothing refers to or leases, and say whether it was.

        It stays if somebody asked for it after `unless_asked_since_ms`.
        """
        reply = await self._reap(
            {
                "blob": keys.blob(digest),
                "blobs": keys.BLOBS,
                "refs": keys.refs(digest),
                "owners": keys.owners(digest),
                "uploads": keys.UPLOADS,
                "holders": keys.HOLDERS,
            },
            digest=digest,
            unless_asked_since_ms=unless_asked_since_ms,
            lease_prefix=keys.LEASE_PREFIX,
            own_prefix=keys.OWN_PREFIX,
            used_prefix=keys.USED_PREFIX,
        )
        sid = msgspec.json.decode(reply, type=_Reaped).sid
        if sid:
            await self._discard_bytes(StorageId.parse(sid))
        return bool(sid)

    async def sweep(self) -> Swept:
        """Remove expired uploads, and blobs that nobody referred to or asked for in 24 h."""
        now_ms = await self.now_ms()
        uploads = 0
        for member in codec.raw_strings(await self._redis.zrangebyscore(keys.UPLOADS, 0, now_ms)):
            uploads += await self.discard_upload(StorageId.parse(member.decode()), expired=True)
        blobs = 0
        oldest_ms = now_ms - UNUSED_LIFE_MS
        for member in codec.raw_strings(await self._redis.zrangebyscore(keys.BLOBS, 0, oldest_ms)):
            blobs += await self.discard(member.decode(), unless_asked_since_ms=oldest_ms)
        return Swept(uploads, blobs)

    async def discard_upload(self, sid: StorageId, *, expired: bool = False) -> bool:
        """Close an upload and remove its bytes; with `expired` only if its time is over."""
        reply = await self._drop(
            {"upload": keys.upload(str(sid)), "uploads": keys.UPLOADS},
            sid=str(sid),
            expired=expired or None,
            open_prefix=keys.open_uploads(""),
        )
        dropped = msgspec.json.decode(reply, type=_Dropped).dropped
        if dropped:
            await self._discard_bytes(sid)
        return dropped

    async def _discard_bytes(self, sid: StorageId) -> None:
        await self._store.delete(sid)
        await self._redis.zrem(keys.UPLOADS, str(sid))


async def _slices(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while data := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield data


async def _write_file(pieces: AsyncIterator[bytes], path: Path) -> str:
    sha256 = hashlib.sha256()
    with path.open("xb") as file:
        async for data in pieces:
            await asyncio.to_thread(sha256.update, data)
            await asyncio.to_thread(file.write, data)
    return f"sha256:{sha256.hexdigest()}"


def _check(digest: str, found: str) -> None:
    if found != digest:
        raise ContentCorrupt(f"stored bytes of {digest} have digest {found}", digest=digest)


@dataclass(frozen=True, slots=True)
class _Recorded:
    duplicate: bool


@dataclass(frozen=True, slots=True)
class _Dropped:
    dropped: bool


@dataclass(frozen=True, slots=True)
class _Reaped:
    sid: str
