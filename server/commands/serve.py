"""`weft serve` and `weft worker`: the running processes."""

import functools
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from weft.server.config import (
    DTYPES,
    GIB,
    POLICIES,
    QUANTISATIONS,
    Address,
    DataDir,
    EngineConfig,
    FrontConfig,
    ModelConfig,
    RegistryConfig,
    SchedulingConfig,
    ServeConfig,
    default_data_dir,
    default_device,
    default_dtype,
    default_name,
)
from weft.server.logs import FORMATS, configure_logging

F = TypeVar("F", bound=Callable[..., object])


def option(
    name: str, kind: click.ParamType[object] | type, text: str, *, default: object = None
) -> Callable[[F], F]:
    """An option whose default may come from the environment, as WEFT_ and its name."""
    variable = "WEFT_" + name.removeprefix("--").replace("-", "_").upper()
    return click.option(
        name,
        type=kind,
        envvar=variable,
        default=default,
        help=f"{text} [{variable}]",
        show_default=default is not None,
    )


def flag(name: str, text: str) -> Callable[[F], F]:
    variable = "WEFT_" + name.removeprefix("--").replace("-", "_").upper()
    return click.option(name, is_flag=True, envvar=variable, help=f"{text} [{variable}]")


def read_config_file(
    context: click.Context, parameter: click.Parameter, path: Path | None
) -> Path | None:
    """Make a TOML file's entries the defaults; an unknown key stops the start."""
    if path is None:
        return None
    try:
        found = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise click.BadParameter(f"{path} is not TOML: {error}") from error
    known = {parameter.name for parameter in context.command.params}
    entries = {key.replace("-", "_"): value for key, value in found.items()}
    if unknown := sorted(entries.keys() - known):
        raise click.BadParameter(f"{path}: unknown key {unknown[0]}")
    context.default_map = {**(context.default_map or {}), **entries}
    return path


COUNT = click.IntRange(min=1)
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True, slots=True)
class Common:
    """What a server and a worker are told alike."""

    served_name: str | None
    device: str | None
    dtype: str | None
    quantise: str | None
    max_rank: int
    data_dir: Path | None
    redis: str | None
    store: str | None
    log_format: str

    def model(self, source: str) -> ModelConfig:
        device = self.device or default_device()
        return ModelConfig(
            source=str(Path(source).absolute()) if Path(source).is_dir() else source,
            name=self.served_name or default_name(source),
            device=device,
            dtype=self.dtype or default_dtype(device),
            quantise=self.quantise,
        )

    def data(self) -> DataDir:
        return DataDir((self.data_dir or default_data_dir()).absolute())


