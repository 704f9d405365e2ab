"""Uploads: files that arrive in pieces, can be resumed, and become blobs when they are whole."""

import uuid
from dataclasses import dataclass

import msgspec
import redis.asyncio

from . import codec, keys
from .blobs import UPLOAD_LIFE_MS, Blobs
from .errors import QuotaExceeded, UploadNotFound, UploadOffset
from .lua import Script
from .store import CHUNK_BYTES, StorageId, Store

MAX_BLOB_BYTES = 8 << 30


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way; `committed_bytes` is where to go on."""

    upload_id: str
    digest: str
    size_bytes: int
    committed_bytes: int
    expires_ms: int


class Uploads:
    """The open uploads of all tenants; another tenant's is not found."""

    def __init__(
        self,
        redis: redis.asyncio.Redis,
        store: Store,
        blobs: Blobs,
        *,
        max_blob_bytes: int = MAX_BLOB_BYTES,
        life_ms: int = UPLOAD_LIFE_MS,
    ) -> None:
        self._redis = redis
        self._store = store
        self._blobs = blobs
        self._max_blob_bytes = max_blob_bytes
        self._life_ms = life_ms
        self._begin = Script(redis, "begin_upload")
        self._take = Script(redis, "take_upload")
        self._advance = Script(redis, "advance_upload")

    async def create(self, tenant: str, digest: str, size_bytes: int) -> Upload:
        """Open an upload, or return the one that this tenant has open for the digest.

        Raises:
            QuotaExceeded: The file, or the tenant's bytes with it, would be too large.
        """
        if not 1 <= size_bytes <= self._max_blob_bytes:
            raise QuotaExceeded(
                f"{size_bytes} bytes; a file has 1 to {self._max_blob_bytes}",
                limit=self._max_blob_bytes,
            )
        sid = StorageId.new(digest, size_bytes)
        reply = await self._begin(
            {
                "tenants": keys.TENANTS,
                "used": keys.used(tenant),
                "open_uploads": keys.open_uploads(tenant),
                "uploads": keys.UPLOADS,
                "upload": keys.upload(str(sid)),
            },
            tenant=tenant,
            digest=digest,
            size=size_bytes,
            sid=str(sid),
            life_ms=self._life_ms,
            upload_prefix=keys.upload(""),
        )
        opened = msgspec.json.decode(reply, type=_Opened)
        return Upload(opened.sid, digest, size_bytes, opened.offset, opened.expires_ms)

    async def get(self, tenant: str, upload_id: str) -> Upload:
        """
        Raises:
            UploadNotFound: This tenant has no such upload open.
        """
        fields = codec.raw_fields(await self._redis.hgetall(keys.upload(upload_id)))
        expires_ms = await self._redis.zscore(keys.UPLOADS, upload_id)
        if fields.get(b"tenant") != tenant.encode() or expires_ms is None:
            raise UploadNotFound("no such upload")
        return Upload(
            upload_id,
            fields[b"digest"].decode(),
            int(fields[b"size"]),
            int(fields[b"offset"]),
            int(expires_ms),
        )

    async def open_writer(self, tenant: str, upload_id: str) -> "UploadWriter":
        """Become the upload's writer; the one before gets UploadTaken at its next chunk.

        Raises:
            UploadNotFound: This tenant has no such upload open.
        """
        writer = uuid.uuid4().hex
        taken = await self._take_over(tenant, upload_id, writer)
        return UploadWriter(self, StorageId.parse(upload_id), writer, taken.offset)

    async def commit(self, tenant: str, upload_id: str) -> str:
        """Hash what is stored and record it as a blob; answer its digest.

        Raises:
            UploadNotFound: This tenant has no such upload open.
            UploadOffset: Bytes are missing at the end.
            UploadDigest: The bytes have another digest, and were discarded.
        """
        writer = uuid.uuid4().hex
        taken = await self._take_over(tenant, upload_id, writer)
        if taken.offset != taken.size:
            raise UploadOffset(
                f"{taken.offset} of {taken.size} bytes are stored", committed_bytes=taken.offset
            )
        await self._blobs.seal(tenant, StorageId.parse(upload_id), writer=writer)
        return taken.digest

    async def _take_over(self, tenant: str, upload_id: str, writer: str) -> "_Taken":
        named = {"upload": keys.upload(upload_id)}
        return msgspec.json.decode(
            await self._take(named, tenant=tenant, writer=writer), type=_Taken
        )

    async def store_chunk(self, sid: StorageId, writer: str, offset: int, data: bytes) -> None:
        """Store one chunk and move the upload's committed offset past it, if `writer` still is.

        Raises:
            UploadTaken: Another writer took over.
            UploadNotFound: The upload was closed meanwhile.
            StoreFull, StoreUnavailable: The chunk is not stored.
        """
        await self._store.write(sid, offset, data)
        try:
            await self._advance(
                {"upload": keys.upload(str(sid)), "uploads": keys.UPLOADS},
                writer=writer,
                offset=offset + len(data),
                sid=str(sid),
                life_ms=self._life_ms,
            )
        except UploadNotFound:
            await self._store.abandon(sid)
            raise


class UploadWriter:
    """The bytes of one stream, in order; whole chunks and the last one are committed at once."""

    def __init__(self, uploads: Uploads, sid: StorageId, writer: str, committed_bytes: int) -> None:
        self._uploads = uploads
        self._sid = sid
        self._writer = writer
        self._pending = bytearray()
        self.committed_bytes = committed_bytes

    @property
    def received_bytes(self) -> int:
        return self.committed_bytes + len(self._pending)

    async def write(self, offset: int, data: bytes) -> None:
        """Take the bytes at `offset`; returns when every whole chunk of them is stored.

        Raises:
            UploadOffset: They do not follow the bytes received so far, or exceed the file.
            UploadTaken: Another writer took over.
            StoreFull, StoreUnavailable: A chunk is not stored; the upload can be resumed.
        """
        if offset != self.received_bytes:
            raise UploadOffset(
                f"offset {offset}; {self.received_bytes} bytes are received",
                committed_bytes=self.received_bytes,
            )
        size = self._sid.size_bytes
        if offset + len(data) > size:
            raise UploadOffset(
                f"{offset + len(data)} bytes exceed the size of {size}", committed_bytes=offset
            )
        self._pending += data
        while len(self._pending) >= CHUNK_BYTES or (self._pending and self.received_bytes == size):
            chunk = bytes(self._pending[:CHUNK_BYTES])
            await self._uploads.store_chunk(self._sid, self._writer, self.committed_bytes, chunk)
            del self._pending[:CHUNK_BYTES]
            self.committed_bytes += len(chunk)


@dataclass(frozen=True, slots=True)
class _Opened:
    sid: str
    offset: int
    expires_ms: int


@dataclass(frozen=True, slots=True)
class _Taken:
    digest: str
    size: int
    offset: int
