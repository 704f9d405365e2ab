"""Events and jobs as Redis holds them."""

import pytest

from weft.adapters.job_codec import decode_event, decode_job, encode
from weft.adapters.job_records import (
    Happening,
    JobCheckpoint,
    JobError,
    JobPhase,
    JobProgress,
    JobResult,
    JobState,
    JobWarning,
    PublicationState,
    StateChanged,
)

from .job_cases import spec

BODIES: list[tuple[str, Happening]] = [
    ("phase", JobPhase.TRAIN),
    ("progress", JobProgress(1, 3, 0.3, 2.5, None, 1e-4, 0.7, 20, 20, 100.0, 4.0, 0)),
    ("checkpoint", JobCheckpoint(5, "sha256:1", "w1")),
    ("warning", JobWarning(0, "not packed")),
    ("published", JobResult(PublicationState.PUBLISHED, 1, "sha256:1", "1-0")),
    ("error", JobError("WORKER_LOST", "gone")),
]


@pytest.mark.parametrize(("kind", "body"), BODIES)
def test_event_is_read_as_it_was_written(kind: str, body: Happening) -> None:
    fields = {b"kind": kind.encode(), b"time_ms": b"12", b"body": encode(body).encode()}

    event = decode_event(b"7-0", fields)

    assert (event.cursor, event.time_ms, event.body) == ("7", 12, body)
    assert not event.is_last


@pytest.mark.parametrize("to", JobState)
def test_final_states_end_the_stream(to: JobState) -> None:
    body = f'{{"from":"","to":"{to}","reason":"","generation":1}}'.encode()

    event = decode_event(b"1-0", {b"kind": b"state", b"time_ms": b"1", b"body": body})

    assert event.body == StateChanged(None, to, "", 1)
    assert event.is_last == (to in {"INVALID", "SUCCEEDED", "FAILED", "CANCELLED"})


def test_field_of_a_newer_server_is_passed_over() -> None:
    fields = {
        b"tenant": b"acme",
        b"spec": encode(spec()).encode(),
        b"state": b"QUEUED",
        b"later": b"x",
        b"progress": b"",
    } | dict.fromkeys(
        (b"generation", b"fence", b"attempt", b"created_ms", b"started_ms", b"ended_ms"), b"0"
    )

    job = decode_job("j", fields)

    assert (job.state, job.spec, job.progress, job.phase) == (JobState.QUEUED, spec(), None, None)
