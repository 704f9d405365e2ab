"""Fine-tuning from a data set to an adapter that answers, and every way that publishes nothing."""

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from tests.adapters.chats import orders, write_jsonl
from weft.client import AsyncClient, WeftError, error_of_status
from weft.protos.v1 import jobs_pb2
from weft.protos.v1.jobs_pb2 import JobEvent, JobSpec

from .adapters import Family
from .generating import PROMPT, digest, greedy, token_ids

LONG = 10_000  # steps: more than a test waits for


@pytest.fixture
async def weft(llama: Family) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(llama.server.address) as client:
        yield client


async def submit(weft: AsyncClient, data: Path, adapter: str, *, max_steps: int) -> str:
    dataset = await weft.upload_dataset(data)
    spec = JobSpec(
        train=[dataset.name],
        eval_fraction=0.1,
        lora=jobs_pb2.LoraOptions(rank=4),
        optimisation=jobs_pb2.Optimisation(learning_rate=1e-2, batch_tokens=256, seed=1),
        limits=jobs_pb2.Limits(max_steps=max_steps, epochs=1000),
        evaluation=jobs_pb2.EvaluationOptions(every_steps=5),
        publish=jobs_pb2.PublishPolicy(adapter=adapter),
    )
    return (await weft.submit(spec)).name


async def events(weft: AsyncClient, job: str) -> list[JobEvent]:
    """Everything up to the job's end."""
    return [response.event async for response in weft.watch_job(job)]


async def until(weft: AsyncClient, job: str, holds: Callable[[JobEvent], bool]) -> None:
    """Return at the first event of which `holds` is true."""
    async with aclosing(weft.watch_job(job)) as responses:
        async for response in responses:
            if holds(response.event):
                return
    raise AssertionError(f"{job} has ended before")


async def until_it_trains(weft: AsyncClient, job: str) -> None:
    await until(weft, job, lambda event: event.HasField("progress"))


async def assert_nothing_is_published(weft: AsyncClient, adapter: str) -> None:
    assert f"adapters/{adapter}" not in {found.name for found in await weft.adapters()}
    with pytest.raises(WeftError) as refused:
        await greedy(weft, adapter, PROMPT)
    assert refused.value.reason == "MODEL_NOT_FOUND"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_jsonl(tmp_path / "orders.jsonl", orders(60))


async def test_a_job_learns_and_what_it_publishes_answers_at_once(
    weft: AsyncClient, data: Path
) -> None:
    job = await submit(weft, data, "trained", max_steps=20)
    seen = await events(weft, job)
    answer = await greedy(weft, "trained", PROMPT)
    base = await greedy(weft, "base", PROMPT)

    progress = [event.progress for event in seen if event.HasField("progress")]
    assert progress[-1].step == progress[-1].num_steps == 20
    assert progress[-1].loss < 0.8 * progress[0].loss
    held_out = [found.eval_loss for found in progress if found.HasField("eval_loss")]
    assert held_out[-1] < held_out[0]
    [published] = [event.published for event in seen if event.HasField("published")]
    assert published.version == "adapters/trained/versions/1"
    assert digest(answer) == published.digest
    assert token_ids(answer) != token_ids(base)
    found = await weft.job(job)
    assert found.state == jobs_pb2.JOB_STATE_SUCCEEDED
    assert found.result.digest == published.digest


@pytest.fixture
def malformed(data: Path) -> Path:
    """The rows, the second of which has lost its end."""
    lines = data.read_text().splitlines()
    lines[1] = lines[1][:-5]
    data.write_text("\n".join(lines))
    return data


async def test_a_line_that_is_no_json_makes_the_job_invalid(
    weft: AsyncClient, malformed: Path
) -> None:
    job = await submit(weft, malformed, "malformed", max_steps=20)
    await events(weft, job)
    found = await weft.job(job)
    assert found.state == jobs_pb2.JOB_STATE_INVALID
    assert error_of_status(found.error).reason == "DATASET_INVALID"
    assert "line 2" in found.error.message
    assert found.report.num_errors == 1
    assert sum(count.count for count in found.report.counts) == 1
    await assert_nothing_is_published(weft, "malformed")


async def test_a_cancelled_job_publishes_nothing(weft: AsyncClient, data: Path) -> None:
    job = await submit(weft, data, "cancelled", max_steps=LONG)
    await until_it_trains(weft, job)
    await weft.cancel_job(job)
    seen = await events(weft, job)
    assert seen[-1].state.to == jobs_pb2.JOB_STATE_CANCELLED
    assert not any(event.HasField("published") for event in seen)
    await assert_nothing_is_published(weft, "cancelled")


async def test_a_worker_that_is_killed_leaves_nothing_half_published(
    llama: Family, weft: AsyncClient, data: Path
) -> None:
    """Its job waits for its lease to end, and the worker that takes its place goes on with others.

    A tenant runs one job at a time, so that the next one is validated and queued.
    """
    job = await submit(weft, data, "killed", max_steps=LONG)
    await until_it_trains(weft, job)
    os.kill(llama.server.starts_of("worker")[-1], signal.SIGKILL)

    following = await submit(weft, data, "following", max_steps=LONG)
    await until(weft, following, lambda event: event.state.to == jobs_pb2.JOB_STATE_QUEUED)
    found = await weft.job(job)
    assert found.state == jobs_pb2.JOB_STATE_RUNNING
    assert not found.HasField("result")
    await assert_nothing_is_published(weft, "killed")
    assert (await weft.cancel_job(following)).state == jobs_pb2.JOB_STATE_CANCELLED
    assert (await weft.cancel_job(job)).state == jobs_pb2.JOB_STATE_CANCELLING
