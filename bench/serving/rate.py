"""How much a server can take: a flood by what is served of it, or the knee by bisection."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from weft.bench.errors import NoKnee

from .measure import Window, is_saturated, latencies, served_tokens
from .outcome import Outcome
from .plan import Run
from .script import Arrival, draw_script

Play = Callable[[list[Arrival], float], list[Outcome]]
"""Sends a script and cuts it after so many seconds."""

BURST = 200.0
"""Requests of a flood."""
SEARCH_HIGH, SEARCH_RANGE = 1.25, 8.0
"""Of a flood's rate: where a search begins, and over which range it goes down."""
KNEE_TTFT_MS = 2000.0


@dataclass(frozen=True, slots=True)
class Search:
    """How a knee is looked for.

    Attributes:
        seconds: Of each run.
        precision: The lowest rate that does not hold over the highest that does, at the end.
    """

    seconds: float
    precision: float


FULL, SMALL = Search(120.0, 1.03), Search(3.0, 1.25)


def of_one_rate(run: Run, *, name: str, seconds: float) -> Run:
    """The traffic of a run, whose loads are now shares of one: its script's knee is its rate."""
    total = sum(stream.rate_at(1.0) for stream in run.streams)
    return replace(
        run,
        name=name,
        seconds=seconds,
        streams=tuple(
            replace(stream, rate=None, load=stream.rate_at(1.0) / total) for stream in run.streams
        ),
        chain=None if run.chain is None else replace(run.chain, load=1.0),
    )


def measure_capacity(play: Play, run: Run, *, vocab_size: int, seed: int) -> float:
    """Requests per second that are served of a flood of a run's kind, by tokens with prompts."""
    flood = of_one_rate(run, name=f"{run.name}, flood", seconds=run.seconds)
    script = draw_script(flood, knee=BURST / run.seconds, vocab_size=vocab_size, seed=seed)
    outcomes = play(script, run.seconds)
    window = Window(0, run.seconds)
    asked = sum(len(arrival.call.tokens) + arrival.call.new_tokens for arrival in script)
    served = sum(served_tokens(outcome, window) for outcome in outcomes)
    return served / asked * len(script) / run.seconds


def find_knee(
    play: Play, run: Run, search: Search, *, capacity: float, vocab_size: int, seed: int
) -> float:
    """The highest rate of a run's kind that keeps TTFT p99 at 2 s and does not saturate.

    Args:
        capacity: By a flood; the search begins above it.

    Raises:
        NoKnee: No rate holds down to a small part of the capacity.
    """
    seconds = search.seconds

    def holds(rate: float) -> bool:
        probe = of_one_rate(run, name=f"{run.name}, {rate:.3f}/s", seconds=seconds)
        script = draw_script(probe, knee=rate, vocab_size=vocab_size, seed=seed)
        window = Window(seconds / 4, seconds)
        outcomes = play(script, seconds + KNEE_TTFT_MS / 1000)
        late = latencies(window.due(outcomes)).get("ttft_p99", KNEE_TTFT_MS + 1)
        return late <= KNEE_TTFT_MS and not is_saturated(outcomes, window)

    high = SEARCH_HIGH * capacity
    knee = bisect(holds, low=high / SEARCH_RANGE, high=high, precision=search.precision)
    if knee is None:
        raise NoKnee(f"{run.case}: no rate holds down to {high / SEARCH_RANGE:.2f} requests/s")
    return knee


def bisect(
    holds: Callable[[float], bool], *, low: float, high: float, precision: float
) -> float | None:
    """The highest rate that was seen to hold, within `precision` of one that was not.

    `high` is thought not to hold; None if no rate held above `low`.
    """
    found = None
    while high / low > precision:
        middle = (low * high) ** 0.5
        if holds(middle):
            found = low = middle
        else:
            high = middle
    return found
