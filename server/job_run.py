"""One claimed job: validated, trained, published, and every end of it."""

import asyncio
import tempfile
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import ParamSpec, TypeVar

import msgspec

from weft.adapters.admission import Admission, Admitted, Origin, PublishRequest
from weft.adapters.blobs import Blobs
from weft.adapters.checkpoint import Checkpoint, find_newest
from weft.adapters.datasets import Datasets
from weft.adapters.findings import Severity
from weft.adapters.finetune import Result
from weft.adapters.job_queue import Claim, JobQueue
from weft.adapters.job_records import (
    JobCheckpoint,
    JobError,
    JobPhase,
    JobReport,
    JobResult,
    JobState,
    JobTarget,
    PublicationState,
)
from weft.adapters.lora import CONFIG_FILE, WEIGHTS_FILE
from weft.adapters.options import read_options
from weft.adapters.prepare import Prepared
from weft.adapters.publish import Publisher
from weft.adapters.records import Call, Publication
from weft.adapters.sites import BaseFacts

from .job_notes import JobNotes
from .training import DataFiles, Training, TrainOrder, Validated

SHOWN_FINDINGS = 20

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tools:
    """What every job of a worker shares. `thread` has one thread: it owns `training`."""

    facts: BaseFacts
    queue: JobQueue
    blobs: Blobs
    datasets: Datasets
    admission: Admission
    publisher: Publisher
    training: Training
    thread: Executor
    checkpoints: Path
    host: str


