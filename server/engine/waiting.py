"""The sequences that wait: by arrival, and in groups of one tenant and one adapter."""

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator

from .order import Key, Order
from .sequence import Sequence

Group = tuple[str, str | None]  # tenant and digest


class Waiting:
    """Owns the queue. A group is kept in its order, so that only groups have to be compared."""

    def __init__(self, order: Order) -> None:
        self.by_arrival: list[Sequence] = []
        self._order = order
        self._groups: dict[Group, list[Sequence]] = {}

    def add(self, sequence: Sequence) -> None:
        insort(self.by_arrival, sequence, key=_arrival)
        insort(self._groups.setdefault(_group(sequence), []), sequence, key=self._order.age)
        self._order.ledger.enter(sequence)

    def remove(self, sequence: Sequence) -> None:
        _take_out(self.by_arrival, sequence, _arrival)
        group = self._groups[_group(sequence)]
        _take_out(group, sequence, self._order.age)
        if not group:
            del self._groups[_group(sequence)]
        self._order.ledger.leave(sequence)

    def open_groups(self, now: float, is_open: Callable[[str], bool]) -> Iterator[list[Sequence]]:
        """Yield every group whose adapter is open; the others wait for theirs."""
        for (_, digest), group in self._groups.items():
            if digest is None or is_open(digest):
                yield group
            else:
                for sequence in group:
                    sequence.wait_for_adapter(now)

    def check_integrity(self) -> None:
        """Assert that both views hold the same sequences, each in its order."""
        assert self.by_arrival == sorted(self.by_arrival, key=_arrival)
        assert self._order.ledger.num_waiting == len(self.by_arrival)
        assert all(group for group in self._groups.values())
        for key, group in self._groups.items():
            assert all(_group(sequence) == key for sequence in group)
            assert group == sorted(group, key=self._order.age)
        grouped = [sequence for group in self._groups.values() for sequence in group]
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


def _take_out(
    sequences: list[Sequence], sequence: Sequence, key: Callable[[Sequence], Key]
) -> None:
    at = bisect_left(sequences, key(sequence), key=key)
    assert sequences[at] is sequence
    del sequences[at]


def _arrival(sequence: Sequence) -> Key:
    return (sequence.arrival,)


def _group(sequence: Sequence) -> Group:
    return sequence.tenant, sequence.digest
