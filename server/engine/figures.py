"""The engine's figures between two Stats messages."""

from collections import Counter

from weft.server.channel import LoadSample, Stats, StepSample

from .kv_cache import BlockAllocator
from .plan import Plan
from .residency import Residency
from .scheduler import Scheduler
from .sequence import State


class Figures:
    """Collects samples and counts; gauges are read when a message is made."""

    def __init__(self, *, element_bytes: int) -> None:
        self._element_bytes = element_bytes
        self._steps: list[StepSample] = []
        self._loads: list[LoadSample] = []
        self._lookups: Counter[str] = Counter()
        self._evictions = self._host_evictions = self._parks = self._prefetches = 0

    def count_step(self, plan: Plan, *, kind: str, seconds: float) -> None:
        digests = {chunk.sequence.digest for chunk in plan.chunks} - {None}
        self._steps.append(StepSample(kind, seconds, plan.num_tokens, len(digests)))

    def count_load(self, origin: str, seconds: float) -> None:
        self._loads.append(LoadSample(origin, seconds))

    def count_lookup(self, tier: str) -> None:
        """A request's adapter lay in `tier`."""
        self._lookups[tier] += 1

    def take(self, scheduler: Scheduler, blocks: BlockAllocator, residency: Residency) -> Stats:
        """Make the message and start counting anew."""
        adapter = sum(s.state in (State.LOADING, State.PARKED) for s in scheduler.waiting)
        others = len(scheduler.waiting) - adapter
        host, parks = residency.host, scheduler.num_parks
        stats = Stats(
            running=len(scheduler.running),
            waiting_budget=0 if scheduler.lacks_blocks else others,
            waiting_blocks=others if scheduler.lacks_blocks else 0,
            waiting_adapter=adapter,
            free_blocks=blocks.num_available - blocks.num_idle,
            cached_blocks=blocks.num_idle,
            used_blocks=blocks.num_blocks - blocks.num_available,
            arena_used_bytes=residency.used_elements * self._element_bytes,
            arena_total_bytes=residency.num_elements * self._element_bytes,
            host_used_bytes=host.used_elements * self._element_bytes,
            host_total_bytes=host.num_elements * self._element_bytes,
            host_adapters=len(host),
            resident=residency.resident,
            steps=self._steps,
            loads=self._loads,
            lookups=dict(self._lookups),
            evictions=residency.num_evictions - self._evictions,
            host_evictions=host.num_evictions - self._host_evictions,
            parks=parks - self._parks,
            prefetches=residency.num_prefetches - self._prefetches,
        )
        self._steps, self._loads = [], []
        self._lookups.clear()
        self._evictions, self._host_evictions = residency.num_evictions, host.num_evictions
        self._parks, self._prefetches = parks, residency.num_prefetches
        return stats
