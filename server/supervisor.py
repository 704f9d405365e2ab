"""`weft serve`: start the processes in order, restart what dies, stop in reverse order.

redis (if embedded) → engine → front → worker. The supervisor itself needs neither torch nor a
GPU, owns the data directory's lock and the metrics port, and leaves the work to the others.
"""

import asyncio
import fcntl
import functools
import logging
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import SpawnProcess
from pathlib import Path

import redis
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from . import processes
from .config import DataDir, ServeConfig
from .embedded_redis import redis_command
from .errors import StartFailed
from .ungrouped import ungrouped

logger = logging.getLogger(__name__)

FAILURES = 5
FAILURE_WINDOW_S = 60.0
MAX_DELAY_S = 30.0
REDIS_START_S = 60.0


@dataclass(slots=True)
class Part:
    """One supervised process: how to start it, and when it died lately."""

    name: str
    start: Callable[[], SpawnProcess]
    first_delay_s: float = 1.0
    stop_grace_s: float = 60.0
    on_death: Callable[[int], None] = lambda pid: None
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=FAILURES))
    process: SpawnProcess | None = None

    def delay_s(self) -> float:
        """How long to wait before the next start: 1, 2, 4 … 30 s while it keeps dying."""
        recent = [at for at in self.deaths if time.monotonic() - at < FAILURE_WINDOW_S]
        if len(recent) == FAILURES:
            raise StartFailed(
                f"{self.name} died {FAILURES} times within {FAILURE_WINDOW_S:.0f} s", part=self.name
            )
        return min(self.first_delay_s * 2.0 ** (len(recent) - 1), MAX_DELAY_S)

    async def run(self) -> None:
        """Keep the process alive until cancelled; raise StartFailed when it dies too often."""
        while True:
            self.process = self.start()
            logger.info("started %s, process %d", self.name, self.process.pid)
            await exited(self.process)
            assert self.process.pid is not None
            self.on_death(self.process.pid)
            code = self.process.exitcode
            if code == processes.CANNOT_START:
                raise StartFailed(f"{self.name} cannot start as configured", part=self.name)
            self.deaths.append(time.monotonic())
            delay_s = self.delay_s()
            logger.warning("%s ended with %s, starts again in %.0f s", self.name, code, delay_s)
            await asyncio.sleep(delay_s)

    async def stop(self) -> None:
        """Ask the process to end, and kill it when the grace is over."""
        if self.process is None or not self.process.is_alive():
            return
        self.process.terminate()
        try:
            async with asyncio.timeout(self.stop_grace_s):
                await exited(self.process)
        except TimeoutError:
            logger.warning("%s did not stop within %.0f s: killed", self.name, self.stop_grace_s)
            self.process.kill()
            await exited(self.process)


async def exited(process: SpawnProcess) -> None:
    """Return when the process has ended."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    sentinel = os.dup(process.sentinel)  # a reader belongs to one descriptor, and waits overlap
    loop.add_reader(sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(sentinel)
        os.close(sentinel)
    process.join()


def serve(config: ServeConfig) -> None:
    """Run until SIGTERM or SIGINT; raise StartFailed when a part cannot be kept alive."""
    for path in (config.data.run, config.data.cache, config.data.checkpoints, config.data.metrics):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(config.data):
        asyncio.run(_serve(config))


async def _serve(config: ServeConfig) -> None:
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stop.set)
    _serve_metrics(config)
    running: list[tuple[Part, asyncio.Task[None]]] = []
    try:
        with ungrouped(StartFailed):
            async with asyncio.TaskGroup() as group:
                if config.redis_url is None:
                    command, redis_url = redis_command(config.data)
                    part = Part("redis", _starter(processes.run_redis, command))
                    running.append((part, group.create_task(part.run())))
                    await _redis_answers(redis_url)
                else:
                    redis_url = config.redis_url
                running += [
                    (part, group.create_task(part.run())) for part in _parts(config, redis_url)
                ]
                await stop.wait()
                logger.info("stopping")
                await _stop(running)
    finally:
        await _stop(running)


async def _stop(running: list[tuple[Part, asyncio.Task[None]]]) -> None:
    while running:
        part, task = running.pop()
        task.cancel()
        await part.stop()


def _parts(config: ServeConfig, redis_url: str) -> Iterator[Part]:
    registry = config.registry(redis_url)
    forget = functools.partial(mark_process_dead, path=str(config.data.metrics))
    for name, start in (
        ("engine", _starter(processes.run_engine, config)),
        ("front", _starter(processes.run_front, config, registry)),
        ("worker", _starter(processes.run_worker, config, registry)),
    ):
        if name != "worker" or config.worker:
            yield Part(name, start, on_death=forget)


def _starter(target: Callable[..., None], *arguments: object) -> Callable[[], SpawnProcess]:
    def start() -> SpawnProcess:
        process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
        process.start()
        return process

    return start


async def _redis_answers(url: str) -> None:
    """Wait until the embedded server has read its append-only file."""
    deadline = time.monotonic() + REDIS_START_S
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
            except redis.RedisError as error:
                if time.monotonic() > deadline:
                    raise StartFailed(
                        f"no answer from redis within {REDIS_START_S:.0f} s"
                    ) from error
                await asyncio.sleep(0.05)
            else:
                return


def _serve_metrics(config: ServeConfig) -> None:
    """Serve what the other processes count, on an address of its own."""
    for file in config.data.metrics.iterdir():
        file.unlink()
    collectors = CollectorRegistry()
    MultiProcessCollector(collectors, str(config.data.metrics))
    try:
        start_http_server(config.metrics.port, config.metrics.host, collectors)
    except OSError as error:
        raise StartFailed(f"metrics address {config.metrics}: {error.strerror}") from error


@contextmanager
def locked(data: DataDir) -> Iterator[None]:
    """Hold the data directory; raise StartFailed when another server has it."""
    with Path(data.run / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StartFailed(f"data directory {data.root} is in use by another server") from error
        yield
