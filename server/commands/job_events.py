"""What happens to a job, as it happens."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from weft.client import Client, error_of_status
from weft.protos.v1.jobs_pb2 import (
    JOB_STATE_CANCELLED,
    JOB_STATE_FAILED,
    JOB_STATE_INVALID,
    JobEvent,
    JobPhase,
    JobProgress,
    JobState,
    Publication,
    WatchJobResponse,
)

from .exits import Exit
from .terminal import Terminal, document_of, when, word

ENDS = {
    JOB_STATE_INVALID: Exit.REFUSED,
    JOB_STATE_FAILED: Exit.JOB_ENDED,
    JOB_STATE_CANCELLED: Exit.JOB_ENDED,
}


def follow_job(context: click.Context, weft: Client, name: str, since: str) -> None:
    """Print every event, and exit by the state that the job ends in."""
    terminal = context.obj.terminal
    state = None
    with progress_bar(terminal) as bar:
        for response in weft.watch_job(name, cursor=since):
            print_event(terminal, bar, response)
            if response.event.HasField("state"):
                state = response.event.state.to
    if state in ENDS:
        context.exit(ENDS[state])


class Bar:
    """A progress bar of a job's steps."""

    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.task = bars.add_task("", total=None)

    def draw(self, progress: JobProgress) -> None:
        self.bars.update(
            self.task,
            completed=progress.step,
            total=progress.num_steps,
            description=f"loss {progress.loss:.3f}",
        )


@contextmanager
def progress_bar(terminal: Terminal) -> Iterator[Bar | None]:
    if not terminal.shows_progress or terminal.json:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        yield Bar(bars)


def print_event(terminal: Terminal, bar: Bar | None, response: WatchJobResponse) -> None:
    if terminal.json:
        click.echo(json.dumps(document_of(response), ensure_ascii=False))
    elif bar is not None and response.event.HasField("progress"):
        bar.draw(response.event.progress)
    else:
        click.echo(f"{when(response.event.time_ms)}  {describe_event(response.event)}")


def describe_event(event: JobEvent) -> str:
    """Say an event in one line."""
    match event.WhichOneof("body"):
        case "state":
            reason = f" ({event.state.reason})" if event.state.reason else ""
            return f"state      {word(JobState.Name(event.state.to), 'JOB_STATE_')}{reason}"
        case "phase":
            return f"phase      {word(JobPhase.Name(event.phase), 'JOB_PHASE_')}"
        case "progress":
            return f"progress   {describe_progress(event.progress)}"
        case "sample":
            return f"sample     {event.sample.text}"
        case "checkpoint":
            return f"checkpoint step {event.checkpoint.step}"
        case "warning":
            return f"warning    {event.warning.message}"
        case "published":
            publication = word(Publication.Name(event.published.publication), "PUBLICATION_")
            return f"{publication:10} {event.published.version}"
        case "error":
            return f"error      {error_of_status(event.error)}"
    return "event      of a kind that this client does not know"


def describe_progress(progress: JobProgress) -> str:
    parts = [f"step {progress.step}/{progress.num_steps}"]
    if progress.HasField("loss"):
        parts.append(f"loss {progress.loss:.4f}")
    if progress.HasField("eval_loss"):
        parts.append(f"held out {progress.eval_loss:.4f}")
    if progress.tokens_per_s:
        parts.append(f"{progress.tokens_per_s:.0f} tokens/s")
    return "  ".join(parts)
