"""Goals P4 and P5, which the full workloads state; other runs judge nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from weft.bench.goals import Verdict
from weft.bench.record import Cell, Ratio

from .figures import CHURNED, QUIET

P4_CAPACITY, P4_CLIFF = 0.95, 1.5
P5_COLD_MS, P5_SHIFT = 10.0, 0.05


@dataclass(frozen=True, slots=True)
class Limit:
    """One figure of a goal; None = it was not measured."""

    name: str
    value: float | None
    least: float = -inf
    most: float = inf

    @property
    def holds(self) -> bool | None:
        return None if self.value is None else self.least <= self.value <= self.most

    def __str__(self) -> str:
        goal = self.least if self.most == inf else self.most
        found = "unmeasured" if self.value is None else f"{self.value:.2f}"
        return f"{self.name} {found} (goal {goal:g})"


def judge_serving(
    cells: Sequence[Cell], ratios: Sequence[Ratio], *, is_stated: bool
) -> list[Verdict]:
    """Scale, and cold adapters and churn, each by two figures.

    Args:
        is_stated: Whether the runs are those that the goals are stated for.
    """
    if not is_stated:
        return [Verdict(goal, None, "it is stated for an 8B shape") for goal in ("P4", "P5")]
    by_pair = {(ratio.above, ratio.below, ratio.figure): ratio.median for ratio in ratios}
    capacity = by_pair.get(("W2 S1 n=2000, capacity", "W2 S1 n=5, capacity", "rate"))
    cliff = by_pair.get(("W2 cliff n=32", "W2 cliff n=16", "ttft_p50"))
    churned, quiet = f"W4 churn warm, {CHURNED}", f"W4 churn warm, {QUIET}"
    shift = by_pair.get((churned, quiet, "itl_p99"))
    cold = next(
        (c.median for c in cells if (c.case, c.figure) == ("W4 churn cold", "load_host_ms")), None
    )
    return [
        _judge(
            "P4",
            [
                Limit("capacity of 2,000 adapters to 5", capacity, least=P4_CAPACITY),
                Limit("TTFT p50 past the slots", cliff, most=P4_CLIFF),
            ],
        ),
        _judge(
            "P5",
            [
                Limit("load of r64 from host memory, ms", cold, most=P5_COLD_MS),
                Limit("warm ITL p99, churn to quiet", shift, most=1 + P5_SHIFT),
            ],
        ),
    ]


def _judge(goal: str, limits: Sequence[Limit]) -> Verdict:
    """All must hold; where one is unmeasured, the goal can be missed, but not met."""
    margin = ", ".join(map(str, limits))
    if any(limit.holds is False for limit in limits):
        return Verdict(goal, False, margin)
    return Verdict(goal, True if all(limit.holds for limit in limits) else None, margin)
