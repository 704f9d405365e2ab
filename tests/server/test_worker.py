"""The worker in this process: real Redis, real data sets, a tiny real base."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import redis.asyncio
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from tests.adapters.chats import orders
from tests.adapters.job_cases import REPORT, claim
from weft.adapters import keys
from weft.adapters.catalogue import Catalogue
from weft.adapters.datasets import Datasets
from weft.adapters.errors import AdapterNotFound, FenceLost
from weft.adapters.job_news import JobNews
from weft.adapters.job_queue import JobQueue
from weft.adapters.job_records import (
    Job,
    JobCheckpoint,
    JobEvent,
    JobProgress,
    JobSpec,
    JobState,
    JobWarning,
    PublicationState,
    PublishPolicy,
)
from weft.adapters.jobs import Jobs
from weft.adapters.options import read_options
from weft.adapters.records import Call, Publication
from weft.server.config import DataDir, ModelConfig, RegistryConfig
from weft.server.model.facts import base_facts
from weft.server.stores import Stores, open_stores
from weft.server.worker import WorkerConfig, run_worker

ALICE = Call("acme", "alice")
OPTIONS: Mapping[str, object] = {
    "lora": {"rank": 4},
    "learning_rate": 5e-3,
    "batch_tokens": 128,
    "max_steps": 12,
    "checkpoint_every": 4,
    "eval_fraction": 0.1,
    "seed": 1,
}
DEADLINE_S = 60


class Place:
    """A base, stores, and what a test asks of them."""

    def __init__(self, config: WorkerConfig, stores: Stores, base_digest: str) -> None:
        self.config = config
        self.stores = stores
        self.base_digest = base_digest
        self.jobs = Jobs(stores.redis)
        self.catalogue = Catalogue(stores.redis)
        self.news = JobNews(stores.follower)

    async def create(
        self,
        rows: list[dict[str, object]] | None = None,
        *,
        adapter: str | None = "support",
        **options: object,
    ) -> Job:
        """Upload rows and create a job on them."""
        data = "".join(json.dumps(row) + "\n" for row in rows or orders(60)).encode()
        digest = await self.stores.blobs.put_bytes("acme", data)
        dataset = await Datasets(self.stores.redis, self.stores.blobs).create(ALICE, digest)
        spec = JobSpec(
            base_digest=self.base_digest,
            train=dataset.id,
            publish=PublishPolicy(adapter),
            options={**OPTIONS, **options},
        )
        return await self.jobs.create(ALICE, spec)

    async def wait_for(self, job: Job, wanted: type | JobState) -> list[JobEvent]:
        """Follow a job's events up to one of a kind or state, or the end."""
        seen: list[JobEvent] = []
        events = self.jobs.watch("acme", job.id, news=self.news)
        async with asyncio.timeout(DEADLINE_S), contextlib.aclosing(events):
            async for event in events:
                seen.append(event)
                if isinstance(wanted, JobState):
                    if getattr(event.body, "to", None) is wanted:
                        return seen
                elif isinstance(event.body, wanted):
                    return seen
        return seen

    async def queue(self) -> JobQueue:
        """The queue as another worker of this test sees it."""
        queue = JobQueue(
            self.stores.redis, self.stores.follower, worker="by-hand", bases=[self.base_digest]
        )
        await queue.open()
        return queue


@pytest.fixture
async def place(
    tiny_llama: Path, redis_client: redis.asyncio.Redis, redis_url: str, tmp_path: Path
) -> AsyncIterator[Place]:
    config = WorkerConfig(
        model=ModelConfig(str(tiny_llama), "tiny", "cpu", "float32", quantise="int8"),
        registry=RegistryConfig(redis_url, f"file:{tmp_path / 'store'}"),
        data=DataDir(tmp_path / "data"),
        max_rank=64,
        arena_bytes=1 << 24,
        claim_ms=200,
    )
    facts = base_facts(str(tiny_llama), name="tiny", dtype="float32", hash_cache=None)
    async with open_stores(config.registry) as stores:
        made = Place(config, stores, facts.digest)
        following = asyncio.create_task(made.news.follow())
        yield made
        following.cancel()


@contextlib.asynccontextmanager
async def working(config: WorkerConfig) -> AsyncIterator[None]:
    """Run a worker beside the block."""
    stop = asyncio.Event()
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(run_worker(config, stop))
        try:
            yield
        finally:
            stop.set()


