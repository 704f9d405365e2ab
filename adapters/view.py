"""An in-memory copy of what every tenant has published, following Redis's event stream.

Requests are resolved from it, never from Redis. While Redis is away it answers from the last known
state, and says that it is stale.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import redis.asyncio

from . import codec, keys
from .connection import BLOCK_MS
from .errors import AdapterError, ModelNotFound
from .names import parse_reference
from .records import Adapter, Event, Version, VersionContent
from .registry import Registry
from .state import Resolution, State

EVENTS_KEPT = 10_000
PAGE = 500
STALE_AFTER_S = 3 * BLOCK_MS / 1000
BACK_OFF_S = (0.1, 5.0)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a reference means now; `event_id` names the state that says so."""

    tenant: str
    adapter: str
    version: int
    digest: str
    event_id: str
    record: Version


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a tenant has; what a watcher knew before is void."""

    adapters: tuple[Adapter, ...]
    versions: tuple[Version, ...]
    cursor: str


class RegistryView:
    """The copy. `follow` keeps it; everything else only reads it.

    Args:
        follower: A client for blocking reads, of its own.
    """

    def __init__(
        self, registry: Registry, follower: redis.asyncio.Redis, *, block_ms: int = BLOCK_MS
    ) -> None:
        self._registry = registry
        self._redis = follower
        self._block_ms = block_ms
        self._state = State()
        self._epoch = ""
        self._cursor = "0-0"
        self._cursor_is_entry = False
        self._recent: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._recent_since = "0-0"
        self._snapshots = 0
        self._changed = asyncio.Condition()
        self._refreshing = asyncio.Lock()  # the follower and a publishing call refresh alike
        self._current_at: float | None = None

    @property
    def cursor(self) -> str:
        """Id of the newest event that the copy contains."""
        return self._cursor

    @property
    def lag_s(self) -> float:
        """Seconds since the copy was last known to be Redis's state; infinite before the first."""
        if self._current_at is None:
            return float("inf")
        return time.monotonic() - self._current_at

    @property
    def stale(self) -> bool:
        return self.lag_s > STALE_AFTER_S

    def resolve(self, tenant: str, reference: str) -> Resolved:
        """Say which version a tenant's reference means now.

        Raises:
            ModelNotFound: It is no reference, or names nothing of the tenant's or shared.
            VersionRetired: Every version that it could mean is retired.
        """
        version = Resolution(self._state, tenant).resolve(parse_reference(reference))
        if version is None:
            raise ModelNotFound(f"no model {reference[:200]}")
        return Resolved(
            version.tenant,
            version.adapter,
            version.number,
            version.digest,
            self._cursor,
            version,
        )

    def find_content(self, digest: str) -> VersionContent | None:
        """Find what some tenant's version says of a content: where its bytes are."""
        return self._state.find_content(digest)

    def snapshot(self, tenant: str) -> Snapshot:
        return Snapshot(
            self._state.adapters_of(tenant), self._state.versions_of(tenant), self._cursor
        )

    async def wait_for(self, event_id: str) -> None:
        """Return when the copy contains an event; the caller brings the deadline.

        Raises:
            ValueError: It is not the id of an event.
        """
        wanted = event_order(event_id)
        async with self._changed:
            await self._changed.wait_for(lambda: event_order(self._cursor) >= wanted)

    async def watch(self, tenant: str, cursor: str = "") -> AsyncGenerator[Snapshot | Event, None]:
        """Yield the tenant's changes after `cursor`, for ever.

        A snapshot comes first, unless `cursor` is recent enough to go on from, and again whenever
        changes were lost: because Redis was emptied, or because the watcher is too slow.
        """
        snapshots = self._snapshots
        while True:
            if cursor and snapshots == self._snapshots and self._covers(cursor):
                for event in [e for e in self._recent if is_after(e.event_id, cursor)]:
                    cursor = event.event_id
                    if event.tenant == tenant:
                        yield event
            else:
                snapshot = self.snapshot(tenant)
                snapshots, cursor = self._snapshots, snapshot.cursor
                yield snapshot
            await self._wait_for_change(snapshots, cursor)

    async def _wait_for_change(self, snapshots: int, cursor: str) -> None:
        def changed() -> bool:
            return self._snapshots != snapshots or is_after(self._cursor, cursor)

        async with self._changed:
            await self._changed.wait_for(changed)

    def _covers(self, cursor: str) -> bool:
        return not is_after(self._recent_since, cursor) and not is_after(cursor, self._cursor)

    async def follow(self) -> None:
        """Keep the copy as Redis is, until cancelled."""
        back_off_s = BACK_OFF_S[0]
        while True:
            try:
                await self._advance()
                back_off_s = BACK_OFF_S[0]
            except AdapterError as error:
                logger.warning("registry not followed, lag %.0f s: %s", self.lag_s, error)
                await asyncio.sleep(back_off_s * random.uniform(0.5, 1.0))
                back_off_s = min(2 * back_off_s, BACK_OFF_S[1])

    async def _advance(self) -> None:
        if self._current_at is not None:
            await self._redis.xread({keys.EVENTS: self._cursor}, count=1, block=self._block_ms)
        await self.refresh()

    async def refresh(self) -> None:
        """Bring the copy up to date, once.

        Raises:
            RegistryUnavailable: Redis does not answer.
        """
        async with self._refreshing:
            events = await self._read_events() if self._current_at is not None else None
            if events is None:
                await self._take_snapshot()
            else:
                await self._apply(events)
            self._current_at = time.monotonic()

    async def _read_events(self) -> list[Event] | None:
        """Read what follows the cursor; None if events were lost or this is another server.

        The cursor's own entry must still be there: it is not when the stream was trimmed past it,
        nor when the server came back without its newest entries. The epoch is read last, so that it
        vouches for the entries; a transaction would be refused by a full server.
        """
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.xrange(keys.EVENTS, min=self._cursor, count=PAGE)
        pipeline.get(keys.EPOCH)
        reply, epoch = await pipeline.execute()
        events = [codec.decode_event(*entry) for entry in codec.raw_entries(reply)]
        if epoch != self._epoch.encode():
            return None
        if not self._cursor_is_entry:
            return events
        if not events or events[0].event_id != self._cursor:
            return None
        return events[1:]

    async def _apply(self, events: list[Event]) -> None:
        unknown = [event for event in events if not self._state.apply(event)]
        if unknown:
            logger.warning("unknown event %s: taking a new snapshot", unknown[0].kind)
            await self._take_snapshot()
        elif events:
            self._recent += events
            if len(self._recent) == EVENTS_KEPT:
                self._recent_since = self._recent[0].event_id
            await self._move_to(events[-1].event_id, is_entry=True)

    async def _take_snapshot(self) -> None:
        """Read the whole state; what changes meanwhile is read again as events."""
        epoch = await self._registry.read_epoch()
        seconds, microseconds = await self._redis.time()
        newest = codec.raw_entries(await self._redis.xrevrange(keys.EVENTS, count=1))
        state = State()
        for adapters, versions in (await self._registry.catalogue.read_tenants()).values():
            state.load(adapters, versions)
        self._state, self._epoch = state, epoch
        before = f"{seconds * 1000 + microseconds // 1000 - 1}-0"  # below any event from here on
        self._recent_since = newest[0][0].decode() if newest else before
        self._recent.clear()
        self._snapshots += 1
        await self._move_to(self._recent_since, is_entry=bool(newest))

    async def _move_to(self, cursor: str, *, is_entry: bool) -> None:
        async with self._changed:
            self._cursor, self._cursor_is_entry = cursor, is_entry
            self._changed.notify_all()


def event_order(event_id: str) -> tuple[int, int]:
    """Order event ids as the stream does.

    Raises:
        ValueError: It is not the id of an event.
    """
    time_ms, _, sequence = event_id.partition("-")
    return int(time_ms), int(sequence)


def is_after(event_id: str, other: str) -> bool:
    return event_order(event_id) > event_order(other)
