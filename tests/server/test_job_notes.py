"""Notes of a training thread, written by the event loop."""

import asyncio
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
import redis.asyncio

from tests.adapters.job_cases import create_running, open_queue, record_dataset
from weft.adapters.checkpoint import Checkpoint
from weft.adapters.errors import FenceLost
from weft.adapters.finetune import Progress
from weft.adapters.job_news import JobNews
from weft.adapters.job_queue import Claim, JobQueue
from weft.adapters.job_records import (
    JobCheckpoint,
    JobPhase,
    JobProgress,
    JobState,
    JobWarning,
    StateChanged,
)
from weft.adapters.jobs import Jobs
from weft.server.job_notes import JobNotes

STEP = Progress(
    step=1,
    num_steps=40,
    epoch=0.1,
    loss=2.0,
    eval_loss=None,
    learning_rate=1e-4,
    grad_norm=1.0,
    trained_tokens=10,
    masked_tokens=10,
    tokens_per_s=1.0,
    eta_s=1.0,
    skipped_rows=0,
    checkpoint=None,
)


class Notes:
    """Notes about one running job, and what came of them."""

    def __init__(self, jobs: Jobs, queue: JobQueue, claim: Claim, news: JobNews) -> None:
        self.jobs = jobs
        self.queue = queue
        self.claim = claim
        self.stop = Event()
        self._news = news

    def make(self, claim: Claim | None = None) -> JobNotes:
        loop = asyncio.get_running_loop()
        return JobNotes(self.queue, claim or self.claim, loop, host="here", stop=self.stop)

    async def bodies(self) -> list[object]:
        """What the job's events say, its moves left out; ends the job."""
        job = self.claim.job
        await self.jobs.cancel(job.tenant, job.id)
        events = self.jobs.watch(job.tenant, job.id, news=self._news)
        seen: list[object] = []
        async for event in events:
            if isinstance(event.body, StateChanged):
                if event.body.to is JobState.CANCELLING:
                    break
                continue
            seen.append(event.body)
        await events.aclose()
        return seen


def list_folder(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


@pytest.fixture
async def notes(redis_client: redis.asyncio.Redis) -> Notes:
    await record_dataset(redis_client)
    jobs, queue = Jobs(redis_client), await open_queue(redis_client)
    return Notes(jobs, queue, await create_running(jobs, queue), JobNews(redis_client))


async def test_steps_are_told_at_the_ends_every_ten_and_with_an_evaluation(notes: Notes) -> None:
    made = notes.make()
    for step in range(1, 41):
        loss = 1.5 if step == 13 else None
        await asyncio.to_thread(made.progress, replace(STEP, step=step, eval_loss=loss))

    told = [body for body in await notes.bodies() if isinstance(body, JobProgress)]

    assert [progress.step for progress in told] == [1, 10, 13, 20, 30, 40]
    assert told[2].eval_loss == 1.5


async def test_checkpoint_is_recorded_before_older_ones_go(notes: Notes, tmp_path: Path) -> None:
    paths = [tmp_path / f"step-{step:08d}" for step in (5, 10, 15)]
    for path in paths:
        path.mkdir()
    saved = Checkpoint(paths[2], 15, "sha256:15")

    await asyncio.to_thread(notes.make().progress, replace(STEP, step=15, checkpoint=saved))

    assert JobCheckpoint(15, "sha256:15", "here") in await notes.bodies()
    assert list_folder(tmp_path) == paths[1:]


async def test_checkpoint_that_is_not_recorded_removes_nothing(
    notes: Notes, tmp_path: Path
) -> None:
    paths = [tmp_path / f"step-{step:08d}" for step in (5, 10, 15)]
    for path in paths:
        path.mkdir()
    zombie = replace(notes.claim, fence=notes.claim.fence - 1)
    saved = Checkpoint(paths[2], 15, "sha256:15")

    with pytest.raises(FenceLost):
        await asyncio.to_thread(
            notes.make(zombie).progress, replace(STEP, step=15, checkpoint=saved)
        )

    assert list_folder(tmp_path) == paths


async def test_start_says_what_is_not_as_was_asked(notes: Notes) -> None:
    recorded = replace(notes.claim.job, checkpoint=JobCheckpoint(5, "sha256:5", "elsewhere"))
    claim = replace(notes.claim, job=recorded)

    await asyncio.to_thread(notes.make(claim).start, False, 0)

    phase, lost, unpacked = await notes.bodies()
    assert phase is JobPhase.TRAIN
    assert isinstance(lost, JobWarning)
    assert "step 5 is on worker elsewhere" in lost.message
    assert isinstance(unpacked, JobWarning)
    assert "not packed" in unpacked.message


async def test_start_of_what_was_asked_warns_of_nothing(notes: Notes) -> None:
    await asyncio.to_thread(notes.make().start, True, 0)
    assert await notes.bodies() == [JobPhase.TRAIN]


async def test_cancellation_is_learnt_from_a_notes_answer(notes: Notes) -> None:
    await notes.jobs.cancel("acme", notes.claim.job.id)
    await asyncio.to_thread(notes.make().progress, STEP)
    assert notes.stop.is_set()
