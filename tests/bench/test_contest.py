"""Alternating rounds, and ratios within a round."""

import pytest

from weft.bench.contest import Contender, Rounds, Timing, hold_rounds, spread_of


def test_contenders_warm_up_then_run_a_b_b_a() -> None:
    order: list[str] = []

    def contender(name: str) -> Contender:
        def run() -> Timing:
            order.append(name)
            return Timing(rate=len(order))

        return Contender(name, run)

    rounds = hold_rounds([contender(name) for name in "ABC"], 2)
    assert "".join(order) == "ABC" + "ABCCBA" * 2
    assert rounds["A"].samples("rate") == (4, 9, 10, 15)
    assert rounds["C"].samples("rate") == (6, 7, 12, 13)


def test_ratio_compares_within_a_round() -> None:
    fast = Rounds("fast", [(Timing(10), Timing(30)), (Timing(1), Timing(1))])
    slow = Rounds("slow", [(Timing(5), Timing(5)), (Timing(0.5), Timing(1.5))])
    assert fast.ratios_to(slow, "rate") == (4, 1)


def test_figure_that_is_not_known_has_no_samples() -> None:
    rounds = Rounds("peer", [(Timing(1), Timing(2))])
    assert rounds.samples("step_ms") == ()


def test_spread_is_the_range_over_the_median() -> None:
    assert spread_of([9, 10, 12]) == pytest.approx(0.3)
