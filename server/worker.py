"""The worker: claims fine-tuning jobs by lease, validates, trains, publishes.

An asyncio loop owns Redis and the claims; one thread owns the base and trains. What was not written
with the claim's fence did not happen: a worker that loses Redis trains on, and one that loses its
job stops and writes nothing more.
"""

import asyncio
import logging
import os
import signal
import socket
import time
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

import torch

from weft.adapters.admission import Admission, Candidate
from weft.adapters.datasets import Datasets
from weft.adapters.errors import (
    AdapterError,
    FenceLost,
    JobStateConflict,
    LossNotFinite,
    RegistryUnavailable,
    StoreFull,
    StoreUnavailable,
    TrainingStopped,
)
from weft.adapters.job_news import JobNews
from weft.adapters.job_queue import LEASE_MS, Claim, JobQueue
from weft.adapters.job_records import JobError, JobState
from weft.adapters.probe import ProbeResult
from weft.adapters.publish import Publisher
from weft.adapters.removal import Removal
from weft.adapters.tensor_checks import Limits
from weft.adapters.uploads import MAX_BLOB_BYTES

from . import metrics
from .config import DataDir, ModelConfig, RegistryConfig, ServeConfig
from .errors import ServerError
from .job_run import JobRun, Tools
from .model.checkpoint import resolve_model
from .model.facts import base_facts
from .rpc.status import row_of
from .stores import Stores, open_stores
from .training import Training

CPU_NICENESS = 10
RETRY_S = 1.0
LOST_STORE = (RegistryUnavailable, StoreUnavailable, StoreFull)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """What a worker is told.

    Attributes:
        arena_bytes: Of the servers that shall load what it publishes.
        idle_s: How long it keeps the base without a job.
        lease_ms: How long its claims live without a heartbeat.
        reclaim_s: How often it looks for jobs of dead workers.
        claim_ms: How long it waits for a job at a time.
    """

    model: ModelConfig
    registry: RegistryConfig
    data: DataDir
    max_rank: int
    arena_bytes: int
    idle_s: float = 60.0
    lease_ms: int = LEASE_MS
    reclaim_s: float = 30.0
    claim_ms: int = 5_000


def main(config: ServeConfig, registry: RegistryConfig) -> None:
    """Run the worker beside a server, until SIGTERM."""
    worker = WorkerConfig(
        model=config.model,
        registry=registry,
        data=config.data,
        max_rank=config.engine.max_rank,
        arena_bytes=config.engine.arena_bytes_on(config.model.device),
    )
    run_process(worker)


def run_process(config: WorkerConfig) -> None:
    """Run a worker until SIGTERM; on a CPU with half the cores and behind whoever serves."""
    if config.model.device == "cpu":
        os.nice(CPU_NICENESS)
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))
    asyncio.run(_run_until_sigterm(config))


async def _run_until_sigterm(config: WorkerConfig) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await run_worker(config, stop)


async def run_worker(config: WorkerConfig, stop: asyncio.Event) -> None:
    """Work until `stop` is set: then the running micro-step ends, and a checkpoint is kept.

    Raises:
        RegistryUnavailable: Redis does not answer at the start.
        ModelRefused: The base is none that can be served.
    """
    async with (
        open_stores(config.registry) as stores,
        open_worker(config, stores) as worker,
        asyncio.TaskGroup() as tasks,
    ):
        news = tasks.create_task(worker.follow_news())
        working = tasks.create_task(worker.work())
        await stop.wait()
        worker.stop()
        await working
        await end_task(news)


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancel a task that reads from Redis, again if need be: the client can lose a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.05)


@asynccontextmanager
async def open_worker(config: WorkerConfig, stores: Stores) -> AsyncIterator["Worker"]:
    """Describe the base, and lay out what the jobs share."""
    facts = base_facts(
        config.model.source,
        name=config.model.name,
        dtype=config.model.dtype,
        quantisation=config.model.quantise,
        hash_cache=config.data.hash_cache,
    )
    limits = Limits(config.max_rank, MAX_BLOB_BYTES, config.arena_bytes)
    config.data.checkpoints.mkdir(parents=True, exist_ok=True)
    folder, device = resolve_model(config.model.source), torch.device(config.model.device)
    training = Training(folder, facts, device=device, limits=limits)
    host = socket.gethostname()
    queue = JobQueue(
        stores.redis,
        stores.follower,
        worker=f"{host}-{os.getpid()}-{uuid.uuid4().hex[:8]}",
        bases=[facts.digest],
        lease_ms=config.lease_ms,
        idle_ms=config.lease_ms,
    )
    with ThreadPoolExecutor(1, thread_name_prefix="training") as thread:

        async def probe(candidate: Candidate) -> ProbeResult:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(thread, training.probe, candidate)

        removal = Removal(stores.registry, stores.blobs)
        admission = Admission(
            stores.blobs,
            stores.leases,
            removal,
            facts=facts,
            limits=limits,
            probe=probe,
            scratch=config.data.checkpoints,
        )
        tools = Tools(
            facts=facts,
            queue=queue,
            blobs=stores.blobs,
            datasets=Datasets(stores.redis, stores.blobs),
            admission=admission,
            publisher=Publisher(stores.registry, stores.blobs, removal, admission),
            training=training,
            thread=thread,
            checkpoints=config.data.checkpoints,
            host=host,
        )
        yield Worker(config, tools, JobNews(stores.follower))