async def test_job_is_validated_trained_and_published(place: Place, tmp_path: Path) -> None:
    job = await place.create()

    async with working(place.config):
        events = await place.wait_for(job, JobState.SUCCEEDED)

    done = await place.jobs.get("acme", job.id)
    assert done.state is JobState.SUCCEEDED
    assert done.result is not None
    assert (done.result.publication, done.result.version) == (PublicationState.PUBLISHED, 1)
    version = await place.catalogue.get_version("acme", "support", 1)
    assert version.digest == done.result.digest
    assert version.content.job == job.id
    assert version.content.evidence == "digest"
    assert version.content.probe.precision == "float32+int8"
    assert (await place.catalogue.get_alias("acme", "support", "latest")).version == 1

    progress = [event.body for event in events if isinstance(event.body, JobProgress)]
    assert (progress[0].step, progress[-1].step) == (1, 12)
    assert progress[-1].loss < progress[0].loss - 1
    assert any(p.eval_loss is not None for p in progress)
    assert done.report is not None
    assert done.report.num_errors == 0
    assert done.report.num_steps == 12
    dataset = await Datasets(place.stores.redis, place.stores.blobs).get("acme", job.spec.train)
    assert (dataset.format, dataset.num_rows) == ("chat", 60)
    provenance = json.loads(await place.stores.blobs.read_bytes(version.content.provenance_digest))
    assert provenance["losses"][-1] == progress[-1].loss
    assert provenance["datasets"] == {dataset.id: dataset.digest}
    assert provenance["precision"] == "float32"  # in training


async def test_published_files_are_what_peft_loads(
    place: Place, tmp_path: Path, tiny_llama: Path
) -> None:
    job = await place.create()
    async with working(place.config):
        await place.wait_for(job, JobState.SUCCEEDED)

    content = (await place.catalogue.get_version("acme", "support", 1)).content
    folder = tmp_path / "pulled"
    folder.mkdir()
    await place.stores.blobs.fetch(content.config_digest, folder / "adapter_config.json")
    await place.stores.blobs.fetch(content.weights_digest, folder / "adapter_model.safetensors")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama), str(folder))
    loaded = {n: p for n, p in model.named_parameters() if "lora_B" in n}
    assert loaded
    assert all(parameter.abs().max() > 0 for parameter in loaded.values())


async def test_second_job_trains_on_the_same_worker(place: Place) -> None:
    first, second = await place.create(), await place.create(adapter="sales")
    async with working(place.config):
        await place.wait_for(second, JobState.SUCCEEDED)

    assert (await place.jobs.get("acme", first.id)).state is JobState.SUCCEEDED
    digests = {
        (await place.catalogue.get_version("acme", name, 1)).digest for name in ("support", "sales")
    }
    assert len(digests) == 1  # same rows, options and seed: the same adapter, to the bit


async def test_bad_rows_end_the_job_with_every_finding(place: Place) -> None:
    rows: list[dict[str, object]] = [*orders(3), {"messages": []}, {"text": "x"}]
    job = await place.create(rows)
    async with working(place.config):
        await place.wait_for(job, JobState.INVALID)

    done = await place.jobs.get("acme", job.id)
    assert done.state is JobState.INVALID
    assert done.report is not None
    assert done.report.counts == {"F103": 2, "F107": 1}
    assert done.error is not None
    assert done.error.reason == "DATASET_INVALID"
    assert done.report.digest is not None
    findings = (await place.stores.blobs.read_bytes(done.report.digest)).splitlines()
    assert len(findings) == 3
    refs = await place.stores.redis.smembers(keys.refs(done.report.digest))
    assert refs == {f"job:{job.id}".encode()}


async def test_target_that_matches_no_module_fails_the_job(place: Place) -> None:
    job = await place.create(lora={"targets": ["w1"]})
    async with working(place.config):
        await place.wait_for(job, JobState.FAILED)

    error = (await place.jobs.get("acme", job.id)).error
    assert error is not None
    assert error.reason == "REQUEST_INVALID"
    assert "'w1'" in error.message


async def test_diverging_job_fails_with_the_rows(
    place: Place, tiny_llama: Path, tmp_path: Path
) -> None:
    broken = spoil(tiny_llama, tmp_path / "broken")
    config = replace(place.config, model=replace(place.config.model, source=str(broken)))
    facts = base_facts(str(broken), name="tiny", dtype="float32", hash_cache=None)
    elsewhere = Place(config, place.stores, facts.digest)
    job = await elsewhere.create()
    async with working(config):
        await place.wait_for(job, JobState.FAILED)

    done = await place.jobs.get("acme", job.id)
    assert done.reason == "LOSS_NOT_FINITE"
    assert done.error is not None
    assert done.error.message.startswith("step 1: loss nan, gradient norm nan, rows ")
    with pytest.raises(AdapterNotFound):
        await place.catalogue.get_adapter("acme", "support")


