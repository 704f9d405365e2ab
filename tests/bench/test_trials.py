"""Checked first, then timed in turn: one case of the kernel suite."""

import logging
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from weft.bench.errors import NotApplicable, PeerMissing
from weft.bench.floors import Ceilings, Work
from weft.bench.record import Gap
from weft.bench.trials import Case, Outcome, Run, Trial, relative_error, run_case

from .stopwatches import FakeStopwatch

CEILINGS = Ceilings(1e6, 1e6, launches_us=[1.0, 2.5])


def trial(error: float = 0.0, *, error_of: Callable[[Run], float] | None = None) -> Trial:
    return Trial(
        run=lambda: None,
        reset=lambda: None,
        error_of=error_of or (lambda run: error),
        work=Work(num_bytes=3, flops=1),
        num_launches=2,
    )


def refuse(reason: Exception) -> Trial:
    raise reason


def run(stopwatch: FakeStopwatch | None, **makers: Callable[[], Trial]) -> Outcome:
    case = Case("case", {"op": "any"}, tolerance=0.1, makers=makers)
    return run_case(case, stopwatch, CEILINGS)


def test_right_contenders_are_timed_in_alternating_order() -> None:
    outcome = run(FakeStopwatch(), weft=trial, peer=trial)
    cold = {cell.contender: cell.samples for cell in outcome.cells if cell.figure == "graph"}
    assert [list(dict.fromkeys(samples)) for samples in cold.values()] == [
        [1, 4, 5, 8, 9, 12],
        [2, 3, 6, 7, 10, 11],
    ]
    assert len(cold["weft"]) == 54
    assert {(cell.contender, cell.figure) for cell in outcome.cells} == {
        (name, figure) for name in ("weft", "peer") for figure in ("graph", "warm", "eager")
    }


def test_ratios_are_of_each_round() -> None:
    (ratio,) = run(FakeStopwatch(power=2), weft=trial, peer=trial).ratios
    assert (ratio.above, ratio.below, ratio.case) == ("peer", "weft", "case")
    there_and_back = [(2, 3, 1, 4), (6, 7, 5, 8), (10, 11, 9, 12)]
    assert ratio.rounds == [(a**2 + b**2) / (c**2 + d**2) for a, b, c, d in there_and_back]


def test_floors_come_from_the_work_and_the_launches() -> None:
    cell = run(FakeStopwatch(), weft=lambda: trial(0.05)).cells[0]
    assert cell.floor == pytest.approx(3)
    assert cell.launch_floor == 2.5
    assert (cell.error, cell.case, cell.parameters["op"]) == (0.05, "case", "any")
    assert (cell.parameters["num_bytes"], cell.parameters["flops"]) == (3, 1)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: trial(0.3), "WRONG err=3.0e-01"),
        (lambda: trial(math.inf), "WRONG err=inf"),
        (lambda: refuse(NotApplicable("rank 12")), "n/a (rank 12)"),
        (lambda: refuse(PeerMissing("gone")), "not installed"),
    ],
)
def test_contender_that_is_wrong_or_absent_is_not_timed(
    make: Callable[[], Trial], reason: str
) -> None:
    outcome = run(FakeStopwatch(), weft=trial, peer=make)
    assert {cell.contender for cell in outcome.cells} == {"weft"}
    assert outcome.gaps == [Gap("peer", "case", reason)]
    assert not outcome.ratios


def test_contender_that_fails_leaves_the_others_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        outcome = run(FakeStopwatch(), peer=lambda: refuse(KeyError("x")), weft=trial)
    assert outcome.gaps == [Gap("peer", "case", "failed (KeyError)")]
    assert {cell.contender for cell in outcome.cells} == {"weft"}
    assert "peer failed in case" in caplog.text


def test_replay_is_checked_as_well() -> None:
    errors = iter([0.0, 0.5])
    outcome = run(FakeStopwatch(), weft=lambda: trial(error_of=lambda run: next(errors)))
    assert outcome.gaps == [Gap("weft", "case", "WRONG err=5.0e-01")]


def test_without_a_stopwatch_results_are_checked_and_nothing_is_timed() -> None:
    outcome = run(None, weft=lambda: trial(0.05), peer=lambda: trial(0.3))
    assert outcome.errors == {("weft", "case"): 0.05}
    assert not outcome.cells
    assert [gap.contender for gap in outcome.gaps] == ["peer"]


def test_outcomes_add_up() -> None:
    outcome = run(None, weft=lambda: trial(0.05))
    outcome.add(run(FakeStopwatch(), other=trial, peer=lambda: trial(1)))
    assert outcome.errors.keys() == {("weft", "case"), ("other", "case")}
    assert (len(outcome.cells), len(outcome.gaps)) == (3, 1)


def test_error_is_relative_and_no_nan_passes() -> None:
    wanted = torch.tensor([3.0, 4.0], dtype=torch.float64)
    assert relative_error(wanted * 1.1, wanted) == pytest.approx(0.1)
    assert relative_error(torch.tensor([0.0, 0.5]), torch.zeros(2)) == 0.5
    assert relative_error(torch.tensor([3.0, math.nan]), wanted) == math.inf


def test_eager_run_may_be_more_than_what_is_captured() -> None:
    runs: list[str] = []
    more = replace(trial(), run=lambda: runs.append("captured"), eager=lambda: runs.append("eager"))
    run(FakeStopwatch(), weft=lambda: more)
    assert runs.count("eager") == 2
    assert runs.count("captured") == 8
