"""A real `weft serve` with all its processes, for the tests that need the whole of it."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import redis

from weft.server.child import Server, run_server
from weft.server.config import DataDir
from weft.server.embedded_redis import redis_command

STOP_S = 60.0


@contextmanager
def running_server(
    model: Path, data_dir: Path, *flags: str, await_serving: bool = True
) -> Iterator[Server]:
    """Run `weft serve` in float32 on one core; it must end well when it is asked to."""
    small = str(64 * 1024**2)
    sizes = ("--dtype", "float32", "--kv-bytes", small, "--arena-bytes", small)
    one_thread = {"OMP_NUM_THREADS": "1"}  # other tests have the other cores
    with run_server(
        model,
        data_dir,
        *("--served-name", "base", *sizes, *flags),
        variables=one_thread,
        await_serving=await_serving,
    ) as server:
        yield server
    assert server.process.returncode == 0, server.log.read_text()[-4000:]


class RedisServer:
    """A redis-server of its own, which can stop and come back with its data."""

    def __init__(self, folder: Path) -> None:
        self._command, self.url = redis_command(DataDir(folder))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_for_redis(self.url)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(STOP_S)
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def wait_for_redis(url: str, *, timeout_s: float = 20) -> None:
    """Return when the server answers a PING; raise TimeoutError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
            except redis.RedisError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no redis-server at {url} within {timeout_s} s") from None
                time.sleep(0.02)
            else:
                return
