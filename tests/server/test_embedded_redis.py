"""The embedded redis-server."""

from pathlib import Path

import redis.asyncio

from weft.server.config import DataDir
from weft.server.embedded_redis import redis_command


async def test_embedded_server_keeps_an_append_only_file_and_never_evicts(
    redis_client: redis.asyncio.Redis,
) -> None:
    expected = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    found = {name: (await redis_client.config_get(name))[name] for name in expected}
    assert found == expected


def test_embedded_server_listens_on_a_unix_socket_only(tmp_path: Path) -> None:
    command, url = redis_command(DataDir(tmp_path))
    assert command[command.index("--port") + 1] == "0"
    assert url.startswith("unix://")
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
