"""What runs are made of: adapters, what a server is started with, and streams of requests."""

from dataclasses import dataclass

from weft.bench.shapes import SHAPES, Shape

from .traffic import Azure, Uniform

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
QV = ("q_proj", "v_proj")
ALL = (*ATTENTION, "gate_proj", "up_proj", "down_proj")
ELEMENT_BYTES = 2  # bf16


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    """An adapter to be made; equal specs of one seed have equal weights.

    Attributes:
        targets: Linears by the last part of their path.
        tenant: Who publishes it and asks for it.
    """

    name: str
    rank: int
    targets: tuple[str, ...] = ALL
    tenant: int = 0

    def image_bytes(self, shape: Shape) -> int:
        """Of its image, but for alignment."""
        sizes = linear_sizes(shape)
        features = sum(sum(sizes[target]) for target in self.targets)
        return ELEMENT_BYTES * shape.num_layers * self.rank * features


def linear_sizes(shape: Shape) -> dict[str, tuple[int, int]]:
    """In- and out-features of a layer's Linears."""
    hidden, inner = shape.hidden_size, shape.intermediate_size
    keys = hidden // shape.num_heads * shape.num_kv_heads
    return {
        "q_proj": (hidden, hidden),
        "k_proj": (hidden, keys),
        "v_proj": (hidden, keys),
        "o_proj": (hidden, hidden),
        "gate_proj": (hidden, inner),
        "up_proj": (hidden, inner),
        "down_proj": (inner, hidden),
    }


@dataclass(frozen=True, slots=True)
class Setting:
    """What a server is started with; runs of equal settings share it.

    Attributes:
        adapters: Published before the first run.
        cold: Written, and published by a run.
        arena_images: Of these there is room in the arena, and for nothing beside them.
    """

    shape: str
    adapters: tuple[AdapterSpec, ...]
    arena_images: tuple[AdapterSpec, ...]
    cold: tuple[AdapterSpec, ...] = ()

    @property
    def num_tenants(self) -> int:
        return 1 + max((spec.tenant for spec in (*self.adapters, *self.cold)), default=0)

    @property
    def adapter_bytes(self) -> int:
        return sum(spec.image_bytes(SHAPES[self.shape]) for spec in (*self.adapters, *self.cold))

    @property
    def arena_bytes(self) -> int:
        """With a hundredth for alignment."""
        images = sum(spec.image_bytes(SHAPES[self.shape]) for spec in self.arena_images)
        return images + images // 100 + 65536


@dataclass(frozen=True, slots=True)
class Stream:
    """One kind of request, in arrivals of its own.

    Attributes:
        load: Share of the knee's rate.
        rate: Requests per second, in place of `load`.
        adapters: None of them: the base.
        cv: Of the gaps.
    """

    lengths: Uniform | Azure
    load: float = 0.0
    rate: float | None = None
    adapters: tuple[AdapterSpec, ...] = ()
    popularity: str = "uniform"
    cv: float = 1.0
    group: str = ""

    def rate_at(self, knee: float) -> float:
        return self.load * knee if self.rate is None else self.rate


@dataclass(frozen=True, slots=True)
class Chain:
    """The base answers a context, and adapters go on from it; lengths in tokens."""

    adapters: tuple[AdapterSpec, ...]
    context: int
    load: float
    answer: int = 256
    width: int = 3
    own: int = 16
    output: int = 16


@dataclass(frozen=True, slots=True)
class Churn:
    """Quiet phases, and phases with publications, in turn; quiet is the first."""

    cold: tuple[AdapterSpec, ...]
    phase_s: float
    per_phase: int
    prompt: int = 128
    output: int = 32


@dataclass(frozen=True, slots=True)
class Run:
    """Traffic on one server for some seconds.

    Attributes:
        workload: As `W1`.
        name: Within the workload.
        at_capacity: More is offered than can be served: only the rate is a figure.
        needs_arena: What it asks is of the setting's arena.
        needs_tenants: What it asks is of the setting's tenants.
    """

    workload: str
    name: str
    setting: Setting
    seconds: float
    streams: tuple[Stream, ...] = ()
    chain: Chain | None = None
    churn: Churn | None = None
    at_capacity: bool = False
    needs_arena: bool = False
    needs_tenants: bool = False

    @property
    def case(self) -> str:
        return f"{self.workload} {self.name}"
