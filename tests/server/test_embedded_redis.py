"""The embedded redis-server."""

from pathlib import Path

import redis.asyncio

from weft.server.embedded_redis import MAX_SOCKET_PATH_BYTES, redis_command, socket_path


async def test_embedded_server_keeps_an_append_only_file_and_never_evicts(
    redis_client: redis.asyncio.Redis,
) -> None:
    expected = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    found = {name: (await redis_client.config_get(name))[name] for name in expected}
    assert found == expected


def test_embedded_server_listens_on_a_unix_socket_only(tmp_path: Path) -> None:
    command, url = redis_command(tmp_path)
    assert command[command.index("--port") + 1] == "0"
    assert url.startswith("unix://")
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700


def test_a_long_data_directory_falls_back_to_the_runtime_directory(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    assert len(str(socket_path(deep))) <= MAX_SOCKET_PATH_BYTES
