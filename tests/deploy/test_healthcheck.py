"""The health check, run as the image runs it, against real health services."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import HealthServicer

from .files import DEPLOY

STATUS = health_pb2.HealthCheckResponse


def exit_status(address: str) -> int:
    command = [sys.executable, str(DEPLOY / "healthcheck.py"), address]
    return subprocess.run(command, capture_output=True, timeout=30).returncode


@pytest.fixture
def health() -> Iterator[tuple[HealthServicer, str]]:
    """A health service and its address."""
    servicer = HealthServicer()
    server = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    yield servicer, f"localhost:{port}"
    server.stop(None).wait()


def test_a_server_that_serves_is_healthy(health: tuple[HealthServicer, str]) -> None:
    servicer, address = health
    servicer.set("", STATUS.SERVING)
    assert exit_status(address) == 0


def test_a_server_without_its_engine_is_not(health: tuple[HealthServicer, str]) -> None:
    servicer, address = health
    servicer.set("", STATUS.NOT_SERVING)
    assert exit_status(address) == 1


def test_nobody_at_the_address_is_not_healthy() -> None:
    assert exit_status("localhost:1") == 1
