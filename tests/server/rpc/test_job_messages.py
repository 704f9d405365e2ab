"""Jobs and data sets as messages of the wire."""

from dataclasses import replace

import pytest
from google.rpc import error_details_pb2

from weft.adapters.job_records import (
    DatasetRecord,
    Happening,
    Job,
    JobCheckpoint,
    JobError,
    JobEvent,
    JobPhase,
    JobProgress,
    JobReport,
    JobResult,
    JobSpec,
    JobState,
    JobWarning,
    PublicationState,
    PublishPolicy,
    StateChanged,
)
from weft.client import error_of_status
from weft.protos.v1 import jobs_pb2
from weft.server.rpc.job_messages import (
    dataset_message,
    event_message,
    job_message,
    phase_name,
    state_name,
)

NEW = Job(
    id="j1",
    tenant="acme",
    spec=JobSpec(base_digest="sha256:b", train="d1", publish=PublishPolicy("support")),
    state=JobState.VALIDATING,
    phase=None,
    reason="",
    generation=1,
    fence=0,
    attempt=0,
    holder="",
    resolved=None,
    progress=None,
    checkpoint=None,
    report=None,
    target=None,
    result=None,
    error=None,
    created_ms=1000,
    started_ms=0,
    ended_ms=0,
)
PROGRESS = JobProgress(
    step=3,
    num_steps=9,
    epoch=0.5,
    loss=2.5,
    eval_loss=None,
    learning_rate=1e-3,
    grad_norm=0.5,
    trained_tokens=70,
    masked_tokens=30,
    tokens_per_s=12.5,
    eta_s=4.7,
    skipped_rows=2,
)
REPORT = JobReport(
    digest=None,
    num_errors=0,
    num_warnings=2,
    counts={"W2": 1, "W1": 1},
    first=(),
    train_rows=9,
    train_tokens=100,
    trained_tokens=70,
    held_out_rows=1,
    num_steps=9,
)
DONE = replace(
    NEW,
    state=JobState.SUCCEEDED,
    phase=JobPhase.TRAIN,
    attempt=2,
    resolved={"seed": 7},
    progress=replace(PROGRESS, eval_loss=1.5),
    checkpoint=JobCheckpoint(9, "sha256:c", "host"),
    report=REPORT,
    result=JobResult(PublicationState.PUBLISHED, 4, "sha256:d", "5-0"),
    started_ms=2000,
    ended_ms=3000,
)


def test_a_new_job_says_no_more_than_is_known() -> None:
    message = job_message(NEW)
    assert (message.name, message.etag, message.generation) == ("jobs/j1", "1", 1)
    assert message.state == jobs_pb2.JOB_STATE_VALIDATING
    assert message.phase == jobs_pb2.JOB_PHASE_UNSPECIFIED
    for field in ("resolved", "progress", "report", "result", "error"):
        assert not message.HasField(field)
    assert (message.checkpoint, message.started_ms) == ("", 0)


def test_a_job_that_ended_tells_everything() -> None:
    message = job_message(DONE)
    assert message.resolved.optimisation.seed == 7
    assert not message.spec.optimisation.HasField("seed")
    assert (message.usage.attempts, message.usage.trained_tokens, message.usage.total_tokens) == (
        2,
        70,
        100,
    )
    assert message.progress.eval_loss == 1.5
    assert message.progress.eta_s == 4
    assert message.checkpoint == message.result.checkpoint == "jobs/j1/checkpoints/9"
    assert message.result.publication == jobs_pb2.PUBLICATION_PUBLISHED
    assert message.result.version == "adapters/support/versions/4"
    assert (message.result.digest, message.result.event_id) == ("sha256:d", "5-0")


def test_a_report_has_counts_by_code_and_figures_by_split() -> None:
    report = job_message(DONE).report
    assert [(count.code, count.count) for count in report.counts] == [("W1", 1), ("W2", 1)]
    train, held_out = report.splits
    assert (train.num_rows, train.trained_tokens, train.masked_tokens) == (9, 70, 30)
    assert (held_out.split, held_out.num_rows) == (jobs_pb2.SPLIT_EVAL, 1)
    assert report.estimate.steps == 9


def test_a_result_that_is_no_version_names_none() -> None:
    result = JobResult(PublicationState.NOT_REQUESTED)
    message = job_message(replace(DONE, result=result)).result
    assert (message.publication, message.version) == (jobs_pb2.PUBLICATION_NOT_REQUESTED, "")


def test_an_error_is_read_like_that_of_a_call() -> None:
    job = replace(NEW, state=JobState.FAILED, error=JobError("LOSS_NOT_FINITE", "row 3"))
    error = error_of_status(job_message(job).error)
    assert (error.reason, str(error)) == ("LOSS_NOT_FINITE", "row 3")
    info = error_details_pb2.ErrorInfo()
    assert job_message(job).error.details[0].Unpack(info)
    assert info.domain == "weft"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (StateChanged(None, JobState.VALIDATING, "", 1), "state"),
        (JobPhase.TRAIN, "phase"),
        (PROGRESS, "progress"),
        (JobCheckpoint(3, "sha256:c", "host"), "checkpoint"),
        (JobWarning(3, "slow"), "warning"),
        (JobResult(PublicationState.PUBLISHED, 1), "published"),
        (JobError("WORKER_LOST", "gone"), "error"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_every_happening_has_its_place(body: Happening, field: str) -> None:
    message = event_message(NEW, JobEvent("7", 1234, body))
    assert (message.cursor, message.time_ms) == ("7", 1234)
    assert message.WhichOneof("body") == field


def test_a_move_tells_both_states() -> None:
    moved = StateChanged(JobState.QUEUED, JobState.RUNNING, "claimed", 3)
    state = event_message(NEW, JobEvent("7", 1, moved)).state
    assert getattr(state, "from") == jobs_pb2.JOB_STATE_QUEUED
    assert (state.to, state.reason, state.generation) == (jobs_pb2.JOB_STATE_RUNNING, "claimed", 3)


@pytest.mark.parametrize("state", [None, *JobState])
def test_every_state_is_one_of_the_wire(state: JobState | None) -> None:
    assert state_name(state) in jobs_pb2.JobState.keys()  # noqa: SIM118


@pytest.mark.parametrize("phase", [None, *JobPhase])
def test_every_phase_is_one_of_the_wire(phase: JobPhase | None) -> None:
    assert phase_name(phase) in jobs_pb2.JobPhase.keys()  # noqa: SIM118


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (None, jobs_pb2.DATASET_FORMAT_UNSPECIFIED),
        ("text", jobs_pb2.DATASET_FORMAT_TEXT),
        ("completion", jobs_pb2.DATASET_FORMAT_COMPLETION),
        ("chat", jobs_pb2.DATASET_FORMAT_CHAT),
    ],
)
def test_a_data_set_tells_its_format_once_it_is_known(
    form: str | None, expected: jobs_pb2.DatasetFormat
) -> None:
    record = DatasetRecord("d1", "sha256:x", 10, "rows", {"a": "b"}, 5, format=form, num_rows=3)
    message = dataset_message(record)
    assert (message.name, message.format, message.num_rows) == ("datasets/d1", expected, 3)
    assert dict(message.labels) == {"a": "b"}
