"""What derives from a record's figures."""

from dataclasses import replace
from datetime import UTC, datetime

from weft.bench.floors import Ceilings
from weft.bench.goals import Verdict
from weft.bench.machine import Source
from weft.bench.record import Cell, Check, Conditions, Loads, Ratio, Record

RECORD = Record(
    suite="engine-tiny",
    conditions=Conditions(
        command="weft bench engine --shape tiny",
        source=Source("0123456789ab", "dirty"),
        seed=3,
        started=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        seconds=12.5,
        note="shared",
        load_average=(1.0, 2.0),
        hardware={"cpu": "one", "cores": 2, "threads": 1},
        versions={"torch": "2.13.0"},
        ceilings=Ceilings(4e9, 5e9),
    ),
    parameters={
        "dtype": "float32",
        "device": "cpu",
        "batch": 4,
        "prompt_tokens": 12,
        "new_tokens": 8,
        "adapters": 3,
        "ranks": "4,9",
    },
    checks=[Check("tokens", True, "4 of 4 equal", {"equal": 4})],
    cells=[
        Cell("weft base", "rate", "tokens/s", [90.0, 100.0, 120.0], floor=200.0),
        Cell("weft base", "step_ms", "ms", [4.0, 5.0, 6.0], floor=2.0),
        Cell("peer", "rate", "tokens/s", [40.0]),
    ],
    ratios=[Ratio("weft base", "peer", "rate", [2.0, 2.5, 4.0])],
    loads=[Loads(9, 2_000_000, [1.0, 2.0, 4.0])],
    verdicts=[Verdict("P6", None, "another shape")],
)


def test_floor_is_missed_by_a_factor_of_time() -> None:
    rate, step, peer = RECORD.cells
    assert rate.over_floor == 2
    assert step.over_floor == 2.5
    assert peer.over_floor is None


def test_floor_in_microseconds_is_one_of_time() -> None:
    assert Cell("weft", "graph", "µs", [9.0, 3.0, 6.0], floor=3.0).over_floor == 2


def test_load_rate_is_bytes_over_the_median() -> None:
    assert RECORD.loads[0].gigabytes_s == 1


def test_one_check_that_fails_makes_the_record_fail() -> None:
    wrong = Check("deltas", False, "worst error 1", {})
    assert RECORD.holds
    assert not replace(RECORD, checks=[*RECORD.checks, wrong]).holds
    assert str(wrong) == "deltas: WRONG  worst error 1"
