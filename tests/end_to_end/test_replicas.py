"""Two servers on one Redis: what one publishes the other serves, also after Redis was away.

The last test ends one of them.
"""

import asyncio
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from tests.running import RedisServer, running_server
from tests.tiny import save_tiny_adapter
from weft.client import Answer, AsyncClient, WeftError
from weft.server.child import Server

from .generating import LONG, NUM_TOKENS, PROMPT, Stream, assert_same, digest, greedy, token_ids
from .reference import Reference

SEEN_S = 5.0


@dataclass(frozen=True, slots=True)
class Pair:
    """Two servers of one base, their Redis, and adapters that nobody has published."""

    redis: RedisServer
    one: Server
    other: Server
    base: Path
    adapters: dict[str, Path]

    def pids(self) -> list[int]:
        return [
            s.starts_of(part)[-1] for s in (self.one, self.other) for part in ("engine", "front")
        ]


@pytest.fixture(scope="module")
def pair(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    adapters = {
        name: save_tiny_adapter(base, folder / name, seed=seed)
        for seed, name in enumerate(("first", "second", "kept", "cold", "late"), 301)
    }
    with RedisServer(folder / "redis") as redis:
        flags = ("--no-worker", "--redis", redis.url, "--store", "redis")
        with (
            running_server(base, folder / "one", *flags, await_serving=False) as one,
            running_server(base, folder / "other", *flags) as other,
        ):
            one.wait_until_serving()
            yield Pair(redis, one, other, base, adapters)


async def when_seen(weft: AsyncClient, model: str, wanted: str) -> Answer:
    """Ask until the reference means `wanted`; a client that knows no event has to."""
    async with asyncio.timeout(SEEN_S):
        while True:
            try:
                answer = await greedy(weft, model, PROMPT)
            except WeftError as error:
                assert error.reason == "MODEL_NOT_FOUND"  # noqa: PT017  (until it is seen)
            else:
                if digest(answer) == wanted:
                    return answer


def reference(pair: Pair, adapter: str) -> list[int]:
    return Reference(pair.base, pair.adapters[adapter]).generate(PROMPT, NUM_TOKENS).tokens


async def test_what_one_publishes_the_other_serves(pair: Pair) -> None:
    async with AsyncClient(pair.one.address) as one, AsyncClient(pair.other.address) as other:
        for adapter in ("first", "second"):
            version = await one.publish("shared-name", pair.adapters[adapter], assert_base=True)
            answer = await when_seen(other, "shared-name", version.digest)
            assert token_ids(answer) == reference(pair, adapter)


async def test_an_alias_that_moves_on_one_moves_on_the_other(pair: Pair) -> None:
    async with AsyncClient(pair.one.address) as one, AsyncClient(pair.other.address) as other:
        versions = [
            await other.publish("moving", pair.adapters[name], assert_base=True)
            for name in ("first", "second")
        ]
        for number in (1, 2):
            await one.set_alias("moving", "prod", number)
            await when_seen(other, "moving:prod", versions[number - 1].digest)
        await other.rollback("moving", "prod")
        await when_seen(one, "moving:prod", versions[0].digest)


async def test_resident_adapters_serve_without_redis_and_all_recovers(pair: Pair) -> None:
    pids = pair.pids()
    async with AsyncClient(pair.one.address) as one, AsyncClient(pair.other.address) as other:
        kept = await other.publish("kept", pair.adapters["kept"], assert_base=True)
        cold = await one.publish("cold", pair.adapters["cold"], assert_base=True)
        before = await when_seen(other, "kept", kept.digest)
        while "cold@1" not in {model.model for model in await other.models()}:
            await asyncio.sleep(0.05)

        pair.redis.stop()
        assert_same(await greedy(other, "kept", PROMPT), before, "without Redis")
        for call in (
            other.publish("late", pair.adapters["late"], assert_base=True),
            other.set_alias("kept", "prod", 1),
            other.jobs(),
            greedy(other, "cold", PROMPT),
        ):
            with pytest.raises(WeftError) as failed:
                await call
            assert failed.value.code is grpc.StatusCode.UNAVAILABLE
            assert failed.value.reason in ("REGISTRY_UNAVAILABLE", "STORE_UNAVAILABLE")
        assert_same(await greedy(other, "kept", PROMPT), before, "still without Redis")

        pair.redis.start()
        late = await other.publish("late", pair.adapters["late"], assert_base=True)
        assert digest(await greedy(other, "late", PROMPT)) == late.digest
        answer = await greedy(other, "cold", PROMPT)
        assert digest(answer) == cold.digest
        assert token_ids(answer) == reference(pair, "cold")
        await when_seen(one, "late", late.digest)
    assert pair.pids() == pids


async def test_a_server_that_is_asked_to_end_finishes_its_streams(pair: Pair) -> None:
    async with AsyncClient(pair.other.address) as weft:
        streams = [Stream(weft, "base", LONG) for _ in range(3)]
        for stream in streams:
            await stream.begun()
        pair.other.process.send_signal(signal.SIGTERM)
        answers = [await stream.finish() for stream in streams]
    assert [len(token_ids(answer)) for answer in answers] == [LONG] * len(streams)
    assert await asyncio.to_thread(pair.other.process.wait, 60) == 0
    while_draining = pair.other.log.read_text().partition("draining")[2]
    assert while_draining.count(f"generated={LONG}") == len(streams)
    async with AsyncClient(pair.one.address) as weft:
        assert token_ids(await greedy(weft, "base", PROMPT))
