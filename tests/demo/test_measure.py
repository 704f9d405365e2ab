"""Figures read from a server's metrics."""

from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Histogram, start_http_server

from weft.demo.errors import StepFailed
from weft.demo.measure import read_load_ms


@pytest.fixture
def loads() -> Histogram:
    labels = ("from", "to")
    return Histogram("weft_adapter_load_seconds", "Loads", labels, registry=CollectorRegistry())


@pytest.fixture
def metrics(loads: Histogram) -> Iterator[str]:
    registry = CollectorRegistry()
    registry.register(loads)
    server, thread = start_http_server(0, "127.0.0.1", registry)
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_load_time_is_the_mean_over_all_tiers(loads: Histogram, metrics: str) -> None:
    for source, seconds in (("disk", 0.004), ("disk", 0.006), ("host", 0.002)):
        loads.labels(source, "gpu").observe(seconds)
    assert read_load_ms(metrics) == pytest.approx(4.0)


def test_metrics_without_a_load_fail_the_step(metrics: str) -> None:
    with pytest.raises(StepFailed, match="no load"):
        read_load_ms(metrics)
