"""A server of the demo's own: `weft serve` as a child process, in a folder, on free ports."""

import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from .errors import ServerDied

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 20.0
WEFT = str(Path(sysconfig.get_path("scripts")) / "weft")


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: where it answers gRPC, and where its metrics are."""

    address: str
    metrics: str


@contextmanager
def serve(base: Path, folder: Path) -> Iterator[Served]:
    """Run a server for `base` with its data in `folder`, and yield it once it is healthy.

    Raises:
        ServerDied: It ended before it was healthy, or was not healthy within START_TIMEOUT_S.
    """
    served = Served(*(f"127.0.0.1:{port}" for port in free_ports(2)))
    command = [WEFT, "serve", str(base), "--data-dir", str(folder / "data")]
    command += ["--listen", served.address, "--metrics", served.metrics]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until_healthy(process, served.address, log)
        yield served
    finally:
        stop(process)


def free_ports(count: int) -> list[int]:
    """Find ports of the loopback interface that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def wait_until_healthy(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Ask for health until the answer is SERVING."""
    deadline = time.monotonic() + START_TIMEOUT_S
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while not is_serving(health):
            if process.poll() is not None:
                raise ServerDied(f"the server ended with {process.returncode}:\n{last_lines(log)}")
            if time.monotonic() > deadline:
                raise ServerDied(f"no health within {START_TIMEOUT_S:.0f} s:\n{last_lines(log)}")
            time.sleep(0.1)


def is_serving(health: health_pb2_grpc.HealthStub) -> bool:
    """Ask once; a server that is not there yet is not serving."""
    try:
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=2)  # type: ignore[attr-defined]
    except grpc.RpcError as err:
        if err.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            return False
        raise
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def last_lines(log: Path, *, count: int = 15) -> str:
    """Read the end of the server's log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:])


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to end, and end it if it does not."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