def common_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `Common`, which it receives as `common`."""

    @functools.wraps(command)
    def collected(**given: object) -> None:
        names = Common.__dataclass_fields__
        own = {name: given.pop(name) for name in names}
        command(common=Common(**own), **given)  # type: ignore[arg-type]

    decorated: Callable[..., None] = collected
    for decorate in (
        option("--log-format", click.Choice(FORMATS), "Form of the log lines.", default="text"),
        option("--store", str, "Where bytes lie: redis or file:/DIR. [file if Redis is embedded]"),
        option("--redis", str, "URL of Redis. [an embedded server]"),
        option("--data-dir", click.Path(path_type=Path), "Data directory."),
        option("--max-rank", COUNT, "Largest rank of an adapter.", default=256),
        option("--quantise", click.Choice(QUANTISATIONS), "Form of the base's weights. [dtype]"),
        option("--dtype", click.Choice(DTYPES), "Serving dtype. [what the hardware does well]"),
        option("--device", click.Choice(["cpu", "cuda"]), "Where the model runs. [cuda if any]"),
        option("--served-name", str, "Name of the base. [last part of MODEL]"),
        click.option(
            "--config",
            type=FILE,
            is_eager=True,
            expose_value=False,
            callback=read_config_file,
            envvar="WEFT_CONFIG",
            help="TOML file with any of these options. [WEFT_CONFIG]",
        ),
    ):
        decorated = decorate(decorated)
    return decorated


@click.command()
@click.argument("model")
@option("--listen", str, "Where gRPC is served.", default="127.0.0.1:7700")
@option("--metrics", str, "Where Prometheus metrics are served.", default="127.0.0.1:7702")
@option("--api-keys", FILE, "Key file; without it only loopback is served.")
@flag("--insecure-no-auth", "Serve any address without keys.")
@option("--max-request-seconds", float, "Longest call.", default=600.0)
@option("--max-context", COUNT, "Tokens of a prompt and its completion. [the model's]")
@option("--max-sequences", COUNT, "Sequences in a batch. [32; 256 on CUDA]")
@option("--max-batch-tokens", COUNT, "Tokens of a step. [512; 8192 on CUDA]")
@option("--kv-bytes", COUNT, "KV cache. [1 GiB; what is left of 0.9 of memory on CUDA]")
@option("--arena-bytes", COUNT, "Adapters on the device. [512 MiB; 8 GiB on CUDA]")
@option("--host-bytes", COUNT, "Adapters in host memory. [1 GiB; 16 GiB on CUDA]")
@option("--policy", click.Choice(POLICIES), "Whom to serve first.", default="fair")
@option("--ageing-s", float, "Waiting that counts as a class of priority.", default=10.0)
@option("--target-step-ms", float, "Time that a step should take. [as long as it needs]")
@option("--window-ms", float, "Time for which admissions gather. [not at all]")
@option("--window-tokens", COUNT, "Tokens that end the window. [those of a step]")
@option("--max-waiting", COUNT, "Sequences that may wait.", default=2048)
@option("--max-waiting-tokens", COUNT, "Tokens that may wait.", default=8_388_608)
@option("--max-tenant-waiting", COUNT, "Sequences of a tenant that may wait.", default=1024)
@option("--max-tenant-waiting-tokens", COUNT, "Tokens of it that may wait.", default=4_194_304)
@option("--disk-bytes", COUNT, "Adapter images on disk.", default=20 * GIB)
@option("--response-cache-bytes", COUNT, "Whole answers to repeated requests. [none]")
@option("--speculate", COUNT, "Tokens drafted from a sequence's own text, at most. [none]")
@flag("--no-graphs", "Launch every step from Python on CUDA.")
@flag("--no-worker", "Do not start a fine-tuning worker.")
@common_options
def serve(
    model: str,
    listen: str,
    metrics: str,
    api_keys: Path | None,
    insecure_no_auth: bool,
    max_request_seconds: float,
    max_context: int | None,
    max_sequences: int | None,
    max_batch_tokens: int | None,
    kv_bytes: int | None,
    arena_bytes: int | None,
    host_bytes: int | None,
    policy: str,
    ageing_s: float,
    target_step_ms: float | None,
    window_ms: float | None,
    window_tokens: int | None,
    max_waiting: int,
    max_waiting_tokens: int,
    max_tenant_waiting: int,
    max_tenant_waiting_tokens: int,
    disk_bytes: int,
    response_cache_bytes: int | None,
    speculate: int | None,
    no_graphs: bool,
    no_worker: bool,
    common: Common,
) -> None:
    """Serve MODEL, a directory or a hub id, with all its adapters."""
    from weft.server.supervisor import serve as run

    try:
        config = ServeConfig(
            model=common.model(model),
            data=common.data(),
            engine=EngineConfig(
                max_context=max_context,
                max_sequences=max_sequences,
                max_batch_tokens=max_batch_tokens,
                max_rank=common.max_rank,
                kv_bytes=kv_bytes,
                arena_bytes=arena_bytes,
                host_bytes=host_bytes,
                graphs=not no_graphs,
                speculate=speculate,
                scheduling=SchedulingConfig(
                    policy=policy,
                    ageing_s=ageing_s,
                    target_step_ms=target_step_ms,
                    window_ms=window_ms,
                    window_tokens=window_tokens,
                    max_waiting=max_waiting,
                    max_waiting_tokens=max_waiting_tokens,
                    max_tenant_waiting=max_tenant_waiting,
                    max_tenant_waiting_tokens=max_tenant_waiting_tokens,
                ),
            ),
            front=FrontConfig(
                listen=Address.parse(listen),
                api_keys=api_keys.absolute() if api_keys is not None else None,
                insecure_no_auth=insecure_no_auth,
                max_request_s=max_request_seconds,
                disk_bytes=disk_bytes,
                response_cache_bytes=response_cache_bytes or 0,
            ),
            metrics=Address.parse(metrics),
            store=common.store,
            redis_url=common.redis,
            worker=not no_worker,
            log_format=common.log_format,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    configure_logging(config.log_format)
    run(config)


@click.command()
@click.argument("model")
@option("--arena-bytes", COUNT, "Adapters on the servers' devices. [512 MiB; 8 GiB on CUDA]")
@common_options
def worker(model: str, arena_bytes: int | None, common: Common) -> None:
    """Run one more fine-tuning worker for MODEL; needs the servers' Redis."""
    from weft.server.worker import WorkerConfig, run_process

    if common.redis is None:
        raise click.UsageError("a worker needs --redis URL, the one that its servers have")
    try:
        chosen = common.model(model)
        config = WorkerConfig(
            model=chosen,
            registry=RegistryConfig(common.redis, common.store or "redis"),
            data=common.data(),
            max_rank=common.max_rank,
            arena_bytes=EngineConfig(arena_bytes=arena_bytes).arena_bytes_on(chosen.device),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    for path in (config.data.cache, config.data.checkpoints):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    configure_logging(common.log_format)
    run_process(config)
