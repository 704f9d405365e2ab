"""What `weft bench engine` is told, and the cells of a shape."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from weft.bench.kernel_options import WHOLE, Slice
from weft.bench.shapes import Shape


class Part(StrEnum):
    """What of an engine is timed."""

    DECODE = "decode"
    TAX = "tax"
    PREFILL = "prefill"
    LOADS = "loads"
    DRAFTS = "drafts"
    START = "start-up"


@dataclass(frozen=True, slots=True)
class Grid:
    """The sizes of a shape's cells; an 8B has those that goals are stated for.

    Attributes:
        context: Tokens of every sequence half way through the steps that are timed.
        long_context: The same, for the smaller of the batches.
        batches: One sequence, a usual batch, and a wide one.
        few: Adapters of a batch that has more rows than adapters.
        prompts: Tokens of the prefills.
        warm_up: Steps before those that are timed.
        steps: Steps that are timed at each visit.
        drafted: Sequences of the batches with drafts and without.
        drafted_tokens: What each of them generates at a visit.
    """

    context: int
    long_context: int
    batches: tuple[int, int, int]
    few: int
    prompts: tuple[int, ...]
    warm_up: int
    steps: int
    drafted: tuple[int, ...] = (1, 32, 128)
    drafted_tokens: int = 512


FULL = Grid(1024, 8192, (1, 32, 128), 8, (512, 2048, 8192), warm_up=50, steps=200)
GRIDS = {
    "8b": FULL,
    "7b": Grid(1024, 3072, (1, 32, 128), 8, (512, 2048), warm_up=50, steps=200),
    "82m": Grid(128, 512, (1, 8, 16), 4, (64, 256, 1024), 4, 16, (1, 4, 16), 96),
    "tiny": Grid(16, 48, (1, 2, 4), 2, (8, 48), 1, 4, (1, 4), 16),
}


@dataclass(frozen=True, slots=True)
class StepOptions:
    """Which cases, on what.

    Attributes:
        parts: None = all.
        rounds: Of A B B A.
        minutes: No case begins later.
        part: Which slice of the cases.
        done: Names of cases that another record has.
    """

    shape: Shape
    device: str
    dtype: str
    seed: int
    threads: int
    rounds: int
    minutes: float
    parts: Collection[Part] = tuple(Part)
    part: Slice = WHOLE
    done: Collection[str] = ()

    @property
    def grid(self) -> Grid:
        return GRIDS[self.shape.name]
