"""Goals P4 and P5 by the ratios of a run."""

from weft.bench.record import Cell, Ratio
from weft.bench.serving.goals import judge_serving

COLD = Cell("weft", "load_host_ms", "ms", [7.0], case="W4 churn cold")


def ratios(capacity: float, cliff: float, shift: float) -> list[Ratio]:
    return [
        Ratio("W2 S1 n=2000, capacity", "W2 S1 n=5, capacity", "rate", [capacity]),
        Ratio("W2 cliff n=32", "W2 cliff n=16", "ttft_p50", [cliff]),
        Ratio("W4 churn warm, churn", "W4 churn warm, quiet", "itl_p99", [shift]),
    ]


def test_goals_are_met_by_all_their_figures() -> None:
    met = judge_serving([COLD], ratios(0.96, 1.4, 1.04), is_stated=True)
    assert [verdict.met for verdict in met] == [True, True]
    for missed in (ratios(0.94, 1.4, 1.06), ratios(0.96, 1.6, 1.06)):
        assert [v.met for v in judge_serving([COLD], missed, is_stated=True)] == [False, False]


def test_what_is_unmeasured_cannot_be_met_but_missed() -> None:
    some = judge_serving([], ratios(0.96, 1.4, 1.04)[1:], is_stated=True)
    assert [verdict.met for verdict in some] == [None, None]
    assert "unmeasured" in some[0].margin
    assert judge_serving([], ratios(0.5, 1, 1)[:1], is_stated=True)[0].met is False


def test_small_variants_judge_nothing() -> None:
    assert [v.met for v in judge_serving([COLD], ratios(1, 1, 1), is_stated=False)] == [None, None]
