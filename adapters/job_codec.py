"""Between a job's hash or stream in Redis and its records."""

from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from .codec import Fields
from .job_records import (
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
    JobTarget,
    JobWarning,
    StateChanged,
)

T = TypeVar("T")

KINDS: Final[Mapping[str, type]] = {
    "phase": JobPhase,
    "progress": JobProgress,
    "checkpoint": JobCheckpoint,
    "warning": JobWarning,
    "published": JobResult,
    "error": JobError,
}


class _Moved(msgspec.Struct):
    source: str = msgspec.field(name="from")
    to: JobState
    reason: str
    generation: int


def encode(record: object) -> str:
    """Write a record's JSON."""
    return msgspec.json.encode(record).decode()


def decode_job(job_id: str, fields: Fields) -> Job:
    """Read a job's hash."""

    def text(name: str) -> str:
        return fields.get(name.encode(), b"").decode()

    def record(name: str, kind: type[T]) -> T | None:
        found = fields.get(name.encode())
        return msgspec.json.decode(found, type=kind) if found else None

    return Job(
        id=job_id,
        tenant=text("tenant"),
        spec=msgspec.json.decode(fields[b"spec"], type=JobSpec),
        state=JobState(text("state")),
        phase=record("phase", JobPhase),
        reason=text("reason"),
        generation=int(text("generation")),
        fence=int(text("fence")),
        attempt=int(text("attempt")),
        holder=text("holder"),
        resolved=record("resolved", dict[str, object]),
        progress=record("progress", JobProgress),
        checkpoint=record("checkpoint", JobCheckpoint),
        report=record("report", JobReport),
        target=record("target", JobTarget),
        result=record("result", JobResult),
        error=record("error", JobError),
        created_ms=int(text("created_ms")),
        started_ms=int(text("started_ms")),
        ended_ms=int(text("ended_ms")),
    )


def decode_event(entry_id: bytes, fields: Fields) -> JobEvent:
    """Read an entry of a job's stream."""
    number = entry_id.partition(b"-")[0].decode()
    body = _decode_body(fields[b"kind"].decode(), fields[b"body"])
    return JobEvent(number, int(fields[b"time_ms"]), body)


def _decode_body(kind: str, text: bytes) -> Happening:
    if kind == "state":
        moved = msgspec.json.decode(text, type=_Moved)
        source = JobState(moved.source) if moved.source else None
        return StateChanged(source, moved.to, moved.reason, moved.generation)
    body: Happening = msgspec.json.decode(text, type=KINDS[kind])
    return body
