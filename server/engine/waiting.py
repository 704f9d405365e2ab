"""The sequences that wait: by arrival, and in groups of one tenant and one adapter."""

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Set
from functools import reduce

from weft.server.channel import Submit

from .limits import Queued
from .order import Key, Order
from .sequence import Sequence, State

NEED_PROMPT = (State.WAITING, State.PREEMPTED)


class Waiting:
    """Owns the queue. A group is kept in its order, so that only groups have to be compared.

    Attributes:
        queued: What waits, with those who were promised a place.
        promised: These.
    """

    def __init__(self, order: Order) -> None:
        self.by_arrival: list[Sequence] = []
        self._order = order
        self._groups: dict[str | None, dict[str, list[Sequence]]] = {}  # by digest and tenant
        self._new: list[Sequence] = []  # not yet known whether they wait for their adapter
        self._open: Set[str | None] = frozenset()  # among those that are waited for, at last sight
        self._queued: dict[str, Queued] = {}
        self.queued = self.promised = Queued(0, 0)

    def queued_of(self, tenant: str) -> Queued:
        """What waits of one tenant, with those who were promised a place."""
        return self._queued.get(tenant, Queued(0, 0))

    def promise(self, request: Submit) -> None:
        """Count a request that will come later."""
        self.promised = self.promised.more(_size_of(request))
        self._count(request.salt, _size_of(request))

    def withdraw(self, request: Submit) -> None:
        """Count it no longer."""
        self.promised = self.promised.less(_size_of(request))
        self._discount(request.salt, _size_of(request))

    def tokens_before(self, sequence: Sequence) -> int:
        """Tokens of those that go before a newcomer for certain."""
        age = self._order.age
        others = self.by_arrival
        if self._order.shares:
            others = self._groups.get(sequence.digest, {}).get(sequence.tenant, [])
        return sum(
            len(other.tokens)
            for other in others
            if other.state in NEED_PROMPT and age(other) < age(sequence)
        )

    def add(self, sequence: Sequence) -> None:
        self._count(sequence.tenant, Queued(sequence.num_rows, len(sequence.tokens)))
        insort(self.by_arrival, sequence, key=_arrival)
        tenants = self._groups.setdefault(sequence.digest, {})
        insort(tenants.setdefault(sequence.tenant, []), sequence, key=self._order.age)
        self._new.append(sequence)
        self._order.ledger.enter(sequence)

    def remove(self, sequence: Sequence) -> None:
        self._discount(sequence.tenant, Queued(sequence.num_rows, len(sequence.tokens)))
        _take_out(self.by_arrival, sequence, _arrival)
        tenants = self._groups[sequence.digest]
        group = tenants[sequence.tenant]
        _take_out(group, sequence, self._order.age)
        if not group:
            del tenants[sequence.tenant]
        if not tenants:
            del self._groups[sequence.digest]
        self._order.ledger.leave(sequence)

    def _count(self, tenant: str, size: Queued) -> None:
        self.queued = self.queued.more(size)
        self._queued[tenant] = self.queued_of(tenant).more(size)

    def _discount(self, tenant: str, size: Queued) -> None:
        self.queued = self.queued.less(size)
        self._queued[tenant] = self.queued_of(tenant).less(size)
        if not self._queued[tenant].sequences:
            del self._queued[tenant]

    def open_groups(self, now: float, open_digests: Set[str]) -> list[list[Sequence]]:
        """Answer every group whose adapter is open; the others wait for theirs from now on."""
        found = self._groups.keys() & open_digests
        for digest in self._open - found:
            for group in self._groups.get(digest, {}).values():
                self._new += group
        for sequence in self._new:
            if sequence.digest is not None and sequence.digest not in found:
                sequence.wait_for_adapter(now)
        self._new.clear()
        self._open = found
        tenants = [self._groups[digest] for digest in found] + [self._groups.get(None, {})]
        return [group for groups in tenants for group in groups.values()]

    def check_integrity(self) -> None:
        """Assert that both views hold the same sequences, each in its order."""
        assert self.by_arrival == sorted(self.by_arrival, key=_arrival)
        self._order.ledger.check_integrity(self.by_arrival)
        sizes = [Queued(s.num_rows, len(s.tokens)) for s in self.by_arrival]
        assert self.queued == reduce(Queued.more, sizes, self.promised)
        assert self.queued == reduce(Queued.more, self._queued.values(), Queued(0, 0))
        grouped = []
        for digest, tenants in self._groups.items():
            assert tenants
            for tenant, group in tenants.items():
                assert {(s.digest, s.tenant) for s in group} == {(digest, tenant)}
                assert group == sorted(group, key=self._order.age)
                grouped += group
        assert sorted(grouped, key=_arrival) == self.by_arrival


class Candidates:
    """The first of every group that may start, while admitted ones are removed from theirs."""

    def __init__(self, order: Order, groups: Iterable[list[Sequence]], *, now: float) -> None:
        self._order = order
        self._now = now
        self._heads = [(order.key(group[0], now), group) for group in groups]
        heapq.heapify(self._heads)

    def first(self) -> Sequence | None:
        """The least of all; None when nobody is left. What was charged meanwhile counts."""
        while self._heads:
            key, group = self._heads[0]
            if group and (found := self._order.key(group[0], self._now)) == key:
                return group[0]
            if group:
                heapq.heapreplace(self._heads, (found, group))
            else:
                heapq.heappop(self._heads)
        return None


def _size_of(request: Submit) -> Queued:
    return Queued(request.num_rows, len(request.tokens))


def _take_out(
    sequences: list[Sequence], sequence: Sequence, key: Callable[[Sequence], Key]
) -> None:
    at = bisect_left(sequences, key(sequence), key=key)
    assert sequences[at] is sequence
    del sequences[at]


def _arrival(sequence: Sequence) -> Key:
    return (sequence.arrival,)