class JobRun:
    """One claim, from its state to the next.

    Attributes:
        stop: Set to end training between two micro-steps.
    """

    def __init__(self, tools: Tools, claim: Claim) -> None:
        self._tools = tools
        self._claim = claim
        self._job = claim.job
        self._folder = tools.checkpoints / claim.job.id
        self._loop = asyncio.get_running_loop()
        self.stop = Event()

    async def advance(self) -> JobState:
        """Do what the job's state asks for; answers the state in which this worker leaves it.

        Raises:
            FenceLost: The job is another worker's, or was cancelled; nothing more may be written.
            TrainingStopped: `stop` was set.
            AdapterError: The job's own fault, or that of the store.
        """
        with tempfile.TemporaryDirectory(dir=self._tools.checkpoints) as folder:
            scratch = Path(folder)
            if self._job.state is JobState.VALIDATING:
                return await self._validate(scratch)
            if self._job.state is JobState.PUBLISHING:
                assert self._job.target is not None
                return await self._publish(self._job.target)
            return await self._publish(await self._train(scratch))

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._loop.run_in_executor(self._tools.thread, lambda: work(*args, **kwargs))

    async def _fetch(self, folder: Path) -> DataFiles:
        spec = self._job.spec
        train = await self._fetch_dataset(spec.train, folder / "train.jsonl")
        if spec.eval is None:
            return DataFiles(train, None)
        return DataFiles(train, await self._fetch_dataset(spec.eval, folder / "eval.jsonl"))

    async def _fetch_dataset(self, dataset_id: str, path: Path) -> Path:
        record = await self._tools.datasets.get(self._job.tenant, dataset_id)
        await self._tools.blobs.fetch(record.digest, path)
        return path

    async def _validate(self, scratch: Path) -> JobState:
        data = await self._fetch(scratch)
        options = read_options(self._job.spec.options)
        validated = await self._in_thread(self._tools.training.validate, data, options)
        await self._describe(validated)
        report = await self._report(validated.prepared)
        plan = validated.prepared.plan
        if plan is None:
            error = JobError("DATASET_INVALID", report.first[0])
            await self._tools.queue.refuse(self._claim, report, error)
            return JobState.INVALID
        await self._tools.queue.accept(self._claim, report, resolved=plan.options.to_json())
        return JobState.QUEUED

    async def _describe(self, validated: Validated) -> None:
        if validated.format is not None:
            await self._tools.datasets.describe(
                self._job.tenant,
                self._job.spec.train,
                form=validated.format,
                num_rows=validated.num_rows,
            )

    async def _report(self, prepared: Prepared) -> JobReport:
        found, report = prepared.report.findings, prepared.report
        digest = await self._tools.blobs.put_bytes(None, found.to_jsonl()) if found.items else None
        by_weight = sorted(found.items, key=lambda f: f.severity is not Severity.ERROR)
        return JobReport(
            digest=digest,
            num_errors=found.num_errors,
            num_warnings=len(found.items) - found.num_errors,
            counts=found.counts,
            first=tuple(str(finding) for finding in by_weight[:SHOWN_FINDINGS]),
            train_rows=report.train.rows,
            train_tokens=report.train.tokens,
            trained_tokens=report.train.trained_tokens,
            held_out_rows=report.held_out.rows,
            num_steps=report.num_steps,
        )

    async def _train(self, scratch: Path) -> JobTarget:
        """Train, store the files, and seal the job: it can be cancelled no more."""
        queue, job = self._tools.queue, self._job
        assert job.resolved is not None
        await queue.note_phase(self._claim, JobPhase.PREPARE)
        order = TrainOrder(
            data=await self._fetch(scratch),
            options=job.resolved,
            folder=self._folder,
            out_dir=scratch / "adapter",
            resume=find_recorded(job.checkpoint, self._folder),
            stop=self.stop,
        )
        notes = JobNotes(queue, self._claim, self._loop, host=self._tools.host, stop=self.stop)
        result = await self._in_thread(
            self._tools.training.train,
            order,
            on_start=notes.start,
            on_progress=notes.progress,
        )
        target = await self._store(result)
        await queue.seal(self._claim, target)
        return target

    async def _store(self, result: Result) -> JobTarget:
        blobs, tenant = self._tools.blobs, self._job.tenant
        return JobTarget(
            step=result.num_steps,
            config_digest=await blobs.put_file(tenant, result.path / CONFIG_FILE),
            weights_digest=await blobs.put_file(tenant, result.path / WEIGHTS_FILE),
            provenance_digest=await blobs.put_bytes(None, await self._provenance(result)),
        )

    async def _provenance(self, result: Result) -> bytes:
        """What is needed to repeat the job, and how it went."""
        job = self._job
        ids = [job.spec.train, *([job.spec.eval] if job.spec.eval is not None else [])]
        datasets = {i: (await self._tools.datasets.get(job.tenant, i)).digest for i in ids}
        return msgspec.json.encode(
            {
                "job": job.id,
                "base": self._tools.facts.digest,
                "precision": self._tools.facts.dtype,
                "tokenizer": self._tools.facts.tokenizer_digest,
                "template": self._tools.facts.template_digest,
                "datasets": datasets,
                "options": result.options.to_json(),
                "packed": result.packed,
                "losses": result.losses,
                "eval_losses": result.eval_losses,
                "worker": self._tools.host,
                "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
            }
        )

    async def _publish(self, target: JobTarget) -> JobState:
        """Admit the stored files, and make them a version in the step that ends the job."""
        tools, policy = self._tools, self._job.spec.publish
        if policy.adapter is None:
            result = JobResult(PublicationState.NOT_REQUESTED)
            await tools.queue.finish_unpublished(self._claim, result)
            return JobState.SUCCEEDED
        call = Call(self._job.tenant, f"jobs/{self._job.id}")
        request = self._request(policy.adapter, target)
        async with aclosing(tools.admission.admit(call, request)) as items:
            async for item in items:
                if isinstance(item, Admitted):
                    await tools.publisher.store_image(item)
                    publication = Publication(policy.adapter, item.content, policy.aliases)
                    await tools.queue.succeed(self._claim, publication)
        return JobState.SUCCEEDED

    def _request(self, adapter: str, target: JobTarget) -> PublishRequest:
        spec, facts = self._job.spec, self._tools.facts
        return PublishRequest(
            adapter=adapter,
            config_digest=target.config_digest,
            weights_digest=target.weights_digest,
            aliases=spec.publish.aliases,
            labels=spec.publish.labels,
            origin=Origin(
                job=self._job.id,
                datasets=(spec.train,) if spec.eval is None else (spec.train, spec.eval),
                provenance_digest=target.provenance_digest,
                tokenizer_digest=facts.tokenizer_digest,
                template_digest=facts.template_digest,
            ),
        )

    async def end_cancelled(self) -> JobState:
        """End a job whose training was stopped at its owner's wish."""
        newest = find_newest(self._folder)
        state = PublicationState.NOT_REQUESTED if newest else PublicationState.NO_CHECKPOINT
        await self._tools.queue.end_cancelled(self._claim, JobResult(state))
        return JobState.CANCELLED

    async def keep_checkpoint(self) -> JobState:
        """Record where training was stopped, for whoever goes on."""
        newest = find_newest(self._folder)
        if newest is not None:
            record = JobCheckpoint(newest.step, newest.digest, self._tools.host)
            await self._tools.queue.note_checkpoint(self._claim, record)
        return JobState.RUNNING

    async def fail(self, error: JobError) -> JobState:
        """End a job that failed by a fault of its own."""
        newest = find_newest(self._folder)
        state = PublicationState.NOT_REQUESTED if newest else PublicationState.NO_CHECKPOINT
        await self._tools.queue.fail(self._claim, error, JobResult(state))
        return JobState.FAILED


def find_recorded(recorded: JobCheckpoint | None, folder: Path) -> Checkpoint | None:
    """Where a recorded checkpoint lies if it is on this worker's disk."""
    if recorded is None:
        return None
    path = folder / f"step-{recorded.step:08d}"
    return Checkpoint(path, recorded.step, recorded.digest)
