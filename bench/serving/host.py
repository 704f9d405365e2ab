"""A server of the bench's own: a random base, its adapters as files, `weft serve` as a child."""

import hashlib
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from weft.adapters.sites import BaseFacts
from weft.bench.errors import DiskTooSmall
from weft.bench.loras import write_files
from weft.bench.random_model import STD, build_model, describe
from weft.bench.shapes import SHAPES, Shape
from weft.client import Client
from weft.server.child import Server, run_server

from .generator import Target
from .plan import AdapterSpec, Setting

DISK_RESERVE = 4 * 1024**3


@dataclass(frozen=True, slots=True)
class Host:
    """A running server, and what a generator must know of it."""

    target: Target
    server: Server


@dataclass(frozen=True, slots=True)
class HostOptions:
    """How servers are started.

    Attributes:
        more: Further flags of `weft serve`.
        std: Of the weights of base and adapters.
    """

    device: str
    seed: int
    more: str = ""
    dtype: str = "bfloat16"
    std: float = STD


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
        cold = _write_cold(setting, facts, options, folder)
        target = Target(server.address, facts.name, keys, cold)
        _publish(setting.adapters, facts, target, options, folder)
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
    """Save random weights, and a tokenizer that names every token by its number."""
    model = build_model(
        shape,
        seed=options.seed,
        device=torch.device(options.device),
        dtype=getattr(torch, options.dtype),
        attention="eager",
        std=options.std,
    )
    facts = describe(model, shape, seed=options.seed)
    model.save_pretrained(folder)
    words = {f"t{i}": i for i in range(shape.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="t0"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
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


def _write_adapter(
    spec: AdapterSpec, place: int, facts: BaseFacts, options: HostOptions, folder: Path
) -> Path:
    device = torch.device(options.device)
    generator = torch.Generator(device).manual_seed(options.seed * 1_000_003 + place)
    files = folder / "adapters" / spec.name
    write_files(facts, files, spec.rank, generator, targets=spec.targets, std=options.std)
    return files


def _write_cold(
    setting: Setting, facts: BaseFacts, options: HostOptions, folder: Path
) -> dict[str, Path]:
    first = len(setting.adapters)
    return {
        spec.name: _write_adapter(spec, place, facts, options, folder)
        for place, spec in enumerate(setting.cold, first)
    }


def _publish(
    specs: Sequence[AdapterSpec],
    facts: BaseFacts,
    target: Target,
    options: HostOptions,
    folder: Path,
) -> None:
    """Publish every adapter as its tenant; its files go at once."""
    with ExitStack() as stack:
        clients = [
            stack.enter_context(Client(target.address, api_key=key)) for key in target.api_keys
        ]
        for place, spec in enumerate(specs):
            files = _write_adapter(spec, place, facts, options, folder)
            clients[spec.tenant].publish(spec.name, files)
            shutil.rmtree(files)
