"""The demo's steps; each raises StepFailed if what it shows did not happen."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from rich.console import Console

from weft.client import Answer, AsyncClient, Sampling, Stopping, error_of_status, user
from weft.protos.v1.jobs_pb2 import Job, JobProgress, JobState
from weft.server.child import WEFT
from weft.server.commands.job_file import read_job

from .board import Board
from .errors import StepFailed
from .places import ADAPTERS, DATA

DESKS = ("returns", "technical", "sales")
LEARNT = "json"
JOB = DATA / "job.yaml"
ORDER, PRODUCT = "48213", "Nimbus kettle"
PROMPT = f"Hello, my order number is {ORDER}. The {PRODUCT} does not switch on. What can I do?"
GREEDY = Sampling(temperature=0)
STOPPING = Stopping(max_tokens=120)
CLI_TIMEOUT_S = 60
ANSWER_TIMEOUT_S = 60
JOB_TIMEOUT_S = 180


@dataclass(frozen=True, slots=True)
class Learnt:
    """What the job made.

    Attributes:
        digest: Of the published version.
        published_ms: Unix time in milliseconds, by the server's clock.
    """

    digest: str
    published_ms: int


async def publish_desks(console: Console, address: str) -> dict[str, str]:
    """Upload the committed adapters with the CLI; their digests by name."""
    digests: dict[str, str] = {}
    for name in DESKS:
        version = await run_weft(address, "adapter", "publish", name, str(ADAPTERS / name))
        digests[name] = str(version["digest"])
        console.print(f"  weft adapter publish {name}: {digests[name][:19]}…", soft_wrap=True)
    return digests


async def run_weft(address: str, *arguments: str) -> Mapping[str, object]:
    """Run the CLI and read the JSON document that it prints."""
    process = await asyncio.create_subprocess_exec(
        *(WEFT, "--address", address, "--output", "json", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(CLI_TIMEOUT_S):
        output, errors = await process.communicate()
    if process.returncode != 0:
        said = errors.decode(errors="replace").strip()
        raise StepFailed(f"weft {' '.join(arguments)} ended with {process.returncode}: {said}")
    document = json.loads(output)
    if not isinstance(document, dict):
        raise StepFailed(f"weft {' '.join(arguments)} printed no JSON object")
    return document


async def ask_all(
    console: Console, client: AsyncClient, models: Sequence[str]
) -> dict[str, Answer]:
    """Stream the one prompt to every model at once, side by side."""
    answers = {model: Answer() for model in models}
    with Board(console, models) as board:
        streams = (follow(client, board, model, answer) for model, answer in answers.items())
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await asyncio.gather(*streams)
    return answers


async def follow(client: AsyncClient, board: Board, model: str, answer: Answer) -> None:
    """Show one answer while it arrives."""
    chunks = client.generate(
        model, answer=answer, chat=[user(PROMPT)], sampling=GREEDY, stopping=STOPPING
    )
    async with aclosing(chunks):
        async for chunk in chunks:
            board.add(model, chunk.text)
    board.finish(model)


def check_answers(answers: Mapping[str, Answer], digests: Mapping[str, str], base: str) -> None:
    """Hold every answer against the base's and against what the customer said."""
    for model, answer in answers.items():
        if ORDER not in answer.text or PRODUCT not in answer.text:
            raise StepFailed(f"{model} does not name {ORDER} and {PRODUCT}: {answer.text!r}")
        if model != base:
            check_digest(model, answer, digests[model])
    if len({answer.text for answer in answers.values()}) < len(answers):
        raise StepFailed(f"two of {', '.join(answers)} gave the same answer")


def check_digest(model: str, answer: Answer, digest: str) -> None:
    """Hold the version that answered against the one that was published."""
    found = answer.resolved.digest if answer.resolved is not None else "nobody"
    if found != digest:
        raise StepFailed(f"{found} answered for {model}, published was {digest}")


async def train(console: Console, client: AsyncClient) -> Learnt:
    """Submit the job, show its loss until it has published, and check that the loss fell."""
    dataset = await client.upload_dataset(DATA / f"{LEARNT}.jsonl")
    spec = read_job(JOB, ())
    spec.train.append(dataset.name)
    job = await client.submit(spec)
    console.print(f"  {job.name}: {LEARNT}.jsonl, {dataset.size_bytes:,} bytes", soft_wrap=True)
    losses: list[float] = []
    async with asyncio.timeout(JOB_TIMEOUT_S), aclosing(client.watch_job(job.name)) as watch:
        async for response in watch:
            event = response.event
            if event.HasField("progress") and event.progress.HasField("loss"):
                losses.append(event.progress.loss)
                console.print(f"  {describe_progress(event.progress)}", soft_wrap=True)
            if event.HasField("published"):
                break
        else:
            raise StepFailed(describe_end(await client.job(job.name)))
    if len(losses) < 2 or losses[-1] >= losses[0]:
        raise StepFailed(f"the loss of {job.name} did not fall: {losses}")
    return Learnt(event.published.digest, event.time_ms)


def describe_end(job: Job) -> str:
    """Say how a job ended that should have succeeded."""
    state = JobState.Name(job.state).removeprefix("JOB_STATE_")
    return f"{job.name} ended {state} {job.reason}: {error_of_status(job.error)}"


def describe_progress(progress: JobProgress) -> str:
    """Say where a job is."""
    held_out = f", held out {progress.eval_loss:.3f}" if progress.HasField("eval_loss") else ""
    return f"step {progress.step} of {progress.num_steps}: loss {progress.loss:.3f}{held_out}"


async def ask_learnt(console: Console, client: AsyncClient, learnt: Learnt) -> float:
    """Ask the new adapter by name; milliseconds from its publication to its first token."""
    answer, first_ms = Answer(), None
    chunks = client.generate(
        LEARNT, answer=answer, chat=[user(PROMPT)], sampling=GREEDY, stopping=STOPPING
    )
    async with aclosing(chunks):
        async for _ in chunks:
            first_ms = first_ms or time.time() * 1000
    check_digest(LEARNT, answer, learnt.digest)
    console.print(f"  {LEARNT}: {answer.text}", markup=False, soft_wrap=True)
    if first_ms is None:
        raise StepFailed(f"{LEARNT} answered nothing")
    return first_ms - learnt.published_ms
