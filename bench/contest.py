"""Contenders run side by side, in alternating order, and what came of their rounds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, quantiles
from typing import NamedTuple, TypeVar

Result = TypeVar("Result")


class Timing(NamedTuple):
    """One run of a batch.

    Attributes:
        rate: New tokens per second, prefill included.
        prefill_rate: Tokens per second of the steps with prefill; None if it is not known.
        decode_rate: Tokens per second of the other steps; None if it is not known.
        step_ms: Their median; None if it is not known.
    """

    rate: float
    prefill_rate: float | None = None
    decode_rate: float | None = None
    step_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    run: Callable[[], Timing]


@dataclass(frozen=True, slots=True)
class Rounds:
    """What a contender did in every round, twice each."""

    name: str
    timings: Sequence[tuple[Timing, Timing]]

    def samples(self, figure: str) -> tuple[float, ...]:
        """All values of one figure; none if it is not known."""
        values = [getattr(timing, figure) for pair in self.timings for timing in pair]
        return tuple(value for value in values if value is not None)

    def ratios_to(self, other: "Rounds", figure: str) -> tuple[float, ...]:
        """One figure over another contender's, round by round."""
        return tuple(
            mine / theirs
            for mine, theirs in zip(self._means(figure), other._means(figure), strict=True)
        )

    def _means(self, figure: str) -> list[float]:
        return [fmean(getattr(timing, figure) for timing in pair) for pair in self.timings]


def hold_rounds(contenders: Sequence[Contender], num_rounds: int) -> dict[str, Rounds]:
    """Warm everyone up once, then run A B … B A in every round."""
    for contender in contenders:
        contender.run()
    timings = alternate({contender.name: contender.run for contender in contenders}, num_rounds)
    return {name: Rounds(name, pairs) for name, pairs in timings.items()}


def alternate(
    runs: Mapping[str, Callable[[], Result]], num_rounds: int
) -> dict[str, list[tuple[Result, Result]]]:
    """Run A B … B A in every round, and give what came of each, twice a round."""
    results: dict[str, list[tuple[Result, Result]]] = {name: [] for name in runs}
    for _ in range(num_rounds):
        there = {name: run() for name, run in runs.items()}
        for name, run in reversed(list(runs.items())):
            results[name].append((there[name], run()))
    return results


def spread_of(samples: Sequence[float]) -> float:
    """The range over the median; of more than a dozen samples, the range of the middle half."""
    low, high = min(samples), max(samples)
    if len(samples) > 12:
        low, _, high = quantiles(samples, n=4)
    if low == high:
        return 0.0
    return (high - low) / median(samples)
