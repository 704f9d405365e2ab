"""Alternating rounds, and ratios within a round."""

from functools import partial

import pytest

from weft.bench.contest import Contender, Rounds, Timing, alternate, hold_rounds, spread_of


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


def test_results_of_a_round_are_there_and_back() -> None:
    order: list[str] = []

    def run(name: str) -> int:
        order.append(name)
        return len(order)

    results = alternate({name: partial(run, name) for name in "AB"}, 2)
    assert results == {"A": [(1, 4), (5, 8)], "B": [(2, 3), (6, 7)]}


def test_ratio_compares_within_a_round() -> None:
    fast = Rounds("fast", [(Timing(10), Timing(30)), (Timing(1), Timing(1))])
    slow = Rounds("slow", [(Timing(5), Timing(5)), (Timing(0.5), Timing(1.5))])
    assert fast.ratios_to(slow, "rate") == (4, 1)


def test_figure_that_is_not_known_has_no_samples() -> None:
    rounds = Rounds("peer", [(Timing(1), Timing(2))])
    assert rounds.samples("step_ms") == ()


def test_spread_is_the_range_over_the_median() -> None:
    assert spread_of([9, 10, 12]) == pytest.approx(0.3)


def test_spread_of_many_samples_leaves_the_outliers_out() -> None:
    assert spread_of([*range(96, 105), 1000, 1, 2000, 0]) == pytest.approx(0.07)
