"""Processes that die, a Redis that goes away, clients that leave: what stays, and what returns."""

import asyncio
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import grpc
import grpc.aio
import pytest

from tests.running import running_server
from tests.tiny import save_tiny_adapter
from weft.client import AsyncClient, WeftError
from weft.client.errors import weft_errors
from weft.protos.v1 import adapters_pb2, adapters_pb2_grpc
from weft.server.child import Server

from .adapters import publish
from .generating import LONG, PROMPT, Stream, assert_same, greedy, streaming, token_ids
from .metrics import Figures, read_metrics, wait_for_metrics

ADAPTERS = "weft.v1.AdapterService"
INFERENCE = "weft.v1.InferenceService"


@dataclass(frozen=True, slots=True)
class Place:
    """A server with two adapters, `kept` and `other`."""

    server: Server

    async def until_serving(self, *, service: str = "", serving: bool = True) -> None:
        await asyncio.to_thread(
            partial(self.server.wait_until_serving, service=service, serving=serving)
        )

    def pids(self) -> dict[str, int]:
        return {part: self.server.starts_of(part)[-1] for part in ("engine", "front")}


@pytest.fixture(scope="module")
def place(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server that these tests harm; its Redis is the embedded one."""
    folder = tmp_path_factory.mktemp("harmed")
    adapters = {
        name: save_tiny_adapter(base, folder / name, seed=seed)
        for seed, name in enumerate(("kept", "other"), 201)
    }
    with running_server(base, folder / "data") as server:
        publish(server.address, adapters)
        yield Place(server)


async def test_an_engine_that_is_killed_comes_back(place: Place) -> None:
    async with AsyncClient(place.server.address) as weft:
        before = await greedy(weft, "kept", PROMPT)
        async with streaming(weft, "kept", LONG) as stream:
            os.kill(place.server.starts_of("engine")[-1], signal.SIGKILL)
            with pytest.raises(WeftError) as failed:
                await stream.finish()
        assert failed.value.code is grpc.StatusCode.UNAVAILABLE
        assert failed.value.reason == "ENGINE_UNAVAILABLE"
        assert failed.value.retry_after_s

        await place.until_serving(serving=False)
        await place.until_serving(service=INFERENCE, serving=False)
        await place.until_serving(service=ADAPTERS)
        assert len(await weft.adapters()) == 2
        with pytest.raises(WeftError) as refused:
            await greedy(weft, "kept", PROMPT)
        assert refused.value.reason == "ENGINE_UNAVAILABLE"

        await place.until_serving()
        assert_same(await greedy(weft, "kept", PROMPT), before, "after the engine's return")


async def test_a_front_that_is_killed_comes_back_and_leaves_nothing_running(place: Place) -> None:
    engine = place.server.starts_of("engine")[-1]
    async with AsyncClient(place.server.address) as weft:
        before = await greedy(weft, "kept", PROMPT)
        async with streaming(weft, "kept", LONG) as stream:
            os.kill(place.server.starts_of("front")[-1], signal.SIGKILL)
            with pytest.raises(WeftError) as failed:
                await stream.finish()
        assert failed.value.code is grpc.StatusCode.UNAVAILABLE
    await place.until_serving()
    async with AsyncClient(place.server.address) as weft:
        assert_same(await greedy(weft, "kept", PROMPT), before, "after the front's return")
    await wait_for_metrics(place.server.metrics, holds_nothing)
    assert place.server.starts_of("engine")[-1] == engine


def holds_nothing(found: Figures) -> bool:
    """Whether the newest figures show no sequence and no block in use."""
    return found.get("weft_running_sequences") == 0 and found['weft_kv_blocks{state="used"}'] == 0


def steps(found: Figures) -> float:
    return sum(n for name, n in found.items() if name.startswith("weft_step_seconds_count"))


def ended(found: Figures, reason: str) -> float:
    return sum(
        n for name, n in found.items() if "weft_requests_total" in name and f'"{reason}"' in name
    )


async def test_a_client_that_leaves_frees_its_blocks_and_slot(place: Place) -> None:
    pids, before = place.pids(), read_metrics(place.server.metrics)
    async with AsyncClient(place.server.address) as weft:
        async with streaming(weft, "kept", LONG):
            pass

        def freed(found: Figures) -> bool:
            return (
                ended(found, "CANCELLED") > ended(before, "CANCELLED")
                and steps(found) > steps(before)
                and holds_nothing(found)
            )

        after = await wait_for_metrics(place.server.metrics, freed)
        assert steps(after) - steps(before) < LONG
        await greedy(weft, "base", PROMPT)
    assert place.pids() == pids


async def test_a_deadline_that_passes_frees_blocks_and_slots(place: Place) -> None:
    pids, before = place.pids(), read_metrics(place.server.metrics)
    async with AsyncClient(place.server.address, timeout_s=0.5) as weft:
        streams = [Stream(weft, "kept", LONG) for _ in range(32)]
        for stream in streams:
            with pytest.raises(WeftError) as failed:
                await stream.finish()
            assert failed.value.code is grpc.StatusCode.DEADLINE_EXCEEDED

    def freed(found: Figures) -> bool:
        return steps(found) > steps(before) and holds_nothing(found)

    after = await wait_for_metrics(place.server.metrics, freed)
    assert steps(after) - steps(before) < LONG
    assert place.pids() == pids


async def test_resident_adapters_serve_while_the_embedded_redis_hangs_and_dies(
    place: Place,
) -> None:
    pids = place.pids() | {"worker": place.server.starts_of("worker")[-1]}
    redis = place.server.starts_of("redis")[-1]
    async with AsyncClient(place.server.address) as weft:
        before = await greedy(weft, "kept", PROMPT)
        os.kill(redis, signal.SIGSTOP)
        try:
            assert_same(await greedy(weft, "kept", PROMPT), before, "without Redis")
            failed = await refusal_of_alias(place.server.address)
            assert failed.code is grpc.StatusCode.UNAVAILABLE
            assert failed.reason == "REGISTRY_UNAVAILABLE"
            await place.until_serving(service=ADAPTERS, serving=False)
            await place.until_serving(service=INFERENCE)
            assert_same(await greedy(weft, "kept", PROMPT), before, "long without Redis")
        finally:
            os.kill(redis, signal.SIGKILL)

        await place.until_serving(service=ADAPTERS)
        await weft.set_alias("kept", "prod", 1)
        assert_same(await greedy(weft, "kept:prod", PROMPT), before, "after Redis's return")
        assert token_ids(await greedy(weft, "other", PROMPT)) != token_ids(before)
    assert place.pids() | {"worker": place.server.starts_of("worker")[-1]} == pids


async def refusal_of_alias(address: str) -> WeftError:
    """Move an alias as a client does that does not try again."""
    async with grpc.aio.insecure_channel(address, options=[("grpc.enable_retries", 0)]) as channel:
        stub = adapters_pb2_grpc.AdapterServiceStub(channel)
        request = adapters_pb2.SetAliasRequest(
            name="adapters/kept/aliases/prod", version=1, request_id=str(uuid4())
        )
        with pytest.raises(WeftError) as refused, weft_errors():
            await stub.SetAlias(request)
    return refused.value
