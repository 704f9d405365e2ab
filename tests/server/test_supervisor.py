"""Supervision: processes are restarted with back-off, given up when hopeless, and stopped."""

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from weft.server.config import DataDir
from weft.server.errors import StartFailed
from weft.server.processes import CANNOT_START
from weft.server.supervisor import FAILURES, Part, exited, locked

# Spawned processes import what they run by name, so these run what the standard library has.
EXIT_3 = (os._exit, 3)
LIVE = (signal.pause,)
DEAF = """
import signal, pathlib
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path("{ready}").touch()
while True:
    signal.pause()
"""


def starter(target: Callable[..., object], *arguments: object) -> Callable[[], SpawnProcess]:
    def start() -> SpawnProcess:
        process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
        process.start()
        return process

    return start


async def started(part: Part, *, other_than: int | None = None) -> int:
    async with asyncio.timeout(20):
        while part.process is None or part.process.pid in (None, other_than):
            await asyncio.sleep(0.01)
        assert part.process.pid is not None
        return part.process.pid


async def test_a_part_that_dies_is_started_again() -> None:
    part = Part("live", starter(*LIVE), first_delay_s=0.01)
    running = asyncio.create_task(part.run())
    first = await started(part)
    os.kill(first, signal.SIGKILL)
    assert await started(part, other_than=first) != first
    running.cancel()
    await part.stop()
    assert part.process is not None
    assert part.process.exitcode == -signal.SIGTERM


async def test_a_part_that_keeps_dying_is_given_up() -> None:
    part = Part("die", starter(*EXIT_3), first_delay_s=0.01)
    with pytest.raises(StartFailed, match=f"die died {FAILURES} times"):
        await part.run()


async def test_a_part_that_cannot_start_is_not_tried_again() -> None:
    part = Part("misled", starter(os._exit, CANNOT_START), first_delay_s=3600)
    async with asyncio.timeout(20):
        with pytest.raises(StartFailed, match="misled cannot start"):
            await part.run()


def test_delay_doubles_up_to_its_limit_and_forgets_old_deaths() -> None:
    part = Part("part", starter(*EXIT_3))
    delays = []
    for _ in range(FAILURES - 1):
        part.deaths.append(time.monotonic())
        delays.append(part.delay_s())
    assert delays == [1, 2, 4, 8]
    part.deaths.clear()
    part.deaths.extend([time.monotonic() - 3600] * 4 + [time.monotonic()])
    assert part.delay_s() == 1


async def test_a_part_that_ignores_the_request_to_stop_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    part = Part("deaf", starter(exec, DEAF.format(ready=ready)), stop_grace_s=0.1)
    part.process = part.start()
    async with asyncio.timeout(20):
        while not ready.exists():
            await asyncio.sleep(0.01)
    await part.stop()
    assert part.process.exitcode == -signal.SIGKILL


async def test_exited_returns_for_a_process_that_ended_before() -> None:
    process = starter(*EXIT_3)()
    await exited(process)
    await exited(process)
    assert process.exitcode == 3


def test_a_data_directory_has_one_server(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    data.run.mkdir()
    with locked(data), pytest.raises(StartFailed, match=str(tmp_path)), locked(data):
        pass
    with locked(data):
        pass
