"""Data sets and fine-tuning jobs."""

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from pathlib import Path

from weft.protos.v1 import jobs_pb2

from .calls import Calls
from .names import resource_name
from .transfer import OnProgress, ignore


class JobCalls(Calls):
    """The operations of JobService."""

    async def upload_dataset(
        self,
        path: Path | str,
        *,
        display_name: str = "",
        labels: Mapping[str, str] | None = None,
        on_progress: OnProgress = ignore,
    ) -> jobs_pb2.Dataset:
        """Upload a JSONL file unless the server has it, and make a data set of it."""
        [digest] = await self.send_missing([Path(path)], on_progress)
        request = jobs_pb2.CreateDatasetRequest(
            digest=digest, display_name=display_name, labels=labels
        )
        return (await self.call(request, jobs_pb2.CreateDatasetResponse)).dataset

    async def datasets(self) -> list[jobs_pb2.Dataset]:
        """List data sets, the newest first."""
        request = jobs_pb2.ListDatasetsRequest()
        return list((await self.collect(request, jobs_pb2.ListDatasetsResponse)).datasets)

    async def submit(self, spec: jobs_pb2.JobSpec, *, validate_only: bool = False) -> jobs_pb2.Job:
        """Create a job; or with `validate_only` hear how it would be understood."""
        request = jobs_pb2.CreateJobRequest(spec=spec, validate_only=validate_only)
        return (await self.call(request, jobs_pb2.CreateJobResponse)).job

    async def job(self, name: str) -> jobs_pb2.Job:
        """Show a job, given by name or id."""
        request = jobs_pb2.GetJobRequest(name=resource_name("jobs", name))
        return (await self.call(request, jobs_pb2.GetJobResponse)).job

    async def jobs(self, *, states: Iterable[jobs_pb2.JobState | str] = ()) -> list[jobs_pb2.Job]:
        """List jobs in one of the states, given by value or name, or all; the newest first."""
        request = jobs_pb2.ListJobsRequest(states=states)
        return list((await self.collect(request, jobs_pb2.ListJobsResponse)).jobs)

    async def cancel_job(self, name: str) -> jobs_pb2.Job:
        """Cancel a job; its worker may need a moment to stop."""
        request = jobs_pb2.CancelJobRequest(name=resource_name("jobs", name))
        return (await self.call(request, jobs_pb2.CancelJobResponse)).job

    async def watch_job(
        self, name: str, *, cursor: str = ""
    ) -> AsyncGenerator[jobs_pb2.WatchJobResponse, None]:
        """Replay a job's events and follow it to its end; a lost connection is taken up again."""
        responses = self.follow(
            jobs_pb2.WatchJobRequest(name=resource_name("jobs", name), cursor=cursor),
            jobs_pb2.WatchJobResponse,
            lambda response: response.event.cursor,
        )
        async with aclosing(responses):
            async for response in responses:
                yield response
