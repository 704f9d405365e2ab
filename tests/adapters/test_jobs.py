"""Jobs as their owners see them."""

import asyncio
from dataclasses import replace

import pytest
import redis.asyncio

from weft.adapters import keys
from weft.adapters.errors import (
    DatasetNotFound,
    EtagMismatch,
    FenceLost,
    JobNotFound,
    JobStateConflict,
    OptionsInvalid,
    QuotaExceeded,
    RequestConflict,
    Unsupported,
)
from weft.adapters.job_news import JobNews
from weft.adapters.job_records import (
    JobClass,
    JobEvent,
    JobPhase,
    JobResult,
    JobState,
    PublicationState,
    PublishPolicy,
    StateChanged,
)
from weft.adapters.jobs import Jobs
from weft.adapters.records import AliasMove, Call

from .job_cases import (
    ALICE,
    REPORT,
    claim,
    create_publishing,
    create_queued,
    create_running,
    make_publication,
    open_queue,
    record_dataset,
    spec,
)
from .registry_cases import RecordingRegistry, publish

CANCELLED = JobResult(PublicationState.NO_CHECKPOINT)


@pytest.fixture
async def jobs(redis_client: redis.asyncio.Redis) -> Jobs:
    await record_dataset(redis_client)
    return Jobs(redis_client)


async def test_new_job_is_validating_and_readable(jobs: Jobs) -> None:
    asked = spec(options={"lora": {"rank": 8}}, labels={"team": "a"}, display_name="Support")

    job = await jobs.create(ALICE, asked)

    assert job.state is JobState.VALIDATING
    assert job.spec == replace(asked, publish=PublishPolicy("support", (AliasMove("latest", 0),)))
    assert (job.generation, job.fence, job.holder) == (1, 0, "")
    assert job.created_ms > 0 == job.started_ms == job.ended_ms
    assert await jobs.get("acme", job.id) == job


async def test_job_notes_where_its_aliases_stand(
    jobs: Jobs, redis_client: redis.asyncio.Redis
) -> None:
    await publish(RecordingRegistry(redis_client), "support")
    moves = (AliasMove("latest"), AliasMove("prod"), AliasMove("canary", 7))

    job = await jobs.create(ALICE, spec(publish=PublishPolicy("support", moves)))

    assert [(a.name, a.expected_generation) for a in job.spec.publish.aliases] == [
        ("latest", 1),
        ("prod", 0),
        ("canary", 7),
    ]


async def test_repeat_of_a_request_answers_the_first_job(jobs: Jobs) -> None:
    call = replace(ALICE, request_id="r1")
    first = await jobs.create(call, spec())

    assert await jobs.create(call, spec()) == first
    with pytest.raises(RequestConflict):
        await jobs.create(call, spec(adapter="other"))
    assert len((await jobs.list_jobs("acme")).jobs) == 1


async def test_bad_options_and_unknown_data_make_no_job(jobs: Jobs) -> None:
    with pytest.raises(OptionsInvalid, match=r"lora\.rank"):
        await jobs.create(ALICE, spec(options={"lora": {"rank": 0}}))
    with pytest.raises(Unsupported, match=r"lora\.dora"):
        await jobs.create(ALICE, spec(options={"lora": {"dora": True}}))
    with pytest.raises(DatasetNotFound, match="no data set other"):
        await jobs.create(ALICE, spec(train="other"))
    with pytest.raises(DatasetNotFound, match="no data set other"):
        await jobs.create(ALICE, spec(eval="other"))

    assert (await jobs.list_jobs("acme")).jobs == ()


async def test_another_tenants_job_and_data_are_not_found(jobs: Jobs) -> None:
    job = await jobs.create(ALICE, spec())

    for attempt in (jobs.get("evil", job.id), jobs.cancel("evil", job.id)):
        with pytest.raises(JobNotFound, match=f"no job {job.id}"):
            await attempt
    with pytest.raises(DatasetNotFound):
        await jobs.create(Call("evil", "eve"), spec())


