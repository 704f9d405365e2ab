"""Data sets as resources."""

from dataclasses import replace
from pathlib import Path

import pytest
import redis.asyncio

from weft.adapters import keys
from weft.adapters.blobs import Blobs
from weft.adapters.datasets import Datasets
from weft.adapters.errors import BlobNotFound, DatasetNotFound, RequestConflict
from weft.adapters.records import Call
from weft.adapters.store import FileStore

ALICE = Call("acme", "alice")


@pytest.fixture
def blobs(redis_client: redis.asyncio.Redis, tmp_path: Path) -> Blobs:
    return Blobs(redis_client, FileStore(tmp_path))


@pytest.fixture
def datasets(redis_client: redis.asyncio.Redis, blobs: Blobs) -> Datasets:
    return Datasets(redis_client, blobs)


async def test_data_set_of_an_uploaded_file_is_kept_and_found(
    datasets: Datasets, blobs: Blobs, redis_client: redis.asyncio.Redis
) -> None:
    digest = await blobs.put_bytes("acme", b'{"text": "a"}\n')

    made = await datasets.create(ALICE, digest, display_name="rows", labels={"team": "a"})

    assert (made.digest, made.size_bytes, made.display_name) == (digest, 14, "rows")
    assert made.labels == {"team": "a"}
    assert made.format is None
    assert await datasets.get("acme", made.id) == made
    assert await redis_client.smembers(keys.refs(digest)) == {f"ds:{made.id}".encode()}


async def test_file_of_another_tenant_makes_no_data_set(datasets: Datasets, blobs: Blobs) -> None:
    digest = await blobs.put_bytes("other", b'{"text": "a"}\n')

    with pytest.raises(BlobNotFound):
        await datasets.create(ALICE, digest)


async def test_data_set_of_another_tenant_is_not_found(datasets: Datasets, blobs: Blobs) -> None:
    made = await datasets.create(ALICE, await blobs.put_bytes("acme", b"{}\n"))

    with pytest.raises(DatasetNotFound, match=f"no data set {made.id}"):
        await datasets.get("other", made.id)
    assert await datasets.list_datasets("other") == ()


async def test_repeat_of_a_request_answers_the_first_data_set(
    datasets: Datasets, blobs: Blobs
) -> None:
    digest = await blobs.put_bytes("acme", b"{}\n")
    call = replace(ALICE, request_id="r1")
    first = await datasets.create(call, digest)

    assert await datasets.create(call, digest) == first
    with pytest.raises(RequestConflict):
        await datasets.create(call, digest, display_name="other")
    assert await datasets.list_datasets("acme") == (first,)


async def test_data_sets_are_listed_newest_first(datasets: Datasets, blobs: Blobs) -> None:
    made = [
        await datasets.create(ALICE, await blobs.put_bytes("acme", f"{i}\n".encode()))
        for i in range(3)
    ]

    listed = await datasets.list_datasets("acme")

    assert {record.id for record in listed} == {record.id for record in made}
    times = [record.created_ms for record in listed]
    assert times == sorted(times, reverse=True)


async def test_validation_fills_in_format_and_rows(datasets: Datasets, blobs: Blobs) -> None:
    made = await datasets.create(ALICE, await blobs.put_bytes("acme", b"{}\n"))

    described = await datasets.describe("acme", made.id, form="chat", num_rows=7)

    assert described == replace(made, format="chat", num_rows=7)
    assert await datasets.get("acme", made.id) == described
