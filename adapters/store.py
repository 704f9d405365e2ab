"""Bytes by storage id, in files or in Redis.

A storage id names one copy of one content. Bytes become readable as a blob only when a record
points from their digest to such an id, so nothing unverified is ever read by digest.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import redis.asyncio

from . import keys
from .digest import is_digest
from .errors import ContentCorrupt, StoreFull, StoreUnavailable, UploadDigest, UploadNotFound

CHUNK_BYTES = 1_048_512  # 1 MiB would be rounded up to 1.25 MiB by the server's allocator
CHUNKS_IN_FLIGHT = 4
CHUNKS_PER_UNLINK = 16

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StorageId:
    """One copy of the content that `digest` and `size_bytes` promise.

    Raises:
        ValueError: The digest, size or nonce cannot be one.
    """

    digest: str
    size_bytes: int
    nonce: str

    def __post_init__(self) -> None:
        if not (is_digest(self.digest) and self.size_bytes > 0 and self.nonce.isalnum()):
            raise ValueError(f"{str(self)[:120]!r} is no storage id")

    @classmethod
    def new(cls, digest: str, size_bytes: int) -> "StorageId":
        return cls(digest, size_bytes, uuid.uuid4().hex[:16])

    @classmethod
    def parse(cls, text: str) -> "StorageId":
        """
        Raises:
            ValueError: It is not the text of a storage id.
        """
        sha, size, nonce = text.split(".")
        return cls(f"sha256:{sha}", int(size), nonce)

    def __str__(self) -> str:
        return f"{self.digest.removeprefix('sha256:')}.{self.size_bytes}.{self.nonce}"

    @property
    def num_chunks(self) -> int:
        return -(-self.size_bytes // CHUNK_BYTES)


class Store(Protocol):
    """Where bytes live. Chunks are written in order, each of CHUNK_BYTES but for the last."""

    @property
    def backend(self) -> str:
        """Name of the kind of store, kept with every blob."""

    async def write(self, sid: StorageId, offset: int, data: bytes) -> None:
        """Write one chunk.

        Raises:
            StoreFull, StoreUnavailable: It is not stored.
        """

    async def seal(self, sid: StorageId) -> None:
        """Put the bytes out of their writers' reach and hash them as they are stored.

        Raises:
            UploadDigest: They are not the content promised.
        """

    def read(self, sid: StorageId, *, offset: int = 0) -> AsyncIterator[bytes]:
        """Read sealed bytes from `offset`, in pieces of at most CHUNK_BYTES.

        Raises:
            ContentCorrupt: Bytes are missing.
        """

    async def link(self, sid: StorageId, path: Path) -> bool:
        """Make `path` the sealed bytes themselves, without a copy; False where that cannot be."""

    async def abandon(self, sid: StorageId) -> None:
        """Remove what is stored and not sealed."""

    async def delete(self, sid: StorageId) -> None:
        """Remove whatever is stored under the id, sealed or not, and if nothing is, do nothing."""


class FileStore:
    """Files in a folder: `uploads/` while they are written, `sha256/` when they are sealed."""

    backend = "file"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def write(self, sid: StorageId, offset: int, data: bytes) -> None:
        await _in_thread(self._write, sid, offset, data)

    def _write(self, sid: StorageId, offset: int, data: bytes) -> None:
        path = self._open_path(sid)
        with _file_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | (os.O_CREAT if offset == 0 else 0)
            try:
                file = os.open(path, flags, 0o600)
            except FileNotFoundError as error:
                raise UploadNotFound("no such upload") from error
            try:
                os.pwrite(file, data, offset)
            finally:
                os.close(file)

    async def seal(self, sid: StorageId) -> None:
        await _in_thread(self._seal, sid)

    def _seal(self, sid: StorageId) -> None:
        sealed = self._sealed_path(sid)
        with _file_errors():
            sealed.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                self._open_path(sid).rename(sealed)
            _sync(sealed)
            _sync(sealed.parent)
            with sealed.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        _check(sid, found)

    async def read(self, sid: StorageId, *, offset: int = 0) -> AsyncIterator[bytes]:
        try:
            file = await asyncio.to_thread(self._sealed_path(sid).open, "rb")
        except FileNotFoundError as error:
            raise _missing(sid) from error
        with file, _file_errors():
            file.seek(offset)
            for start in range(offset, sid.size_bytes, CHUNK_BYTES):
                data = await asyncio.to_thread(file.read, CHUNK_BYTES)
                if len(data) != min(CHUNK_BYTES, sid.size_bytes - start):
                    raise _missing(sid)
                yield data

    async def link(self, sid: StorageId, path: Path) -> bool:
        try:
            await _in_thread(os.link, self._sealed_path(sid), path)
        except FileNotFoundError as error:
            raise _missing(sid) from error
        except OSError as error:
            if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK):
                return False
            raise
        return True

    async def abandon(self, sid: StorageId) -> None:
        await self._unlink(self._open_path(sid))

    async def delete(self, sid: StorageId) -> None:
        await self._unlink(self._open_path(sid))
        await self._unlink(self._sealed_path(sid))

    async def _unlink(self, path: Path) -> None:
        with _file_errors():
            await _in_thread(path.unlink, missing_ok=True)

    def _open_path(self, sid: StorageId) -> Path:
        return self._folder / "uploads" / str(sid)

    def _sealed_path(self, sid: StorageId) -> Path:
        return self._folder / "sha256" / str(sid)[:2] / str(sid)


class RedisStore:
    """Chunks in Redis, over a client of their own: a large value holds up whoever shares it."""

    backend = "redis"

    def __init__(self, redis: redis.asyncio.Redis) -> None:
        self._redis = redis

    async def write(self, sid: StorageId, offset: int, data: bytes) -> None:
        assert offset % CHUNK_BYTES == 0
        await self._redis.set(keys.chunk(str(sid), offset // CHUNK_BYTES), data)

    async def seal(self, sid: StorageId) -> None:
        await self._rename(sid)
        sha256 = hashlib.sha256()
        try:
            async for data in self.read(sid):
                await asyncio.to_thread(sha256.update, data)
        except ContentCorrupt as error:
            raise UploadDigest("the stored bytes are not whole") from error
        _check(sid, sha256.hexdigest())

    async def _rename(self, sid: StorageId) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for index in range(sid.num_chunks):
            pipeline.rename(keys.chunk(str(sid), index), keys.sealed_chunk(str(sid), index))
        await pipeline.execute(raise_on_error=False)  # one renamed by an earlier try is missing

    async def read(self, sid: StorageId, *, offset: int = 0) -> AsyncIterator[bytes]:
        first = offset // CHUNK_BYTES
        for start in range(first, sid.num_chunks, CHUNKS_IN_FLIGHT):
            indices = range(start, min(start + CHUNKS_IN_FLIGHT, sid.num_chunks))
            for index, data in zip(indices, await self._get(sid, indices), strict=True):
                yield data[offset - index * CHUNK_BYTES :] if index == first else data

    async def _get(self, sid: StorageId, indices: range) -> list[bytes]:
        found = await asyncio.gather(
            *(self._redis.get(keys.sealed_chunk(str(sid), index)) for index in indices)
        )
        chunks = [data for data in found if isinstance(data, bytes)]
        expected = min(len(indices) * CHUNK_BYTES, sid.size_bytes - indices.start * CHUNK_BYTES)
        if len(chunks) != len(indices) or sum(map(len, chunks)) != expected:
            raise _missing(sid)
        return chunks

    async def link(self, sid: StorageId, path: Path) -> bool:
        return False

    async def abandon(self, sid: StorageId) -> None:
        await self._unlink([keys.chunk(str(sid), index) for index in range(sid.num_chunks)])

    async def delete(self, sid: StorageId) -> None:
        await self.abandon(sid)
        await self._unlink([keys.sealed_chunk(str(sid), index) for index in range(sid.num_chunks)])

    async def _unlink(self, names: list[str]) -> None:
        for start in range(0, len(names), CHUNKS_PER_UNLINK):
            await self._redis.unlink(*names[start : start + CHUNKS_PER_UNLINK])


def _check(sid: StorageId, found: str) -> None:
    if f"sha256:{found}" != sid.digest:
        raise UploadDigest(
            f"the stored bytes have digest sha256:{found}; expected {sid.digest}",
            digest=f"sha256:{found}",
        )


def _missing(sid: StorageId) -> ContentCorrupt:
    return ContentCorrupt(f"stored bytes of {sid.digest} are missing", digest=sid.digest)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


async def _in_thread(work: Callable[..., T], *args: object, **options: object) -> T:
    """Run `work` in a thread, and even when cancelled return only after it has ended."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *args, **options))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        raise


@contextmanager
def _file_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreFull("the disk of the store is full; nothing was changed") from error
        raise StoreUnavailable(f"the store cannot be used: {error.strerror}") from error
