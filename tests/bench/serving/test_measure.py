"""Figures from outcomes whose truth is known."""

import pytest

from weft.bench.serving.measure import (
    Window,
    count_codes,
    gaps_ms,
    is_saturated,
    jain,
    latencies,
    prompt_share,
    rates,
    tier_shares,
    trim,
)
from weft.bench.serving.outcome import Delivery

from .outcomes import refused, served

WINDOW = Window(0, 10)


def test_rates_count_what_came_within_the_window() -> None:
    outcomes = [served(1), served(9.95, first_ms=100), refused(2)]
    assert rates(outcomes, WINDOW) == {"rate": 0.3, "requests": 0.1}


def test_latencies_are_of_calls_that_ended_well() -> None:
    figures = latencies([served(1, first_ms=100), served(2, first_ms=300), refused(3)])
    assert figures["ttft_p50"] == pytest.approx(200)
    assert figures["itl_p99"] == pytest.approx(10)
    assert figures["e2e_p50"] == pytest.approx(220)
    assert latencies([refused(1)]) == {}


def test_a_gap_is_divided_by_the_tokens_that_it_brought() -> None:
    outcome = served(0, num_tokens=1)
    outcome.deliveries.append(Delivery(outcome.deliveries[0].at_s + 0.04, 4))
    assert gaps_ms(outcome) == pytest.approx([10])


def test_first_tokens_in_time_are_a_share_of_all_calls() -> None:
    late = served(1, first_ms=6001)
    assert prompt_share([served(1, first_ms=5999), late, refused(2)]) == pytest.approx(1 / 3)


def test_hits_are_shares_of_adapted_calls() -> None:
    outcomes = [served(1), served(1, tier="gpu"), served(1, tier="disk", load_ms=8)]
    assert tier_shares(outcomes) == {
        "from_disk": 0.5,
        "load_disk_ms": 8,
        "from_gpu": 0.5,
        "load_gpu_ms": 0,
    }


def test_refusals_are_counted_by_code() -> None:
    assert count_codes([served(1), refused(1), refused(2)]) == {"OK": 1, "QUEUE_FULL": 2}


def test_edges_are_left_out() -> None:
    assert trim(300, small=False) == Window(30, 285)
    assert trim(8, small=True) == Window(1, 7)
    assert trim(1, small=True) == Window(0.2, 0.8)


def test_a_server_that_keeps_up_is_not_saturated() -> None:
    assert not is_saturated([served(i / 10) for i in range(100)], WINDOW)


def test_refusals_saturate() -> None:
    assert is_saturated([*(served(i / 10) for i in range(96)), *[refused(5)] * 4], WINDOW)


def test_a_queue_that_grows_saturates() -> None:
    growing = [served(i / 10, first_ms=60 * i) for i in range(100)]
    assert is_saturated(growing, WINDOW)


def test_equal_shares_are_fair_and_an_abuser_is_not() -> None:
    fair = [served(1, tenant=tenant) for tenant in range(4)]
    assert jain(fair, WINDOW) == pytest.approx(1)
    starved = [*fair[:3], refused(1, tenant=3)]
    assert jain(starved, WINDOW) == pytest.approx(0.75)


def test_whoever_asks_for_little_and_gets_it_is_served_fairly() -> None:
    outcomes = [served(1, tenant=0), *[served(1, tenant=1) for _ in range(9)]]
    assert jain(outcomes, WINDOW) == pytest.approx(1)