async def test_twenty_queued_jobs_are_the_limit_unless_the_tenant_has_another(
    jobs: Jobs, redis_client: redis.asyncio.Redis
) -> None:
    for _ in range(20):
        await jobs.create(ALICE, spec())
    with pytest.raises(QuotaExceeded, match="jobs_queued: 20 of 20") as caught:
        await jobs.create(ALICE, spec())
    assert caught.value.metadata == {"quota": "jobs_queued", "used": "20", "limit": "20"}

    await redis_client.hset(keys.TENANTS, "acme", '{"jobs_queued": 21}')
    await jobs.create(ALICE, spec())


async def test_jobs_are_listed_newest_first_in_pages(jobs: Jobs) -> None:
    made = [(await jobs.create(ALICE, spec(labels={"n": str(i % 2)}))).id for i in range(7)]

    seen: list[str] = []
    token: str | None = None
    while True:
        page = await jobs.list_jobs("acme", limit=3, token=token)
        seen += [job.id for job in page.jobs]
        token = page.next_token
        if token is None:
            break

    assert sorted(seen) == sorted(made)
    times = [(await jobs.get("acme", job_id)).created_ms for job_id in seen]
    assert times == sorted(times, reverse=True)
    odd = await jobs.list_jobs("acme", labels={"n": "1"})
    assert {job.id for job in odd.jobs} == set(made[1::2])
    assert (await jobs.list_jobs("acme", states=[JobState.RUNNING])).jobs == ()
    assert (await jobs.list_jobs("other")).jobs == ()
    with pytest.raises(ValueError, match="page token 'x'"):
        await jobs.list_jobs("acme", token="x")


async def test_validating_job_is_cancelled_at_once_and_its_reader_has_lost_it(
    jobs: Jobs, redis_client: redis.asyncio.Redis
) -> None:
    queue = await open_queue(redis_client)
    job = await jobs.create(ALICE, spec())
    held = await claim(queue)

    cancelled = await jobs.cancel("acme", job.id)

    assert cancelled.state is JobState.CANCELLED
    assert cancelled.ended_ms > 0
    with pytest.raises(FenceLost):
        await queue.accept(held, REPORT, resolved={})
    assert await queue.claim_next(block_ms=0) is None


async def test_queued_job_is_cancelled_at_once_and_frees_its_place(
    jobs: Jobs, redis_client: redis.asyncio.Redis
) -> None:
    queue = await open_queue(redis_client)
    first = await create_queued(jobs, queue)
    second = await create_queued(jobs, queue)

    await jobs.cancel("acme", first.id)

    assert (await claim(queue)).job.id == second.id
    used = await redis_client.hgetall(keys.used("acme"))
    assert (used[b"jobs_queued"], used[b"jobs_running"]) == (b"0", b"1")


async def test_waiting_job_is_cancelled_and_never_released(
    jobs: Jobs, redis_client: redis.asyncio.Redis
) -> None:
    queue = await open_queue(redis_client)
    first = await create_queued(jobs, queue)
    waiting = await create_queued(jobs, queue)

    await jobs.cancel("acme", waiting.id)
    await jobs.cancel("acme", first.id)

    assert await queue.claim_next(block_ms=0) is None
    used = await redis_client.hgetall(keys.used("acme"))
    assert set(used.values()) == {b"0"}


async def test_running_job_is_cancelled_when_its_worker_has_stopped(
    jobs: Jobs, redis_client: redis.asyncio.Redis
) -> None:
    queue = await open_queue(redis_client)
    held = await create_running(jobs, queue)

    asked = await jobs.cancel("acme", held.job.id)
    assert asked.state is JobState.CANCELLING
    assert await queue.hold(held) is JobState.CANCELLING
    assert (await jobs.cancel("acme", held.job.id)).generation == asked.generation
    await queue.end_cancelled(held, CANCELLED)

    ended = await jobs.get("acme", held.job.id)
    assert ended.state is JobState.CANCELLED
    assert ended.result == CANCELLED
    assert (await redis_client.hgetall(keys.used("acme")))[b"jobs_running"] == b"0"


async def test_publishing_and_ended_jobs_are_not_cancelled(
    jobs: Jobs, redis_client: redis.asyncio.Redis
) -> None:
    queue = await open_queue(redis_client)
    held = await create_publishing(jobs, queue)
    with pytest.raises(JobStateConflict, match="is PUBLISHING and cannot be cancelled") as caught:
        await jobs.cancel("acme", held.job.id)
    assert caught.value.metadata["state"] == "PUBLISHING"

    await queue.succeed(held, await make_publication(redis_client))
    with pytest.raises(JobStateConflict, match="is SUCCEEDED"):
        await jobs.cancel("acme", held.job.id)


