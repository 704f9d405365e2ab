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

import grpc
from grpc_health.v1 import health_pb2

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

    def wait_until_serving(self, *, timeout_s: float = START_S, service: str = "") -> None:
        wait_until_serving(self.address, service=service, timeout_s=timeout_s, log=self.log)


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
    with (
        log.open("ab") as file,
        subprocess.Popen(command, stderr=file, stdout=file, start_new_session=True) as process,
    ):
        server = Server(address, metrics, data_dir, process, log)
        try:
            if await_serving:
                server.wait_until_serving()
            yield server
        finally:
            stop(process)
    assert process.returncode == 0, log.read_text()[-4000:]


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the server to end; when it outlives the grace, kill it and all its children."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_serving(address: str, *, service: str, timeout_s: float, log: Path) -> None:
    """Return when the health service says SERVING; raise TimeoutError with the log's end."""
    deadline = time.monotonic() + timeout_s
    with grpc.insecure_channel(address) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        while time.monotonic() < deadline:
            try:
                answer = check(health_pb2.HealthCheckRequest(service=service), timeout=2)
            except grpc.RpcError:
                pass
            else:
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return
            time.sleep(0.1)
    raise TimeoutError(f"not serving after {timeout_s:.0f} s: {log.read_text()[-4000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
