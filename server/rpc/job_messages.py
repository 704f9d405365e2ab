"""The records of jobs and data sets as messages of the wire."""

from google.protobuf import json_format
from google.rpc import code_pb2, error_details_pb2, status_pb2

from weft.adapters.job_records import (
    DatasetRecord,
    Job,
    JobCheckpoint,
    JobError,
    JobEvent,
    JobPhase,
    JobProgress,
    JobReport,
    JobResult,
    JobState,
    JobWarning,
    StateChanged,
)
from weft.protos.v1 import jobs_pb2

from .job_specs import spec_message
from .status import DOMAIN, packed


def dataset_message(record: DatasetRecord) -> jobs_pb2.Dataset:
    return jobs_pb2.Dataset(
        name=f"datasets/{record.id}",
        digest=record.digest,
        size_bytes=record.size_bytes,
        format=f"DATASET_FORMAT_{(record.format or 'unspecified').upper()}",
        num_rows=record.num_rows or 0,
        display_name=record.display_name,
        labels=dict(record.labels),
        created_ms=record.created_ms,
    )


def job_message(job: Job) -> jobs_pb2.Job:
    message = jobs_pb2.Job(
        name=f"jobs/{job.id}",
        etag=str(job.generation),
        generation=job.generation,
        spec=spec_message(job.spec, job.spec.options),
        state=state_name(job.state),
        phase=phase_name(job.phase),
        reason=job.reason,
        executor=job.holder,
        created_ms=job.created_ms,
        started_ms=job.started_ms,
        ended_ms=job.ended_ms,
    )
    message.usage.attempts = job.attempt
    if job.resolved is not None:
        message.resolved.CopyFrom(spec_message(job.spec, job.resolved))
    if job.progress is not None:
        message.progress.CopyFrom(progress_message(job.progress))
        message.usage.trained_tokens = job.progress.trained_tokens
        message.usage.total_tokens = job.progress.trained_tokens + job.progress.masked_tokens
    if job.report is not None:
        message.report.CopyFrom(report_message(job.report))
    if job.checkpoint is not None:
        message.checkpoint = f"jobs/{job.id}/checkpoints/{job.checkpoint.step}"
    if job.result is not None:
        message.result.CopyFrom(result_message(job, job.result))
    if job.error is not None:
        message.error.CopyFrom(error_message(job.error))
    return message


def event_message(job: Job, event: JobEvent) -> jobs_pb2.JobEvent:
    message = jobs_pb2.JobEvent(cursor=event.cursor, time_ms=event.time_ms)
    match event.body:
        case StateChanged(source, to, reason, generation):
            fields = {"from": state_name(source), "to": state_name(to)}
            moved = json_format.ParseDict(fields, jobs_pb2.JobStateChanged())
            moved.reason, moved.generation = reason, generation
            message.state.CopyFrom(moved)
        case JobPhase():
            message.MergeFrom(jobs_pb2.JobEvent(phase=phase_name(event.body)))
        case JobProgress():
            message.progress.CopyFrom(progress_message(event.body))
        case JobCheckpoint():
            message.checkpoint.CopyFrom(checkpoint_message(job, event.body))
        case JobWarning(step, text):
            message.warning.CopyFrom(jobs_pb2.JobWarning(step=step, message=text))
        case JobResult():
            message.published.CopyFrom(result_message(job, event.body))
        case JobError():
            message.error.CopyFrom(error_message(event.body))
    return message


def progress_message(progress: JobProgress) -> jobs_pb2.JobProgress:
    return jobs_pb2.JobProgress(
        step=progress.step,
        num_steps=progress.num_steps,
        epoch=progress.epoch,
        loss=progress.loss,
        eval_loss=progress.eval_loss,
        learning_rate=progress.learning_rate,
        grad_norm=progress.grad_norm,
        trained_tokens=progress.trained_tokens,
        masked_tokens=progress.masked_tokens,
        tokens_per_s=progress.tokens_per_s,
        eta_s=int(progress.eta_s),
        skipped_rows=progress.skipped_rows,
    )


def report_message(report: JobReport) -> jobs_pb2.Report:
    return jobs_pb2.Report(
        digest=report.digest or "",
        num_errors=report.num_errors,
        num_warnings=report.num_warnings,
        counts=[
            jobs_pb2.FindingCount(code=code, count=count)
            for code, count in sorted(report.counts.items())
        ],
        splits=[
            jobs_pb2.SplitStatistics(
                split=jobs_pb2.SPLIT_TRAIN,
                num_rows=report.train_rows,
                total_tokens=report.train_tokens,
                trained_tokens=report.trained_tokens,
                masked_tokens=report.train_tokens - report.trained_tokens,
            ),
            jobs_pb2.SplitStatistics(split=jobs_pb2.SPLIT_EVAL, num_rows=report.held_out_rows),
        ],
        estimate=jobs_pb2.Estimate(steps=report.num_steps, packed_tokens=report.train_tokens),
    )


def result_message(job: Job, result: JobResult) -> jobs_pb2.JobResult:
    message = jobs_pb2.JobResult(
        publication=f"PUBLICATION_{result.publication}",
        digest=result.digest or "",
        event_id=result.event_id or "",
    )
    if result.version is not None:
        message.version = f"adapters/{job.spec.publish.adapter}/versions/{result.version}"
    if job.checkpoint is not None:
        message.checkpoint = f"jobs/{job.id}/checkpoints/{job.checkpoint.step}"
    return message


def checkpoint_message(job: Job, checkpoint: JobCheckpoint) -> jobs_pb2.Checkpoint:
    return jobs_pb2.Checkpoint(
        name=f"jobs/{job.id}/checkpoints/{checkpoint.step}",
        step=checkpoint.step,
        digest=checkpoint.digest,
    )


def error_message(error: JobError) -> status_pb2.Status:
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    return status_pb2.Status(
        code=code_pb2.FAILED_PRECONDITION, message=error.message, details=[packed(info)]
    )


def state_name(state: JobState | None) -> str:
    return f"JOB_STATE_{state or 'UNSPECIFIED'}"


def phase_name(phase: JobPhase | None) -> str:
    return f"JOB_PHASE_{phase or 'UNSPECIFIED'}"
