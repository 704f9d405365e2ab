"""What `weft serve` and `weft worker` are told, checked once; each part receives its own piece."""

import hashlib
import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path

MIB = 1024**2
GIB = 1024**3
DEFAULT_HOST_BYTES = {"cpu": GIB, "cuda": 16 * GIB}
DEFAULT_ARENA_BYTES = {"cpu": 512 * MIB, "cuda": 8 * GIB}
DTYPES = ("float32", "float16", "bfloat16")
QUANTISATIONS = ("int8", "fp8")
MAX_SOCKET_PATH_BYTES = 107  # of sockaddr_un
RESERVED_NAMES = ("sha256", "shared")
POLICIES = ("fair", "fcfs", "priority")
NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens; port 0 lets the system choose."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read `host:port` or `[ipv6]:port`; raise ValueError for anything else."""
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not (host and colon and port.isdecimal() and int(port) < 65536):
            raise ValueError(f"address {text!r} is not HOST:PORT with a port below 65536")
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The base model: a directory or hub id, its served name, where and in which dtype it runs.

    Attributes:
        quantise: Form of its Linears' weights while it serves; None = they stay in `dtype`.
    """

    source: str
    name: str
    device: str
    dtype: str
    quantise: str | None = None

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or self.name in RESERVED_NAMES:
            raise ValueError(
                f"served name {self.name!r} is not 1 to 63 of a-z 0-9 . _ - with a letter or digit "
                f"at both ends, or is one of {', '.join(RESERVED_NAMES)}"
            )
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")
        if self.quantise is not None and self.quantise not in QUANTISATIONS:
            raise ValueError(f"quantise {self.quantise!r} is not one of {', '.join(QUANTISATIONS)}")


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """Where metadata and bytes live; `store` is `redis` or `file:DIR`."""

    redis_url: str
    store: str

    def __post_init__(self) -> None:
        if self.store != "redis" and not self.store.startswith("file:/"):
            raise ValueError(
                f"store {self.store!r} is neither redis nor file: and an absolute path"
            )


@dataclass(frozen=True, slots=True)
class DataDir:
    """The folders of Weft's data directory."""

    root: Path

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def metrics(self) -> Path:
        return self.root / "run" / "metrics"

    def socket(self, name: str) -> Path:
        """Place a unix socket beside the data, or where paths are short if that one is too long."""
        path = self.run.absolute() / f"{name}.sock"
        if len(os.fsencode(path)) <= MAX_SOCKET_PATH_BYTES:
            return path
        runtime = Path(os.environ.get("XDG_RUNTIME_DIR", f"/tmp/weft-{os.getuid()}"))
        return runtime / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.sock"

    @property
    def hash_cache(self) -> Path:
        return self.cache / "base-hashes.json"


@dataclass(frozen=True, slots=True)
class SchedulingConfig:
    """Whom the engine serves first, and how much at a time.

    Attributes:
        ageing_s: Waiting that counts as a class of priority.
        target_step_ms: Time that a step should take; None = as long as it needs.
        window_ms: Time for which admissions gather; None = not at all.
        window_tokens: Tokens that are enough; None = those of a step.
    """

    policy: str = "fair"
    ageing_s: float = 10.0
    target_step_ms: float | None = None
    window_ms: float | None = None
    window_tokens: int | None = None
    max_waiting: int = 2048
    max_waiting_tokens: int = 8_388_608
    max_tenant_waiting: int = 1024
    max_tenant_waiting_tokens: int = 4_194_304

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"policy {self.policy!r} is not one of {', '.join(POLICIES)}")
        for field in self.__dataclass_fields__:
            value = getattr(self, field)
            if isinstance(value, int | float) and value <= 0:
                raise ValueError(f"{field} {value} is not above 0")


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Budgets of the engine; None means the device's own default."""

    max_context: int | None = None
    max_sequences: int | None = None
    max_batch_tokens: int | None = None
    max_rank: int = 256
    kv_bytes: int | None = None
    arena_bytes: int | None = None
    host_bytes: int | None = None
    graphs: bool = True
    speculate: int | None = None
    scheduling: SchedulingConfig = SchedulingConfig()

    def __post_init__(self) -> None:
        for field in self.__dataclass_fields__:
            value = getattr(self, field)
            if type(value) is int and value < 1:
                raise ValueError(f"{field} {value} is below 1")

    def arena_bytes_on(self, device: str) -> int:
        """The arena's budget on a kind of device."""
        return self.arena_bytes or DEFAULT_ARENA_BYTES[device]

    def host_bytes_on(self, device: str) -> int:
        """The host tier's budget on a kind of device."""
        return self.host_bytes or DEFAULT_HOST_BYTES[device]


@dataclass(frozen=True, slots=True)
class FrontConfig:
    """What the front listens on and whom it serves."""

    listen: Address
    api_keys: Path | None = None
    insecure_no_auth: bool = False
    max_request_s: float = 600.0
    disk_bytes: int = 20 * GIB
    response_cache_bytes: int = 0

    def __post_init__(self) -> None:
        if self.api_keys is None and not self.insecure_no_auth and not self.listen.is_loopback:
            raise ValueError(
                f"without keys only a loopback address is served, {self.listen} is none: "
                "give --api-keys FILE, or --insecure-no-auth to serve everybody"
            )
        if self.max_request_s <= 0:
            raise ValueError(f"max_request_seconds {self.max_request_s} is not above 0")


@dataclass(frozen=True, slots=True)
class ServeConfig:
    """All of `weft serve`; `redis_url` None means the embedded server."""

    model: ModelConfig
    data: DataDir
    engine: EngineConfig
    front: FrontConfig
    metrics: Address
    store: str | None = None
    redis_url: str | None = None
    worker: bool = True
    log_format: str = "text"

    def registry(self, redis_url: str) -> RegistryConfig:
        """Answer where things live, given the URL of the server that was started or named.

        Bytes go to the file system beside an embedded server, else to Redis, which other machines
        reach as well.
        """
        beside = f"file:{self.data.store.absolute()}" if self.redis_url is None else "redis"
        return RegistryConfig(redis_url, self.store or beside)


def default_data_dir() -> Path:
    home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(home) / "weft"


def default_device() -> str:
    """`cuda` if the machine has an NVIDIA device, else `cpu`; told without importing torch."""
    return "cuda" if any(Path("/dev").glob("nvidia[0-9]*")) else "cpu"


def default_dtype(device: str) -> str:
    """Bfloat16 where the hardware multiplies it, else float32."""
    if device == "cuda":
        return "bfloat16"
    flags = Path("/proc/cpuinfo").read_text().split()
    return "bfloat16" if {"avx512_bf16", "amx_bf16"} & set(flags) else "float32"


def default_name(source: str) -> str:
    """The last component of a path or hub id, lower-cased, with `-` for other characters."""
    last = Path(source).resolve().name if Path(source).is_dir() else source.rpartition("/")[2]
    return re.sub(r"[^a-z0-9._-]", "-", last.lower()).strip("._-")[:63]
