"""Fair shares by service counters: among those that wait, whoever has taken the least goes first.

A party has a right to its share from the moment it waits, and to nothing for the time before: back
from idle it starts at the least counter of those that wait, or of the last that did.

Source: VTC, Sheng et al. 2024, arXiv:2401.00588, algorithm 2.
"""

from dataclasses import dataclass, field

KEPT = 1024  # idle parties that may be many before any is forgotten

Party = str | None  # a tenant, or an adapter of it; None is the base


@dataclass(slots=True, eq=False)
class Share:
    """What a party has taken, and the parties that share it in turn: a tenant, its adapters.

    Attributes:
        taken_us: Device microseconds.
        num_waiting: Sequences that wait.
    """

    taken_us: float = 0.0
    num_waiting: int = 0
    _parts: dict[Party, "Share"] = field(default_factory=dict)
    _last: "Share | None" = None

    def part(self, party: Party) -> "Share":
        """Answer a party's share, an empty one if the party is not known."""
        return self._parts.get(party) or Share()

    def enter(self, *path: Party) -> None:
        """Count a sequence that waits; `path` leads to whose it is."""
        self.num_waiting += 1
        if path:
            part = self._parts.get(path[0])
            if part is None:
                self._forget()
                part = self._parts[path[0]] = Share()
            if not part.num_waiting:
                part.taken_us = max(part.taken_us, self._level_us())
            part.enter(*path[1:])

    def leave(self, *path: Party) -> None:
        """A sequence waits no more."""
        self.num_waiting -= 1
        if path:
            self._last = self._parts[path[0]]
            self._last.leave(*path[1:])

    def charge(self, us: float, *path: Party) -> None:
        """Count what a sequence takes, whether others of its party wait or not."""
        self.taken_us += us
        if path:
            self._parts.setdefault(path[0], Share()).charge(us, *path[1:])

    def _level_us(self) -> float:
        waiting = [part.taken_us for part in self._parts.values() if part.num_waiting]
        if waiting:
            return min(waiting)
        return 0.0 if self._last is None else self._last.taken_us

    def _forget(self) -> None:
        """Drop the idle that would come back at the level anyway, once they are many."""
        num_waiting = sum(part.num_waiting > 0 for part in self._parts.values())
        if len(self._parts) > 2 * num_waiting + KEPT:
            level_us = self._level_us()
            self._parts = {
                party: part
                for party, part in self._parts.items()
                if part.num_waiting or part.taken_us > level_us
            }
