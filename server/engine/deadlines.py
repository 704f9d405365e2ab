"""When sequences are given up: an instant each, of those that have one."""

import heapq
from collections.abc import Iterator

from .sequence import Sequence, State

KEPT = 64  # finished ones, however few live


class Deadlines:
    """The sequences that have a deadline, the next to pass first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Sequence]] = []

    def add(self, sequence: Sequence) -> None:
        """Watch a sequence, if it has a deadline."""
        deadline = sequence.request.deadline
        if deadline is not None:
            heapq.heappush(self._heap, (deadline, sequence.arrival, sequence))

    def passed(self, now: float) -> Iterator[Sequence]:
        """Yield every live sequence whose deadline has passed, once."""
        while self._heap and self._heap[0][0] <= now:
            sequence = heapq.heappop(self._heap)[2]
            if sequence.state is not State.FINISHED:
                yield sequence

    def forget(self, *, num_live: int) -> None:
        """Let go of finished sequences once they outnumber the living."""
        if len(self._heap) > 2 * num_live + KEPT:
            self._heap = [entry for entry in self._heap if entry[2].state is not State.FINISHED]
            heapq.heapify(self._heap)
