"""What the suite `serving` is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from weft.bench.random_model import STD


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


@dataclass(frozen=True, slots=True)
class Remote:
    """A server that runs already.

    Attributes:
        model: The directory or hub id that it serves, of which adapters are made here.
        api_keys: One of each tenant; none = it asks for none.
    """

    address: str
    model: str
    api_keys: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class ServingOptions:
    """What runs, and on what.

    Attributes:
        small_shape: Of the small variants; None = the workloads themselves.
        seconds: Of each workload, or of each rate of a sweep, in place of its own time.
        rate: The knee, in requests per second; None = it is measured.
        trace: CSV of W3's lengths.
        num_senders: Processes of the generator.
        sweep: Find the knee of every run's own traffic, and run at shares of it.
        remote: Where requests are sent; None = to servers of the bench's own.
    """

    workloads: Sequence[str]
    small_shape: str | None
    host: HostOptions
    seconds: float | None = None
    rate: float | None = None
    trace: Path | None = None
    num_senders: int = 1
    sweep: bool = False
    remote: Remote | None = None

    @property
    def small(self) -> bool:
        return self.small_shape is not None
