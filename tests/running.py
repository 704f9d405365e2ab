"""A real `weft serve` with all its processes, for the tests that need the whole of it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import grpc
import redis
from grpc_health.v1 import health_pb2

from weft.server.config import DataDir
from weft.server.embedded_redis import redis_command

START_S = 100.0
STOP_S = 60.0
WEFT = str(Path(sys.executable).parent / "weft")


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; `log` is what all its processes write to stderr."""

    address: str
    metrics: str
    data_dir: Path
    process: subprocess.Popen[bytes]
    log: Path

    def pid_of(self, part: str) -> int:
        """The newest process of a part, from the supervisor's log lines."""
        lines = [line for line in self.log.read_text().splitlines() if f"started {part}," in line]
        return int(lines[-1].rpartition(" ")[2])

    def wait_until_serving(
        self, *, timeout_s: float = START_S, service: str = "", serving: bool = True
    ) -> None:
        """Return when the health service says SERVING, or NOT_SERVING if that is awaited.

        Raises:
            TimeoutError: It does not; the message has the log's end.
        """
        wanted = "SERVING" if serving else "NOT_SERVING"
        deadline = time.monotonic() + timeout_s
        with grpc.insecure_channel(self.address) as channel:
            while ask_health(channel, service) != wanted:
                if time.monotonic() > deadline:
                    log = self.log.read_text()[-4000:]
                    raise TimeoutError(f"{service} not {wanted} in {timeout_s:.0f} s: {log}")
                time.sleep(0.1)


@contextmanager
def running_server(
    model: Path, data_dir: Path, *flags: str, await_serving: bool = True
) -> Iterator[Server]:
    """Run `weft serve` in float32 on free ports; it must end well when it is asked to."""
    address, metrics = (f"127.0.0.1:{free_port()}" for _ in range(2))
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "log"
    command = [
        WEFT,
        "serve",
        str(model),
        "--listen",
        address,
        "--metrics",
        metrics,
        "--data-dir",
        str(data_dir),
        "--served-name",
        "base",
        "--dtype",
        "float32",
        "--kv-bytes",
        str(64 * 1024**2),
        "--arena-bytes",
        str(64 * 1024**2),
        *flags,
    ]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}  # other tests have the other cores
    with (
        log.open("ab") as file,
        subprocess.Popen(
            command, env=one_thread, stderr=file, stdout=file, start_new_session=True
        ) as process,
    ):
        server = Server(address, metrics, data_dir, process, log)
        try:
            if await_serving:
                server.wait_until_serving()
            yield server
        finally:
            stop(process)
    assert process.returncode == 0, log.read_text()[-4000:]


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


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to end; when it outlives the grace, kill it and all its children."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask_health(channel: grpc.Channel, service: str) -> str | None:
    """Name what the health service says of a service; None if nobody answers."""
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    try:
        answer = check(health_pb2.HealthCheckRequest(service=service), timeout=2)
    except grpc.RpcError:
        return None
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
