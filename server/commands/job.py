"""`weft job`: submit fine-tuning jobs, and see what becomes of them."""

from pathlib import Path

import click

from weft.client import Client, error_of_status
from weft.protos.v1.jobs_pb2 import Job, JobState

from .job_events import describe_progress, follow_job
from .job_file import read_job
from .session import Session, SessionGroup
from .terminal import Terminal, columns, document_of, documents_of, when, word

ID = click.argument("job_id", metavar="ID")
STATES = [word(name, "JOB_STATE_") for name, number in JobState.items() if number]


@click.group(cls=SessionGroup)
def job() -> None:
    """Fine-tuning jobs: from a data set to a published adapter."""


@job.command()
@click.option(
    "-f",
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The job, in YAML.",
)
@click.option("--train", multiple=True, metavar="FILE|ID", help="Data set to train on.")
@click.option("--eval", "held_out", multiple=True, metavar="FILE|ID", help="Data set held out.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Field of the job.")
@click.option("--follow", is_flag=True, help="Watch it to its end.")
@click.pass_context
def submit(
    context: click.Context,
    file: Path | None,
    train: tuple[str, ...],
    held_out: tuple[str, ...],
    settings: tuple[str, ...],
    follow: bool,
) -> None:
    """Create a job from a file, from options, or from both; files of rows are uploaded."""
    session: Session = context.obj
    spec = read_job(file, settings)
    with session.client() as weft:
        spec.train.extend(dataset_of(weft, session.terminal, given) for given in train)
        spec.eval.extend(dataset_of(weft, session.terminal, given) for given in held_out)
        made = weft.submit(spec)
        if not follow:
            session.terminal.show(document_of(made), [made.name])
            return
        session.terminal.note(made.name)
        follow_job(context, weft, made.name, "")


def dataset_of(weft: Client, terminal: Terminal, given: str) -> str:
    """Upload a file that is named by its path; the name of a data set stays as it is."""
    if not Path(given).exists():
        return given
    with terminal.transfers() as on_progress:
        made = weft.upload_dataset(given, display_name=Path(given).name, on_progress=on_progress)
    return made.name


@job.command("list")
@click.option(
    "--state", "states", multiple=True, type=click.Choice(STATES), help="Only these; repeatable."
)
@click.pass_obj
def list_jobs(session: Session, states: tuple[str, ...]) -> None:
    """List jobs, the newest first."""
    wanted = [f"JOB_STATE_{state.upper()}" for state in states]
    with session.client() as weft:
        jobs = weft.jobs(states=wanted)
    header = ("job", "state", "adapter", "step", "loss", "created")
    session.terminal.show(documents_of(jobs), columns(header, map(row_of, jobs)))


def row_of(job: Job) -> tuple[object, ...]:
    progress = job.progress
    return (
        job.name,
        word(JobState.Name(job.state), "JOB_STATE_"),
        job.spec.publish.adapter,
        f"{progress.step}/{progress.num_steps}" if progress.num_steps else "",
        f"{progress.loss:.3f}" if progress.HasField("loss") else "",
        when(job.created_ms),
    )


@job.command()
@ID
@click.pass_obj
def show(session: Session, job_id: str) -> None:
    """Show a job: where it stands, and what became of its weights."""
    with session.client() as weft:
        shown = weft.job(job_id)
    session.terminal.show(document_of(shown), describe(shown))


def describe(job: Job) -> list[str]:
    facts = {
        "job": job.name,
        "state": " ".join(filter(None, [word(JobState.Name(job.state), "JOB_STATE_"), job.reason])),
        "adapter": job.spec.publish.adapter,
        "progress": describe_progress(job.progress) if job.progress.num_steps else "",
        "published": job.result.version,
        "digest": job.result.digest,
        "report": f"{job.report.num_errors} errors, {job.report.num_warnings} warnings"
        if job.HasField("report")
        else "",
        "error": str(error_of_status(job.error)) if job.HasField("error") else "",
        "created": when(job.created_ms),
        "started": when(job.started_ms),
        "ended": when(job.ended_ms),
    }
    return [f"{name:10} {value}" for name, value in facts.items() if value]


@job.command()
@ID
@click.option("--since", default="", metavar="CURSOR", help="Only events after this one.")
@click.pass_context
def watch(context: click.Context, job_id: str, since: str) -> None:
    """Replay a job's events, and follow it to its end."""
    session: Session = context.obj
    with session.client() as weft:
        follow_job(context, weft, job_id, since)


@job.command()
@ID
@click.pass_obj
def cancel(session: Session, job_id: str) -> None:
    """Cancel a job; its worker stops after the step that it is in."""
    with session.client() as weft:
        cancelled = weft.cancel_job(job_id)
    state = word(JobState.Name(cancelled.state), "JOB_STATE_")
    session.terminal.show(document_of(cancelled), [f"{cancelled.name} {state}"])
