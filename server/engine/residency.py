"""Which adapters lie in the arena, where, and which come next: bookkeeping without a byte moved.

Every digest is in one place; what has to be done for it comes out of `take_commands`:

    ABSENT ─► FETCHING ─► READING ─► READABLE ─► COPYING ─► RESIDENT ─► ABSENT
              a Fetch     an Open    waits for   a Copy     has a slot
              to a front  on disk    room

An image that was read stays in the host tier, whatever its place, as long as the tier has room.

Room is made by giving up adapters that no sequence runs on or waits for, those first that are
worth least: arrivals of late, times the seconds to bring it back, per element; so in the host tier.
Where that is not enough, adapters take turns, in the order in which they began to wait: a resident
one keeps its place for `turn_s` from its first pin, then what runs on it is parked. So whoever
waits has run after as many turns as the adapters that are in use would fill arenas.
"""

from collections.abc import Iterator, Set
from math import inf

from weft.server.channel import Held

from .host_tier import HostTier
from .pins import Pins
from .places import Adapter, Clear, Close, Command, Copy, Fetch, Hurry, Open, Park, Place
from .runs import Runs, Window
from .turns import Turns

ALIGNMENT_BYTES = 128
TURN_S = 0.2
PREFETCH_EVERY_S = 0.25
PREFETCH_ARRIVALS = 1.0  # of late, below which nothing is expected
MAX_COPIES = 2  # at once: a place is taken when the loader is about to fill it


