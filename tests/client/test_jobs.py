"""Data sets go up, and jobs are submitted, listed and cancelled."""

from pathlib import Path

from weft.client import AsyncClient, Client, error_of_status
from weft.protos.v1 import jobs_pb2

from .service import State


def test_a_data_set_is_sent_once(weft: Client, state: State, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "hello"}\n')
    first = weft.upload_dataset(path, display_name="rows")
    second = weft.upload_dataset(path)
    assert first.digest == second.digest
    assert first.size_bytes == path.stat().st_size
    assert len(state.blobs) == 1


async def test_a_job_is_submitted_as_it_is_described(async_weft: AsyncClient) -> None:
    spec = jobs_pb2.JobSpec(train=["datasets/d1"], publish=jobs_pb2.PublishPolicy(adapter="a"))
    job = await async_weft.submit(spec)
    assert (job.name, job.spec) == ("jobs/j1", spec)


def test_jobs_are_listed_by_state(weft: Client, state: State) -> None:
    jobs = weft.jobs(states=[jobs_pb2.JOB_STATE_RUNNING])
    assert [job.name for job in jobs] == ["jobs/j1"]
    [request] = state.seen(jobs_pb2.ListJobsRequest)
    assert "JOB_STATE_RUNNING" in str(request)


def test_a_job_is_found_by_its_id(weft: Client) -> None:
    assert weft.cancel_job("j1").name == weft.cancel_job("jobs/j1").name == "jobs/j1"


def test_the_error_of_a_job_reads_as_that_of_a_call(weft: Client) -> None:
    assert error_of_status(weft.job("bad").error).reason == "ADAPTER_REFUSED"
