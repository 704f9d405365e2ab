"""The knee and the capacity of a server whose capacity is known."""

from collections.abc import Sequence

import pytest

from weft.bench.errors import NoKnee
from weft.bench.serving.outcome import CUT, OK, Delivery, Outcome
from weft.bench.serving.plan import Run, Setting, Stream
from weft.bench.serving.rate import (
    Search,
    bisect,
    find_knee,
    measure_capacity,
    of_one_rate,
)
from weft.bench.serving.script import Arrival
from weft.bench.serving.traffic import Uniform
from weft.bench.serving.workloads import make_runs

LENGTHS = Uniform((8, 9), (2, 3))
RUN = Run("W0", "base", Setting("tiny", (), ()), 20.0, (Stream(LENGTHS, load=1),))
SEARCH = Search(20.0, 1.05)


class SingleFile:
    """A server that takes one request after the other, each for the same time."""

    def __init__(self, requests_s: float) -> None:
        self._seconds = 1 / requests_s
        self.rates: list[float] = []

    def play(self, script: Sequence[Arrival], ends_s: float) -> list[Outcome]:
        self.rates.append(len(script))
        outcomes, free_s = [], 0.0
        for arrival in script:
            call, due_s = arrival.call, arrival.at_s
            free_s = max(free_s, due_s) + self._seconds
            outcome = Outcome("", 0, None, due_s, len(call.tokens), call.new_tokens, sent_s=due_s)
            if free_s < ends_s:
                outcome.deliveries = [Delivery(free_s, call.new_tokens)]
                outcome.ended_s = free_s
            outcome.code = OK if outcome.deliveries else CUT
            outcomes.append(outcome)
        return outcomes


@pytest.mark.parametrize("knee", [3.0, 7.7, 19.0])
def test_bisection_ends_within_three_percent_below_the_knee(knee: float) -> None:
    found = bisect(lambda rate: rate <= knee, low=2.5, high=20, precision=1.03)
    assert found is not None
    assert knee / 1.03 <= found <= knee


def test_bisection_below_which_nothing_holds_finds_nothing() -> None:
    assert bisect(lambda rate: rate < 1, low=2, high=16, precision=1.1) is None


def test_a_flood_is_served_at_the_capacity() -> None:
    capacity = measure_capacity(SingleFile(5).play, RUN, vocab_size=320, seed=0)
    assert capacity == pytest.approx(5, rel=0.02)


def test_the_knee_is_a_rate_that_keeps_up() -> None:
    found = find_knee(SingleFile(5).play, RUN, SEARCH, capacity=5, vocab_size=320, seed=0)
    assert 3.5 < found < 5.5


def test_a_server_that_takes_nothing_has_no_knee() -> None:
    server = SingleFile(0.01)
    with pytest.raises(NoKnee, match=r"W0 base: no rate holds down to 0\.78 requests/s"):
        find_knee(server.play, RUN, SEARCH, capacity=5, vocab_size=320, seed=0)
    assert len(server.rates) > 3


@pytest.mark.parametrize(("name", "number"), [("W2", 0), ("W5", 0), ("W6", 1)])
def test_loads_become_shares_of_one_rate(name: str, number: int) -> None:
    run = make_runs(name, small=None, seconds=None, trace=None)[number]
    alike = of_one_rate(run, name="at 3", seconds=5)
    assert (alike.case, alike.seconds) == (f"{name} at 3", 5)
    loads = [stream.load for stream in alike.streams]
    assert sum(loads) == pytest.approx(1) or alike.chain is not None
    assert alike.chain is None or alike.chain.load == 1
    if len(loads) > 1:
        assert loads[0] / loads[-1] == pytest.approx(run.streams[0].load / run.streams[-1].load)
