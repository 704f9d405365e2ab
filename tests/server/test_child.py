"""The child process: its ports, and what a failed start says."""

from pathlib import Path

import pytest

from weft.demo.places import BASE
from weft.server.child import free_ports, run_server
from weft.server.errors import StartFailed


def test_ports_differ() -> None:
    assert len(set(free_ports(5))) == 5


def test_a_server_that_does_not_start_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "run").write_text("a file where a folder should be")
    with (
        pytest.raises(StartFailed, match=r"ended with [1-9].*\n.*run"),
        run_server(BASE, tmp_path / "data"),
    ):
        raise AssertionError("it must not start")
