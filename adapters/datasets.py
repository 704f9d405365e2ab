"""Data sets of tenants: named, immutable JSONL blobs."""

import uuid
from collections.abc import Mapping
from dataclasses import replace

import msgspec
import redis.asyncio

from . import codec, keys
from .blobs import Blobs
from .dataset import MAX_FILE_BYTES
from .errors import DatasetNotFound, QuotaExceeded
from .job_codec import encode
from .job_records import DatasetRecord
from .lua import Json, Script
from .records import Call
from .registry import fingerprint_of


class Datasets:
    """The data sets of all tenants. Everything of another tenant is not found."""

    def __init__(self, redis: redis.asyncio.Redis, blobs: Blobs) -> None:
        self._redis = redis
        self._blobs = blobs
        self._create = Script(redis, "create_dataset")

    async def create(
        self,
        call: Call,
        digest: str,
        *,
        display_name: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> DatasetRecord:
        """Make a data set of a blob that this tenant uploaded.

        Raises:
            BlobNotFound: It did not.
            QuotaExceeded: The file is larger than a data set may be.
            RequestConflict: The request id was used for something else.
        """
        await self._blobs.check_owned(call.tenant, [digest])
        size = await self._blobs.size(digest)
        if size > MAX_FILE_BYTES:
            raise QuotaExceeded(f"data set of {size} bytes exceeds {MAX_FILE_BYTES}")
        record = DatasetRecord(
            id=uuid.uuid4().hex[:16],
            digest=digest,
            size_bytes=size,
            display_name=display_name,
            labels=dict(labels or {}),
            created_ms=await self._blobs.now_ms(),
        )
        asked: dict[str, Json] = {
            "digest": digest,
            "display_name": display_name,
            "labels": dict(labels or {}),
        }
        named = {
            "request": keys.request(call.tenant, call.request_id or uuid.uuid4().hex),
            "own": keys.own(call.tenant),
            "refs": keys.refs(digest),
            "datasets": keys.datasets(call.tenant),
        }
        reply = await self._create(
            named,
            id=record.id,
            digest=digest,
            record=encode(record),
            fingerprint=fingerprint_of({"create_dataset": asked}),
        )
        return await self.get(call.tenant, msgspec.json.decode(reply)["id"])

    async def get(self, tenant: str, dataset_id: str) -> DatasetRecord:
        """
        Raises:
            DatasetNotFound: This tenant has no such data set.
        """
        text = await self._redis.hget(keys.datasets(tenant), dataset_id)
        if not isinstance(text, bytes):
            raise DatasetNotFound(f"no data set {dataset_id}", name=f"datasets/{dataset_id}")
        return msgspec.json.decode(text, type=DatasetRecord)

    async def list_datasets(self, tenant: str) -> tuple[DatasetRecord, ...]:
        """List all data sets, the newest first."""
        stored = codec.raw_strings(await self._redis.hvals(keys.datasets(tenant)))
        records = [msgspec.json.decode(text, type=DatasetRecord) for text in stored]
        return tuple(sorted(records, key=lambda r: (r.created_ms, r.id), reverse=True))

    async def describe(
        self, tenant: str, dataset_id: str, *, form: str, num_rows: int
    ) -> DatasetRecord:
        """Record what validation found out about a data set.

        Raises:
            DatasetNotFound: This tenant has no such data set.
        """
        found = await self.get(tenant, dataset_id)
        described = replace(found, format=form, num_rows=num_rows)
        await self._redis.hset(keys.datasets(tenant), dataset_id, encode(described))
        return described
