"""Which adapter each row of a batch uses, and who runs which batch in which round."""

from collections.abc import Sequence
from itertools import cycle, islice
from typing import NamedTuple

WEFT = "weft"
BASE, MIXED = "base", "mixed"


class Case(NamedTuple):
    """A batch by its rows: places among the adapters of the bed, None for the base."""

    name: str
    places: tuple[int | None, ...]


class Entry(NamedTuple):
    """Somebody, Weft or a peer, with a batch to run."""

    who: str
    case: Case

    @property
    def name(self) -> str:
        return f"{self.who} {self.case.name}"


class Heat(NamedTuple):
    """Entries that run in alternating order, so that their figures can be divided."""

    entries: Sequence[Entry]
    num_rounds: int


def base_case(batch: int) -> Case:
    return Case(BASE, (None,) * batch)


def mixed_case(batch: int, num_adapters: int) -> Case:
    """Row i uses adapter i modulo their number."""
    return Case(MIXED, tuple(islice(cycle(range(num_adapters)), batch)))


def shared_case(batch: int, place: int) -> Case:
    """All rows use one adapter."""
    return Case("1 adapter", (place,) * batch)


def halved_case(batch: int) -> Case:
    """Base rows and adapted rows in turn, each of those with an adapter of its own."""
    half = batch // 2
    places = tuple(row // 2 if row % 2 else None for row in range(batch))
    return Case(f"{batch - half} base + {half} adapted", places)


def distinct_case(batch: int) -> Case:
    """Every row uses an adapter of its own."""
    return Case(f"{batch} adapters", tuple(range(batch)))
