"""A server of the bench's own: a random base, its adapters as files, `weft serve` as a child."""

import hashlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import torch
from grpc_health.v1 import health_pb2
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from weft.adapters.sites import BaseFacts
from weft.bench.errors import DiskTooSmall, ServerDown
from weft.bench.loras import write_files
from weft.bench.random_model import STD, build_model, describe
from weft.bench.shapes import SHAPES, Shape
from weft.client import Client

from .generator import Target
from .plan import AdapterSpec, Setting

START_S = 600.0
STOP_S = 60.0
WEFT = str(Path(sysconfig.get_path("scripts")) / "weft")
DISK_RESERVE = 4 * 1024**3


@dataclass(frozen=True, slots=True)
class Host:
    """A running server, and what a generator must know of it."""

    target: Target
    metrics: str
    process: subprocess.Popen[bytes]
    log: Path

    def starts_of(self, part: str) -> list[int]:
        """The processes that a part has had, in order, from the supervisor's log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [int(line.rpartition(" ")[2]) for line in lines if f"started {part}," in line]


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
        ServerDown: The server does not come up.
    """
    shape = SHAPES[setting.shape]
    check_disk(setting, folder)
    facts = _save_base(shape, options, folder / f"llama-{shape.name}")
    torch.cuda.empty_cache()  # the server takes what is free
    keys = tuple(f"key-{tenant}" for tenant in range(setting.num_tenants))
    address, metrics = (f"127.0.0.1:{port}" for port in free_ports(2))
    flags = [
        *("--listen", address, "--metrics", metrics, "--served-name", facts.name),
        *("--data-dir", str(folder / "data"), "--api-keys", str(_write_keys(keys, folder))),
        *("--arena-bytes", str(setting.arena_bytes), "--device", options.device),
        *("--dtype", options.dtype, "--no-worker", *shlex.split(options.more)),
    ]
    with run_server([WEFT, "serve", str(folder / f"llama-{shape.name}"), *flags], folder) as (
        process,
        log,
    ):
        wait_until_serving(process, address, log)
        target = Target(address, facts.name, keys, _write_cold(setting, facts, options, folder))
        _publish(setting.adapters, facts, target, options, folder)
        yield Host(target, metrics, process, log)


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


@contextmanager
def run_server(command: list[str], folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run it with its output in a log, in a process group that ends with it."""
    log = folder / "server.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        ) as process,
    ):
        try:
            yield process, log
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def wait_until_serving(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    """Ask for health until it serves.

    Raises:
        ServerDown: It ended, or START_S passed.
    """
    deadline = time.monotonic() + START_S
    with grpc.insecure_channel(address) as channel:
        while not _serves(channel):
            if process.poll() is not None or time.monotonic() > deadline:
                words = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise ServerDown(f"the server did not come up:\n{words}")
            time.sleep(0.1)


def _serves(channel: grpc.Channel) -> bool:
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    try:
        answer = check(health_pb2.HealthCheckRequest(), timeout=2)
    except grpc.RpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def free_ports(num: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(num)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
