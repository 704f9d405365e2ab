"""A server of the bench's own: a random base, its adapters as files, `weft serve` as a child."""

import hashlib
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from weft.adapters.sites import BaseFacts
from weft.bench.errors import DiskTooSmall
from weft.bench.random_model import build_model, describe, save_base
from weft.bench.shapes import SHAPES, Shape
from weft.server.child import Server, run_server

from .adapters import AdapterFiles, publish_all, write_cold
from .generator import Target
from .options import HostOptions
from .plan import Setting

DISK_RESERVE = 4 * 1024**3


@dataclass(frozen=True, slots=True)
class Host:
    """A running server, and what a generator must know of it."""

    target: Target
    server: Server


@contextmanager
def open_host(setting: Setting, options: HostOptions, folder: Path) -> Iterator[Host]:
    """Build base and adapters in `folder`, start a server, publish, and yield it.

    Raises:
        DiskTooSmall: The adapters do not fit.
        StartFailed: The server does not come up.
    """
    shape = SHAPES[setting.shape]
    check_disk(setting, folder)
    facts = _save_base(shape, options, folder / f"llama-{shape.name}")
    torch.cuda.empty_cache()  # the server takes what is free
    keys = tuple(f"key-{tenant}" for tenant in range(setting.num_tenants))
    flags = [
        *("--served-name", facts.name, "--api-keys", str(_write_keys(keys, folder))),
        *("--arena-bytes", str(setting.arena_bytes), "--device", options.device),
        *("--dtype", options.dtype, "--no-worker", *shlex.split(options.more)),
    ]
    with run_server(folder / f"llama-{shape.name}", folder / "data", *flags) as server:
        files = AdapterFiles(facts, options, folder)
        cold = write_cold(setting, files)
        target = Target(server.address, facts.name, facts.vocab_size, keys, cold)
        publish_all(setting.adapters, files, target)
        yield Host(target, server)


def check_disk(setting: Setting, folder: Path) -> None:
    """Raise DiskTooSmall unless every adapter fits, as the file that came and as its image."""
    free = shutil.disk_usage(folder).free
    needed = 2 * setting.adapter_bytes + DISK_RESERVE
    if needed > free:
        raise DiskTooSmall(
            f"{len(setting.adapters)} adapters need {needed / 1e9:.1f} GB of disk, "
            f"{free / 1e9:.1f} GB are free"
        )


def _save_base(shape: Shape, options: HostOptions, folder: Path) -> BaseFacts:
    """Save random weights and a tokenizer."""
    model = build_model(
        shape,
        seed=options.seed,
        device=torch.device(options.device),
        dtype=getattr(torch, options.dtype),
        attention="eager",
        std=options.std,
    )
    facts = describe(model, shape, seed=options.seed)
    save_base(model, shape, folder)
    return facts


def _write_keys(keys: Sequence[str], folder: Path) -> Path:
    """A key and a tenant of its own for everybody."""
    lines = [
        f"{hashlib.sha256(key.encode()).hexdigest()} tenant-{i} infer,publish\n"
        for i, key in enumerate(keys)
    ]
    path = folder / "keys"
    path.write_text("".join(lines))
    return path
