"""What the training thread tells of its job; the event loop writes it, with the claim's fence."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import fields
from threading import Event

from weft.adapters.checkpoint import Checkpoint
from weft.adapters.errors import RegistryUnavailable, StoreFull
from weft.adapters.finetune import Progress, prune
from weft.adapters.job_queue import Claim, JobQueue
from weft.adapters.job_records import JobCheckpoint, JobPhase, JobProgress, JobState, JobWarning
from weft.adapters.options import read_options

from . import metrics

PROGRESS_S = 5.0
PROGRESS_STEPS = 10

logger = logging.getLogger(__name__)


class JobNotes:
    """Called by the training thread only.

    Args:
        loop: Which runs, in another thread, for as long as the job is trained.
        stop: Set here when a note's answer says that the job is being cancelled.
    """

    def __init__(
        self,
        queue: JobQueue,
        claim: Claim,
        loop: asyncio.AbstractEventLoop,
        *,
        host: str,
        stop: Event,
    ) -> None:
        self._queue = queue
        self._claim = claim
        self._loop = loop
        self._host = host
        self._stop = stop
        self._told_at = 0.0
        self._stepped_at = time.monotonic()
        self._counted = {"trained": 0, "masked": 0}

    def start(self, packed: bool, step: int) -> None:
        """Say that training starts, and what is not as was asked.

        Raises:
            FenceLost, JobStateConflict: The job is this worker's no more.
        """
        self._stepped_at = time.monotonic()
        self._tell(self._queue.note_phase(self._claim, JobPhase.TRAIN))
        job = self._claim.job
        if job.checkpoint is not None and step == 0:
            self._warn(
                step,
                f"checkpoint of step {job.checkpoint.step} is on worker {job.checkpoint.host} and "
                "cannot be used here: training starts again from step 0",
            )
        if not packed and read_options(job.resolved or {}).packing is None:
            self._warn(step, "attention of this base cannot separate rows: they are not packed")

    def progress(self, progress: Progress) -> None:
        """Count a step, record its checkpoint, and tell of it every 5 s or 10 steps.

        Raises:
            FenceLost, JobStateConflict: The job is this worker's no more.
        """
        self._count(progress)
        if progress.checkpoint is not None:
            self._record(progress.checkpoint)
        if self._is_due(progress):
            self._told_at = time.monotonic()
            self._tell(self._queue.note_progress(self._claim, read_progress(progress)))

    def _is_due(self, progress: Progress) -> bool:
        return (
            progress.step in (1, progress.num_steps)
            or progress.step % PROGRESS_STEPS == 0
            or progress.eval_loss is not None
            or time.monotonic() - self._told_at > PROGRESS_S
        )

    def _count(self, progress: Progress) -> None:
        now = time.monotonic()
        metrics.JOB_STEP_TIME.observe(now - self._stepped_at)
        self._stepped_at = now
        seen = {"trained": progress.trained_tokens, "masked": progress.masked_tokens}
        for kind, tokens in seen.items():
            new = tokens - self._counted[kind]
            metrics.JOB_TOKENS.labels(self._claim.job.tenant, kind).inc(new)
        self._counted = seen

    def _record(self, checkpoint: Checkpoint) -> None:
        """Record a checkpoint, and only then remove older ones."""
        record = JobCheckpoint(checkpoint.step, checkpoint.digest, self._host)
        if self._tell(self._queue.note_checkpoint(self._claim, record)):
            prune(checkpoint.path.parent)

    def _warn(self, step: int, message: str) -> None:
        self._tell(self._queue.warn(self._claim, JobWarning(step, message)))

    def _tell(self, note: Coroutine[None, None, JobState]) -> bool:
        """Wait until the loop has written a note; False when Redis did not take it."""
        try:
            state = asyncio.run_coroutine_threadsafe(note, self._loop).result()
        except (RegistryUnavailable, StoreFull) as err:
            logger.warning("job id=%s note not written: %s", self._claim.job.id, err)
            return False
        if state is JobState.CANCELLING:
            self._stop.set()
        return True


def read_progress(progress: Progress) -> JobProgress:
    """Take over what a job keeps of its training's progress."""
    return JobProgress(**{f.name: getattr(progress, f.name) for f in fields(JobProgress)})
