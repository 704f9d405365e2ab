"""The suite from end to end, on a tiny model."""

from pathlib import Path

import pytest

from weft.bench.contest import Contender, Timing
from weft.bench.engine import run_engine_suite, time_if_right
from weft.bench.machine import Source
from weft.bench.options import EngineOptions
from weft.bench.record import Check, Record
from weft.bench.table import write_table

from .beds import TINY


def run_suite(options: EngineOptions, folder: Path) -> Record:
    said: list[str] = []
    record = run_engine_suite(
        options,
        folder,
        command="weft bench engine",
        source=Source("0123456789ab", "clean"),
        note="a test",
        say=said.append,
    )
    assert said[0] == "measuring the ceilings"
    return record


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return run_suite(TINY, tmp_path_factory.mktemp("suite"))


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
        assert len(cell.samples) == 2 * TINY.rounds
        assert (cell.floor is not None) == cell.contender.startswith("weft")


WEFT_FIGURES = ("rate", "prefill_rate", "decode_rate", "step_ms")


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
    assert all(len(ratio.rounds) == TINY.rounds for ratio in record.ratios)


def test_every_adapter_was_loaded_once_by_itself(record: Record) -> None:
    assert [(loads.rank, len(loads.samples_ms)) for loads in record.loads] == [(4, 2), (9, 1)]
    assert all(min(loads.samples_ms) > 0 for loads in record.loads)


def test_goal_of_another_set_up_is_not_judged(record: Record) -> None:
    assert [(verdict.goal, verdict.met) for verdict in record.verdicts] == [("P6", None)]


def test_conditions_and_parameters_are_complete(record: Record) -> None:
    conditions = record.conditions
    assert conditions.command == "weft bench engine"
    assert conditions.note == "a test"
    assert conditions.seconds > 0
    assert conditions.ceilings.copy_bytes_s > 0
    assert record.parameters["max_batch_tokens"] == 512
    assert record.parameters["ranks"] == "4,9"
    assert record.parameters["swap_merged_linear"] == 4


def test_table_has_at_most_forty_lines(record: Record) -> None:
    assert 20 < len(write_table(record).splitlines()) <= 40


def test_nothing_is_timed_when_a_check_fails() -> None:
    runs: list[str] = []

    def run() -> Timing:
        runs.append("run")
        return Timing(1.0)

    right, wrong = Check("a", True, "", {}), Check("b", False, "", {})
    contenders = [Contender("one", run)]
    assert time_if_right([right, wrong], contenders, 1) == {}
    assert not runs
    assert time_if_right([right], contenders, 1).keys() == {"one"}
    assert len(runs) == 3
