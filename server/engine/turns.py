"""Which place in the arena an image gets, and who has to leave it, and when."""

from collections.abc import Mapping
from math import inf

from .host_tier import HostTier
from .places import Adapter, Place
from .runs import Runs, Window
from .worth import LoadCosts


class Turns:
    """Judges places by the turns of those who have them, then by what it costs to lose them.

    Attributes:
        costs: What loads take.
        yields_unused: Whether a turn that nobody could begin is over: true while all blocks are
            held by parked sequences, whose adapters have to come back first.
    """

    def __init__(self, runs: Runs, adapters: Mapping[str, Adapter], host: HostTier) -> None:
        self.costs = LoadCosts()
        self.yields_unused = False
        self._runs = runs
        self._adapters = adapters
        self._host = host

    def cheapest(
        self, size: int, *, now: float, has_slot: bool, kept: Window | None = None
    ) -> Window | None:
        """Choose the window whose turns end first; among idle ones that which is missed least.

        Args:
            has_slot: Whether a place can be taken that is nobody's.
            kept: A window that is not to be touched.
        """

        def cost(window: Window) -> tuple[float, int, float]:
            owners = self.owners(window)
            return self.ends(window), sum(a.pins for a in owners), self._loss(owners, now)

        windows = (w for w in self._runs.windows(size) if w.owners or has_slot)
        usable = (w for w in windows if kept is None or not w.overlaps(kept))
        return min(usable, key=cost, default=None)

    def owners(self, window: Window) -> list[Adapter]:
        return [self._adapters[owner] for owner in window.owners]

    def ends(self, window: Window) -> float:
        """When the last turn in a window ends; -inf if it can be had at once."""
        return max(map(self._turn_end, self.owners(window)), default=-inf)

    def gain(self, adapter: Adapter, now: float) -> float:
        """Seconds of loads to come that the arena saves by having an adapter."""
        origin = "host" if adapter in self._host else "disk"
        return adapter.arrivals.until(now) * self.costs.seconds(origin, adapter.size)

    def num_idle_elements(self) -> int:
        """Elements that nobody has, or somebody who is idle."""
        idle = sum(self._runs.aligned(a.size) for a in self._adapters.values() if a.is_idle)
        return self._runs.size - self._runs.used + idle

    def host_worth(self, adapter: Adapter, now: float) -> float:
        """Seconds of reads to come, per element, that the host tier saves by having an image."""
        reload_s = self.costs.seconds("disk", adapter.size)
        return adapter.arrivals.until(now) * reload_s / adapter.size

    def _loss(self, owners: list[Adapter], now: float) -> float:
        """Seconds of loads to come per element, by the arrivals of late."""
        if not owners:
            return 0.0
        return sum(self.gain(a, now) for a in owners) / sum(a.size for a in owners)

    def _turn_end(self, adapter: Adapter) -> float:
        if adapter.pinned == "arena":
            return inf
        if adapter.is_idle:
            return -inf
        if adapter.turn_ends is not None:
            return adapter.turn_ends
        return -inf if self.yields_unused and adapter.place is Place.RESIDENT else inf
