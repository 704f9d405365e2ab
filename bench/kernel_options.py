"""What `weft bench kernels` is told."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple


class Slice(NamedTuple):
    """Every `num`th case, from the `first` on, counted from 1."""

    first: int
    num: int

    def __str__(self) -> str:
        return f"{self.first}of{self.num}"


WHOLE = Slice(1, 1)


@dataclass(frozen=True, slots=True)
class KernelOptions:
    """Which cases, on what.

    Attributes:
        grid: `core`, `full` or `small`; the last is what a CPU can interpret.
        sites: Of LoRA's cells; none = all of the grid.
        ranks: As `r16` or `mixed`; none = all of the grid.
        ops: By name; none = all, or `lora` alone where the other options are of its cells.
        minutes: No case begins later.
        done: Names of cases that another record has.
        as_served: Peers have the pools of a server: 64 slots at rank 64.
    """

    grid: str
    device: str
    dtype: str
    seed: int
    minutes: float
    sites: Collection[str] = ()
    ranks: Collection[str] = ()
    ops: Collection[str] = ()
    part: Slice = WHOLE
    done: Collection[str] = ()
    as_served: bool = False

    @property
    def is_of_lora(self) -> bool:
        """Whether something is asked for that other ops do not know."""
        return bool(self.sites or self.ranks or self.as_served)
