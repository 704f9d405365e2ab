"""`weft serve` as somebody's child process: on free ports, its output in a log."""

import os
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import grpc
from grpc_health.v1 import health_pb2

from .errors import StartFailed

START_S = 600.0
STOP_S = 60.0
WEFT = str(Path(sysconfig.get_path("scripts")) / "weft")
LAST_LINES = 15


@dataclass(frozen=True, slots=True)
class Server:
    """A running server; `log`, in its data directory, is what all its processes write."""

    address: str
    metrics: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def data_dir(self) -> Path:
        return self.log.parent

    def starts_of(self, part: str) -> list[int]:
        """The processes that a part has had, in order, from the supervisor's lines."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [int(line.rpartition(" ")[2]) for line in lines if f"started {part}," in line]

    def wait_until_serving(self, *, service: str = "", serving: bool = True) -> None:
        """Return when the health service says SERVING, or NOT_SERVING if that is awaited.

        Raises:
            StartFailed: The server ended, or START_S passed; the message has the log's end.
        """
        wanted = "SERVING" if serving else "NOT_SERVING"
        deadline = time.monotonic() + START_S
        with grpc.insecure_channel(self.address) as channel:
            while ask_health(channel, service) != wanted:
                if self.process.poll() is not None:
                    self._fail(f"the server ended with {self.process.returncode}")
                if time.monotonic() > deadline:
                    self._fail(f"{service or 'the server'} is not {wanted} in {START_S:.0f} s")
                time.sleep(0.1)

    def _fail(self, reason: str) -> NoReturn:
        lines = self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        raise StartFailed("\n".join([f"{reason}:", *lines]))


@contextmanager
def run_server(
    model: Path,
    data_dir: Path,
    *flags: str,
    variables: Mapping[str, str] | None = None,
    await_serving: bool = True,
) -> Iterator[Server]:
    """Run `weft serve` in a process group that ends with the block, and yield it once it serves.

    Args:
        variables: Of the environment, beside those of this process.

    Raises:
        StartFailed: It does not come to serve.
    """
    address, metrics = (f"127.0.0.1:{port}" for port in free_ports(2))
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "server.log"
    command = [WEFT, "serve", str(model), "--data-dir", str(data_dir)]
    command += ["--listen", address, "--metrics", metrics, *flags]
    with (
        log.open("ab") as output,
        subprocess.Popen(
            command,
            env={**os.environ, **(variables or {})},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        server = Server(address, metrics, process, log)
        try:
            if await_serving:
                server.wait_until_serving()
            yield server
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to end; when it outlives the grace, kill it and all its children."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def free_ports(num: int) -> list[int]:
    """Find ports of the loopback interface that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(num)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


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
