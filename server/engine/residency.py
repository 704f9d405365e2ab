"""Which adapters lie in the arena, where, and which come next: bookkeeping without a byte moved.

Every digest is in one place; what has to be done for it comes out of `take_commands`:

    ABSENT ─► FETCHING ─► READING ─► READABLE ─► COPYING ─► RESIDENT ─► ABSENT
              a Fetch     an Open    waits for   a Copy     has a slot
              to a front  on disk    room

Room is made by giving up adapters that no sequence runs on or waits for, least recently used
first. Where that is not enough, the favoured digest, that of the oldest sequence that waits for
room, closes the adapters of one window to further rows. They drain, because every row ends, and
nobody else is placed meanwhile. So whoever is oldest gets room, and everybody becomes oldest.
"""

from collections.abc import Iterator
from typing import NamedTuple

from .places import Adapter, Clear, Close, Command, Copy, Fetch, Open, Place
from .runs import Runs, Window

ALIGNMENT_BYTES = 128


class Claim(NamedTuple):
    """A window that drains for `digest`."""

    digest: str
    window: Window


class Residency:
    """The arena's elements and the offset table's rows, and who has them."""

    def __init__(self, num_elements: int, *, num_slots: int, element_bytes: int) -> None:
        self.num_elements = num_elements
        self.num_evictions = 0
        self._num_slots = num_slots
        self._runs = Runs(num_elements, alignment=ALIGNMENT_BYTES // element_bytes)
        self._slots = list(range(num_slots - 1, -1, -1))
        self._adapters: dict[str, Adapter] = {}
        self._readable: dict[str, None] = {}
        self._favoured: str | None = None
        self._claim: Claim | None = None
        self._commands: list[Command] = []
        self._clock = 0

    @property
    def used_elements(self) -> int:
        return self._runs.used

    @property
    def num_waiting(self) -> int:
        return sum(adapter.waiting for adapter in self._adapters.values())

    @property
    def num_pins(self) -> int:
        return sum(adapter.pins for adapter in self._adapters.values())

    @property
    def resident(self) -> list[str]:
        return [a.digest for a in self._adapters.values() if a.place is Place.RESIDENT]

    def take_commands(self) -> list[Command]:
        commands, self._commands = self._commands, []
        return commands

    def place_of(self, digest: str) -> Place:
        adapter = self._adapters.get(digest)
        return Place.ABSENT if adapter is None else adapter.place

    def size_of(self, digest: str) -> int:
        """Elements of an image that has been read."""
        return self._adapters[digest].size

    def pins_of(self, digest: str) -> int:
        """Sequences that run on the adapter."""
        return self._adapters[digest].pins

    def want(self, digest: str, peer: bytes) -> str:
        """Count a waiting sequence; answer the tier that its adapter comes from."""
        adapter = self._adapters.setdefault(digest, Adapter(digest))
        adapter.waiting += 1
        if adapter.place is Place.RESIDENT:
            return "arena"
        if adapter.path is not None:
            self._open(adapter)
            return "disk"
        self._fetch(adapter, peer)
        return "store"

    def unwant(self, digest: str) -> None:
        """A waiting sequence has gone."""
        adapter = self._adapters[digest]
        adapter.waiting -= 1
        if adapter.place is Place.READABLE and not adapter.waiting:
            self._close(adapter)

    def acquire(self, digest: str) -> int | None:
        """Turn a waiting sequence into a pin and answer the slot; None while it has to wait."""
        if not self.is_open(digest):
            return None
        adapter = self._adapters[digest]
        adapter.waiting -= 1
        adapter.pins += 1
        return adapter.slot

    def is_open(self, digest: str) -> bool:
        """Whether a waiting sequence may start on the adapter."""
        return self.place_of(digest) is Place.RESIDENT and not self._is_closed(digest)

    def release(self, digest: str) -> None:
        """Take a pin back."""
        adapter = self._adapters[digest]
        adapter.pins -= 1
        self._clock += 1
        adapter.last_use = self._clock

    def ready(self, digest: str, path: str) -> None:
        """The image lies on the local disk."""
        adapter = self._adapters.setdefault(digest, Adapter(digest))
        adapter.path = path
        if adapter.place is Place.FETCHING:
            adapter.fronts.clear()
            adapter.place = Place.ABSENT
            if adapter.waiting:
                self._open(adapter)

    def opened(self, digest: str, size: int) -> None:
        """The loader has opened the image, of `size` elements."""
        adapter = self._adapters[digest]
        adapter.size = size
        adapter.place = Place.READABLE
        self._readable[digest] = None
        if not adapter.waiting:
            self._close(adapter)

    def copied(self, digest: str) -> None:
        """Bytes and row are in place: from now on a step may name the slot."""
        adapter = self._adapters[digest]
        adapter.place = Place.RESIDENT
        self._clock += 1
        adapter.last_use = self._clock

    def fail(self, digest: str) -> None:
        """The adapter could not be brought; whoever asks next starts from the store."""
        adapter = self._adapters[digest]
        assert adapter.place is not Place.RESIDENT
        if adapter.place is Place.COPYING:
            self._free(adapter)
        if adapter.place is Place.READABLE:
            self._close(adapter)
        adapter.place = Place.ABSENT
        adapter.path = None
        adapter.fronts.clear()

    def refetch(self, digest: str, peer: bytes) -> None:
        """Ask the front of a waiting sequence again, after a failure."""
        self._fetch(self._adapters[digest], peer)

    def forget(self, digest: str) -> None:
        """Give up the place of an adapter that nobody uses, and what is known of its image."""
        adapter = self._adapters[digest]
        if adapter.is_idle:
            self._evict(adapter)
            adapter.path = None

    def favour(self, digest: str | None) -> None:
        """Name the digest of the oldest sequence that waits for room, if there is one."""
        self._favoured = digest
        if self._claim is not None and self._claim.digest != digest:
            self._claim = None

    def place(self) -> None:
        """Start every copy that there is room for, the favoured one first."""
        favoured = None if self._favoured is None else self._adapters.get(self._favoured)
        if (
            favoured is not None
            and favoured.place is Place.READABLE
            and not self._place_favoured(favoured)
        ):
            return
        for digest in list(self._readable):
            adapter = self._adapters[digest]
            window = self._cheapest(adapter.size, only_idle=True)
            if window is not None:
                self._put(adapter, window)

    def _place_favoured(self, adapter: Adapter) -> bool:
        """Place it, or go on draining a window for it."""
        idle = self._cheapest(adapter.size, only_idle=True)
        if idle is not None:
            self._put(adapter, idle)
            return True
        if self._claim is None:
            window = self._cheapest(adapter.size, only_idle=False)
            if window is None:
                return False
            self._claim = Claim(adapter.digest, window)
        window = self._claim.window
        if any(self._adapters[owner].pins for owner in window.owners):
            return False
        self._put(adapter, window)
        return True

    def _cheapest(self, size: int, *, only_idle: bool) -> Window | None:
        """Choose the window whose owners are missed least: fewest pins, then longest unused."""
        windows = (w for w in self._runs.windows(size) if w.owners or self._slots)
        usable = (w for w in windows if all(self._may_go(o, only_idle) for o in w.owners))
        return min(usable, key=self._cost, default=None)

    def _may_go(self, owner: str, only_idle: bool) -> bool:
        adapter = self._adapters[owner]
        return adapter.is_idle or (not only_idle and adapter.place is Place.RESIDENT)

    def _cost(self, window: Window) -> tuple[int, int]:
        owners = [self._adapters[owner] for owner in window.owners]
        return sum(a.pins for a in owners), max((a.last_use for a in owners), default=-1)

    def _put(self, adapter: Adapter, window: Window) -> None:
        for owner in window.owners:
            self._evict(self._adapters[owner])
        self._leave_queue(adapter)
        adapter.slot = self._slots.pop()
        adapter.place = Place.COPYING
        self._runs.put(adapter.digest, at=window.at, size=adapter.size)
        self._commands.append(Copy(adapter.digest, adapter.slot, window.at))

    def _evict(self, adapter: Adapter) -> None:
        assert not adapter.pins, f"{adapter.digest} is pinned"
        self._free(adapter)
        adapter.place = Place.ABSENT
        self.num_evictions += 1
        if adapter.waiting:
            self._open(adapter)

    def _free(self, adapter: Adapter) -> None:
        assert adapter.slot is not None
        self._runs.remove(adapter.digest)
        self._slots.append(adapter.slot)
        self._commands.append(Clear(adapter.slot))
        adapter.slot = None

    def _fetch(self, adapter: Adapter, peer: bytes) -> None:
        if adapter.place is Place.ABSENT:
            adapter.place = Place.FETCHING
        if adapter.place is Place.FETCHING and peer not in adapter.fronts:
            adapter.fronts.add(peer)
            self._commands.append(Fetch(peer, adapter.digest))

    def _open(self, adapter: Adapter) -> None:
        assert adapter.path is not None
        if adapter.place is Place.ABSENT:
            adapter.place = Place.READING
            self._commands.append(Open(adapter.digest, adapter.path))

    def _close(self, adapter: Adapter) -> None:
        adapter.place = Place.ABSENT
        self._leave_queue(adapter)
        self._commands.append(Close(adapter.digest))

    def _leave_queue(self, adapter: Adapter) -> None:
        del self._readable[adapter.digest]
        if self._claim is not None and self._claim.digest == adapter.digest:
            self._claim = None

    def _is_closed(self, digest: str) -> bool:
        return self._claim is not None and digest in self._claim.window.owners

    def check_integrity(self) -> None:
        """Assert what must hold between steps."""
        placed = {d: a for d, a in self._adapters.items() if a.slot is not None}
        self._runs.check_integrity(set(placed))
        slots = [*self._slots, *(a.slot for a in placed.values())]
        assert sorted(s for s in slots if s is not None) == list(range(self._num_slots))
        assert self._readable.keys() == set(self._in(Place.READABLE))
        assert placed.keys() == {*self._in(Place.COPYING), *self._in(Place.RESIDENT)}
        for adapter in self._adapters.values():
            assert adapter.waiting >= 0
            assert adapter.pins == 0 or adapter.place is Place.RESIDENT
            assert not adapter.fronts or adapter.place is Place.FETCHING
        if self._claim is not None:
            assert self._claim.digest in self._readable
            assert set(self._claim.window.owners) <= set(self._in(Place.RESIDENT))

    def _in(self, place: Place) -> Iterator[str]:
        return (digest for digest, adapter in self._adapters.items() if adapter.place is place)
