"""The child process: its ports, and what a failed start says."""

from pathlib import Path

import pytest

from weft.demo.errors import ServerDied
from weft.demo.places import BASE
from weft.demo.serving import free_ports, serve


def test_ports_differ() -> None:
    assert len(set(free_ports(5))) == 5


def test_a_server_that_does_not_start_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the data directory should be")
    with pytest.raises(ServerDied, match=r"ended with [1-9].*\n.+"), serve(BASE, tmp_path):
        raise AssertionError("it must not start")
