"""Which elements of the arena belong to whom: contiguous, aligned runs."""

from bisect import insort
from collections.abc import Container, Iterator
from typing import NamedTuple


class Run(NamedTuple):
    at: int
    size: int
    owner: str


class Window(NamedTuple):
    """A place that would be free without `owners`."""

    at: int
    size: int
    owners: tuple[str, ...]

    def overlaps(self, other: "Window") -> bool:
        return self.at < other.at + other.size and other.at < self.at + self.size


class Runs:
    """Runs of `size` elements in all, each starting at a multiple of `alignment`."""

    def __init__(self, size: int, *, alignment: int) -> None:
        self.size = size
        self._alignment = alignment
        self._runs: list[Run] = []

    @property
    def used(self) -> int:
        return sum(run.size for run in self._runs)

    def aligned(self, size: int) -> int:
        return -(-size // self._alignment) * self._alignment

    def windows(self, size: int) -> Iterator[Window]:
        """Yield every leftmost place for `size` elements, with the runs that lie in it."""
        size = self.aligned(size)
        for first, at in enumerate([0, *(run.at + run.size for run in self._runs)]):
            if at + size > self.size:
                return
            last = first
            while last < len(self._runs) and self._runs[last].at < at + size:
                last += 1
            yield Window(at, size, tuple(run.owner for run in self._runs[first:last]))

    def largest_gap(self, owners: Container[str]) -> int:
        """Elements of the largest place that holds none of `owners`."""
        ends, largest = 0, 0
        for run in self._runs:
            if run.owner in owners:
                largest = max(largest, run.at - ends)
                ends = run.at + run.size
        return max(largest, self.size - ends)

    def put(self, owner: str, *, at: int, size: int) -> None:
        insort(self._runs, Run(at, self.aligned(size), owner))

    def remove(self, owner: str) -> None:
        self._runs = [run for run in self._runs if run.owner != owner]

    def check_integrity(self, owners: set[str]) -> None:
        """Assert that the runs are those of `owners`, aligned, inside, and do not overlap."""
        assert {run.owner for run in self._runs} == owners
        assert len(self._runs) == len(owners)
        end = 0
        for run in self._runs:
            assert run.at % self._alignment == 0, f"run of {run.owner} is not aligned"
            assert run.at >= end, f"run of {run.owner} overlaps the one before"
            end = run.at + run.size
        assert end <= self.size, "the last run leaves the arena"
