"""Figures of a run, from the outcomes of the calls that were due in its window."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .outcome import OK, Outcome

PERCENTILES = (50, 90, 99)
MIN_COMPLETED = 0.98
MAX_GROWTH, MAX_WAITING = 1.2, 8.0
MAX_LATE_MS = 5.0
PROMPT_MS = 6000.0
"""A first token within it is what S-LoRA calls attained."""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a run that counts, in seconds since its begin."""

    begin_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        return self.end_s - self.begin_s

    def holds(self, at_s: float) -> bool:
        return self.begin_s <= at_s < self.end_s

    def due(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        return [outcome for outcome in outcomes if self.holds(outcome.due_s)]


def trim(seconds: float, *, small: bool) -> Window:
    """Leave out 30 s and 15 s; of a small run 1 s each, at most a fifth of it."""
    if small:
        edge = min(1.0, seconds / 5)
        return Window(edge, seconds - edge)
    return Window(min(30.0, seconds / 5), seconds - min(15.0, seconds / 10))


def rates(outcomes: Sequence[Outcome], window: Window) -> dict[str, float]:
    """Tokens and requests per second: whatever came within the window."""
    tokens = sum(
        delivery.num_tokens
        for outcome in outcomes
        for delivery in outcome.deliveries
        if window.holds(delivery.at_s)
    )
    ended = sum(
        outcome.code == OK and outcome.ended_s is not None and window.holds(outcome.ended_s)
        for outcome in outcomes
    )
    return {"rate": tokens / window.seconds, "requests": ended / window.seconds}


def latencies(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Percentiles in ms of calls that have ended well: first token, between tokens, whole."""
    good = [outcome for outcome in outcomes if outcome.code == OK]
    samples = {
        "ttft": [ttft_ms(outcome) for outcome in good],
        "itl": [gap for outcome in good for gap in gaps_ms(outcome)],
        "e2e": [1000 * (o.ended_s - o.sent_s) for o in good if o.ended_s is not None],
    }
    return {
        f"{name}_p{share}": float(np.percentile(values, share))
        for name, values in samples.items()
        if values
        for share in PERCENTILES
    }


def ttft_ms(outcome: Outcome) -> float:
    """From sending to the first token; the message with the version brings none."""
    return 1000 * (outcome.deliveries[0].at_s - outcome.sent_s)


def prompt_share(outcomes: Sequence[Outcome]) -> float:
    """Of all calls, refused ones too, the share with a first token within PROMPT_MS."""
    in_time = sum(bool(o.deliveries) and ttft_ms(o) <= PROMPT_MS for o in outcomes)
    return in_time / len(outcomes)


def gaps_ms(outcome: Outcome) -> list[float]:
    """Between messages, each divided by the tokens that it ended with."""
    return [
        1000 * (later.at_s - earlier.at_s) / later.num_tokens
        for earlier, later in pairwise(outcome.deliveries)
    ]


def tier_shares(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Of adapted calls that were served: the share that each tier served, and its mean load."""
    served = [outcome for outcome in outcomes if outcome.code == OK and outcome.tier]
    figures = {}
    for tier in sorted({outcome.tier for outcome in served}):
        own = [outcome.load_ms for outcome in served if outcome.tier == tier]
        figures[f"from_{tier}"] = len(own) / len(served)
        figures[f"load_{tier}_ms"] = sum(own) / len(own)
    return figures


def reused_share(outcomes: Sequence[Outcome]) -> float:
    """Prompt tokens that the prefix cache had."""
    good = [outcome for outcome in outcomes if outcome.code == OK]
    prompt = sum(outcome.prompt_tokens for outcome in good)
    return sum(outcome.cached_tokens for outcome in good) / prompt if prompt else 0.0


def count_codes(outcomes: Sequence[Outcome]) -> Mapping[str, int]:
    return Counter(outcome.code for outcome in outcomes)


def late_ms(outcomes: Sequence[Outcome]) -> float:
    """How late the generator was: the 99th percentile."""
    late = [1000 * outcome.late_s for outcome in outcomes if outcome.sent_s]
    return float(np.percentile(late, 99)) if late else 0.0


def is_saturated(outcomes: Sequence[Outcome], window: Window) -> bool:
    """Whether calls of the window never ended well, or those who wait become more and more."""
    due = window.due(outcomes)
    ended = sum(outcome.code == OK for outcome in due)
    return ended < MIN_COMPLETED * len(due) or _queue_grows(outcomes, window)


def _queue_grows(outcomes: Sequence[Outcome], window: Window) -> bool:
    middle = (window.begin_s + window.end_s) / 2
    first = _mean_waiting(outcomes, Window(window.begin_s, middle))
    second = _mean_waiting(outcomes, Window(middle, window.end_s))
    return second > MAX_GROWTH * first and second - first > MAX_WAITING


def _mean_waiting(outcomes: Sequence[Outcome], window: Window) -> float:
    """Calls without a first token, on average over the window."""
    waited = 0.0
    for outcome in outcomes:
        first = outcome.deliveries[0].at_s if outcome.deliveries else outcome.ended_s
        until = window.end_s if first is None else min(first, window.end_s)
        waited += max(0.0, until - max(outcome.sent_s, window.begin_s))
    return waited / window.seconds


def jain(outcomes: Sequence[Outcome], window: Window) -> float:
    """Fairness between tenants, 1 at best: (Σx)² / (n·Σx²).

    x = served / min(demand, total served / tenants), at most 1; in tokens of prompts and answers.
    """
    due = window.due(outcomes)
    tenants = sorted({outcome.tenant for outcome in due})
    demand = {t: sum(o.prompt_tokens + o.wanted for o in due if o.tenant == t) for t in tenants}
    served = {t: sum(served_tokens(o, window) for o in due if o.tenant == t) for t in tenants}
    share = sum(served.values()) / len(tenants) if tenants else 0.0
    if not share:
        return 0.0
    x = np.array([min(1.0, served[t] / min(demand[t], share)) for t in tenants])
    return float(x.sum() ** 2 / (len(x) * (x**2).sum()))


def served_tokens(outcome: Outcome, window: Window) -> int:
    """Of its prompt, once it has a first token, and its answer, as far as they came in time."""
    tokens = sum(d.num_tokens for d in outcome.deliveries if window.holds(d.at_s))
    return outcome.prompt_tokens + tokens if tokens else 0
