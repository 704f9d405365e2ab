"""How much of a tier may be pinned: the others keep half of it, and room for the largest image."""

from collections.abc import Iterator, Mapping

from weft.adapters.errors import QuotaExceeded

from .host_tier import HostTier
from .places import Adapter
from .runs import Runs


class Pins:
    """Keeps adapters in the tier, `arena` or `host`, where they lie."""

    def __init__(
        self, runs: Runs, adapters: Mapping[str, Adapter], host: HostTier, *, element_bytes: int
    ) -> None:
        self._runs = runs
        self._adapters = adapters
        self._host = host
        self._element_bytes = element_bytes

    @property
    def largest_place(self) -> int:
        """Elements of the largest image that could be placed."""
        return self._runs.largest_gap(set(self._pinned()))

    def pin(self, adapter: Adapter, tier: str) -> None:
        """Keep an adapter in the tier where it lies, instead of where it was pinned before.

        Raises:
            QuotaExceeded: What the tier would have left is less than half, or than an image needs.
        """
        total = self._runs.size if tier == "arena" else self._host.num_elements
        left = self._left_by_pins(adapter, tier)
        needed = total // 2
        if tier == "arena":
            needed = max(needed, *(a.size for a in self._adapters.values() if a is not adapter), 0)
        if left < needed:
            size, left, needed = (n * self._element_bytes for n in (adapter.size, left, needed))
            raise QuotaExceeded(
                f"pinning {size} bytes would leave {left} of the {tier}'s "
                f"{total * self._element_bytes} bytes to others; {needed} are kept free",
                figure=left,
                limit=needed,
            )
        adapter.pinned = tier

    def _left_by_pins(self, adapter: Adapter, tier: str) -> int:
        """Elements that the others can have if one more is pinned, in one piece."""
        if tier == "host":
            size = 0 if adapter.pinned == "host" else adapter.size
            return self._host.num_elements - self._host.pinned_elements - size
        return self._runs.largest_gap({adapter.digest, *self._pinned()})

    def _pinned(self) -> Iterator[str]:
        return (d for d, a in self._adapters.items() if a.pinned == "arena")