class Worker:
    """Takes one job after another."""

    def __init__(self, config: WorkerConfig, tools: Tools, news: JobNews) -> None:
        self._config = config
        self._tools = tools
        self._news = news
        self._run: JobRun | None = None
        self._waiting: asyncio.Task[Claim | None] | None = None
        self._stopping = False
        self._reclaim_at = 0.0
        self._idle_since = time.monotonic()

    def stop(self) -> None:
        """Take no more jobs, and end training after its micro-step."""
        self._stopping = True
        if self._run is not None:
            self._run.stop.set()
        if self._waiting is not None:
            self._waiting.cancel()

    async def follow_news(self) -> None:
        """Hear of cancellations as they come, until cancelled."""
        while True:
            try:
                await self._news.follow()
            except RegistryUnavailable as err:
                logger.warning("news of jobs not followed: %s", err)
                await asyncio.sleep(RETRY_S)

    async def work(self) -> None:
        """Take jobs until stopped."""
        opened = False
        while not self._stopping:
            try:
                if not opened:
                    await self._tools.queue.open()
                    opened = True
                claim = await self._next_claim()
                if claim is not None:
                    await self._advance(claim)
            except LOST_STORE as err:
                logger.warning("no job taken: %s", err)
                await asyncio.sleep(RETRY_S)

    async def _next_claim(self) -> Claim | None:
        """Take over a dead worker's job, or wait a while for a new one."""
        self._free_idle()
        self._waiting = asyncio.create_task(self._claim())
        try:
            return await self._waiting
        except asyncio.CancelledError:
            if not self._stopping:
                raise
            return None
        finally:
            self._waiting = None

    async def _claim(self) -> Claim | None:
        if time.monotonic() >= self._reclaim_at:
            self._reclaim_at = time.monotonic() + self._config.reclaim_s
            reclaimed = await self._tools.queue.reclaim()
            if reclaimed is not None:
                return reclaimed
        return await self._tools.queue.claim_next(block_ms=self._config.claim_ms)

    def _free_idle(self) -> None:
        """Free the base when it has not been needed for a while."""
        idle_s = time.monotonic() - self._idle_since
        if self._tools.training.is_loaded and idle_s > self._config.idle_s:
            self._tools.training.free()
            logger.info("base freed after %.0f s without a job", idle_s)

    async def _advance(self, claim: Claim) -> None:
        """Work on a job until this worker holds it no more."""
        self._run = run = JobRun(self._tools, claim)
        holding = asyncio.create_task(self._hold(run, claim))
        try:
            state = await self._conclude(run, claim)
        except LOST_STORE as err:
            logger.warning("job id=%s left to the next claim: %s", claim.job.id, err)
        except (FenceLost, JobStateConflict) as err:
            logger.warning("job id=%s lost: %s", claim.job.id, err)
        else:
            logger.info("job id=%s from=%s state=%s", claim.job.id, claim.job.state, state)
            if state.is_final:
                metrics.JOBS.labels(state).inc()
        finally:
            holding.cancel()
            self._run = None
            self._idle_since = time.monotonic()

    async def _conclude(self, run: JobRun, claim: Claim) -> JobState:
        """Bring a job to its next state; a fault of its own is its end."""
        try:
            return await run.advance()
        except (FenceLost, *LOST_STORE):
            raise
        except (TrainingStopped, JobStateConflict) as err:
            if await self._tools.queue.hold(claim) is JobState.CANCELLING:
                return await run.end_cancelled()
            if isinstance(err, JobStateConflict):
                raise
            return await run.keep_checkpoint()
        except LossNotFinite as err:
            error = JobError("LOSS_NOT_FINITE", str(err))
        except (AdapterError, ServerError) as err:
            error = JobError(row_of(err).reason, str(err))
        except torch.OutOfMemoryError as err:
            error = JobError("OUT_OF_MEMORY", str(err))
        except Exception:
            logger.exception("job id=%s failed", claim.job.id)
            error = JobError("INTERNAL", "a mistake of the worker; its log says which")
        return await run.fail(error)

    async def _hold(self, run: JobRun, claim: Claim) -> None:
        """Keep the lease, and stop training when the job is cancelled or lost."""
        with self._news.listen(claim.job.id) as heard:
            while True:
                await heard.wait()
                try:
                    state = await self._tools.queue.hold(claim)
                except LOST_STORE as err:
                    logger.warning("job id=%s lease not renewed: %s", claim.job.id, err)
                except (FenceLost, JobStateConflict):
                    run.stop.set()
                    return
                else:
                    if state is JobState.CANCELLING:
                        run.stop.set()
