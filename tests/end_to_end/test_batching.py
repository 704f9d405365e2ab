"""An answer does not depend on what else is in the batch, on arrival, or on chunked prefill."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import pytest

from tests.running import running_server
from weft.client import Answer, AsyncClient, Client, Sampling
from weft.client.generation import PromptOptions
from weft.server.child import Server

from .adapters import Family, publish
from .generating import assert_same, digest, exactly, token_ids
from .metrics import Figures, wait_for_metrics

NUM_TOKENS = 12
KV_BYTES = 40 * 8192  # 40 blocks of 16 tokens
ARENA_BYTES = 640 * 1024  # the largest adapter alone takes 512 KiB


@dataclass(frozen=True, slots=True)
class Case:
    """One request; its noise is its own."""

    model: str
    prompt: tuple[int, ...]
    sampling: Sampling

    def options(self) -> PromptOptions:
        return PromptOptions(
            tokens=self.prompt,
            sampling=self.sampling,
            stopping=exactly(NUM_TOKENS),
            logprobs=0,
            flush_ms=0,
        )

    def __str__(self) -> str:
        return f"{self.model}, prompt of {len(self.prompt)}, {self.sampling}".replace("\n", " ")


def prompt(length: int, *, start: int) -> tuple[int, ...]:
    return tuple((start + 11 * i) % 300 + 4 for i in range(length))


@pytest.fixture(scope="module")
def cases(llama: Family) -> list[Case]:
    """Greedy and drawn requests of the base and of every adapter, short and long."""
    models = ["base", *llama.adapters, "base"]
    samplings = (
        Sampling(temperature=0),
        Sampling(temperature=1, seed=7),
        Sampling(temperature=0.8, top_k=40, top_p=0.95, min_p=0.01, seed=8),
    )
    return [
        Case(model, prompt(length, start=5 * i), samplings[(i + j) % len(samplings)])
        for i, model in enumerate(models)
        for j, length in enumerate((3, 120))
    ]


@pytest.fixture(scope="module")
def alone(llama: Family, cases: list[Case]) -> list[Answer]:
    """What every request gets when nothing else runs."""
    with Client(llama.server.address) as weft:
        return [weft.complete(case.model, **case.options()) for case in cases]


@pytest.fixture(scope="module")
def narrow(llama: Family, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the same base that has room for little at a time."""
    flags = {
        "--max-batch-tokens": 24,
        "--max-context": 160,
        "--kv-bytes": KV_BYTES,
        "--arena-bytes": ARENA_BYTES,
    }
    options = [str(word) for option in flags.items() for word in option]
    with running_server(
        llama.base, tmp_path_factory.mktemp("narrow"), "--no-worker", *options
    ) as server:
        publish(server.address, llama.adapters)
        yield server


async def run_together(address: str, cases: Sequence[Case]) -> list[Answer]:
    async with AsyncClient(address) as weft:
        return await asyncio.gather(
            *(weft.complete(case.model, **case.options()) for case in cases)
        )


async def run_in_turn(address: str, cases: Sequence[Case]) -> list[Answer]:
    """Start each request at the first token of the one before."""
    answers = [Answer() for _ in cases]
    begun = [asyncio.Event() for _ in cases]

    async def run(weft: AsyncClient, i: int) -> None:
        if i:
            await begun[i - 1].wait()
        stream = weft.generate(cases[i].model, answer=answers[i], **cases[i].options())
        async with aclosing(stream):
            async for _ in stream:
                begun[i].set()

    async with AsyncClient(address) as weft, asyncio.TaskGroup() as group:
        for i in range(len(cases)):
            group.create_task(run(weft, i))
    return answers


def assert_all_same(
    answers: Sequence[Answer], wanted: Sequence[Answer], cases: Sequence[Case]
) -> None:
    for answer, other, case in zip(answers, wanted, cases, strict=True):
        assert_same(answer, other, str(case))


async def test_an_answer_is_the_same_in_a_crowd_as_alone(
    llama: Family, cases: list[Case], alone: list[Answer]
) -> None:
    assert_all_same(await run_together(llama.server.address, cases), alone, cases)


async def test_the_order_of_arrival_changes_no_answer(
    llama: Family, cases: list[Case], alone: list[Answer]
) -> None:
    backwards = await run_together(llama.server.address, cases[::-1])
    assert_all_same(backwards[::-1], alone, cases)
    assert_all_same(await run_in_turn(llama.server.address, cases), alone, cases)


async def test_little_room_changes_no_answer(
    narrow: Server, cases: list[Case], alone: list[Answer]
) -> None:
    """Prompts in chunks of few tokens, waiting for blocks, and adapters that take turns."""
    assert_all_same(await run_together(narrow.address, cases), alone, cases)
    assert_all_same(await run_in_turn(narrow.address, cases), alone, cases)

    def adapters_took_turns(found: Figures) -> bool:
        evictions = found.get('weft_adapter_evictions_total{tier="gpu"}', 0)
        return evictions > 0 and steps_up_to(found, "+Inf") > 0

    figures = await wait_for_metrics(narrow.metrics, adapters_took_turns)
    assert figures['weft_tier_bytes{kind="total",tier="gpu"}'] == ARENA_BYTES
    assert steps_up_to(figures, "32.0") == steps_up_to(figures, "+Inf")


def steps_up_to(found: Figures, tokens: str) -> float:
    """Steps of every kind with at most so many tokens, which is a bound of a bucket."""
    wanted = ("weft_step_tokens_bucket", f'le="{tokens}"')
    return sum(n for name, n in found.items() if all(part in name for part in wanted))


async def test_a_base_row_beside_adapters_is_the_bases_own(
    llama: Family, cases: list[Case]
) -> None:
    same = [replace(cases[1], model=model) for model in ("base", *llama.adapters, "base")]
    first, *adapted, last = await run_together(llama.server.address, same)
    assert_same(first, last, "base")
    assert all(digest(answer) != digest(first) for answer in adapted)
    assert all(token_ids(answer) != token_ids(first) for answer in adapted)


async def test_a_seed_decides_what_is_drawn(llama: Family) -> None:
    drawn = Case("r8-all", prompt(30, start=1), Sampling(temperature=1.5))
    free, other = await run_together(llama.server.address, [drawn, drawn])
    assert free.resolved is not None
    seeded = replace(drawn, sampling=Sampling(temperature=1.5, seed=free.resolved.seed))
    [again] = await run_together(llama.server.address, [seeded])
    assert_same(again, free, "the seed that the server drew")
    assert token_ids(other) != token_ids(free)
