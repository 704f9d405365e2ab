"""Where an adapter is on its way to the arena, and what has to be done to bring it further."""

from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from .worth import Arrivals


class Place(Enum):
    ABSENT = "absent"
    FETCHING = "fetching"
    READING = "reading"
    READABLE = "readable"
    COPYING = "copying"
    RESIDENT = "resident"


class Fetch(NamedTuple):
    """Ask a front to bring the image to the local disk."""

    peer: bytes
    digest: str


class Open(NamedTuple):
    """Read the head of the image on the local disk."""

    digest: str
    path: str


class Copy(NamedTuple):
    """Copy the opened image to element `at` of the arena; `slot` is its row.

    One that `yields` is given up as soon as there is something else to do.
    """

    digest: str
    slot: int
    at: int
    yields: bool = False


class Close(NamedTuple):
    """Nobody wants the opened image any more."""

    digest: str


class Hurry(NamedTuple):
    """Give up a copy that yields: its place is wanted."""


class Clear(NamedTuple):
    """The row is nobody's."""

    slot: int


class Park(NamedTuple):
    """The adapter's turn is over: what runs on it has to wait."""

    digest: str


Command = Fetch | Open | Copy | Close | Hurry | Clear | Park


@dataclass(slots=True, eq=False)
class Adapter:
    """What is known of one digest.

    Attributes:
        path: Its image on the local disk, once a front has said so.
        size: Elements of its image, once that was opened.
        fronts: Those that were asked for it.
        waiting: Sequences that wait for it.
        pins: Sequences that run on it.
        since: When it began to wait; a higher class counts as a longer wait.
        turn_ends: When another may take its place; None before its first pin.
        last_use: When it was last pinned, None if never.
        pinned: Tier that it does not leave, `arena` or `host`.
        arrivals: Of sequences, of late.
    """

    digest: str
    place: Place = Place.ABSENT
    path: str | None = None
    size: int = 0
    slot: int | None = None
    fronts: set[bytes] = field(default_factory=set)
    waiting: int = 0
    pins: int = 0
    since: float = 0.0
    turn_ends: float | None = None
    last_use: float | None = None
    pinned: str | None = None
    arrivals: Arrivals = field(default_factory=Arrivals)

    @property
    def is_idle(self) -> bool:
        return self.place is Place.RESIDENT and not self.pins and not self.waiting
