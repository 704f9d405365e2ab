"""Jobs as workers see them: races, fences, dead workers and their zombies."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import redis.asyncio

from weft.adapters import keys
from weft.adapters.catalogue import Catalogue
from weft.adapters.codec import raw_entries
from weft.adapters.errors import AdapterNotFound, BlobNotFound, FenceLost, JobStateConflict
from weft.adapters.job_queue import MAX_ATTEMPTS, Claim, JobQueue
from weft.adapters.job_records import (
    JobCheckpoint,
    JobClass,
    JobError,
    JobPhase,
    JobProgress,
    JobResult,
    JobState,
    JobWarning,
    PublicationState,
)
from weft.adapters.jobs import Jobs
from weft.adapters.records import AliasMove, Call, Publication

from .job_cases import (
    ALICE,
    BAD_DATA,
    REPORT,
    TARGET,
    claim,
    create_publishing,
    create_queued,
    create_running,
    lose_lease,
    make_publication,
    open_queue,
    record_dataset,
    spec,
)
from .registry_cases import RecordingRegistry, content, publish

NONE = JobResult(PublicationState.NO_CHECKPOINT)
NOT_REQUESTED = JobResult(PublicationState.NOT_REQUESTED)
DIVERGED = JobError("LOSS_NOT_FINITE", "step 3: loss nan")
CHECKPOINT = JobCheckpoint(5, "sha256:" + "1" * 64, "w1")
PROGRESS = JobProgress(1, 3, 0.3, 2.5, None, 1e-4, 0.7, 20, 20, 100.0, 4.0, 0)


@pytest.fixture
async def jobs(redis_client: redis.asyncio.Redis) -> Jobs:
    await record_dataset(redis_client)
    return Jobs(redis_client)


@pytest.fixture
async def queue(redis_client: redis.asyncio.Redis) -> JobQueue:
    return await open_queue(redis_client)


async def test_valid_job_is_queued_then_claimed_with_a_new_fence(
    jobs: Jobs, queue: JobQueue, redis_client: redis.asyncio.Redis
) -> None:
    job = await jobs.create(ALICE, spec())
    validating = await claim(queue)
    assert validating.job.state is JobState.VALIDATING
    assert validating.fence == 1

    await queue.accept(validating, REPORT, resolved={"seed": 7})
    queued = await jobs.get("acme", job.id)
    assert (queued.state, queued.holder) == (JobState.QUEUED, "")
    assert queued.report == REPORT
    assert queued.resolved == {"seed": 7}
    assert not await redis_client.exists(keys.job_lease(job.id))

    running = await claim(queue)
    assert (running.job.state, running.job.holder, running.fence) == (JobState.RUNNING, "w1", 3)
    assert 59_000 < await redis_client.pttl(keys.job_lease(job.id)) <= 60_000
    assert await queue.claim_next(block_ms=0) is None


async def test_invalid_job_ends_with_its_report(
    jobs: Jobs, queue: JobQueue, redis_client: redis.asyncio.Redis
) -> None:
    job = await jobs.create(ALICE, spec())

    await queue.refuse(await claim(queue), REPORT, BAD_DATA)

    ended = await jobs.get("acme", job.id)
    assert (ended.state, ended.reason) == (JobState.INVALID, "DATASET_INVALID")
    assert ended.error == BAD_DATA
    assert (await redis_client.hgetall(keys.used("acme"))) == {b"jobs_queued": b"0"}


async def test_two_workers_racing_for_jobs_never_share_one(
    jobs: Jobs, redis_client: redis.asyncio.Redis
) -> None:
    workers = [await open_queue(redis_client, f"w{i}") for i in range(4)]
    made = {(await jobs.create(ALICE, spec())).id for _ in range(3)}

    claims = await asyncio.gather(*(worker.claim_next(block_ms=0) for worker in workers))

    won = [claimed.job.id for claimed in claims if claimed is not None]
    assert len(won) == 3
    assert set(won) == made


async def test_waiting_worker_is_woken_by_a_new_job(jobs: Jobs, queue: JobQueue) -> None:
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(queue.claim_next(block_ms=10_000))
        job = await jobs.create(ALICE, spec())
        async with asyncio.timeout(5):
            claimed = await waiting

    assert claimed is not None
    assert claimed.job.id == job.id


async def test_jobs_of_other_bases_are_left_alone(
    jobs: Jobs, redis_client: redis.asyncio.Redis
) -> None:
    other = JobQueue(redis_client, redis_client, worker="w9", bases=["sha256:" + "9" * 64])
    await other.open()
    await other.open()
    await jobs.create(ALICE, spec())

    assert await other.claim_next(block_ms=0) is None


async def test_second_job_of_a_tenant_waits_for_the_first(
    jobs: Jobs, queue: JobQueue, redis_client: redis.asyncio.Redis
) -> None:
    await record_dataset(redis_client, "beta")
    first = await create_queued(jobs, queue)
    second = await create_queued(jobs, queue)
    third = await create_queued(jobs, queue)
    other = await create_queued(jobs, queue, call=Call("beta", "bob"))
    running = [await claim(queue), await claim(queue)]
    assert [c.job.id for c in running] == [first.id, other.id]
    assert await queue.claim_next(block_ms=0) is None

    await queue.fail(running[0], DIVERGED, NONE)

    released = await claim(queue)
    assert released.job.id == second.id
    await queue.fail(released, DIVERGED, NONE)
    assert (await claim(queue)).job.id == third.id


async def test_low_jobs_are_not_starved(
    jobs: Jobs, queue: JobQueue, redis_client: redis.asyncio.Redis
) -> None:
    await redis_client.hset(keys.TENANTS, "acme", '{"jobs_running": 100, "jobs_queued": 100}')
    for name in (JobClass.LOW, *[JobClass.HIGH] * 11):
        await jobs.create(ALICE, spec(queue=name))

    order: list[JobClass] = []
    while len(order) < 12:
        claimed = await claim(queue)
        if claimed.job.state is JobState.VALIDATING:
            await queue.accept(claimed, REPORT, resolved={})
        else:
            order.append(claimed.job.spec.queue)

    assert order[-1] is JobClass.HIGH


async def test_progress_checkpoint_phase_and_warning_are_recorded(
    jobs: Jobs, queue: JobQueue
) -> None:
    held = await create_running(jobs, queue)

    await queue.note_phase(held, JobPhase.TRAIN)
    await queue.note_progress(held, PROGRESS)
    await queue.note_checkpoint(held, CHECKPOINT)
    state = await queue.warn(held, JobWarning(1, "rows are not packed"))

    job = await jobs.get("acme", held.job.id)
    assert state is job.state is JobState.RUNNING
    assert job.phase is JobPhase.TRAIN
    assert job.progress == PROGRESS
    assert job.checkpoint == CHECKPOINT


async def test_success_publishes_in_the_same_step(
    jobs: Jobs, queue: JobQueue, redis_client: redis.asyncio.Redis
) -> None:
    held = await create_publishing(jobs, queue)
    assert (await jobs.get("acme", held.job.id)).target == TARGET
    publication = await make_publication(redis_client)

    published = await queue.succeed(held, publication)

    assert published.version.model == "support@1"
    job = await jobs.get("acme", held.job.id)
    assert job.state is JobState.SUCCEEDED
    assert job.result == JobResult(
        PublicationState.PUBLISHED, 1, publication.content.digest, published.event_id
    )
    assert await queue.succeed(held, publication) == published
    assert len(await Catalogue(redis_client).list_versions("acme", "support")) == 1
    assert (await redis_client.xlen(keys.queue(spec().base_digest, "normal"))) == 0


async def test_alias_that_was_moved_meanwhile_stays(
    jobs: Jobs, queue: JobQueue, redis_client: redis.asyncio.Redis
) -> None:
    await publish(RecordingRegistry(redis_client), "support", seed=9)
    held = await create_publishing(jobs, queue)
    made = await make_publication(redis_client)
    publication = Publication("support", made.content, (AliasMove("latest", 0),))

    published = await queue.succeed(held, publication)

    assert published.conflicts == ("latest",)
    result = (await jobs.get("acme", held.job.id)).result
    assert result is not None
    assert (result.publication, result.version) == (PublicationState.ALIAS_CONFLICT, 2)


async def test_refused_publication_changes_nothing(
    jobs: Jobs, queue: JobQueue, redis_client: redis.asyncio.Redis
) -> None:
    held = await create_publishing(jobs, queue)
    unknown = Publication("support", content(seed=5), ())

    with pytest.raises(BlobNotFound):
        await queue.succeed(held, unknown)

    assert (await jobs.get("acme", held.job.id)).state is JobState.PUBLISHING
    with pytest.raises(AdapterNotFound):
        await Catalogue(redis_client).get_adapter("acme", "support")


async def test_job_that_publishes_nothing_succeeds(jobs: Jobs, queue: JobQueue) -> None:
    held = await create_publishing(jobs, queue)

    await queue.finish_unpublished(held, NOT_REQUESTED)

    job = await jobs.get("acme", held.job.id)
    assert (job.state, job.result) == (JobState.SUCCEEDED, NOT_REQUESTED)


async def test_failed_job_says_why(jobs: Jobs, queue: JobQueue) -> None:
    held = await create_running(jobs, queue)

    await queue.fail(held, DIVERGED, NONE)

    job = await jobs.get("acme", held.job.id)
    assert (job.state, job.reason, job.error) == (JobState.FAILED, "LOSS_NOT_FINITE", DIVERGED)


async def test_live_worker_is_not_robbed(
    jobs: Jobs, queue: JobQueue, redis_client: redis.asyncio.Redis
) -> None:
    await create_running(jobs, queue)
    impatient = await open_queue(redis_client, "w2", idle_ms=0)

    assert await impatient.reclaim() is None


async def test_dead_workers_job_is_reclaimed_and_its_zombie_can_write_nothing(
    jobs: Jobs, queue: JobQueue, redis_client: redis.asyncio.Redis
) -> None:
    zombie = await create_publishing(jobs, queue)
    await queue.note_checkpoint(zombie, CHECKPOINT)
    await lose_lease(redis_client, zombie)
    other = await open_queue(redis_client, "w2", idle_ms=0)

    taken = await other.reclaim()

    assert taken is not None
    assert (taken.fence, taken.job.holder, taken.job.attempt) == (zombie.fence + 1, "w2", 2)
    assert (taken.job.checkpoint, taken.job.target) == (CHECKPOINT, TARGET)
    publication = await make_publication(redis_client)
    for write in zombie_writes(queue, zombie, publication):
        with pytest.raises(FenceLost, match="has fence 4, not 3"):
            await write()
    with pytest.raises(AdapterNotFound):
        await Catalogue(redis_client).get_adapter("acme", "support")
    assert (await other.succeed(taken, publication)).version.number == 1


def zombie_writes(
    queue: JobQueue, zombie: Claim, publication: Publication
) -> list[Callable[[], Awaitable[object]]]:
    """Every write of a worker."""
    return [
        lambda: queue.hold(zombie),
        lambda: queue.note_phase(zombie, JobPhase.TRAIN),
        lambda: queue.note_progress(zombie, PROGRESS),
        lambda: queue.note_checkpoint(zombie, CHECKPOINT),
        lambda: queue.warn(zombie, JobWarning(0, "still here")),
        lambda: queue.accept(zombie, REPORT, resolved={}),
        lambda: queue.refuse(zombie, REPORT, BAD_DATA),
        lambda: queue.seal(zombie, TARGET),
        lambda: queue.succeed(zombie, publication),
        lambda: queue.finish_unpublished(zombie, NOT_REQUESTED),
        lambda: queue.fail(zombie, DIVERGED, NONE),
        lambda: queue.end_cancelled(zombie, NONE),
    ]


async def test_worker_that_overslept_goes_on_while_nobody_took_its_job(
    jobs: Jobs, queue: JobQueue, redis_client: redis.asyncio.Redis
) -> None:
    held = await create_running(jobs, queue)
    await lose_lease(redis_client, held)

    assert await queue.hold(held) is JobState.RUNNING

    assert await redis_client.get(keys.job_lease(held.job.id)) == str(held.fence).encode()


async def test_late_heartbeat_takes_no_lease_again(
    jobs: Jobs, queue: JobQueue, redis_client: redis.asyncio.Redis
) -> None:
    job = await jobs.create(ALICE, spec())
    validated = await claim(queue)
    await queue.accept(validated, REPORT, resolved={})
    with pytest.raises(FenceLost):
        await queue.hold(validated)
    running = await claim(queue)
    await queue.fail(running, DIVERGED, NONE)
    with pytest.raises(JobStateConflict, match="is FAILED and cannot be held"):
        await queue.hold(running)

    assert not await redis_client.exists(keys.job_lease(job.id))


async def test_job_that_no_worker_finishes_is_given_up(
    jobs: Jobs, queue: JobQueue, redis_client: redis.asyncio.Redis
) -> None:
    held = await create_running(jobs, queue)
    impatient = await open_queue(redis_client, "w2", idle_ms=0)
    for _ in range(MAX_ATTEMPTS - 1):
        await redis_client.delete(keys.job_lease(held.job.id))
        assert await impatient.reclaim() is not None
    await redis_client.delete(keys.job_lease(held.job.id))

    assert await impatient.reclaim() is None

    job = await jobs.get("acme", held.job.id)
    assert (job.state, job.reason) == (JobState.FAILED, "WORKER_LOST")
    assert job.error == JobError("WORKER_LOST", "3 workers took this job and none finished it")
    ((_, dead),) = raw_entries(await redis_client.xrange(keys.DEAD_JOBS))
    assert (dead[b"job"], dead[b"attempts"]) == (held.job.id.encode(), b"3")


async def test_cancelled_job_of_a_dead_worker_ends_at_the_reclaim(
    jobs: Jobs, queue: JobQueue, redis_client: redis.asyncio.Redis
) -> None:
    held = await create_running(jobs, queue)
    await jobs.cancel("acme", held.job.id)
    await lose_lease(redis_client, held)
    other = await open_queue(redis_client, "w2", idle_ms=0)

    assert await other.reclaim() is None

    assert (await jobs.get("acme", held.job.id)).state is JobState.CANCELLED


async def test_cancelled_job_cannot_be_sealed_or_published(
    jobs: Jobs, queue: JobQueue, redis_client: redis.asyncio.Redis
) -> None:
    held = await create_running(jobs, queue)
    await jobs.cancel("acme", held.job.id)

    with pytest.raises(JobStateConflict, match="is CANCELLING and cannot publish"):
        await queue.seal(held, TARGET)
    with pytest.raises(JobStateConflict, match="is CANCELLING and cannot succeed"):
        await queue.succeed(held, await make_publication(redis_client))
    await queue.end_cancelled(held, NONE)

    with pytest.raises(AdapterNotFound):
        await Catalogue(redis_client).get_adapter("acme", "support")


async def test_moves_out_of_order_are_refused(
    jobs: Jobs, queue: JobQueue, redis_client: redis.asyncio.Redis
) -> None:
    held = await create_running(jobs, queue)
    publication = await make_publication(redis_client)
    out_of_order: list[Awaitable[object]] = [
        queue.accept(held, REPORT, resolved={}),
        queue.refuse(held, REPORT, BAD_DATA),
        queue.succeed(held, publication),
        queue.finish_unpublished(held, NOT_REQUESTED),
        queue.end_cancelled(held, NONE),
    ]
    for attempt in out_of_order:
        with pytest.raises(JobStateConflict, match="is RUNNING and cannot"):
            await attempt
    await queue.fail(held, DIVERGED, NONE)
    too_late: list[Awaitable[object]] = [
        queue.note_phase(held, JobPhase.TRAIN),
        queue.seal(held, TARGET),
        queue.fail(held, DIVERGED, NONE),
    ]
    for attempt in too_late:
        with pytest.raises(JobStateConflict, match="is FAILED and cannot"):
            await attempt


async def test_entry_of_a_job_that_is_gone_is_dropped(
    jobs: Jobs, queue: JobQueue, redis_client: redis.asyncio.Redis
) -> None:
    job = await jobs.create(ALICE, spec())
    await redis_client.delete(keys.job(job.id))

    assert await queue.claim_next(block_ms=0) is None

    assert await redis_client.xlen(keys.queue(spec().base_digest, "validate")) == 0
