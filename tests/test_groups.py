"""Tests that must not run side by side share a worker: a pair of versions once forgot to group."""

import os

import pytest


@pytest.mark.xdist_group("servers")
def test_workers_know_the_group_of_a_test(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("one process runs all tests")
    assert request.node.nodeid.endswith("@servers")
