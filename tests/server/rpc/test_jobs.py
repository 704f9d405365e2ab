"""Data sets and jobs against the running server."""

import json
from pathlib import Path

import grpc
import pytest

from weft.client import Client
from weft.protos.v1 import jobs_pb2, types_pb2

from .calls import digest_of, refusal


@pytest.fixture
def dataset(weft: Client, name: str, tmp_path: Path) -> jobs_pb2.Dataset:
    """A data set of two dozen rows."""
    rows = [{"prompt": f"{name} {i}", "completion": "fox"} for i in range(24)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return weft.upload_dataset(path, display_name="rows", labels={"test": name})


def spec_of(dataset: jobs_pb2.Dataset, adapter: str, **fields: object) -> jobs_pb2.JobSpec:
    defaults: dict[str, object] = {
        "train": [dataset.name],
        "publish": jobs_pb2.PublishPolicy(adapter=adapter),
        "limits": jobs_pb2.Limits(max_steps=100_000, epochs=1000),
        "labels": {"test": adapter},
    }
    return jobs_pb2.JobSpec(**(defaults | fields))  # type: ignore[arg-type]


def test_a_data_set_is_described_listed_and_found(
    weft: Client, dataset: jobs_pb2.Dataset, name: str
) -> None:
    assert dataset.display_name == "rows"
    assert dataset.size_bytes > 0
    request = jobs_pb2.GetDatasetRequest(name=dataset.name)
    assert weft.call(request, jobs_pb2.GetDatasetResponse).dataset.digest == dataset.digest
    assert dataset.name in [found.name for found in weft.datasets()]
    mine = jobs_pb2.ListDatasetsRequest(labels={"test": name})
    assert [d.name for d in weft.call(mine, jobs_pb2.ListDatasetsResponse).datasets] == [
        dataset.name
    ]


def test_data_sets_are_listed_by_page(weft: Client, dataset: jobs_pb2.Dataset, name: str) -> None:
    create = jobs_pb2.CreateDatasetRequest(digest=dataset.digest, labels={"test": name})
    second = weft.call(create, jobs_pb2.CreateDatasetResponse).dataset
    request = jobs_pb2.ListDatasetsRequest(labels={"test": name}, page_size=1)
    found = []
    for _ in range(2):
        page = weft.call(request, jobs_pb2.ListDatasetsResponse)
        found += [each.name for each in page.datasets]
        request.page_token = page.next_page_token
    assert sorted(found) == sorted([dataset.name, second.name])
    assert request.page_token == ""


def test_a_data_set_is_made_of_what_was_uploaded(weft: Client, name: str) -> None:
    request = jobs_pb2.CreateDatasetRequest(digest=digest_of(name.encode()))
    with refusal("BLOB_NOT_FOUND"):
        weft.call(request, jobs_pb2.CreateDatasetResponse)
    with refusal("DATASET_NOT_FOUND") as caught:
        weft.call(jobs_pb2.GetDatasetRequest(name="datasets/x"), jobs_pb2.GetDatasetResponse)
    assert caught.value.code is grpc.StatusCode.NOT_FOUND


def test_a_repeated_creation_returns_the_first_answer(
    weft: Client, dataset: jobs_pb2.Dataset, name: str
) -> None:
    request = jobs_pb2.CreateDatasetRequest(digest=dataset.digest, request_id=f"set-{name}")
    names = {weft.call(request, jobs_pb2.CreateDatasetResponse).dataset.name for _ in range(2)}
    assert len(names) == 1
    request.display_name = "another"
    with refusal("REQUEST_ID_REUSED"):
        weft.call(request, jobs_pb2.CreateDatasetResponse)


def test_a_job_is_created_listed_watched_and_cancelled(
    weft: Client, dataset: jobs_pb2.Dataset, name: str
) -> None:
    job = weft.submit(spec_of(dataset, name))
    assert job.state == jobs_pb2.JOB_STATE_VALIDATING
    assert job.spec.train == [dataset.name]
    assert job.spec.publish.adapter == name
    listed = jobs_pb2.ListJobsRequest(labels={"test": name})
    assert [j.name for j in weft.call(listed, jobs_pb2.ListJobsResponse).jobs] == [job.name]
    watch = weft.watch_job(job.name)
    first = next(watch)
    assert first.event.state.to == jobs_pb2.JOB_STATE_VALIDATING
    weft.cancel_job(job.name)
    *_, last = watch
    assert last.event.state.to == jobs_pb2.JOB_STATE_CANCELLED
    cancelled = weft.job(job.name)
    assert cancelled.state == jobs_pb2.JOB_STATE_CANCELLED
    assert cancelled.ended_ms >= cancelled.created_ms > 0
    replayed = list(weft.watch_job(job.name, cursor=first.event.cursor))
    assert replayed[-1] == last
    assert first.event.cursor not in [each.event.cursor for each in replayed]
    with refusal("JOB_STATE_CONFLICT") as caught:
        weft.cancel_job(job.name)
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "CANCELLED" in caught.value.metadata.values()
    with refusal("ADAPTER_NOT_FOUND"):
        weft.versions(name)


def test_a_job_is_cancelled_only_as_it_was_read(
    weft: Client, dataset: jobs_pb2.Dataset, name: str
) -> None:
    job = weft.submit(spec_of(dataset, name))
    request = jobs_pb2.CancelJobRequest(name=job.name, etag="999")
    with refusal("ETAG_MISMATCH"):
        weft.call(request, jobs_pb2.CancelJobResponse)
    request.etag = "x"
    with refusal("REQUEST_INVALID"):
        weft.call(request, jobs_pb2.CancelJobResponse)
    weft.cancel_job(job.name)


def test_jobs_are_listed_by_state_and_page(
    weft: Client, dataset: jobs_pb2.Dataset, name: str
) -> None:
    jobs = [weft.submit(spec_of(dataset, name)).name for _ in range(3)]
    for job in jobs:
        weft.cancel_job(job)
        *_, _ = weft.watch_job(job)
    request = jobs_pb2.ListJobsRequest(
        labels={"test": name}, states=[jobs_pb2.JOB_STATE_CANCELLED], page_size=2
    )
    first = weft.call(request, jobs_pb2.ListJobsResponse)
    assert len(first.jobs) == 2
    request.page_token = first.next_page_token
    second = weft.call(request, jobs_pb2.ListJobsResponse)
    assert second.next_page_token == ""
    assert sorted(job.name for job in [*first.jobs, *second.jobs]) == sorted(jobs)
    request.states[:] = [jobs_pb2.JOB_STATE_HELD]  # no job is ever held here
    assert not weft.call(request, jobs_pb2.ListJobsResponse).jobs


@pytest.mark.parametrize(
    "request_",
    [
        jobs_pb2.ListJobsRequest(page_token="x"),
        jobs_pb2.ListJobsRequest(page_size=1001),
        jobs_pb2.ListDatasetsRequest(page_token="x"),
        jobs_pb2.GetJobRequest(name="x"),
        jobs_pb2.GetDatasetRequest(name="jobs/x"),
        jobs_pb2.CreateDatasetRequest(labels={"": "x"}),
        jobs_pb2.CreateDatasetRequest(display_name="x" * 256),
        jobs_pb2.CreateJobRequest(spec=jobs_pb2.JobSpec()),
    ],
    ids=str,
)
def test_a_malformed_request_is_refused(
    weft: Client,
    request_: jobs_pb2.ListJobsRequest
    | jobs_pb2.ListDatasetsRequest
    | jobs_pb2.GetJobRequest
    | jobs_pb2.GetDatasetRequest
    | jobs_pb2.CreateDatasetRequest
    | jobs_pb2.CreateJobRequest,
) -> None:
    answer = getattr(jobs_pb2, type(request_).__name__.replace("Request", "Response"))
    with refusal("REQUEST_INVALID"):
        weft.call(request_, answer)


def test_options_out_of_bounds_are_refused_together(
    weft: Client, dataset: jobs_pb2.Dataset, name: str
) -> None:
    spec = spec_of(
        dataset,
        name,
        lora=jobs_pb2.LoraOptions(rank=0),
        optimisation=jobs_pb2.Optimisation(warmup=2),
    )
    with refusal("REQUEST_INVALID") as caught:
        weft.submit(spec)
    assert {violation.field for violation in caught.value.violations} == {"lora.rank", "warmup"}


def test_unknown_things_are_not_found(weft: Client, name: str) -> None:
    with refusal("JOB_NOT_FOUND") as caught:
        weft.job("nobody")
    assert caught.value.metadata["name"] == "jobs/nobody"
    with refusal("JOB_NOT_FOUND"):
        weft.cancel_job("nobody")
    with refusal("JOB_NOT_FOUND"):
        next(weft.watch_job("nobody"))
    with refusal("DATASET_NOT_FOUND"):
        weft.submit(spec_of(jobs_pb2.Dataset(name="datasets/nobody"), name))


def test_a_watch_from_nowhere_is_refused(weft: Client) -> None:
    with refusal("REQUEST_INVALID"):
        next(weft.watch_job("nobody", cursor="yesterday"))


def test_a_job_for_another_base_is_refused(
    weft: Client, dataset: jobs_pb2.Dataset, name: str
) -> None:
    with refusal("BASE_NOT_SERVED"):
        weft.submit(spec_of(dataset, name, base="llama-900b"))


def test_what_is_not_served_is_refused_by_name(
    weft: Client, dataset: jobs_pb2.Dataset, name: str
) -> None:
    with refusal("FEATURE_UNSUPPORTED") as caught:
        weft.submit(spec_of(dataset, name), validate_only=True)
    assert caught.value.metadata == {"field": "validate_only"}
    with refusal("FEATURE_UNSUPPORTED") as caught:
        weft.submit(spec_of(dataset, name, dpo=jobs_pb2.DpoMethod()))
    assert caught.value.metadata == {"field": "dpo"}
    with refusal("FEATURE_UNSUPPORTED") as caught:
        weft.call(jobs_pb2.EstimateJobRequest(), jobs_pb2.EstimateJobResponse)
    assert caught.value.metadata == {"field": "EstimateJob"}
    policy = jobs_pb2.PublishPolicy(adapter=name, aliases=[types_pb2.AliasMove(alias="prod")])
    job = weft.submit(spec_of(dataset, name, publish=policy))
    assert [move.alias for move in job.spec.publish.aliases] == ["prod"]
    weft.cancel_job(job.name)
