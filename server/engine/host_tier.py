"""Which images stay in host memory once they were read, so that bringing them back is one copy."""

from collections.abc import Callable, Iterator

from .places import Adapter, Place


class HostTier:
    """Images within a budget of elements.

    One that is pinned here, or about to be copied to the arena, is kept whatever the budget says.
    """

    def __init__(self, num_elements: int) -> None:
        self.num_elements = num_elements
        self.used_elements = 0
        self.num_evictions = 0
        self._held: dict[str, Adapter] = {}

    def __contains__(self, adapter: Adapter) -> bool:
        return adapter.digest in self._held

    def __iter__(self) -> Iterator[Adapter]:
        return iter(self._held.values())

    def __len__(self) -> int:
        return len(self._held)

    def put(self, adapter: Adapter) -> None:
        """Keep an image that has been read."""
        assert adapter not in self
        self._held[adapter.digest] = adapter
        self.used_elements += adapter.size

    def remove(self, adapter: Adapter) -> None:
        del self._held[adapter.digest]
        self.used_elements -= adapter.size

    @property
    def pinned_elements(self) -> int:
        return sum(adapter.size for adapter in self if adapter.pinned == "host")

    def trim(self, worth: Callable[[Adapter], float]) -> Iterator[Adapter]:
        """Give up what is worth least until the rest is within the budget; yield what has gone."""
        while self.used_elements > self.num_elements:
            victim = min((a for a in self._held.values() if _may_go(a)), key=worth, default=None)
            if victim is None:
                return
            self.remove(victim)
            self.num_evictions += 1
            yield victim

    def check_integrity(self) -> None:
        """Assert that the books agree."""
        assert self.used_elements == sum(adapter.size for adapter in self._held.values())
        if self.used_elements > self.num_elements:
            assert not any(map(_may_go, self._held.values()))


def _may_go(adapter: Adapter) -> bool:
    is_coming = adapter.place in (Place.READABLE, Place.COPYING)
    return not is_coming and adapter.pinned != "host"
