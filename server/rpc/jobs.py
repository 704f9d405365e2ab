"""JobService: data sets and fine-tuning jobs."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import aclosing

from weft.adapters.datasets import Datasets
from weft.adapters.errors import AdapterError, Unsupported
from weft.adapters.job_news import JobNews
from weft.adapters.job_records import Job, JobState
from weft.adapters.jobs import Jobs
from weft.adapters.sites import BaseFacts
from weft.adapters.tensor_checks import Limits
from weft.protos.v1 import jobs_pb2, jobs_pb2_grpc
from weft.server.stores import Stores

from .auth import CALLER
from .border import Context
from .fields import (
    Findings,
    call_of,
    check_display_name,
    read_labels,
    read_name,
    read_page_size,
)
from .job_messages import dataset_message, event_message, job_message
from .job_specs import read_spec
from .targets import Targets

logger = logging.getLogger(__name__)

JOB_TOKEN = re.compile(r"[0-9]{1,19}:[0-9a-f]+")
CURSOR = re.compile(r"[0-9]{1,19}")


class JobService(jobs_pb2_grpc.JobServiceServicer):
    """Serves what this server's workers can do; the rest is refused by name."""

    def __init__(
        self, *, facts: BaseFacts, limits: Limits, stores: Stores, targets: Targets
    ) -> None:
        self._facts = facts
        self._targets = targets
        self._jobs = Jobs(stores.redis, max_rank=limits.max_rank)
        self._datasets = Datasets(stores.redis, stores.blobs)
        self._news = JobNews(stores.follower)

    async def follow_news(self) -> None:
        """Hear of all jobs' changes for whoever watches one, until cancelled."""
        while True:
            try:
                await self._news.follow()
            except AdapterError as error:
                logger.warning("news of jobs not followed: %s", error)
                await asyncio.sleep(1)

    async def CreateDataset(
        self, request: jobs_pb2.CreateDatasetRequest, context: Context
    ) -> jobs_pb2.CreateDatasetResponse:
        labels = read_labels(request.labels)
        findings = Findings()
        check_display_name("display_name", request.display_name, findings)
        findings.done()
        record = await self._datasets.create(
            call_of(request.request_id),
            request.digest,
            display_name=request.display_name,
            labels=labels,
        )
        return jobs_pb2.CreateDatasetResponse(dataset=dataset_message(record))

    async def GetDataset(
        self, request: jobs_pb2.GetDatasetRequest, context: Context
    ) -> jobs_pb2.GetDatasetResponse:
        (dataset_id,) = read_name("datasets/{}", request.name)
        record = await self._datasets.get(CALLER.get().tenant, dataset_id)
        return jobs_pb2.GetDatasetResponse(dataset=dataset_message(record))

    async def ListDatasets(
        self, request: jobs_pb2.ListDatasetsRequest, context: Context
    ) -> jobs_pb2.ListDatasetsResponse:
        size = read_page_size(request.page_size)
        token = request.page_token
        records = await self._datasets.list_datasets(CALLER.get().tenant)
        wanted = dict(request.labels).items()
        found = [record for record in records if wanted <= record.labels.items()]
        ids = [record.id for record in found]
        findings = Findings()
        findings.check(not token or token in ids, "page_token", token, "of a page of data sets")
        findings.done()
        start = ids.index(token) + 1 if token else 0
        page = found[start : start + size]
        return jobs_pb2.ListDatasetsResponse(
            datasets=map(dataset_message, page),
            next_page_token=page[-1].id if start + size < len(found) else "",
        )

    async def CreateJob(
        self, request: jobs_pb2.CreateJobRequest, context: Context
    ) -> jobs_pb2.CreateJobResponse:
        self._targets.require_base(request.spec.base)
        spec = read_spec(request.spec, base_digest=self._facts.digest)
        call = call_of(request.request_id)
        if request.validate_only:
            raise Unsupported("validate_only is not served by this server", field="validate_only")
        job = await self._jobs.create(call, spec)
        return jobs_pb2.CreateJobResponse(job=job_message(job))

    async def GetJob(
        self, request: jobs_pb2.GetJobRequest, context: Context
    ) -> jobs_pb2.GetJobResponse:
        return jobs_pb2.GetJobResponse(job=job_message(await self._job(request.name)))

    async def ListJobs(
        self, request: jobs_pb2.ListJobsRequest, context: Context
    ) -> jobs_pb2.ListJobsResponse:
        size = read_page_size(request.page_size)
        token = request.page_token
        findings = Findings()
        findings.check(
            not token or JOB_TOKEN.fullmatch(token) is not None,
            "page_token",
            token,
            "of a page of jobs",
        )
        findings.done()
        names = [jobs_pb2.JobState.Name(s).removeprefix("JOB_STATE_") for s in request.states]
        known = JobState.__members__
        states = [JobState(name) for name in names if name in known]
        if names and not states:  # states that no job of this server is ever in
            return jobs_pb2.ListJobsResponse()
        page = await self._jobs.list_jobs(
            CALLER.get().tenant,
            states=states,
            labels=dict(request.labels),
            limit=size,
            token=token or None,
        )
        return jobs_pb2.ListJobsResponse(
            jobs=map(job_message, page.jobs), next_page_token=page.next_token or ""
        )

    async def CancelJob(
        self, request: jobs_pb2.CancelJobRequest, context: Context
    ) -> jobs_pb2.CancelJobResponse:
        (job_id,) = read_name("jobs/{}", request.name)
        findings = Findings()
        findings.check(
            not request.etag or CURSOR.fullmatch(request.etag) is not None,
            "etag",
            request.etag,
            "a job's etag",
        )
        findings.done()
        generation = int(request.etag) if request.etag else None
        job = await self._jobs.cancel(CALLER.get().tenant, job_id, generation=generation)
        return jobs_pb2.CancelJobResponse(job=job_message(job))

    async def WatchJob(
        self, request: jobs_pb2.WatchJobRequest, context: Context
    ) -> AsyncIterator[jobs_pb2.WatchJobResponse]:
        findings = Findings()
        cursor = request.cursor or "0"
        findings.check(
            CURSOR.fullmatch(cursor) is not None, "cursor", request.cursor, "an event's cursor"
        )
        findings.done()
        job = await self._job(request.name)
        events = self._jobs.watch(job.tenant, job.id, news=self._news, cursor=cursor)
        async with aclosing(events):
            async for event in events:
                yield jobs_pb2.WatchJobResponse(
                    event=event_message(job, event), dropped_events=event.dropped
                )

    async def _job(self, name: str) -> Job:
        (job_id,) = read_name("jobs/{}", name)
        return await self._jobs.get(CALLER.get().tenant, job_id)
