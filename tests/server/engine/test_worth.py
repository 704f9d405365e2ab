"""Arrivals that fade, costs that are learned, and what they are good for: hits in a trace."""

import random
from collections import OrderedDict

import pytest

from weft.server.engine.places import Copy, Fetch, Open
from weft.server.engine.residency import Residency
from weft.server.engine.worth import HALF_LIFE_S, LOAD_S, Arrivals, LoadCosts

RANKS = (8, 16, 32, 64)
NUM_ADAPTERS = 300
NUM_REQUESTS = 4000
REQUESTS_PER_S = 40.0
RANK_ELEMENTS = 2_600_000  # of an image on all Linears of an 8B Llama, per rank
ARENA_ELEMENTS = 30 * 30 * RANK_ELEMENTS  # about a tenth of all adapters


def test_arrivals_count_half_after_a_half_life() -> None:
    arrivals = Arrivals()
    arrivals.add(5.0)
    arrivals.add(5.0)
    arrivals.add(5.0 + HALF_LIFE_S)
    assert arrivals.until(5.0 + HALF_LIFE_S) == pytest.approx(2.0)
    assert arrivals.until(5.0 + 3 * HALF_LIFE_S) == pytest.approx(0.5)


def test_costs_follow_the_loads() -> None:
    costs = LoadCosts()
    for _ in range(100):
        costs.learn("disk", 1000, LOAD_S + 2.0)
    assert costs.seconds("disk", 500) == pytest.approx(LOAD_S + 1.0, rel=1e-3)
    costs.learn("host", 1000, 0.0)
    assert 0 < costs.seconds("host", 1000) < costs.seconds("disk", 1000)


def trace(*, drift_s: float | None) -> list[tuple[float, int]]:
    """Arrivals of adapters by Zipf's law with exponent 0.9; with a drift, others get popular."""
    rng = random.Random(7)
    weights = [1 / (rank + 1) ** 0.9 for rank in range(NUM_ADAPTERS)]
    order = rng.sample(range(NUM_ADAPTERS), NUM_ADAPTERS)
    now, drawn = 0.0, []
    for place in rng.choices(range(NUM_ADAPTERS), weights, k=NUM_REQUESTS):
        now += rng.expovariate(REQUESTS_PER_S)
        shift = 0 if drift_s is None else int(now / drift_s) * 10
        drawn.append((now, order[(place + shift) % NUM_ADAPTERS]))
    return drawn


def size_of(adapter: int) -> int:
    return RANKS[adapter % len(RANKS)] * RANK_ELEMENTS


def hits_of_residency(arrivals: list[tuple[float, int]]) -> list[int]:
    """The adapters that were there when they were asked for."""
    residency = Residency(ARENA_ELEMENTS, host_elements=0, num_slots=1000, element_bytes=32)
    hits = []
    for now, adapter in arrivals:
        digest = str(adapter)
        if residency.want(digest, b"front", now=now) == "arena":
            hits.append(adapter)
        while commands := residency.take_commands():
            for command in commands:
                match command:
                    case Fetch():
                        residency.ready(digest, "path")
                    case Open():
                        residency.opened(digest, size_of(adapter))
                        residency.place(now)
                    case Copy():
                        residency.copied(digest)
        assert residency.acquire(digest, now=now) is not None
        residency.release(digest)
    residency.check_integrity()
    return hits


def load_s(adapter: int) -> float:
    return LoadCosts().seconds("disk", size_of(adapter))


def hits_of_lru(arrivals: list[tuple[float, int]]) -> list[int]:
    """Least recently used in an arena without holes, so the best that LRU could do."""
    held: OrderedDict[int, int] = OrderedDict()
    hits = []
    for _, adapter in arrivals:
        if adapter in held:
            hits.append(adapter)
        held[adapter] = size_of(adapter)
        held.move_to_end(adapter)
        while sum(held.values()) > ARENA_ELEMENTS:
            held.popitem(last=False)
    return hits


@pytest.mark.parametrize("drift_s", [None, 30.0], ids=["steady", "drifting"])
def test_more_hits_and_fewer_seconds_of_loads_than_with_lru(drift_s: float | None) -> None:
    arrivals = trace(drift_s=drift_s)
    ours, lru = hits_of_residency(arrivals), hits_of_lru(arrivals)
    assert len(ours) >= len(lru)
    assert sum(map(load_s, ours)) >= sum(map(load_s, lru))