class Residency:
    """The arena's elements and the offset table's rows, and who has them.

    Attributes:
        host: The images that stay in host memory.
        turns: Which places are free, and when the others become so.
        turn_s: Time for which an adapter that others wait for is sure of its place.
    """

    def __init__(
        self,
        num_elements: int,
        *,
        host_elements: int,
        num_slots: int,
        element_bytes: int,
        turn_s: float = TURN_S,
    ) -> None:
        self.num_elements = num_elements
        self.host = HostTier(host_elements)
        self.num_evictions = 0
        self.num_prefetches = 0
        self.turn_s = turn_s
        self._element_bytes = element_bytes
        self._num_slots = num_slots
        self._runs = Runs(num_elements, alignment=ALIGNMENT_BYTES // element_bytes)
        self._slots = list(range(num_slots - 1, -1, -1))
        self._adapters: dict[str, Adapter] = {}
        self.turns = Turns(self._runs, self._adapters, self.host)
        self._pins = Pins(self._runs, self._adapters, self.host, element_bytes=element_bytes)
        self._readable: dict[str, None] = {}
        self._copying: set[str] = set()
        self._resident: dict[str, None] = {}
        self._settled_until = -inf
        self._commands: list[Command] = []
        self._now = -inf
        self._prefetch_at = -inf
        self._prefetching: str | None = None

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
        return list(self._resident)

    @property
    def open_digests(self) -> Set[str]:
        """Adapters on which a waiting sequence may start."""
        return self._resident.keys()

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

    def want(self, digest: str, peer: bytes, *, now: float, since: float | None = None) -> str:
        """Count a sequence that begins to wait; answer the tier that its adapter comes from.

        `since` is when it counts as having begun, if not now.
        """
        self._now = now
        since = now if since is None else since
        adapter = self._adapters.setdefault(digest, Adapter(digest))
        adapter.arrivals.add(now)
        if adapter.is_idle and not self._readable:
            adapter.turn_ends = None
        adapter.since = min(adapter.since, since) if adapter.waiting else since
        adapter.waiting += 1
        self._settled_until = -inf
        if adapter.place is Place.RESIDENT:
            return "arena"
        if adapter in self.host:
            self._bring(adapter)
            return "host"
        if adapter.path is not None:
            self._bring(adapter)
            return "disk"
        self._fetch(adapter, peer)
        return "store"

    def unwant(self, digest: str) -> None:
        """A waiting sequence has gone."""
        adapter = self._adapters[digest]
        adapter.waiting -= 1
        self._settled_until = -inf
        if adapter.place is Place.READABLE and not adapter.waiting:
            self._set_down(adapter)

    def acquire(self, digest: str, *, now: float) -> int | None:
        """Turn a waiting sequence into a pin and answer the slot; None while it has to wait."""
        if not self.is_open(digest):
            return None
        adapter = self._adapters[digest]
        adapter.waiting -= 1
        adapter.pins += 1
        if adapter.turn_ends is None:
            adapter.turn_ends = now + self.turn_s
            self._settled_until = -inf
        adapter.last_use = now
        return adapter.slot

    def is_open(self, digest: str) -> bool:
        """Whether a waiting sequence may start on the adapter."""
        return digest in self._resident

    def release(self, digest: str) -> None:
        """Take a pin back."""
        adapter = self._adapters[digest]
        adapter.pins -= 1
        self._settled_until = -inf

    def set_aside(self, digest: str, *, now: float) -> None:
        """Turn a pin into a waiting sequence."""
        adapter = self._adapters[digest]
        adapter.pins -= 1
        adapter.since = min(adapter.since, now) if adapter.waiting else now
        adapter.waiting += 1
        self._settled_until = -inf

    def is_in(self, tier: str, digest: str) -> bool:
        """Whether a tier, `arena` or `host`, holds the adapter."""
        if tier == "arena":
            return self.is_open(digest)
        return digest in self._adapters and self._adapters[digest] in self.host

    def pin(self, digest: str, tier: str) -> None:
        """Keep an adapter in the tier where it lies, instead of where it was pinned before.

        Raises:
            QuotaExceeded: Too little of the tier would be left to others.
        """
        self._pins.pin(self._adapters[digest], tier)

    @property
    def largest_place(self) -> int:
        """Elements of the largest image that could be placed."""
        return self._pins.largest_place

    def unpin(self, digest: str) -> None:
        """Let an adapter leave again; nothing happens if it was not pinned."""
        if digest in self._adapters:
            self._adapters[digest].pinned = None
            self._settled_until = -inf
            self._trim_host()

    def held(self, now: float) -> list[Held]:
        """List every adapter in the arena or the host tier."""
        found = {a.digest: a for a in self._adapters.values() if a.place is Place.RESIDENT}
        found |= {adapter.digest: adapter for adapter in self.host}
        return [
            Held(
                digest=adapter.digest,
                tier="arena" if adapter.place is Place.RESIDENT else "host",
                num_bytes=adapter.size * self._element_bytes,
                pinned=adapter.pinned,
                idle_s=None if adapter.last_use is None else now - adapter.last_use,
            )
            for adapter in found.values()
        ]

    def ready(self, digest: str, path: str) -> None:
        """The image lies on the local disk."""
        adapter = self._adapters.setdefault(digest, Adapter(digest))
        adapter.path = path
        if adapter.place is Place.FETCHING:
            adapter.fronts.clear()
            adapter.place = Place.ABSENT
            if adapter.waiting:
                self._bring(adapter)

    def opened(self, digest: str, size: int) -> None:
        """The loader has opened the image, of `size` elements."""
        adapter = self._adapters[digest]
        adapter.size = size
        self.host.put(adapter)
        self._make_readable(adapter)
        if not adapter.waiting:
            self._set_down(adapter)
        self._trim_host()

    def copied(self, digest: str) -> None:
        """Bytes and row are in place: from now on a step may name the slot."""
        adapter = self._adapters[digest]
        adapter.place = Place.RESIDENT
        self._resident[digest] = None
        self._end_copy(digest)
        self.turns.yields_unused = False
        self._trim_host()

    def fail(self, digest: str) -> None:
        """The adapter could not be brought; whoever asks next starts from the store."""
        adapter = self._adapters[digest]
        assert adapter.place is not Place.RESIDENT
        self._settled_until = -inf
        if adapter.place is Place.COPYING:
            self._end_copy(digest)
            self._free(adapter)
        if adapter.place is Place.READABLE:
            self._set_down(adapter)
        adapter.place = Place.ABSENT
        adapter.fronts.clear()
        self._forget_image(adapter)

    def refetch(self, digest: str, peer: bytes) -> None:
        """Ask the front of a waiting sequence again, after a failure."""
        self._fetch(self._adapters[digest], peer)

    def forget(self, digest: str) -> None:
        """Give up the place of an adapter that nobody uses, and what is known of its image."""
        adapter = self._adapters[digest]
        if adapter.is_idle and adapter.pinned is None:
            self._evict(adapter)
            self._forget_image(adapter)

    def _forget_image(self, adapter: Adapter) -> None:
        """Start from the store next time; a pin ends with the image that could not be used."""
        adapter.path = None
        adapter.pinned = None
        if adapter in self.host:
            self.host.remove(adapter)
            self._commands.append(Close(adapter.digest))

    def place(self, now: float) -> None:
        """Start the copies that there is room for, in the order in which adapters began to wait.

        Whoever has to wait for the end of a turn keeps that window from all behind him.
        """
        self._now = now
        if now < self._settled_until and not self.turns.yields_unused:
            return
        self._settled_until = inf
        kept: Window | None = None
        room = self.num_elements
        for adapter in sorted((self._adapters[d] for d in self._readable), key=_since):
            if len(self._copying) == MAX_COPIES:
                return
            window = self._cheapest(adapter, kept) if adapter.size <= room else None
            if window is None:
                continue
            ends = self.turns.ends(window)
            if ends == -inf or (kept is None and ends <= now):
                if not self._is_parked(window):
                    return
                self._put(adapter, window, now)
            elif kept is None:
                kept, self._settled_until = window, ends
                self._hurry()
                room = self.turns.num_idle_elements()

    def prefetch(self, now: float) -> None:
        """Copy ahead from the host what is worth more than all that it takes the place of.

        To be called while the loader has nothing to do; the copy yields to whatever comes.
        """
        if now < self._prefetch_at or self._readable:
            return
        self._prefetch_at = now + PREFETCH_EVERY_S
        absent = (adapter for adapter in self.host if adapter.place is Place.ABSENT)
        hot = (a for a in absent if a.arrivals.until(now) >= PREFETCH_ARRIVALS)
        best = max(hot, key=lambda a: self.turns.gain(a, now), default=None)
        window = None if best is None else self._cheapest(best)
        if best is None or window is None or self.turns.ends(window) > -inf:
            return
        loss = sum(self.turns.gain(owner, now) for owner in self.turns.owners(window))
        if self.turns.gain(best, now) > loss:
            self._make_readable(best)
            self._put(best, window, now, yields=True)
            self._prefetching = best.digest
            self.num_prefetches += 1

    def _hurry(self) -> None:
        """Have a prefetch make way for whoever waits for a place."""
        if self._prefetching is not None and not self._adapters[self._prefetching].waiting:
            self._commands.append(Hurry())
            self._prefetching = None

    def _end_copy(self, digest: str) -> None:
        self._copying.remove(digest)
        self._settled_until = -inf
        if self._prefetching == digest:
            self._prefetching = None

    def given_up(self, digest: str) -> None:
        """A prefetch has made way for a load on demand."""
        adapter = self._adapters[digest]
        self._end_copy(digest)
        self._free(adapter)
        adapter.place = Place.ABSENT
        if adapter.waiting:
            self._bring(adapter)
        self._trim_host()

    def _cheapest(self, adapter: Adapter, kept: Window | None = None) -> Window | None:
        return self.turns.cheapest(
            adapter.size, now=self._now, has_slot=bool(self._slots), kept=kept
        )

    def _is_parked(self, window: Window) -> bool:
        """Whether nobody runs in the window; asks to park whoever does."""
        pinned = [owner for owner in window.owners if self._adapters[owner].pins]
        self._commands += map(Park, pinned)
        self._settled_until = -inf
        return not pinned

    def _put(self, adapter: Adapter, window: Window, now: float, *, yields: bool = False) -> None:
        for owner in window.owners:
            self._adapters[owner].since = now
            self._evict(self._adapters[owner])
        del self._readable[adapter.digest]
        adapter.slot = self._slots.pop()
        adapter.place = Place.COPYING
        adapter.turn_ends = None
        self._copying.add(adapter.digest)
        self._runs.put(adapter.digest, at=window.at, size=adapter.size)
        self._commands.append(Copy(adapter.digest, adapter.slot, window.at, yields))

    def _evict(self, adapter: Adapter) -> None:
        assert not adapter.pins, f"{adapter.digest} is in use"
        assert adapter.pinned != "arena", f"{adapter.digest} is pinned"
        self._free(adapter)
        adapter.place = Place.ABSENT
        del self._resident[adapter.digest]
        self.num_evictions += 1
        if adapter.waiting:
            self._bring(adapter)

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

    def _bring(self, adapter: Adapter) -> None:
        """Have the image ready in host memory."""
        if adapter.place is not Place.ABSENT:
            return
        if adapter in self.host:
            self._make_readable(adapter)
        else:
            assert adapter.path is not None
            adapter.place = Place.READING
            self._commands.append(Open(adapter.digest, adapter.path))

    def _make_readable(self, adapter: Adapter) -> None:
        adapter.place = Place.READABLE
        self._readable[adapter.digest] = None
        self._settled_until = -inf

    def _set_down(self, adapter: Adapter) -> None:
        """Let an image wait for room no longer."""
        adapter.place = Place.ABSENT
        del self._readable[adapter.digest]
        self._trim_host()

    def _trim_host(self) -> None:
        for adapter in self.host.trim(lambda a: self.turns.host_worth(a, self._now)):
            self._commands.append(Close(adapter.digest))

    def check_integrity(self) -> None:
        """Assert what must hold between steps."""
        placed = {d: a for d, a in self._adapters.items() if a.slot is not None}
        self._runs.check_integrity(set(placed))
        self.host.check_integrity()
        slots = [*self._slots, *(a.slot for a in placed.values())]
        assert sorted(s for s in slots if s is not None) == list(range(self._num_slots))
        assert self._readable.keys() == set(self._in(Place.READABLE))
        assert self._copying == set(self._in(Place.COPYING))
        assert self._resident.keys() == set(self._in(Place.RESIDENT))
        assert placed.keys() == {*self._in(Place.COPYING), *self._in(Place.RESIDENT)}
        for adapter in self._adapters.values():
            assert adapter.waiting >= 0
            assert adapter.pins == 0 or adapter.place is Place.RESIDENT
            assert not adapter.fronts or adapter.place is Place.FETCHING
            assert adapter.pinned != "arena" or adapter.place is Place.RESIDENT
            assert adapter.pinned != "host" or adapter in self.host
            assert adapter in self.host or adapter.place not in (Place.READABLE, Place.COPYING)

    def _in(self, place: Place) -> Iterator[str]:
        return (digest for digest, adapter in self._adapters.items() if adapter.place is place)


def _since(adapter: Adapter) -> float:
    return adapter.since
