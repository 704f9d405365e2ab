"""A suite from end to end, on a tiny model."""

import pytest

from weft.bench.cases import Entry, Heat, base_case, mixed_case
from weft.bench.contest import Timing
from weft.bench.machine import Source
from weft.bench.record import Check, Invocation, Record
from weft.bench.suite import Suite, hold_heat, run_suite
from weft.bench.table import write_table
from weft.bench.verify import Baseline

from .beds import TINY

WEFT_FIGURES = ("rate", "prefill_rate", "decode_rate", "step_ms")
BASE, MIXED = base_case(4), mixed_case(4, 3)
ENTRIES = [Entry(who, case) for who in ("weft", "hf-peft") for case in (BASE, MIXED)]
SUITE = Suite("batches", TINY, [Heat(ENTRIES, 1)], WEFT_FIGURES, judge=lambda _: [])
INVOCATION = Invocation("weft bench batches", Source("0123456789ab", "clean"), "a test")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    said: list[str] = []
    folder = tmp_path_factory.mktemp("suite")
    record = run_suite(SUITE, folder, invocation=INVOCATION, say=said.append)
    assert said[0] == "measuring the ceilings"
    return record


def test_results_are_right_by_the_definition_alone_and_at_the_peer(record: Record) -> None:
    assert record.holds
    names = [check.name for check in record.checks]
    assert names == [
        "deltas by the definition",
        "tokens of 3 adapters in one batch as alone",
        "tokens as hf-peft",
    ]
    assert record.checks[1].values["equal"] == 6


def test_every_contender_has_its_figures(record: Record) -> None:
    figures = {(cell.contender, cell.figure): cell for cell in record.cells}
    weft = {(name, f) for name in ("weft base", "weft mixed") for f in WEFT_FIGURES}
    assert figures.keys() == weft | {("hf-peft base", "rate"), ("hf-peft mixed", "rate")}
    for cell in record.cells:
        assert len(cell.samples) == 2
        assert (cell.floor is not None) == cell.contender.startswith("weft")


def test_mixed_batch_has_the_higher_floor(record: Record) -> None:
    floors = {cell.contender: cell.floor for cell in record.cells if cell.figure == "step_ms"}
    assert floors["weft mixed"] is not None
    assert floors["weft base"] is not None
    assert floors["weft mixed"] > floors["weft base"]


def test_ratios_are_of_this_run(record: Record) -> None:
    pairs = {(ratio.above, ratio.below) for ratio in record.ratios}
    assert pairs == {
        ("weft mixed", "weft base"),
        ("weft mixed", "hf-peft mixed"),
        ("weft base", "hf-peft base"),
        ("hf-peft mixed", "hf-peft base"),
    }
    assert all(len(ratio.rounds) == 1 for ratio in record.ratios)


def test_every_adapter_was_loaded_once_by_itself(record: Record) -> None:
    assert [(loads.rank, len(loads.samples_ms)) for loads in record.loads] == [(4, 2), (9, 1)]
    assert all(min(loads.samples_ms) > 0 for loads in record.loads)


def test_conditions_and_parameters_are_complete(record: Record) -> None:
    conditions = record.conditions
    assert conditions.command == "weft bench batches"
    assert conditions.note == "a test"
    assert conditions.seconds > 0
    assert conditions.ceilings.copy_bytes_s > 0
    assert record.parameters["max_batch_tokens"] == 512
    assert record.parameters["ranks"] == "4,9"
    assert record.parameters["swap_merged_linear"] == 4


def test_table_has_at_most_forty_lines(record: Record) -> None:
    assert 20 < len(write_table(record).splitlines()) <= 40


def test_who_may_not_run_is_left_out_of_the_heat() -> None:
    heat = Heat([Entry("weft", base_case(2)), Entry("wrong", base_case(2))], 1)
    held = hold_heat(heat, {"weft": lambda _: Timing(1.0)}, lambda _: None)
    assert held.keys() == {"weft base"}


def test_trial_holds_only_if_every_check_does() -> None:
    right, wrong = Check("a", True, "", {}), Check("b", False, "", {})
    assert Baseline([], [], [right], [], 0.1).holds
    assert not Baseline([], [], [right, wrong], [], 0.1).holds


def test_suite_knows_how_many_adapters_run_together() -> None:
    assert SUITE.num_together == len(set(mixed_case(4, 3).places))
