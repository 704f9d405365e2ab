"""Jobs as workers see them: claims under a lease, writes under a fence, reclaiming.

The fence, not the lease, is the truth: every write of a worker carries the number of its claim, and
a worker whose job was claimed again gets FenceLost and can change nothing.
"""

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import redis.asyncio
from redis.exceptions import ResponseError

from . import codec, keys
from .catalogue import Catalogue
from .job_codec import encode
from .job_news import read_stream
from .job_records import (
    Job,
    JobCheckpoint,
    JobClass,
    JobError,
    JobPhase,
    JobProgress,
    JobReport,
    JobResult,
    JobState,
    JobTarget,
    JobWarning,
)
from .jobs import job_keys, read_job
from .lua import Json, Script
from .records import Call, Publication, Published
from .registry import fingerprint_of, publish_arguments

GROUP = "workers"
MAX_ATTEMPTS = 3
CLASSES = ("validate", *(queue.value for queue in JobClass))
LOWEST_FIRST_EVERY = 8
BLOCK_MS = 5_000
LEASE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that this worker holds, as it was when it was claimed, and the fence of the claim."""

    job: Job
    fence: int


class Delivery(NamedTuple):
    """An entry of a queue that was given to this worker."""

    entry: str
    job_id: str


class JobQueue:
    """The queues of the bases that a worker can load.

    Args:
        redis: For metadata.
        waiting: For the reads that block, up to 5 s.
        worker: Id of this worker, unique among those alive.
        bases: Digests of the bases that it can load.
        lease_ms: How long a claim lives without a heartbeat.
        idle_ms: For how long nobody has renewed a delivery that may be reclaimed.
    """

    def __init__(
        self,
        redis: redis.asyncio.Redis,
        waiting: redis.asyncio.Redis,
        *,
        worker: str,
        bases: Sequence[str],
        lease_ms: int = LEASE_MS,
        idle_ms: int = LEASE_MS,
    ) -> None:
        self._redis = redis
        self._waiting = waiting
        self._worker = worker
        self._queues = [[keys.queue(base, name) for base in bases] for name in CLASSES]
        self._lease_ms = lease_ms
        self._idle_ms = idle_ms
        self._probes = itertools.count(1)
        self._claim = Script(redis, "job", "claim_job")
        self._hold = Script(redis, "job", "hold_job")
        self._note = Script(redis, "job", "note_job")
        self._validate = Script(redis, "job", "validate_job")
        self._seal = Script(redis, "job", "seal_job")
        self._end = Script(redis, "job", "end_job")
        self._succeed = Script(redis, "alias", "publish_version", "job", "succeed_job")
        self._catalogue = Catalogue(redis)

    async def open(self) -> None:
        """Make the consumer groups that are not there yet."""
        for queue in itertools.chain(*self._queues):
            try:
                await self._redis.xgroup_create(queue, GROUP, id="0", mkstream=True)
            except ResponseError as err:
                if not str(err).startswith("BUSYGROUP"):
                    raise

    async def claim_next(self, *, block_ms: int = BLOCK_MS) -> Claim | None:
        """Claim the next job, waiting up to `block_ms` for one; None when none came."""
        deadline = time.monotonic() + block_ms / 1000
        while True:
            wake_id = await self._newest_wake()
            claim = await self._claim_delivered()
            if claim is not None:
                return claim
            left_ms = int((deadline - time.monotonic()) * 1000)
            if left_ms <= 0:
                return None
            await self._waiting.xread({keys.JOB_WAKE: wake_id}, block=left_ms)

    async def _newest_wake(self) -> str:
        """Where the stream of releases stands; taken before probing, so that none is missed."""
        entries = codec.raw_entries(await self._redis.xrevrange(keys.JOB_WAKE, count=1))
        return entries[0][0].decode() if entries else "0-0"

    async def _claim_delivered(self) -> Claim | None:
        """Claim the first new delivery by class; one probe in eight starts at the lowest class."""
        classes = list(self._queues)
        if next(self._probes) % LOWEST_FIRST_EVERY == 0:
            classes.reverse()
        for queue in itertools.chain(*classes):
            while (delivery := await self._receive(queue)) is not None:
                claim = await self._claim_entry(queue, delivery)
                if claim is not None:
                    return claim
        return None

    async def _receive(self, queue: str) -> Delivery | None:
        reply = await self._redis.xreadgroup(GROUP, self._worker, {queue: ">"}, count=1)
        entries = read_stream(reply or [])
        return read_delivery(*entries[0]) if entries else None

    async def _claim_entry(self, queue: str, delivery: Delivery) -> Claim | None:
        job_id = delivery.job_id
        job = await read_job(self._redis, job_id)
        tenant = job.tenant if job is not None else ""
        reply = await self._claim(
            job_keys(tenant, job_id) | {"queue": queue, "dead": keys.DEAD_JOBS},
            tenant=tenant,
            id=job_id,
            entry=delivery.entry,
            holder=self._worker,
            lease_ms=self._lease_ms,
            max_attempts=MAX_ATTEMPTS,
            job_prefix=keys.job(""),
        )
        fence = int(msgspec.json.decode(reply)["fence"])
        if fence == 0:
            return None
        claimed = await read_job(self._redis, job_id)
        assert claimed is not None
        return Claim(claimed, fence)

    async def reclaim(self) -> Claim | None:
        """Take over one job whose worker has let its lease end; None when there is none."""
        for queue in itertools.chain(*self._queues):
            for delivery in await self._take_stale(queue):
                claim = await self._claim_entry(queue, delivery)
                if claim is not None:
                    return claim
        return None

    async def _take_stale(self, queue: str) -> list[Delivery]:
        """Take the deliveries that nobody has renewed for `idle_ms`."""
        found: list[Delivery] = []
        start = "0-0"
        while True:
            reply: list[object] = await self._redis.xautoclaim(
                queue, GROUP, self._worker, self._idle_ms, start_id=start, count=10
            )
            following = reply[0]
            assert isinstance(following, bytes)
            found += [read_delivery(*entry) for entry in codec.raw_entries(reply[1]) if entry[0]]
            start = following.decode()
            if start == "0-0":
                return found

    async def hold(self, claim: Claim) -> JobState:
        """Renew the lease; answers the state, so that a worker learns of a cancellation.

        Raises:
            FenceLost: The job is another worker's, or was ended.
        """
        reply = await self._write(self._hold, claim, holder=self._worker, lease_ms=self._lease_ms)
        return read_state(reply)

    async def note_phase(self, claim: Claim, phase: JobPhase) -> JobState:
        return await self._note_record(claim, "phase", phase)

    async def note_progress(self, claim: Claim, progress: JobProgress) -> JobState:
        return await self._note_record(claim, "progress", progress)

    async def note_checkpoint(self, claim: Claim, checkpoint: JobCheckpoint) -> JobState:
        return await self._note_record(claim, "checkpoint", checkpoint)

    async def warn(self, claim: Claim, warning: JobWarning) -> JobState:
        return await self._note_record(claim, "warning", warning)

    async def _note_record(self, claim: Claim, kind: str, record: object) -> JobState:
        """Record and tell something.

        Raises:
            FenceLost: The job is another worker's.
            JobStateConflict: It has ended.
        """
        return read_state(await self._write(self._note, claim, kind=kind, body=encode(record)))

    async def accept(
        self, claim: Claim, report: JobReport, *, resolved: Mapping[str, object]
    ) -> None:
        """End validation: the job is queued; this worker holds it no more.

        Raises:
            FenceLost: The job is another worker's, or was cancelled.
        """
        await self._write(
            self._validate,
            claim,
            named=report_keys(report),
            valid=True,
            report=encode(report),
            resolved=encode(resolved),
        )

    async def refuse(self, claim: Claim, report: JobReport, error: JobError) -> None:
        """End validation: the job is INVALID.

        Raises:
            FenceLost: The job is another worker's, or was cancelled.
        """
        await self._write(
            self._validate,
            claim,
            named=report_keys(report),
            valid=False,
            report=encode(report),
            error=encode(error),
        )

    async def seal(self, claim: Claim, target: JobTarget) -> None:
        """Record what will be published; from here on the job cannot be cancelled.

        Raises:
            FenceLost: The job is another worker's.
            JobStateConflict: It is being cancelled.
        """
        named = {"provenance_refs": keys.refs(target.provenance_digest)}
        await self._write(self._seal, claim, named=named, target=encode(target))

    async def succeed(self, claim: Claim, publication: Publication) -> Published:
        """Publish and end the job in one step, or change nothing.

        An alias that was moved since the job was created stays where it is.

        Raises:
            FenceLost: The job is another worker's; nothing is published.
            JobStateConflict: The job is not publishing.
            QuotaExceeded, BlobNotFound: As of `Registry.publish`.
        """
        digest = publication.content.digest
        call = Call(
            claim.job.tenant, f"jobs/{claim.job.id}", request_id=f"job:{claim.job.id}:{digest}"
        )
        named, args = publish_arguments(
            call, publication, fingerprint=fingerprint_of({"job": claim.job.id, "digest": digest})
        )
        reply = await self._write(
            self._succeed, claim, named=named, args=args | {"digest": digest}, keep_conflicts=True
        )
        answer = msgspec.json.decode(reply)
        version = await self._catalogue.get_version(
            claim.job.tenant, publication.adapter, int(answer["version"])
        )
        return Published(version, answer["event_id"], tuple(answer["conflicts"].split()))

    async def finish_unpublished(self, claim: Claim, result: JobResult) -> None:
        """End a job that was sealed and publishes nothing.

        Raises:
            FenceLost: The job is another worker's.
        """
        await self._write(self._end, claim, to=JobState.SUCCEEDED.value, result=encode(result))

    async def fail(self, claim: Claim, error: JobError, result: JobResult) -> None:
        """End a job that failed.

        Raises:
            FenceLost: The job is another worker's.
        """
        await self._write(
            self._end,
            claim,
            to=JobState.FAILED.value,
            why=error.reason,
            error=encode(error),
            result=encode(result),
        )

    async def end_cancelled(self, claim: Claim, result: JobResult) -> None:
        """End a job that was asked to stop.

        Raises:
            FenceLost: The job is another worker's.
        """
        await self._write(self._end, claim, to=JobState.CANCELLED.value, result=encode(result))

    async def _write(
        self,
        script: Script,
        claim: Claim,
        *,
        named: Mapping[str, str] | None = None,
        args: Mapping[str, Json] | None = None,
        **more: Json,
    ) -> bytes:
        job = claim.job
        return await script(
            dict(named or {}) | job_keys(job.tenant, job.id),
            **dict(args or {})
            | {"tenant": job.tenant, "id": job.id, "fence": claim.fence}
            | {"job_prefix": keys.job("")}
            | more,
        )


def report_keys(report: JobReport) -> dict[str, str]:
    """The references of the blob with the findings, if there are any."""
    return {} if report.digest is None else {"report_refs": keys.refs(report.digest)}


def read_delivery(entry_id: bytes, fields: codec.Fields) -> Delivery:
    return Delivery(entry_id.decode(), fields[b"job"].decode())


def read_state(reply: bytes) -> JobState:
    return JobState(msgspec.json.decode(reply)["state"])
