"""The engine process as a supervisor starts it: a child that a front talks to."""

import asyncio
import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from weft.server.channel import (
    BUILD,
    EngineMessage,
    Finished,
    FrontSocket,
    Hello,
    Sampling,
    Stats,
    Submit,
    Tokens,
    Welcome,
)
from weft.server.config import Address, DataDir, EngineConfig, FrontConfig, ModelConfig, ServeConfig
from weft.server.engine import process


@pytest.fixture
def config(tiny_llama: Path, tmp_path: Path) -> ServeConfig:
    data = DataDir(tmp_path)
    data.run.mkdir()
    data.cache.mkdir()
    return ServeConfig(
        model=ModelConfig(str(tiny_llama), "tiny", "cpu", "float32"),
        data=data,
        engine=EngineConfig(kv_bytes=1_000_000, arena_bytes=1_000_000),
        front=FrontConfig(Address("localhost", 0)),
        metrics=Address("localhost", 0),
    )


@pytest.fixture
def engine(config: ServeConfig) -> Iterator[SpawnProcess]:
    child = multiprocessing.get_context("spawn").Process(target=process.main, args=(config,))
    child.start()
    yield child
    child.kill()
    child.join()


async def receive_until(socket: FrontSocket, kind: type[EngineMessage]) -> list[EngineMessage]:
    heard: list[EngineMessage] = []
    async with asyncio.timeout(60):
        while not heard or not isinstance(heard[-1], kind):
            heard.append(await socket.receive())
    return heard


async def test_front_gets_its_tokens_and_figures_and_sigterm_ends_it(
    config: ServeConfig, engine: SpawnProcess
) -> None:
    socket = FrontSocket(config.data.socket("engine"))
    await socket.send(Hello(BUILD))
    [welcome] = await receive_until(socket, Welcome)
    assert isinstance(welcome, Welcome)
    assert welcome.max_context == 512
    await socket.send(
        Submit(
            stream=1,
            digest=None,
            tokens=[5, 6, 7],
            sampling=Sampling(),
            max_tokens=3,
            stop_tokens=frozenset(),
            salt="",
        )
    )
    heard = await receive_until(socket, Finished)
    assert sum(len(message.tokens) for message in heard if isinstance(message, Tokens)) == 3
    assert isinstance((await receive_until(socket, Stats))[-1], Stats)
    socket.close()
    assert engine.pid is not None
    os.kill(engine.pid, 15)
    await asyncio.to_thread(engine.join, 30)
    assert engine.exitcode == 0
