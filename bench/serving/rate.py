"""How much a server can take: by a burst for a small run, else the knee by bisection."""

from collections.abc import Callable

from .measure import Window, is_saturated, latencies, served_tokens
from .outcome import Outcome
from .plan import AdapterSpec, Run, Setting, Stream
from .script import Arrival, draw_script
from .traffic import Uniform

Play = Callable[[list[Arrival], float], list[Outcome]]
"""Sends a script and cuts it after so many seconds."""

SMALL_S = 2.0
SMALL_SHARE = 0.6
SMALL_BURST = 200.0
KNEE_S = 120.0
KNEE_PRECISION = 1.03
KNEE_TTFT_MS = 2000.0


def measure_capacity(
    play: Play,
    setting: Setting,
    lengths: Uniform,
    adapters: tuple[AdapterSpec, ...],
    *,
    vocab_size: int,
    seed: int,
    seconds: float = SMALL_S,
) -> float:
    """Requests per second that are served of a flood, by tokens with prompts."""
    stream = Stream(lengths, rate=SMALL_BURST / seconds, adapters=adapters)
    run = Run("calibration", "burst", setting, seconds, (stream,))
    script = draw_script(run, knee=0, vocab_size=vocab_size, seed=seed)
    outcomes = play(script, seconds)
    window = Window(0, seconds)
    asked = sum(len(arrival.call.tokens) + arrival.call.new_tokens for arrival in script)
    served = sum(served_tokens(outcome, window) for outcome in outcomes)
    return served / asked * len(script) / seconds


def find_knee(
    play: Play, setting: Setting, lengths: Uniform, *, capacity: float, vocab_size: int, seed: int
) -> float:
    """The highest rate of base requests that keeps TTFT p99 at 2 s and does not saturate.

    Args:
        capacity: Where the bisection begins.
    """

    def holds(rate: float) -> bool:
        run = Run("knee", f"{rate:.2f}", setting, KNEE_S, (Stream(lengths, rate=rate),))
        script = draw_script(run, knee=0, vocab_size=vocab_size, seed=seed)
        window = Window(KNEE_S / 4, KNEE_S)
        outcomes = play(script, KNEE_S + KNEE_TTFT_MS / 1000)
        late = latencies(window.due(outcomes)).get("ttft_p99", KNEE_TTFT_MS + 1)
        return late <= KNEE_TTFT_MS and not is_saturated(outcomes, window)

    return bisect(holds, high=1.25 * capacity)


def bisect(holds: Callable[[float], bool], *, high: float) -> float:
    """The highest rate that holds, to 3 %; `high` is thought not to hold."""
    low = high / 8
    while high / low > KNEE_PRECISION:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
