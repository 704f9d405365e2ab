"""Jobs as their owners see them: create, read, cancel, watch. Workers' side: `job_queue`."""

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from dataclasses import dataclass, replace

import msgspec
import redis.asyncio

from . import codec, keys
from .catalogue import Catalogue
from .errors import AdapterNotFound, JobNotFound
from .job_codec import decode_event, decode_job, encode
from .job_news import JobNews
from .job_records import Job, JobEvent, JobSpec, JobState, PublishPolicy
from .lua import Script
from .options import read_options
from .records import AliasMove, Call
from .registry import fingerprint_of

PAGE = 100


@dataclass(frozen=True, slots=True)
class JobPage:
    """Jobs, the newest first, and the token of the next page, None on the last."""

    jobs: tuple[Job, ...]
    next_token: str | None


class Jobs:
    """The jobs of all tenants. Everything of another tenant is not found."""

    def __init__(self, redis: redis.asyncio.Redis, *, max_rank: int = 256) -> None:
        self._redis = redis
        self._catalogue = Catalogue(redis)
        self._max_rank = max_rank
        self._create = Script(redis, "job", "create_job")
        self._cancel = Script(redis, "job", "cancel_job")

    async def create(self, call: Call, spec: JobSpec) -> Job:
        """Create a job; a worker validates its data first.

        Raises:
            OptionsInvalid, Unsupported: Its options, by name.
            DatasetNotFound: This tenant has no such data set.
            QuotaExceeded: The tenant has as many queued jobs as it may.
            RequestConflict: The request id was used for something else.
        """
        read_options(spec.options, max_rank=self._max_rank)
        stored = replace(spec, publish=await self._fix_aliases(call.tenant, spec.publish))
        job_id = uuid.uuid4().hex[:16]
        named = job_keys(call.tenant, job_id) | {
            "request": keys.request(call.tenant, call.request_id or uuid.uuid4().hex),
            "datasets": keys.datasets(call.tenant),
            "jobs": keys.jobs(call.tenant),
        }
        reply = await self._create(
            named,
            tenant=call.tenant,
            id=job_id,
            fingerprint=fingerprint_of({"create_job": encode(spec)}),
            spec=encode(stored),
            queues=keys.queue(spec.base_digest, ""),
            datasets=[spec.train] if spec.eval is None else [spec.train, spec.eval],
            **{"class": spec.queue.value},
        )
        return await self.get(call.tenant, msgspec.json.decode(reply)["id"])

    async def _fix_aliases(self, tenant: str, policy: PublishPolicy) -> PublishPolicy:
        """Note where the aliases stand, so that who moves one before the job ends wins."""
        if policy.adapter is None:
            return policy
        try:
            aliases = await self._catalogue.list_aliases(tenant, policy.adapter)
        except AdapterNotFound:
            aliases = ()
        known = {alias.name: alias.generation for alias in aliases}
        moves = tuple(
            move
            if move.expected_generation is not None
            else AliasMove(move.name, known.get(move.name, 0))
            for move in policy.aliases
        )
        return replace(policy, aliases=moves)

    async def get(self, tenant: str, job_id: str) -> Job:
        """
        Raises:
            JobNotFound: This tenant has no such job.
        """
        found = await read_job(self._redis, job_id)
        if found is None or found.tenant != tenant:
            raise JobNotFound(f"no job {job_id}", name=f"jobs/{job_id}")
        return found

    async def list_jobs(
        self,
        tenant: str,
        *,
        states: Collection[JobState] = (),
        labels: Mapping[str, str] | None = None,
        limit: int = PAGE,
        token: str | None = None,
    ) -> JobPage:
        """List jobs, the newest first, that are in one of `states` and have all of `labels`.

        Raises:
            ValueError: The token is none that a page gave.
        """
        found: list[Job] = []
        wanted = (labels or {}).items()
        async for job in self._read_newest(tenant, token):
            if states and job.state not in states:
                continue
            if not wanted <= job.spec.labels.items():
                continue
            if len(found) == limit:
                last = found[-1]
                return JobPage(tuple(found), f"{last.created_ms}:{last.id}")
            found.append(job)
        return JobPage(tuple(found), None)

    async def _read_newest(self, tenant: str, token: str | None) -> AsyncIterator[Job]:
        """Yield the jobs after a token; those of the same millisecond by descending id."""
        score, _, last_id = (token or "+inf:").partition(":")
        if token is not None and not (score.isdecimal() and last_id):
            raise ValueError(f"page token {token!r} is not one of a page of jobs")
        start = 0
        while True:
            page = codec.raw_strings(
                await self._redis.zrevrangebyscore(
                    keys.jobs(tenant), score, "-inf", start=start, num=PAGE
                )
            )
            start += len(page)
            for member in page:
                job = await read_job(self._redis, member.decode())
                if job is None or job.tenant != tenant:
                    continue
                if not (last_id and job.created_ms == int(score) and job.id >= last_id):
                    yield job
            if len(page) < PAGE:
                return

    async def cancel(self, tenant: str, job_id: str, *, generation: int | None = None) -> Job:
        """Cancel a job: at once, or when its worker has ended the current step.

        Raises:
            JobNotFound: This tenant has no such job.
            EtagMismatch: The job is not at `generation`.
            JobStateConflict: It is publishing, or has ended.
        """
        named = job_keys(tenant, job_id)
        await self._cancel(
            named, tenant=tenant, id=job_id, generation=generation, job_prefix=keys.job("")
        )
        return await self.get(tenant, job_id)

    async def watch(
        self, tenant: str, job_id: str, *, news: JobNews, cursor: str = "0"
    ) -> AsyncGenerator[JobEvent, None]:
        """Replay the events after a cursor, then follow; ends after the one of a final state.

        Raises:
            JobNotFound: This tenant has no such job.
            ValueError: The cursor is none.
        """
        if not cursor.isdecimal():
            raise ValueError(f"cursor {cursor!r} is not a number")
        with news.listen(job_id) as heard:
            while True:
                ended = (await self.get(tenant, job_id)).state.is_final
                events = await self._read_events(job_id, cursor)
                for event in events:
                    yield event
                    cursor = event.cursor
                    if event.is_last:
                        return
                if not events and ended:
                    return
                if not events:
                    await heard.wait()

    async def _read_events(self, job_id: str, cursor: str) -> list[JobEvent]:
        entries = codec.raw_entries(
            await self._redis.xrange(keys.job_events(job_id), f"({cursor}-0", "+", count=PAGE)
        )
        events = [decode_event(entry_id, fields) for entry_id, fields in entries]
        if events and int(events[0].cursor) > int(cursor) + 1:
            dropped = int(events[0].cursor) - int(cursor) - 1
            events[0] = replace(events[0], dropped=dropped)
        return events


def job_keys(tenant: str, job_id: str) -> dict[str, str]:
    """Name every key that a move of a job may touch."""
    return {
        "job": keys.job(job_id),
        "lease": keys.job_lease(job_id),
        "job_events": keys.job_events(job_id),
        "job_news": keys.JOB_NEWS,
        "job_wake": keys.JOB_WAKE,
        "waiting": keys.waiting_jobs(tenant),
        "used": keys.used(tenant),
        "tenants": keys.TENANTS,
    }


async def read_job(redis: redis.asyncio.Redis, job_id: str) -> Job | None:
    """Read a job whoever owns it; None when there is none."""
    fields = codec.raw_fields(await redis.hgetall(keys.job(job_id)))
    return decode_job(job_id, fields) if fields else None