def spoil(base: Path, folder: Path) -> Path:
    """Copy a base, with a last norm that gives NaN."""
    shutil.copytree(base, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"].fill_(float("nan"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


async def test_job_that_asks_for_no_version_publishes_none(place: Place) -> None:
    job = await place.create(adapter=None)
    async with working(place.config):
        await place.wait_for(job, JobState.SUCCEEDED)

    result = (await place.jobs.get("acme", job.id)).result
    assert result is not None
    assert result.publication is PublicationState.NOT_REQUESTED
    assert await place.catalogue.list_adapters("acme") == []


async def test_cancelled_job_stops_and_publishes_nothing(place: Place) -> None:
    job = await place.create(max_steps=100_000, epochs=1000, eval_fraction=0)
    async with working(place.config):
        await place.wait_for(job, JobProgress)
        asked = await place.jobs.cancel("acme", job.id)
        assert asked.state is JobState.CANCELLING
        await place.wait_for(job, JobState.CANCELLED)

    done = await place.jobs.get("acme", job.id)
    assert done.state is JobState.CANCELLED
    assert await place.catalogue.list_adapters("acme") == []
    assert list((place.config.data.checkpoints / job.id).glob("step-*"))


async def test_stopped_workers_job_goes_on_exactly_where_it_was(place: Place) -> None:
    straight = await place.create(adapter="straight", max_steps=60, epochs=30)
    job = await place.create(max_steps=60, epochs=30)
    async with working(place.config):
        await place.wait_for(straight, JobState.SUCCEEDED)
        await place.wait_for(job, JobCheckpoint)
    stopped = await place.jobs.get("acme", job.id)
    assert stopped.state is JobState.RUNNING
    assert stopped.checkpoint is not None
    assert stopped.checkpoint.step < 60

    await end_lease(place, job)
    async with working(replace(place.config, lease_ms=1)):
        events = await place.wait_for(job, JobState.SUCCEEDED)

    assert not [event for event in events if isinstance(event.body, JobWarning)]
    resumed = await place.catalogue.get_version("acme", "support", 1)
    expected = await place.catalogue.get_version("acme", "straight", 1)
    assert resumed.digest == expected.digest


async def test_job_of_a_worker_that_died_while_publishing_is_published(place: Place) -> None:
    trained = await place.create(adapter=None)
    async with working(place.config):
        await place.wait_for(trained, JobState.SUCCEEDED)
    target = (await place.jobs.get("acme", trained.id)).target
    assert target is not None
    job, queue = await place.create(), await place.queue()
    await queue.accept(await claim(queue), REPORT, resolved=read_options(OPTIONS).to_json())
    dead = await claim(queue)
    await queue.seal(dead, target)
    await end_lease(place, job)

    async with working(replace(place.config, lease_ms=1)):
        events = await place.wait_for(job, JobState.SUCCEEDED)

    assert not [event for event in events if isinstance(event.body, JobProgress)]
    content = (await place.catalogue.get_version("acme", "support", 1)).content
    assert content.weights_digest == target.weights_digest
    with pytest.raises(FenceLost):
        await queue.succeed(dead, Publication("support", content, ()))
    assert len(await place.catalogue.list_versions("acme", "support")) == 1


async def test_lost_checkpoint_is_said_and_training_starts_again(place: Place) -> None:
    job = await place.create()
    queue = await place.queue()
    validating = await claim(queue)
    await queue.accept(validating, REPORT, resolved=read_options(OPTIONS).to_json())
    running = await claim(queue)
    await queue.note_checkpoint(running, JobCheckpoint(4, "sha256:gone", "elsewhere"))
    await end_lease(place, job)

    async with working(replace(place.config, lease_ms=1)):
        events = await place.wait_for(job, JobState.SUCCEEDED)

    (warning,) = [event.body for event in events if isinstance(event.body, JobWarning)]
    assert warning.message == (
        "checkpoint of step 4 is on worker elsewhere and cannot be used here: "
        "training starts again from step 0"
    )


async def end_lease(place: Place, job: Job) -> None:
    """Let the worker's lease end now."""
    await place.stores.redis.delete(keys.job_lease(job.id))
