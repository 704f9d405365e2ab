"""Jobs in a real Redis, with a data set that is only recorded."""

import redis.asyncio

from weft.adapters import keys
from weft.adapters.digest import digest_bytes
from weft.adapters.job_codec import encode
from weft.adapters.job_queue import Claim, JobQueue
from weft.adapters.job_records import (
    DatasetRecord,
    Job,
    JobError,
    JobReport,
    JobSpec,
    JobTarget,
    PublishPolicy,
)
from weft.adapters.jobs import Jobs
from weft.adapters.records import Call, Publication

from .registry_cases import RecordingRegistry, content

BASE = digest_bytes(b"base")
ALICE = Call("acme", "alice")
REPORT = JobReport(
    digest=None,
    num_errors=0,
    num_warnings=0,
    counts={},
    first=(),
    train_rows=4,
    train_tokens=40,
    trained_tokens=20,
    held_out_rows=0,
    num_steps=3,
)
BAD_DATA = JobError("DATASET_INVALID", "F102 line 1: not one JSON object")
TARGET = JobTarget(3, *(digest_bytes(part) for part in (b"config", b"weights", b"provenance")))


def spec(adapter: str | None = "support", **more: object) -> JobSpec:
    """A job on the recorded data set."""
    values = {"base_digest": BASE, "train": "rows", "publish": PublishPolicy(adapter)}
    return JobSpec(**(values | more))  # type: ignore[arg-type]


async def record_dataset(client: redis.asyncio.Redis, tenant: str = "acme") -> None:
    """Make the data set `rows` known."""
    record = DatasetRecord("rows", digest_bytes(b"rows"), 10, "", {}, 1)
    await client.hset(keys.datasets(tenant), "rows", encode(record))


async def open_queue(
    client: redis.asyncio.Redis, worker: str = "w1", *, idle_ms: int = 60_000
) -> JobQueue:
    """The queue as one worker sees it."""
    queue = JobQueue(client, client, worker=worker, bases=[BASE], idle_ms=idle_ms)
    await queue.open()
    return queue


async def claim(queue: JobQueue) -> Claim:
    """Claim what is there."""
    claimed = await queue.claim_next(block_ms=0)
    assert claimed is not None
    return claimed


async def create_queued(jobs: Jobs, queue: JobQueue, *, call: Call = ALICE) -> Job:
    """Create a job and validate it."""
    job = await jobs.create(call, spec())
    await queue.accept(await claim(queue), REPORT, resolved={"seed": 1})
    return await jobs.get(call.tenant, job.id)


async def create_running(jobs: Jobs, queue: JobQueue) -> Claim:
    """Create a job, validate it and claim it for training."""
    await create_queued(jobs, queue)
    return await claim(queue)


async def create_publishing(jobs: Jobs, queue: JobQueue) -> Claim:
    """Bring a job to where its version is published."""
    running = await create_running(jobs, queue)
    await queue.seal(running, TARGET)
    return running


async def make_publication(client: redis.asyncio.Redis, adapter: str = "support") -> Publication:
    """A version whose bytes are recorded."""
    made = content()
    await RecordingRegistry(client).record_content(made)
    return Publication(adapter, made, spec().publish.aliases)


async def lose_lease(client: redis.asyncio.Redis, claimed: Claim) -> None:
    """Let the lease of a claim end, as that of a dead worker does."""
    await client.delete(keys.job_lease(claimed.job.id))