async def test_cancel_compares_the_generation(jobs: Jobs) -> None:
    job = await jobs.create(ALICE, spec())
    with pytest.raises(EtagMismatch):
        await jobs.cancel("acme", job.id, generation=job.generation + 1)
    await jobs.cancel("acme", job.id, generation=job.generation)


async def test_watch_replays_follows_and_ends(
    jobs: Jobs, redis_client: redis.asyncio.Redis
) -> None:
    queue = await open_queue(redis_client)
    held = await create_running(jobs, queue)
    news = JobNews(redis_client)
    seen: list[JobEvent] = []

    async with asyncio.TaskGroup() as tasks:
        follower = tasks.create_task(news.follow())
        watcher = tasks.create_task(collect(jobs, news, held.job.id, seen))
        async with asyncio.timeout(5):
            while len(seen) < 3:
                await asyncio.sleep(0)
            await queue.note_phase(held, JobPhase.TRAIN)
            await jobs.cancel("acme", held.job.id)
            await queue.end_cancelled(held, CANCELLED)
            await watcher
        while not follower.done():  # redis-py can swallow one
            follower.cancel()
            await asyncio.sleep(0)

    bodies = [event.body for event in seen]
    states = [body.to for body in bodies if isinstance(body, StateChanged)]
    assert states == [
        JobState.VALIDATING,
        JobState.QUEUED,
        JobState.RUNNING,
        JobState.CANCELLING,
        JobState.CANCELLED,
    ]
    assert bodies[3] is JobPhase.TRAIN
    assert [event.cursor for event in seen] == list("123456")


async def collect(
    jobs: Jobs, news: JobNews, job_id: str, seen: list[JobEvent], cursor: str = "0"
) -> None:
    async for event in jobs.watch("acme", job_id, news=news, cursor=cursor):
        seen.append(event)  # noqa: PERF401 — what was seen so far must be visible


async def test_watch_resumes_after_its_cursor_and_counts_what_is_gone(
    jobs: Jobs, redis_client: redis.asyncio.Redis
) -> None:
    job = await jobs.create(ALICE, spec())
    await jobs.cancel("acme", job.id)
    news = JobNews(redis_client)
    resumed: list[JobEvent] = []
    await collect(jobs, news, job.id, resumed, cursor="1")
    assert [(event.cursor, event.dropped) for event in resumed] == [("2", 0)]

    await redis_client.xtrim(keys.job_events(job.id), maxlen=1, approximate=False)
    trimmed: list[JobEvent] = []
    await collect(jobs, news, job.id, trimmed)
    assert [(event.cursor, event.dropped) for event in trimmed] == [("2", 1)]

    at_the_end: list[JobEvent] = []
    await collect(jobs, news, job.id, at_the_end, cursor="2")
    assert at_the_end == []
    with pytest.raises(ValueError, match="cursor 'x'"):
        await collect(jobs, news, job.id, [], cursor="x")
    with pytest.raises(JobNotFound):
        await collect(jobs, news, "other", [])


async def test_events_and_job_expire_after_the_end(
    jobs: Jobs, redis_client: redis.asyncio.Redis
) -> None:
    job = await jobs.create(ALICE, spec())
    assert await redis_client.ttl(keys.job(job.id)) == -1
    await jobs.cancel("acme", job.id)

    ninety_days_s = 90 * 24 * 3600
    for key in (keys.job(job.id), keys.job_events(job.id)):
        assert ninety_days_s - 60 < await redis_client.ttl(key) <= ninety_days_s


async def test_classes_are_served_in_their_order(
    jobs: Jobs, redis_client: redis.asyncio.Redis
) -> None:
    await redis_client.hset(keys.TENANTS, "acme", '{"jobs_running": 10}')
    queue = await open_queue(redis_client)
    for name in (JobClass.LOW, JobClass.NORMAL, JobClass.HIGH):
        await jobs.create(ALICE, spec(queue=name))
        await queue.accept(await claim(queue), REPORT, resolved={})

    order = [(await claim(queue)).job.spec.queue for _ in range(3)]

    assert order == [JobClass.HIGH, JobClass.NORMAL, JobClass.LOW]
