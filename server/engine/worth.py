"""What an adapter is worth in a tier: how often it is asked for, and what a reload costs."""

from dataclasses import dataclass, field

HALF_LIFE_S = 30.0
LOAD_S = 0.001  # of any load, whatever its size
SHARE_OF_NEWEST = 0.1


@dataclass(slots=True)
class Arrivals:
    """Arrivals that count half after `HALF_LIFE_S`."""

    count: float = 0.0
    at: float = 0.0

    def add(self, now: float) -> None:
        self.count = self.until(now) + 1
        self.at = now

    def until(self, now: float) -> float:
        return self.count * 2 ** ((self.at - now) / HALF_LIFE_S)


@dataclass(slots=True)
class LoadCosts:
    """Seconds that a load takes, from each tier, learned from the loads so far.

    Attributes:
        element_s: Seconds per element, beyond `LOAD_S`.
    """

    element_s: dict[str, float] = field(default_factory=lambda: {"host": 2e-10, "disk": 6e-10})

    def learn(self, origin: str, size: int, seconds: float) -> None:
        found = max(0.0, seconds - LOAD_S) / size
        self.element_s[origin] += SHARE_OF_NEWEST * (found - self.element_s[origin])

    def seconds(self, origin: str, size: int) -> float:
        return LOAD_S + size * self.element_s[origin]
