"""Redis started by the shipped script with the options of the compose file."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.exceptions import AuthenticationError, NoPermissionError

from tests.running import wait_for_redis
from weft.server.embedded_redis import redis_server_path

from .files import DEPLOY, services

PASSWORDS = {"weft-server": "5e", "weft-worker": "30"}


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The unix socket of a server that runs as in the container, but for folder and port."""
    folder = tmp_path_factory.mktemp("started")
    options = ["--port", "0", "--unixsocket", "redis.sock", "--dir", str(folder)]
    environment = {
        "PATH": f"{Path(redis_server_path()).parent}:{os.environ['PATH']}",
        "TMPDIR": str(folder),
        "SERVER_PASSWORD": PASSWORDS["weft-server"],
        "WORKER_PASSWORD": PASSWORDS["weft-worker"],
    }
    given = services()["redis"].command
    assert given[:2] == ["--dir", "/data"]
    command = ["sh", str(DEPLOY / "redis" / "start.sh"), *given[2:], *options]
    with subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.DEVNULL
    ) as server:
        try:
            wait_for_redis(f"unix://weft-server:{PASSWORDS['weft-server']}@{folder}/redis.sock")
            yield folder / "redis.sock"
        finally:
            server.terminate()


@pytest.mark.parametrize("user", PASSWORDS)
def test_a_shipped_user_logs_in_with_its_password_and_no_other(socket: Path, user: str) -> None:
    with redis.Redis.from_url(f"unix://{user}:{PASSWORDS[user]}@{socket}") as client:
        assert client.ping() is True
        with pytest.raises(NoPermissionError):
            client.set("another", "value")
    with (
        redis.Redis.from_url(f"unix://{user}:wrong@{socket}") as client,
        pytest.raises(AuthenticationError),
    ):
        client.ping()


def test_nobody_else_logs_in(socket: Path) -> None:
    for credentials in ("", "weft-admin:@", "weft-admin:5e@"):
        with (
            redis.Redis.from_url(f"unix://{credentials}{socket}") as client,
            pytest.raises(AuthenticationError),
        ):
            client.ping()


def test_it_writes_an_append_only_file_and_refuses_to_evict(socket: Path) -> None:
    with redis.Redis.from_url(f"unix://weft-server:5e@{socket}") as client:
        assert client.info("persistence")["aof_enabled"] == 1
        memory = client.info("memory")
    assert memory["maxmemory_policy"] == "noeviction"
    assert memory["maxmemory"] == 1024**3


def test_nobody_else_reads_its_files(socket: Path) -> None:
    files = [path for path in socket.parent.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".aof"}
    assert [path for path in files if path.stat().st_mode & 0o077] == []


def test_only_hashes_of_the_passwords_are_written(socket: Path) -> None:
    [users] = [path for path in socket.parent.iterdir() if path.name.startswith("tmp.")]
    assert "user default off" in users.read_text().splitlines()
    assert ">" not in users.read_text()


def test_without_a_password_it_does_not_start(tmp_path: Path) -> None:
    ended = subprocess.run(
        ["sh", DEPLOY / "redis" / "start.sh"],
        env={"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "SERVER_PASSWORD": "5e"},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode != 0
    assert "WORKER_PASSWORD" in ended.stderr
